"""The one error that a user's input can cause, and the nearest right name for a wrong one."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["InputError", "unknown"]


class InputError(ValueError):
    """Bad input: one line that names the file, field or value and the way out. The command line exits with 2 on it."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among ``known``, with the nearest that is."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    return InputError(f"unknown {kind} {name!r}; {hint}")
