"""A new champion's trial, with the champion before it as its shadow: what it is bound to, and how it stands. Plain values."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MOST = 1e6
"""A ratio larger than this is told as this: the champion before made no error at all."""
FAILURES, FAILURE_SHARE = 5, 0.01
"""So many predictions must have failed, and more than this share of them, before that puts a champion back."""


class Probation(BaseModel):
    """Bounds of a trial: when a new champion is put back, and when it has passed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = Field(gt=1)
    """Its mean error over that of the champion before, on the same observed values, from which it is rolled back."""
    values: int = Field(gt=0)
    """Observed values that both must have predicted before that is told."""
    hours: float = Field(gt=0)
    """After so long in which it answered it has passed."""


class Answered(BaseModel):
    """How a policy's predictions went."""

    requests: int = 0
    failed: int = 0
    """With a status from 500 but 503, which a full server answers, or told by a fallback."""

    @property
    def share(self) -> float:
        return self.failed / max(self.requests, 1)


class Running(BaseModel):
    """A trial as it stands."""

    probation: Probation
    policy: str
    """The new champion's version."""
    against: str
    """The version of the one before."""
    since: str
    """UTC, as the clock had it; nothing is measured from it."""
    seconds: float = 0.0
    """In which the new champion answered: of a clock that never jumps, over all processes that kept this account."""
    num_C: list[int] = []
    """Values that both predicted and that were observed, by target."""
    error_C: list[float] = []
    """The new champion's absolute errors of these, summed."""
    before_C: list[float] = []
    """Those of the one before."""
    answered: Answered = Answered()
    answered_before: Answered = Answered()
    """While it was champion, and since as a shadow."""

    @property
    def values(self) -> int:
        return sum(self.num_C)

    @property
    def ratio(self) -> float | None:
        """The mean over targets, whose units differ, of the ratios of errors; None without values."""
        own = [
            min(error / before, MOST) if before > 0 else (MOST if error > 0 else 1.0)
            for number, error, before in zip(self.num_C, self.error_C, self.before_C, strict=True)
            if number
        ]
        return sum(own) / len(own) if own else None

    def breach(self) -> str:
        """Why the champion before must come back, in words; empty: it need not."""
        bounds, ratio = self.probation, self.ratio
        if ratio is not None and self.values >= bounds.values and ratio > bounds.ratio:
            return (
                f"its error is {ratio:.3g} times that of the champion before on the same {self.values} observed values; "
                f"{bounds.ratio:g} is allowed"
            )
        new, old = self.answered, self.answered_before
        if new.failed >= FAILURES and new.share > max(FAILURE_SHARE, bounds.ratio * old.share):
            return (
                f"{new.failed} of its {new.requests} predictions failed ({new.share:.1%}), and of those of the champion before "
                f"{old.failed} of {old.requests} ({old.share:.1%})"
            )
        return ""

    def passed(self) -> bool:
        return self.seconds >= 3600 * self.probation.hours

    def told(self) -> dict[str, Any]:
        """As plain values, for the monitor and the ledger."""

        def mean(sums: list[float]) -> list[float | None]:
            return [total / number if number else None for total, number in zip(sums, self.num_C, strict=True)]

        return {
            "policy": self.policy,
            "against": self.against,
            "since": self.since,
            "seconds": round(self.seconds, 1),
            "of_seconds": 3600 * self.probation.hours,
            "values": self.values,
            "needed_values": self.probation.values,
            "ratio": self.ratio,
            "limit": self.probation.ratio,
            "errors": mean(self.error_C),
            "errors_before": mean(self.before_C),
            "answered": self.answered.model_dump(),
            "answered_before": self.answered_before.model_dump(),
        }
