"""What came of a case of chaos, and when it began. Knows nothing of what was done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass


class Missed(Exception):  # noqa: N818 - it is no error of the product
    """What a case waited for did not come; the message says what, and what was seen in its place."""


class LeftOut(Exception):  # noqa: N818
    """This machine cannot run the case; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What came of one fault."""

    case: str
    """What was broken, in what work."""
    result: str
    """How it ended, in words; where it does not hold, what is wrong."""
    holds: bool
    seconds_to_recover: float
    """From the fault to the first sign of new progress, which the result names; where nothing is to recover, to the error."""


@dataclass(frozen=True)
class Fault:
    """The moment at which something was broken."""

    at_seconds: float

    @classmethod
    def now(cls) -> Fault:
        return cls(time.monotonic())

    def seconds(self) -> float:
        """Since then."""
        return time.monotonic() - self.at_seconds


def judged(case: str, result: str, seconds: float, wrong: Sequence[str] = ()) -> Outcome:
    """An outcome that holds where nothing is wrong."""
    return Outcome(case, "; ".join(wrong) or result, not wrong, seconds)
