"""Latency and throughput by the number of clients: its knee, and the capacity at a target. Pure; knows no server.

Legend: M requests, K steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from lstm_ray.stress.loading import Loaded

SHARES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
SETTLE_SHARE, SETTLE_SECONDS = 0.2, 1.0
"""Left out at a step's beginning: connections are opened then."""
MAX_SHED, MAX_FAILED = 0.01, 0.001
"""Shares of valid requests turned away, or failed, beyond which a load is not borne."""
MIN_STEPS = 4
"""Below which no curve is fitted."""
BUSY_GENERATOR = 0.85
"""Share of its core beyond which the generator, not the server, sets the pace."""


@dataclass(frozen=True)
class Step:
    """A stretch of steady load, of valid clients alone."""

    users: int
    """Clients of all kinds."""
    seconds: float
    answered: int
    per_second: float
    """Answered requests."""
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p99_low_ms: float | None
    p99_high_ms: float | None
    """95 % interval of the p99, from order statistics."""
    shed: float
    """Share turned away with 503 and Retry-After."""
    failed: float
    """Share that got neither an answer nor such a refusal."""
    generator: float | None
    """Share of its core that the generator needed."""

    def holds(self, p99_ms: float) -> bool:
        """Whether this load is borne at the target."""
        return self.p99_ms is not None and self.p99_ms <= p99_ms and self.shed <= MAX_SHED and self.failed <= MAX_FAILED

    @property
    def limited_by_generator(self) -> bool:
        return self.generator is not None and self.generator >= BUSY_GENERATOR

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def step_of(loaded: Loaded, users: int, first: float, last: float) -> Step:
    """What valid clients saw between two times."""
    first += min(SETTLE_SECONDS, SETTLE_SHARE * (last - first))
    asked = loaded.requests.between(first, last).of("valid")
    found, seconds = asked.answered, max(last - first, 1e-9)
    low, high = p99_interval(found.ms_M)
    return Step(
        users=users,
        seconds=seconds,
        answered=len(found),
        per_second=len(found) / seconds,
        **{name: quantile(found.ms_M, share) for name, share in SHARES.items()},
        p99_low_ms=low,
        p99_high_ms=high,
        shed=float(asked.away_M.mean()) if len(asked) else 0.0,
        failed=len(asked.failed) / len(asked) if len(asked) else 0.0,
        generator=loaded.share(first, last),
    )


def quantile(values_M: NDArray, share: float) -> float | None:
    """None of no values."""
    return float(np.quantile(values_M, share)) if len(values_M) else None


def p99_interval(values_M: NDArray, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Order statistics between which the 99th percentile lies, were requests independent; None where too few tell."""
    number, tail = len(values_M), (1 - confidence) / 2
    low, high = (int(stats.binom.ppf(share, number, 0.99)) for share in (tail, 1 - tail)) if number else (0, 0)
    if low < 1 or high >= number:
        return None, None
    ordered_M = np.sort(values_M)
    return float(ordered_M[low - 1]), float(ordered_M[high])


@dataclass(frozen=True)
class Knee:
    """The Universal Scalability Law fitted to throughput by clients, and where its latency turns upwards.

    X(N) = rate N / (1 + contention (N - 1) + coherency N (N - 1)): Gunther, *Guerrilla Capacity Planning* (2007). By Little's
    law N / X is the time of a turn, so the same fit is one of latency. Its knee is where the line of an unloaded server meets
    that of a saturated one (Lazowska et al., *Quantitative System Performance*, 1984, chapter 5): N* = X_max / rate.
    """

    users: float
    """Where the two lines meet."""
    low: float
    high: float
    """The same with each step left out in turn: the least and the most."""
    rate: float
    """Requests a second of one client alone."""
    contention: float
    coherency: float
    peak_per_second: float
    """The most that the law allows."""
    reached: bool
    """Whether the load went as far as the knee."""

    def per_second_of(self, users_K: NDArray) -> NDArray:
        """What the law expects."""
        return self.rate * users_K / (1 + self.contention * (users_K - 1) + self.coherency * users_K * (users_K - 1))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def knee_of(steps: Sequence[Step]) -> Knee | None:
    """None where fewer than ``MIN_STEPS`` steps were answered, or throughput grows in step with the clients."""
    told = [step for step in steps if step.per_second > 0]
    if len({step.users for step in told}) < MIN_STEPS:
        return None
    users_K = np.array([step.users for step in told], dtype=np.float64)
    rate_K = np.array([step.per_second for step in told])
    found = _law(users_K, rate_K)
    if found is None:
        return None
    others = [_law(np.delete(users_K, at), np.delete(rate_K, at)) for at in range(len(told))]
    places = [_place(*one)[0] for one in (found, *others) if one is not None]
    at, peak = _place(*found)
    return Knee(at, min(places), max(places), *found, peak, bool(users_K.max() >= at))


def _law(users_K: NDArray, rate_K: NDArray) -> tuple[float, float, float] | None:
    """(rate, contention, coherency) that fit best, by relative error of N / X; None where neither of the latter is needed."""
    turn_K = users_K / rate_K
    terms_K3 = np.stack([np.ones_like(users_K), users_K - 1, users_K * (users_K - 1)], axis=1)
    (base, contention, coherency), _ = optimize.nnls(terms_K3 / turn_K[:, None], np.ones_like(turn_K))
    if base <= 0 or contention + coherency <= 0:
        return None
    return 1 / base, contention / base, coherency / base


def _place(rate: float, contention: float, coherency: float) -> tuple[float, float]:
    """Clients at the knee, and the peak of throughput."""
    if coherency <= 0 or contention >= 1:
        peak = rate / contention if contention > 0 else rate
        return peak / rate, peak
    most = math.sqrt((1 - contention) / coherency)
    peak = rate * most / (1 + contention * (most - 1) + coherency * most * (most - 1))
    return max(1.0, peak / rate), peak


@dataclass(frozen=True)
class Capacity:
    """The most load at which the target is kept."""

    state: str
    """``found``, ``not reached`` (kept at every step) or ``never held``."""
    users: float | None
    """Between the last step that held and the first that did not, on straight lines over logarithms; where the latter is
    lost by what it turned away or failed, the former. Of ``not reached``, the last step's."""
    per_second: float | None
    by: str
    """What the first step that did not hold lost: ``p99``, ``shed`` or ``failed``; empty where all held."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def capacity_of(steps: Sequence[Step], p99_ms: float) -> Capacity:
    """Steps in order of their clients; the first one that does not hold ends it."""
    steps = sorted(steps, key=lambda step: step.users)
    at = next((at for at, step in enumerate(steps) if not step.holds(p99_ms)), None)
    if at is None:
        return Capacity("not reached", steps[-1].users, steps[-1].per_second, "")
    lost = steps[at]
    by = "failed" if lost.failed > MAX_FAILED or lost.p99_ms is None else "shed" if lost.shed > MAX_SHED else "p99"
    if at == 0:
        return Capacity("never held", None, None, by)
    kept = steps[at - 1]
    if by != "p99":
        return Capacity("found", kept.users, kept.per_second, by)
    assert kept.p99_ms is not None, "it held"
    assert lost.p99_ms is not None, "it was answered, late"
    part = math.log(p99_ms / kept.p99_ms) / math.log(lost.p99_ms / kept.p99_ms)
    users = kept.users * (lost.users / kept.users) ** part
    return Capacity("found", users, kept.per_second + part * (lost.per_second - kept.per_second), by)
