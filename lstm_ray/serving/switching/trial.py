"""A new champion held against the one before it, on the same answers and the same truth. Knows no HTTP, no Ray.

A value counts where both predicted it, from the same request, before it was known: what a busy shadow did not get to, what
never came true and what was asked twice changes the number of values, and favours neither.

Legend: T steps, H horizon, C targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.live import Watched
from lstm_ray.monitor.traffic import Answer, Rows, Tally
from lstm_ray.registry.probation import Answered, Running

FULL = 503
MAX_WAITING_VALUES = 500_000
"""Predicted values that wait for the other policy's or for their truth; the oldest make room."""


@dataclass
class _Pair:
    """Two medians of one series from the same origin."""

    new_HC: NDArray | None = None
    before_HC: NDArray | None = None
    open_HC: NDArray | None = None
    """Which have not been scored; None until both are there."""


class Trial:
    """Feeds a probation's account: what replicas bring goes in, ``running`` tells how it stands.

    Args:
        running: goes on from here, and is changed.
        watched: of the new champion.
    """

    def __init__(self, running: Running, watched: Watched) -> None:
        self.running, self._watched = running, watched
        num = len(watched.targets) or 1
        if len(running.num_C) != num:
            running.num_C, running.error_C, running.before_C = [0] * num, [0.0] * num, [0.0] * num
        # By series, then by the first tick predicted; series in the order in which they were last answered.
        self._pairs: dict[str, dict[int, _Pair]] = {}
        self._num_waiting = 0

    def merge(self, version: str, tally: Tally) -> None:
        """Take in what a replica counted of a policy."""
        running = self.running
        if version not in (running.policy, running.against):
            return
        is_new = version == running.policy
        count(running.answered if is_new else running.answered_before, tally)
        for answer in tally.answers:
            self._remember(answer, is_new)

    def observe(self, rows: Rows) -> None:
        """Score what both predicted of these times.

        Args:
            rows: targets first; NaN where not measured.
        """
        pairs = self._pairs.get(rows.name)
        if not pairs:
            return
        actual_TC = rows.values_TF[:, : len(self.running.num_C)]
        for first, pair in list(pairs.items()):
            self._score(pair, first, rows.tick_T, actual_TC)
            if pair.open_HC is not None and not pair.open_HC.any():
                self._drop(rows.name, first)

    def forget(self, name: str) -> None:
        """Drop what waits of a series."""
        for first in list(self._pairs.get(name, ())):
            self._drop(name, first)

    def _remember(self, answer: Answer, is_new: bool) -> None:
        if answer.median_HC.shape[1] != len(self.running.num_C):
            return
        pairs = self._pairs.pop(answer.name, {})
        self._pairs[answer.name] = pairs
        if answer.first_tick not in pairs:
            pairs[answer.first_tick] = _Pair()
            self._num_waiting += answer.median_HC.size
        pair = pairs[answer.first_tick]
        if is_new:
            pair.new_HC = answer.median_HC
        else:
            pair.before_HC = answer.median_HC
        if pair.open_HC is None and pair.new_HC is not None and pair.before_HC is not None:
            if pair.new_HC.shape != pair.before_HC.shape:
                self._drop(answer.name, answer.first_tick)
                return
            pair.open_HC = np.isfinite(pair.new_HC) & np.isfinite(pair.before_HC)
        while self._num_waiting > MAX_WAITING_VALUES:
            name = next(iter(self._pairs))
            self._drop(name, next(iter(self._pairs[name])))

    def _score(self, pair: _Pair, first: int, tick_T: NDArray, actual_TC: NDArray) -> None:
        if pair.open_HC is None or pair.new_HC is None or pair.before_HC is None:
            return
        if self._watched.task == "classify":
            lead_T, inside_T = np.zeros(1, np.int64), np.ones(1, bool)
        else:
            ahead_T = tick_T - first
            lead_T = ahead_T // self._watched.step
            inside_T = (ahead_T % self._watched.step == 0) & (lead_T >= 0) & (lead_T < len(pair.open_HC))
        # Of a time that is told twice at once, the last counts, once.
        for lead, actual_C in dict(zip(lead_T[inside_T].tolist(), actual_TC[inside_T], strict=True)).items():
            now_C = pair.open_HC[lead] & np.isfinite(actual_C)
            if not now_C.any():
                continue
            new_C, before_C = (self._error(side[lead], actual_C) for side in (pair.new_HC, pair.before_HC))
            for c in np.flatnonzero(now_C).tolist():
                self.running.num_C[c] += 1
                self.running.error_C[c] += float(new_C[c])
                self.running.before_C[c] += float(before_C[c])
            pair.open_HC[lead] &= ~now_C

    def _error(self, median_C: NDArray, actual_C: NDArray) -> NDArray:
        """Absolute; of a class, whether it is wrong."""
        apart_C: NDArray = np.abs(median_C - actual_C)
        return (apart_C != 0).astype(float) if self._watched.classes else apart_C

    def _drop(self, name: str, first: int) -> None:
        pair = self._pairs[name].pop(first)
        side = pair.new_HC if pair.new_HC is not None else pair.before_HC
        assert side is not None, "a pair begins with an answer"
        self._num_waiting -= side.size
        if not self._pairs[name]:
            del self._pairs[name]


def count(answered: Answered, tally: Tally) -> None:
    """Add how a policy's predictions went: series answered, and requests that failed.

    What was turned away because the server was full (503) says nothing of a policy, and a shadow is never asked it.
    """
    failed = sum(number for (_, status), number in tally.requests.items() if status >= 500 and status != FULL)
    answered.requests += tally.num_series + failed
    answered.failed += failed + min(tally.fallbacks, tally.num_series)


def as_columns(rows: Rows, given: Sequence[str], wanted: Sequence[str]) -> Rows:
    """Rows with the columns of another policy: those that it has and they have not are not measured."""
    if list(given) == list(wanted):
        return rows
    values_TF = np.full((len(rows.tick_T), max(len(wanted), 1)), np.nan)
    for f, name in enumerate(wanted):
        if name in given and given.index(name) < rows.values_TF.shape[1]:
            values_TF[:, f] = rows.values_TF[:, given.index(name)]
    return replace(rows, values_TF=values_TF)
