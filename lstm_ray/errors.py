"""The one exception that is the user's to mend. Knows nothing of how it is shown."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """The configuration, data or run directory is wrong: the message names what, the value found, and the fix.

    The command line prints it without a traceback and exits with 2.
    """


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'hidden'?``, or all the names where none is close."""
    names = sorted(names)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names) or 'none'}"
