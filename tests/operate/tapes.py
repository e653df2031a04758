"""A small made-up tape: two series, three days of hours, a target and two inputs."""

from __future__ import annotations

import numpy as np

from lstm_ray.operate.replay import Tape

HOUR = 3_600_000_000
START = int(np.datetime64("2013-08-23", "us").astype(np.int64))


def tape(num: int = 72) -> Tape:
    tick_T = START + HOUR * np.arange(num)
    values_STF = np.arange(2 * num * 3, dtype=float).reshape(2, num, 3)
    values_STF[1, 5, 0] = np.nan
    return Tape(["EWR", "JFK"], ["temp", "humid", "wind"], 1, tick_T, values_STF)
