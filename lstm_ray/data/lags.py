"""Targets so many steps before (window.lags), as known inputs beside the others. NumPy alone: knows no torch.

They are read when a window is cut, never stored. Columns, behind known columns and the calendar: for each lag its C targets,
scaled, and then 1 where the step lies in the segment, 0 (and targets 0) where it lies before the segment's first.
Shapes: R rows, B sequences, T steps, X steps that end where the T do, C targets, J columns of lags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Schema
from lstm_ray.sections.prepare import WindowConfig


def num_lagged(schema: Schema, window: WindowConfig) -> int:
    """Columns of all lags."""
    return len(window.lags) * (len(schema.target) + 1)


def num_known(schema: Schema, window: WindowConfig) -> int:
    """Every input that is known ahead: known and static columns, the calendar, lags."""
    return schema.num_known + num_lagged(schema, window)


def reach(window: WindowConfig) -> int:
    """Steps up to the origin that a window reads: its history, and what lies the longest lag before it."""
    return window.history + max(window.lags, default=0)


def lagged_rows(target_RC: NDArray, row_BT: NDArray, lags: Sequence[int], first_B: NDArray, last_B: NDArray) -> NDArray:
    """float32 [B, T, J] of sequences of consecutive rows.

    A lag is the horizon at least, so what a horizon step reads lies at or before its origin.

    Args:
        target_RC: scaled rows of all segments.
        row_BT: may lie beyond the segment's end, as a horizon that is yet to come does.
        first_B: first row of each sequence's segment.
        last_B: last row that may be read; only padding asks for later ones.
    """
    parts = [np.empty((*row_BT.shape, 0), np.float32)]
    for lag in lags:
        at_BT = row_BT - lag
        present_BT1 = (at_BT >= first_B[:, None]).astype(np.float32)[..., None]
        at_BT = np.clip(at_BT, first_B[:, None], last_B[:, None])
        parts += [target_RC.take(at_BT, 0) * present_BT1, present_BT1]
    return np.concatenate(parts, axis=2)


def lagged_steps(target_BXC: NDArray, present_BX: NDArray, lags: Sequence[int], steps: int) -> NDArray:
    """float32 [B, T, J] of the last ``steps`` steps of sequences that lie side by side.

    Args:
        target_BXC: scaled; what lies after the origin is not read.
        present_BX: 0 before a sequence's first step.
    """
    length = target_BXC.shape[1]
    parts = [np.empty((len(target_BXC), steps, 0), np.float32)]
    for lag in lags:
        at_T = np.arange(length - steps, length) - lag
        present_BT1 = (present_BX[:, np.maximum(at_T, 0)] * (at_T >= 0)).astype(np.float32)[..., None]
        parts += [target_BXC[:, np.maximum(at_T, 0)] * present_BT1, present_BT1]
    return np.concatenate(parts, axis=2).astype(np.float32, copy=False)
