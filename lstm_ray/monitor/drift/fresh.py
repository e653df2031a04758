"""Live predictions thinned so that how often a policy is asked does not matter: each step of time counts about once.

Forecasts from successive origins overlap. Of an answer as many values count as steps have gone by since the series' answer
before, and the leads take turns: asked every step or once a horizon, all leads count alike and a window spans as much time.
Shapes: N values, H horizon, C targets.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lstm_ray.monitor.traffic import Answer

MOST_SERIES = 100_000
"""Whose last answer is remembered."""


class Fresh:
    """What of each answer counts.

    Args:
        step: of a series, in ticks; 0: answers have no time, and each counts (task: classify).
    """

    def __init__(self, step: int) -> None:
        self._step = step
        # First tick of the newest answer of each series, and the lead whose turn it is; the longest unheard of first.
        self._last: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def of(self, answer: Answer) -> NDArray:
        """[N, C]"""
        horizon, median_HC = len(answer.median_HC), answer.median_HC
        if not self._step:
            return median_HC
        last, turn = self._last.get(answer.name, (None, 0))
        number = horizon if last is None else min(horizon, (answer.first_tick - last) // self._step)
        if number <= 0:
            return median_HC[:0]
        self._last[answer.name] = (answer.first_tick, (turn + number) % horizon)
        self._last.move_to_end(answer.name)
        if len(self._last) > MOST_SERIES:
            self._last.popitem(last=False)
        found: NDArray = median_HC[np.sort((turn + np.arange(number)) % horizon)]
        return found
