"""What is wrong with a served policy at present, and since when. Knows numbers and limits; knows nothing that measures.

An alarm begins where a value has reached its limit (for as long as asked) and ends only where it has come back well under it,
so that a value which plays about its limit raises one alarm, not a hundred. Time is a clock that never goes back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

EASE = 0.9
"""Share of the limit under which an alarm ends."""
SURE = math.log(1_000)
"""Odds against chance before a share counts as over its limit."""
KINDS = (
    *("drift", "prediction", "joint", "performance", "change", "anomalies"),
    *("latency", "errors", "saturation", "fallbacks"),
)
"""All there are."""


@dataclass(frozen=True)
class Reading:
    """A value beside its limit."""

    kind: str
    what: str
    """Which of its kind: a column, a target, a quantile; empty where there is but one."""
    value: float
    limit: float
    text: str
    """In words."""
    for_seconds: float = 0.0
    """It must have stood at its limit for so long."""
    over: bool | None = None
    """Whether it has reached its limit, where that is more than the two numbers say."""


@dataclass
class _Alarm:
    reading: Reading
    since: float
    """Value first at the limit."""
    raised: bool


class Alarms:
    """Every alarm of one policy.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[tuple[str, str], _Alarm] = {}

    def take(self, readings: Iterable[Reading]) -> None:
        """All that is measured now. What is missing is not measured any more, and its alarm ends."""
        now, before, self._held = self._clock(), self._held, {}
        for reading in readings:
            key = reading.kind, reading.what
            reached = reading.value >= reading.limit if reading.over is None else reading.over
            held = before.get(key)
            if held is None:
                held = _Alarm(reading, now, raised=False)
                stays = reached
            else:
                stays = reached or (held.raised and reading.value >= EASE * reading.limit)
            if stays:
                held.reading = reading
                held.raised = held.raised or now - held.since >= reading.for_seconds
                self._held[key] = held

    def rows(self) -> list[dict[str, Any]]:
        """The alarms that stand, the longest first, as plain values."""
        now = self._clock()
        raised = sorted((held for held in self._held.values() if held.raised), key=lambda held: held.since)
        return [
            {
                "kind": held.reading.kind,
                "what": held.reading.what,
                "since_seconds": round(now - held.since, 1),
                "value": held.reading.value,
                "limit": held.reading.limit,
                "text": held.reading.text,
            }
            for held in raised
        ]


def surely_over(number: int, of: int, share: float) -> bool:
    """Whether so many are more than a share of them brings about by chance (Chernoff's bound)."""
    if not of or number / of <= share:
        return False
    found = number / of
    apart = found * math.log(found / share)
    if found < 1:
        apart += (1 - found) * math.log((1 - found) / (1 - share))
    return of * apart > SURE
