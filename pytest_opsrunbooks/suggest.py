"""The nearest known word, for error messages."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word most like `word` (case does not count), or None when none is near. `cutoff` is a ratio,
    1 is equal.
    """
    import difflib  # only ever needed on the way to an error

    by_folded: dict[str, str] = {}
    for candidate in known:
        by_folded.setdefault(candidate.casefold(), candidate)
    matches = difflib.get_close_matches(word.casefold(), sorted(by_folded), n=1, cutoff=cutoff)
    return by_folded[matches[0]] if matches else None


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """`did you mean 'x'?` for the nearest of the known words, or an empty text when none is near."""
    found = closest(word, known, cutoff=cutoff)
    return f"did you mean {found!r}?" if found is not None else ""
