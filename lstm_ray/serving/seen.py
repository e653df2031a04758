"""Which steps of named series a replica has met, so that it hands on each only once. Knows no server.

Every request repeats most of the history that the one before brought. What is remembered of a series is one unbroken stretch:
a history that continues it on either side brings what lies outside, and one that does not touch it is new as a whole and
takes its place. So a clock that jumped makes nothing old for good.

Legend: T steps, F columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lstm_ray.monitor.traffic import Rows

MAX_SERIES = 100_000
"""Of which a stretch is remembered; the one asked about longest ago makes room."""


class Seen:
    """Of one policy.

    Args:
        columns: of rows, as ``Watched.columns``.
        step: ticks from one step to the next.
    """

    def __init__(self, columns: Sequence[str], step: int, most: int = MAX_SERIES) -> None:
        self._columns, self._step, self._most = list(columns), step, most
        self._stretches: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def new(self, name: str, newest: int, columns: Mapping[str, ArrayLike], steps: int) -> list[Rows]:
        """What of a history has not been met.

        Args:
            newest: tick of its last step; those before lie one step apart.
            columns: of its steps; those that are not sent are untold.
            steps: that it has.
        """
        step, begin, end = self._step, newest - (steps - 1) * self._step, newest
        met = self._stretches.get(name)
        if met is None:
            if len(self._stretches) >= self._most:
                self._stretches.popitem(last=False)
        else:
            self._stretches.move_to_end(name)
            first, last = met
            if first <= begin and end <= last and not (begin - first) % step:
                return []
            if begin <= last + step and end >= first - step and not (begin - first) % step:
                before, after = max(0, (first - begin) // step), max(0, (end - last) // step)
                self._stretches[name] = (min(first, begin), max(last, end))
                parts = [(0, before)] * bool(before) + [(steps - after, steps)] * bool(after)
                return [self._rows(name, begin, columns, at, to) for at, to in parts]
        self._stretches[name] = (begin, end)
        return [self._rows(name, begin, columns, 0, steps)]

    def forget_all(self) -> None:
        """What was handed on did not arrive: it is brought again with the next histories."""
        self._stretches.clear()

    def _rows(self, name: str, begin: int, columns: Mapping[str, ArrayLike], at: int, to: int) -> Rows:
        values_TF = np.full((to - at, len(self._columns)), np.nan)
        for f, column in enumerate(self._columns):
            given = columns.get(column)
            if given is not None:
                values_TF[:, f] = np.asarray(given[at:to], dtype=np.float64)  # type: ignore[index]
        return Rows(name, begin + self._step * np.arange(at, to, dtype=np.int64), values_TF)
