"""One running account of a served policy: load, latency, input drift, and its error once the truth arrives.

Replicas merge what they counted and ask for the summary; nothing here knows how they reach it. Memory is bounded: answers
waiting for their truth are dropped oldest first, errors and rates are kept over a rolling stretch.
Shapes: T steps, H horizon, C targets.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.drift import Drift, state
from lstm_ray.monitor.traffic import EDGES_SECONDS, Answer, Compared, Rows, Tally, latency_quantile

MAX_WAITING_VALUES = 1_000_000
"""Predicted values that wait for their truth, over all series."""
ROLLING = 5_000
"""Newest scored values that the rolling error is taken over."""
ENOUGH_SCORED = 24
WORSE, MUCH_WORSE = 1.25, 2.0
"""Rolling error over validation error at which the words change."""
MINUTE_SECONDS = 60.0


@dataclass(frozen=True)
class Watched:
    """What the monitor must know of the policy, as plain values."""

    version: str
    task: str
    targets: list[str]
    columns: list[str]
    """Of rows: targets first, then past and known inputs."""
    classes: list[str]
    step: int
    """Length of a step in ticks."""
    reference: Mapping[str, Any]
    """``drift.reference``, or empty."""
    validation: Mapping[str, float]
    """Metrics of the validation part."""


@dataclass
class _Waiting:
    answer: Answer
    open_HC: NDArray
    """Which values have not been scored."""


class Monitor:
    """Merges tallies of any number of replicas.

    Args:
        clock: seconds, for rates.
    """

    def __init__(self, watched: Watched, clock: Callable[[], float] = time.time) -> None:
        self._watched, self._clock = watched, clock
        self._started = clock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._latency_K = np.zeros(len(EDGES_SECONDS) + 1, np.int64)
        self._recent: deque[tuple[float, int]] = deque(maxlen=2_000)
        self._drift = Drift(watched.reference)
        self._num_series = self._warned_series = 0
        # Oldest first, by a running number; and the numbers of each series.
        self._waiting: dict[int, _Waiting] = {}
        self._numbers: dict[str, dict[int, None]] = {}
        self._next_number = self._num_waiting = 0
        self._errors: deque[tuple[int, float]] = deque(maxlen=ROLLING)
        self._num_observed = self._num_scored = 0
        self._compared = Compared()

    def merge(self, tally: Tally) -> None:
        """Take in what a replica counted since it last did so."""
        self._requests.update(tally.requests)
        self._latency_K += tally.latency_K
        self._recent.append((self._clock(), sum(tally.requests.values())))
        self._num_series += tally.num_series
        self._warned_series += tally.warned_series
        self._drift.fold(tally.inputs)
        self._compared.add(tally.compared)
        for answer in tally.answers:
            self._remember(answer)

    def observe(self, rows: Rows) -> int:
        """Score every answer that predicted these times; each predicted value is scored once.

        Args:
            rows: the truth in its first columns; for classes their index, [1, 1], and then times do not matter, or [T, 1].

        Returns:
            How many values were scored.
        """
        name, tick_T, actual_TC = rows.name, rows.tick_T, rows.values_TF[:, : len(self._watched.targets) or 1]
        self._num_observed += int(np.isfinite(actual_TC).sum())
        scored = 0
        for number in list(self._numbers.get(name, ())):
            waiting = self._waiting[number]
            scored += self._score(waiting, tick_T, actual_TC)
            if not waiting.open_HC.any():
                self._forget(number)
        self._num_scored += scored
        return scored

    def compared(self) -> dict[str, Any]:
        """How its answers to copies of the champion's requests lay beside the champion's."""
        return self._compared.summary()

    def summary(self) -> dict[str, Any]:
        """Everything, as plain values for JSON."""
        by_route: dict[str, int] = {}
        for (route, _), number in self._requests.items():
            by_route[route] = by_route.get(route, 0) + number
        rows = self._drift.rows()
        return {
            "policy": self._watched.version,
            "seconds": round(self._clock() - self._started, 1),
            "requests": {
                "total": sum(by_route.values()),
                "refused": self._number(400, 500),
                "errors": self._number(500, 600),
                "per_second_last_minute": self._rate(),
                "by_route": by_route,
            },
            "latency_ms": {f"p{share}": latency_quantile(self._latency_K, share / 100) for share in (50, 95, 99)},
            "inputs": {
                "series": self._num_series,
                "series_with_warnings": self._warned_series,
                "state": _worst(rows) if rows else "the policy carries no reference to compare with",
                "columns": rows,
            },
            "performance": self._performance(),
        }

    def _performance(self) -> dict[str, Any]:
        classify = bool(self._watched.classes)
        metric = "accuracy" if classify else "mae"
        values = np.array([value for _, value in self._errors])
        rolling = float(values.mean()) if len(values) else None
        before = self._watched.validation.get(metric)
        ratio = None
        if rolling is not None and before is not None:
            # Accuracy is compared by its shortfall, so that above 1 always means worse.
            now, then = (1 - rolling, 1 - before) if classify else (rolling, before)
            ratio = now / then if then > 0 else None
        names = self._watched.targets if not classify else []
        return {
            "metric": metric,
            "observations": self._num_observed,
            "scored": self._num_scored,
            "waiting": self._num_waiting,
            "rolling": rolling,
            "rolling_over": len(values),
            "rolling_by_target": {
                name: float(np.mean(own))
                for c, name in enumerate(names)
                if (own := [v for i, v in self._errors if i == c])
            },
            "validation": before,
            "ratio": ratio,
            "state": _performance_words(ratio, len(values)),
        }

    def _remember(self, answer: Answer) -> None:
        open_HC = np.ones(answer.median_HC.shape, dtype=bool)
        self._waiting[self._next_number] = _Waiting(answer, open_HC)
        self._numbers.setdefault(answer.name, {})[self._next_number] = None
        self._next_number += 1
        self._num_waiting += open_HC.size
        while self._num_waiting > MAX_WAITING_VALUES:
            self._forget(next(iter(self._waiting)))

    def _forget(self, number: int) -> None:
        waiting = self._waiting.pop(number)
        self._num_waiting -= waiting.open_HC.size
        of_series = self._numbers[waiting.answer.name]
        del of_series[number]
        if not of_series:
            del self._numbers[waiting.answer.name]

    def _score(self, waiting: _Waiting, tick_T: NDArray, actual_TC: NDArray) -> int:
        answer = waiting.answer
        if self._watched.task == "classify":
            lead_T, inside_T = np.zeros(1, np.int64), np.ones(1, bool)
        else:
            ahead_T = tick_T - answer.first_tick
            lead_T = ahead_T // self._watched.step
            inside_T = (ahead_T % self._watched.step == 0) & (lead_T >= 0) & (lead_T < len(answer.median_HC))
        lead_T, actual_TC = lead_T[inside_T], actual_TC[inside_T]
        new_TC = waiting.open_HC[lead_T] & np.isfinite(actual_TC)
        difference_TC = np.abs(actual_TC - answer.median_HC[lead_T])
        values_TC = (difference_TC == 0).astype(float) if self._watched.classes else difference_TC
        self._errors.extend((int(c), float(values_TC[t, c])) for t, c in np.argwhere(new_TC))
        waiting.open_HC[lead_T] &= ~new_TC
        return int(new_TC.sum())

    def _number(self, first: int, end: int) -> int:
        return sum(number for (_, status), number in self._requests.items() if first <= status < end)

    def _rate(self) -> float:
        now = self._clock()
        recent = sum(number for at, number in self._recent if now - at <= MINUTE_SECONDS)
        return round(recent / min(MINUTE_SECONDS, max(1.0, now - self._started)), 2)


def _worst(rows: list[dict[str, Any]]) -> str:
    """The state of the most shifted column, and how many share it."""
    judged = [row for row in rows if row["psi"] is not None]
    if not judged:
        return state(None)
    worst = judged[0]["state"]
    if worst == "stable":
        return f"stable: all {len(judged)} columns look like the training part"
    number = sum(row["state"] == worst for row in judged)
    return f"{worst}: {number} of {len(judged)} columns, most '{judged[0]['column']}' with PSI {judged[0]['psi']:.2f}"


def _performance_words(ratio: float | None, number: int) -> str:
    if not number:
        return "no truth has arrived yet"
    if number < ENOUGH_SCORED or ratio is None:
        return f"too few values scored to say ({number})"
    if ratio < WORSE:
        return "as good as on the validation part"
    return "worse than on the validation part" if ratio < MUCH_WORSE else "much worse than on the validation part"
