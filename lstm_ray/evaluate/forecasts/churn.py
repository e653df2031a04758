"""How much forecasts of the same step change: from one origin to the next, and from one policy to another.

Whoever acts on forecasts pays for each revision, whatever it gains in accuracy: vertical stability (Van Belle, Crevits &
Verbeke 2023, "Improving forecast stability using deep learning"; Godahewa et al. 2025, "On forecast stability"), or congruence
(Pritularga & Kourentzes 2024). NumPy alone; knows no model and no files.

Legend: M windows, H horizon, L = H - 1 leads that are revised, C target channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def revisions(forecast_MHC: NDArray, origins_M: NDArray) -> tuple[NDArray, int]:
    """Sums over pairs of windows one step apart of how far the later forecasts the same steps from the earlier, float64 [L, C];
    and the number of pairs.

    Args:
        origins_M: rows, ascending; those next to each other lie in one segment.
    """
    pair_P = np.flatnonzero(np.diff(origins_M) == 1)
    if len(pair_P) == len(origins_M) - 1:
        earlier, later = forecast_MHC[:-1], forecast_MHC[1:]
    else:
        earlier, later = forecast_MHC[pair_P], forecast_MHC[pair_P + 1]
    return np.abs(later[:, :-1] - earlier[:, 1:]).sum(axis=0, dtype=np.float64), len(pair_P)


def between(one_MHC: NDArray, other_MHC: NDArray, deviation_C: NDArray) -> float:
    """How far apart two policies' forecasts of the same windows lie: mean absolute difference, in training deviations."""
    return float((np.abs(one_MHC - other_MHC) / deviation_C).mean(dtype=np.float64))
