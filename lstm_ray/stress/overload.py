"""What a server does beyond its capacity: whom it turns away, how long the others wait, and how soon it is itself again.
Pure; knows no server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lstm_ray.stress.curve import MAX_FAILED, Step, quantile
from lstm_ray.stress.loading import Requests

BOUND_FACTOR = 2.0
"""The p99 of accepted requests in overload may be so many times what a full server makes its last request wait on average; of
a server whose places are not known, that of the busiest load at which nobody was turned away."""
BIN_SECONDS = 0.5
CALM_BINS = 3
"""So many in a row must be as before the spike."""
CALM_FACTOR = 2.0


@dataclass(frozen=True)
class Places:
    """What a server holds before it turns anybody away."""

    working: int
    queued: int
    longest_seconds: float
    """For which it lets a request wait in its queue."""

    def wait_ms(self, per_second: float) -> float:
        """Of whoever takes the last place, where so many a second are answered: by Little's law, no longer than the queue is
        let wait."""
        if not per_second:
            return math.inf
        return 1_000 * (self.working / per_second + min(self.queued / per_second, self.longest_seconds))


@dataclass(frozen=True)
class Shedding:
    """How overload was borne."""

    state: str
    """``bounded``, ``unbounded``, ``none was needed`` or ``failed`` (requests failed that should have been turned away)."""
    users: int
    """Of the load with the largest share turned away; of the largest load where nobody was."""
    share: float
    """Turned away there."""
    p99_ms: float | None
    """Of those accepted there."""
    bound_ms: float | None
    """What it may be."""
    full_ms: float | None = None
    """What a full server makes its last request wait there; None: its places are not known."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def shedding_of(steps: Sequence[Step], target_ms: float, places: Places | None = None) -> Shedding:
    """Judge steps and spikes, in any order.

    Args:
        target_ms: of the p99; waiting no longer than that is never too long.
        places: of all replicas; None: not known.
    """
    steps = sorted(steps, key=lambda step: step.users)
    quiet = [step.p99_ms for step in steps if step.shed == 0 and step.p99_ms is not None]

    def full_ms(step: Step) -> float | None:
        return None if places is None or not step.per_second else places.wait_ms(step.per_second)

    def bound_ms(step: Step) -> float:
        return max([target_ms, *(BOUND_FACTOR * wait for wait in (full_ms(step), *quiet[-1:]) if wait is not None)])

    worst = max(steps, key=lambda step: (step.shed, step.users))
    shedding = [step for step in steps if step.shed > 0]
    if any(step.failed > MAX_FAILED or (step.shed and step.p99_ms is None) for step in shedding or steps):
        state = "failed"
    elif not shedding:
        state = "none was needed"
    else:
        state = "bounded" if all((step.p99_ms or 0.0) <= bound_ms(step) for step in shedding) else "unbounded"
    return Shedding(state, worst.users, worst.shed, worst.p99_ms, bound_ms(worst), full_ms(worst))


@dataclass(frozen=True)
class Timeline:
    """What valid clients saw, bin by bin."""

    seconds: list[float]
    """Middles of the bins."""
    answered: list[float]
    """A second."""
    away: list[float]
    """Turned away, a second."""
    failed: list[float]
    """A second."""
    p95_ms: list[float | None]
    marks: dict[str, float]
    """Seconds at which something happened."""


def timeline_of(requests: Requests, first: float, last: float, marks: dict[str, float]) -> Timeline:
    """Bins from one time to another; the first is second 0."""
    valid = requests.of("valid")
    starts = np.arange(first, last - BIN_SECONDS + 1e-9, BIN_SECONDS)
    bins = [valid.between(start, start + BIN_SECONDS) for start in starts]
    return Timeline(
        seconds=[float(start - first + BIN_SECONDS / 2) for start in starts],
        answered=[len(one.answered) / BIN_SECONDS for one in bins],
        away=[float(one.away_M.sum()) / BIN_SECONDS for one in bins],
        failed=[len(one.failed) / BIN_SECONDS for one in bins],
        p95_ms=[quantile(one.answered.ms_M, 0.95) for one in bins],
        marks={name: when - first for name, when in marks.items()},
    )


@dataclass(frozen=True)
class Recovery:
    """What came after a spike."""

    before_ms: float | None
    """p99 before it."""
    limit_ms: float | None
    """Waiting no longer counts as being itself again: twice the p99 before."""
    seconds: float | None
    """After the spike's end until every half second kept to the limit for 1.5 s and lost nothing; None: not while watched."""
    watched_seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def recovery_of(requests: Requests, calm: float, spike: float, after: float, end: float) -> Recovery:
    """Times at which each phase began, and the last one ended. The first third of the calm, in which connections are opened, is
    left out."""
    valid = requests.of("valid")
    before = quantile(valid.between(calm + (spike - calm) / 3, spike).answered.ms_M, 0.99)
    if before is None:
        return Recovery(None, None, None, end - after)
    limit, kept = CALM_FACTOR * before, 0
    for first in np.arange(after, end - BIN_SECONDS + 1e-9, BIN_SECONDS):
        asked = valid.between(first, first + BIN_SECONDS)
        # Half a second holds few requests: their 95th percentile, for one late answer would be their 99th.
        late = quantile(asked.answered.ms_M, 0.95)
        kept = kept + 1 if late is not None and late <= limit and len(asked) == len(asked.answered) else 0
        if kept == CALM_BINS:
            return Recovery(before, limit, float(first - after) - (CALM_BINS - 1) * BIN_SECONDS, end - after)
    return Recovery(before, limit, None, end - after)


@dataclass(frozen=True)
class Outage:
    """What callers saw of a replica that was killed."""

    replicas: int
    failed: int
    """Valid requests that failed after it."""
    asked: int
    seconds: float
    """From the first of them to the last; 0: none failed."""
    silent_seconds: float
    """Longest time without any answer."""
    back_seconds: float | None
    """From the kill until the killed replica had a successor; None: it had none while watched."""
    answering: bool
    """Whether requests were answered at the end, the last second without a failure."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def outage_of(requests: Requests, killed: float, end: float, replicas: int, back: float | None) -> Outage:
    """Requests from the kill to the end of the load, turned away ones among the failed: nobody overloads here.

    Args:
        killed: when.
        back: when a successor was up.
    """
    after = requests.of("valid").between(killed, end)
    lost_M = after.time_M[after.status_M != 200]
    times = np.concatenate([[killed], np.sort(after.answered.time_M), [end]])
    last = after.between(end - 1.0, end)
    return Outage(
        replicas=replicas,
        failed=len(lost_M),
        asked=len(after),
        seconds=float(lost_M.max() - lost_M.min()) if len(lost_M) else 0.0,
        silent_seconds=float(np.diff(times).max()),
        back_seconds=None if back is None else back - killed,
        answering=len(last) > 0 and len(last) == len(last.answered),
    )
