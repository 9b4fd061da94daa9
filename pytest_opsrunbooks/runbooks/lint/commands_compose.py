"""The rule about services that the compose file does not have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell import Word
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World

_OF_SERVICES = frozenset(
    [
        "restart",
        "stop",
        "start",
        "logs",
        "exec",
        "run",
        "kill",
        "rm",
        "pull",
        "build",
        "up",
        "top",
        "pause",
        "unpause",
    ]
)
_ONE_SERVICE = frozenset(("exec", "run"))
_COMPOSE_WITH_VALUE = frozenset(
    [
        "-f",
        "--file",
        "-p",
        "--project-name",
        "--profile",
        "--env-file",
        "-t",
        "--timeout",
        "-n",
        "--tail",
        "--since",
        "-u",
        "--user",
        "-e",
        "--env",
        "-w",
        "--workdir",
        "--scale",
        "-s",
        "--index",
        "--until",
        "--name",
    ]
)


@rule(
    "shell-unknown-service",
    severity="error",
    group="shell",
    kinds=("markdown", "shell"),
    needs="--compose FILE",
    summary="docker compose is given a service that the compose file does not have.",
)
def unknown_service(document: Document, world: World) -> Iterable[Finding]:
    """A service is named as in the compose file, not as its container is."""
    compose = world.compose
    if compose is None:
        return
    for fragment in shell_fragments(document):
        for command in fragment.script.commands:
            for word in _services(command):
                if word.value is None or is_placeholder(word) or word.text in compose.services:
                    continue
                service = compose.containers.get(word.text)
                hint = f"that is the container of the service {service}" if service else ""
                yield fragment.finding(
                    word.line,
                    f"the compose file has no service {word.text!r}",
                    hint
                    or suggest.nearest(word.text, compose.services)
                    or f"its services: {', '.join(sorted(compose.services))}",
                )


def _services(command: Command) -> Iterator[Word]:
    words = list(command.words)
    while words and words[0].text in ("sudo", "env", "time"):
        words.pop(0)
    texts = [word.text for word in words]
    if texts[:1] == ["docker-compose"]:
        words = words[1:]
    elif texts[:2] in (["docker", "compose"], ["podman", "compose"]):
        words = words[2:]
    else:
        return
    action, skip = "", False
    for word in words:
        if skip:
            skip = False
        elif word.text.startswith("-"):
            skip = word.text in _COMPOSE_WITH_VALUE and not (action == "logs" and word.text == "-f")
        elif not action:
            action = word.text
            if action not in _OF_SERVICES:
                return
        else:
            yield word
            if action in _ONE_SERVICE:
                return


def is_placeholder(word: Word) -> bool:
    """Whether the reader is to put a value in its place: `<name>`, `NAME`."""
    return bool(shell.PLACEHOLDER.search(word.raw)) or bool(re.fullmatch(r"[A-Z][A-Z_-]*|_\w+_", word.text))
