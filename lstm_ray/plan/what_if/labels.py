"""What-ifs for labels of steps: which stretches are told, and with which inputs. Knows no torch and no Ray.

An item is a stretch of one segment: its segment, its first row and the one after its last, int64 [M, 3].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import step_ranges
from lstm_ray.data.windows import Segments


def stretches(segments: Segments, bounds: Boundaries) -> NDArray:
    """The validation part of every segment that reaches into it."""
    range_S2 = step_ranges(segments, bounds, "validation")
    held = np.flatnonzero(range_S2[:, 1] > range_S2[:, 0])
    return np.column_stack([held, range_S2[held]])


def ranges(segments: Segments, item_M3: NDArray) -> NDArray:
    """The items as a range of rows of every segment, empty in those without one, int64 [S, 2]."""
    range_S2 = np.repeat(segments.bounds[:-1, None], 2, axis=1)
    range_S2[item_M3[:, 0]] = item_M3[:, 1:]
    return range_S2
