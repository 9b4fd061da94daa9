"""How observations put things into words: short, on one line, printable whatever a target sent."""

from __future__ import annotations


def short(text: str, limit: int = 100) -> str:
    """`text` on one line of at most `limit` characters; what cannot be printed becomes `?`."""
    line = " ".join(text[: 4 * limit].split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def seconds(value: float | None) -> str:
    """`0.02 s`, `10 s`; `? s` where it was not measured."""
    if value is None:
        return "? s"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def bound(value: float) -> str:
    """A time limit as its author wrote it: `10 s`, `0.5 s`."""
    return f"{value:g} s"


def size(value: float) -> str:
    """Bytes for a reader: `512 B`, `4.0 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def authority(host: str, port: int) -> str:
    """`example.org:443`, `[::1]:80`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
