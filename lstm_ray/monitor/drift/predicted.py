"""What a policy tells of its training and validation part, which live answers are held against.

Of the validation part alone, which may be one season, every other season would look like drift. Knows policies, no limits.
Shapes: N values, H horizon, C targets, M windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import step_ranges
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.model.policy import Policy

MOST_WINDOWS = 4_000


def values(policy: Policy, segments: Segments, bounds: Boundaries) -> list[NDArray]:
    """Medians, values or classes told of the training and the validation part, [N, C]: series by series, and by time."""
    if policy.config.task == "classify":
        ids = np.concatenate([sequences(segments, bounds, part) for part in ("train", "validation")])[:MOST_WINDOWS]
        return [policy.class_probabilities(segments, ids).argmax(axis=1)[:, None].astype(np.float64)]
    if policy.config.task == "label":
        range_S2 = np.concatenate([step_ranges(segments, bounds, part) for part in ("train", "validation")], axis=1)
        told = policy.tell_steps(segments, np.stack([range_S2[:, 0], np.maximum(range_S2[:, 3], range_S2[:, 1])], 1))
        return [told.argmax(axis=1)[:, None].astype(np.float64) if policy.schema.classes else told]
    window, median = policy.config.window, policy.quantiles.index(0.5)
    rows = np.concatenate([origins(segments, bounds, part, window) for part in ("train", "validation")])
    rows = np.sort(rows[segments.steps(rows) % window.horizon == 0])
    series = segments.series_of(rows)
    # Fewer series rather than fewer steps: a window must span as much time as it will.
    rows = rows[series % -(-len(rows) // MOST_WINDOWS) == 0][-MOST_WINDOWS:] if len(rows) > MOST_WINDOWS else rows
    told_MHC = policy.forecast_windows(segments, rows)[..., median]
    by_time = np.argsort(segments.steps(rows), kind="stable")
    ways = [told_MHC] if len(set(segments.series)) < 2 else [told_MHC, told_MHC[by_time]]
    return [way.reshape(-1, told_MHC.shape[2]) for way in ways]
