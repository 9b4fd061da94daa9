"""Commands and flags that Linux (GNU) or macOS (BSD) lacks, from the two manuals."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Literal

from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.shell import Command

Platform = Literal["linux", "macos"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlatformUse:
    """A use of something that only one platform has."""

    command: str
    only_on: Platform
    shown: str
    instead: str


@dataclasses.dataclass(frozen=True)
class _Flag:
    command: str
    only_on: Platform
    pattern: str
    """Of the words after the name, joined by a space, with one in front."""
    shown: str
    instead: str


_FLAGS = (
    _Flag("date", "macos", r" -v ?[+-]?\d+[ymwdHMS]", "date -v", "on Linux: date -d '7 days ago' (or -d '+1 day')"),
    _Flag("date", "macos", r" -j\b", "date -j", "on Linux: date -d TEXT +FORMAT"),
    _Flag("date", "linux", r" (?:-[a-zA-Z]*d\b|--date\b)", "date -d", "on macOS: date -v-7d, or date -j -f FORMAT TEXT"),
    _Flag("date", "linux", r" (?:-I[a-z]+|--iso-8601|--rfc-\S+)", "date --iso-8601", "on macOS: date -u +%Y-%m-%dT%H:%M:%SZ"),
    _Flag("sed", "macos", r" -i (?:''|\"\")", "sed -i ''", "on Linux: sed -i, without the empty word"),
    _Flag("sed", "linux", r" (?:-[nEr]*i[nEr]*|--in-place)(?: -[enE]+)* (?!''|\"\")[^.\s-]", "sed -i", "on macOS: sed -i '' …"),
    _Flag("stat", "macos", r" -f ?['\"]?%[A-Za-z]*[zmSugpNa]", "stat -f", "on Linux: stat -c '%s' (size), -c '%Y' (time)"),
    _Flag("stat", "linux", r" (?:-c|--format|--printf)\b", "stat -c", "on macOS: stat -f '%z' (size), -f '%m' (time)"),
    _Flag("grep", "linux", r" (?:-[a-zA-Z]*P[a-zA-Z]*|--perl-regexp)\b", "grep -P", "on macOS: grep -E, or perl -ne"),
    _Flag("find", "linux", r" -printf\b", "find -printf", "on macOS: find … -exec stat -f … {} +"),
    _Flag("ls", "macos", r" -[a-zA-Z]*[eG@][a-zA-Z]*T", "ls -T", "on Linux: ls -l --time-style=full-iso"),
    _Flag("ls", "linux", r" --(?:time-style|sort|full-time|group-directories-first)\b", "ls --time-style", "on macOS: ls -lT"),
    _Flag("base64", "linux", r" (?:-w ?\d|--wrap)", "base64 -w", "on macOS lines are not wrapped: leave it out"),
    _Flag("base64", "macos", r" -D\b", "base64 -D", "on Linux: base64 -d"),
    _Flag("head", "linux", r" -(?:n ?|c ?)-\d", "head -n -N", "on macOS: sed -e :a -e '$d;N;2,Nba' -e 'P;D', or tail -r"),
    _Flag("du", "linux", r" (?:--max-depth|--apparent-size|-[a-z]*b\b)", "du --max-depth", "on macOS: du -d N"),
    _Flag("df", "linux", r" --(?:output|total)\b", "df --output", "on macOS: df -k, and awk for the column"),
    _Flag("ps", "linux", r" --(?:sort|no-headers|forest|ppid)\b", "ps --sort", "on macOS: ps aux -m (memory) or -r (CPU)"),
    _Flag("top", "macos", r" -l ?\d", "top -l", "on Linux: top -b -n 1"),
    _Flag("top", "linux", r" -[a-z]*b", "top -b", "on macOS: top -l 1"),
    _Flag("tail", "macos", r" -r\b", "tail -r", "on Linux: tac"),
    _Flag("mktemp", "linux", r" --suffix\b", "mktemp --suffix", "on macOS: mktemp -t NAME"),
    _Flag("cp", "linux", r" --(?:parents|reflink|backup)\b", "cp --parents", "on macOS: rsync -R, or ditto"),
    _Flag("netstat", "linux", r" -[a-z]*(?:p[a-z]*l|l[a-z]*p|t[a-z]*u)", "netstat -tulpn",
          "on macOS: lsof -nP -iTCP -sTCP:LISTEN"),
    _Flag("xargs", "macos", r" -J\b", "xargs -J", "on Linux: xargs -I"),
)  # fmt: skip
_COMMANDS: dict[str, tuple[Platform, str]] = {
    "pbcopy": ("macos", "on Linux: xclip -selection clipboard, or wl-copy"),
    "pbpaste": ("macos", "on Linux: xclip -o, or wl-paste"),
    "vm_stat": ("macos", "on Linux: free -m, or /proc/meminfo"), "launchctl": ("macos", "on Linux: systemctl"),
    "diskutil": ("macos", "on Linux: lsblk, or fdisk"), "dscacheutil": ("macos", "on Linux: resolvectl flush-caches"),
    "free": ("linux", "on macOS: vm_stat"), "systemctl": ("linux", "on macOS: launchctl"),
    "journalctl": ("linux", "on macOS: log show"),
    "tac": ("linux", "on macOS: tail -r"), "nproc": ("linux", "on macOS: sysctl -n hw.ncpu"),
    "ss": ("linux", "on macOS: netstat -an, or lsof -i"),
    "apt-get": ("linux", "on macOS: brew"), "timeout": ("linux", "on macOS: gtimeout of coreutils"),
}  # fmt: skip
_SKIPPED_PREFIXES = ("docker", "podman", "kubectl", "ssh")


def _joined(words: Sequence[str]) -> str:
    return "".join(f" {word}" for word in words)


def uses(command: Command) -> Iterator[PlatformUse]:
    """What the command uses that only one platform has. Commands in a container are Linux's whoever types
    them.
    """
    if command.name in _SKIPPED_PREFIXES:
        return
    name = command.program
    raw = _joined([word.raw for word in command.effective[1:]])
    for flag in _FLAGS:
        if flag.command == name and re.search(flag.pattern, raw):
            yield PlatformUse(command=name, only_on=flag.only_on, shown=flag.shown, instead=flag.instead)
    for candidate in {name, command.name}:
        if candidate in _COMMANDS:
            only_on, instead = _COMMANDS[candidate]
            yield PlatformUse(command=candidate, only_on=only_on, shown=candidate, instead=instead)
    if _opens_browser(command):
        yield PlatformUse(
            command="open", only_on="macos", shown="open", instead="on Linux: xdg-open, or print the address"
        )


def _opens_browser(command: Command) -> bool:
    return command.name == "open" and any(word.text.startswith(("http", "-a")) for word in command.args[:1])


_MAC = re.compile(r"\b(?:mac\s?OS|OS X|Darwin|Homebrew|Macs?)\b")
_LINUX = re.compile(r"\b(?:Linux|Debian|Ubuntu|Fedora|GNU)\b")
_says_mac: Callable[[str], bool] = lambda text: bool(_MAC.search(text)) and not _LINUX.search(text)  # noqa: E731


def is_for_macos(fragment: Fragment) -> bool:
    """Whether the block says that it is for macOS: in a comment, the sentence before it, or a heading above
    it.
    """
    comments = "\n".join(line for line in fragment.lines if line.lstrip().startswith("#"))
    if _says_mac(comments) or re.search(r"^\s*brew\s", fragment.text, re.MULTILINE):
        return True
    if fragment.document.kind != "markdown":
        return False
    markdown = fragment.document.markdown
    before = [
        prose for prose in markdown.prose if fragment.first_line - 4 <= prose.line < fragment.first_line - 1
    ]
    if any(_says_mac(prose.text) for prose in before):
        return True
    return any(_says_mac(heading.text) for heading in markdown.section_at(fragment.first_line)[-2:])
