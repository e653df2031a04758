"""Loads that never took place: requests at times, with answers, of which everything is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstm_ray.stress.curve import Step
from lstm_ray.stress.loading import KINDS, Requests


def requests(
    times: Sequence[float],
    ms: float | Sequence[float] = 10.0,
    status: int | Sequence[int] = 200,
    kind: str = "valid",
    away: bool | Sequence[bool] = False,
    case: int = 0,
) -> Requests:
    """Requests answered at these times."""
    time_M = np.array(times, dtype=np.float64)
    number = len(time_M)
    return Requests(
        time_M=time_M,
        kind_M=np.full(number, KINDS.index(kind)),
        case_M=np.full(number, case),
        status_M=np.broadcast_to(status, number).astype(np.int64),
        ms_M=np.broadcast_to(ms, number).astype(np.float64),
        away_M=np.broadcast_to(away, number).astype(bool),
    )


def together(*parts: Requests) -> Requests:
    names = ("time_M", "kind_M", "case_M", "status_M", "ms_M", "away_M")
    return Requests(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def step(users: int, per_second: float, p99_ms: float | None, shed: float = 0.0, failed: float = 0.0) -> Step:
    """A step of ten seconds whose latencies are all alike."""
    return Step(
        users=users,
        seconds=10.0,
        answered=round(10 * per_second),
        per_second=per_second,
        p50_ms=p99_ms,
        p95_ms=p99_ms,
        p99_ms=p99_ms,
        p99_low_ms=p99_ms,
        p99_high_ms=p99_ms,
        shed=shed,
        failed=failed,
        generator=0.2,
    )
