"""What makes a policy's quantiles hold what they say: a correction for each step ahead, target and level. NumPy alone.

Conformalized quantile regression (Romano, Patterson & Candès 2019), with a correction for each quantile, so that each tail
by itself holds what it says. Corrections are in widths of the forecast at hand (Kivaranovic, Johnson & Leeb 2020), not in
deviations of the training part: the same number then serves a series of thousands and one of tenths, a calm hour and a wild
one. They are made in the units that a network learns, where a transform has made widths comparable, too.

Shapes: M windows, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Own, Scaler
from lstm_ray.sections.model import ModelConfig

LIMITS = {"relu": (0.0, np.inf), "softplus": (0.0, np.inf), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
"""What model.output says of a target's own values."""


@dataclass(frozen=True)
class Conformal:
    """A policy's correction, and what it was found on."""

    levels: tuple[float, ...]
    """Of the quantiles that it is for; the median is left as it is."""
    shift_HCQ: NDArray
    """float32: by how many widths each quantile moves up."""
    floor_C: NDArray
    """float32: a forecast narrower than this, scaled, counts as this wide; else one that happened to have no width at all
    would be missed by infinitely many."""
    windows: int
    """Of the validation part that it was found on."""
    times: int
    """At which these begin."""
    left: tuple[float, ...] = ()
    """Levels that the validation part is too short for; they are as the network gives them."""

    def moved(self, scaled_MHCQ: NDArray) -> NDArray:
        """Scaled quantile forecasts, corrected; ascending."""
        return moved(scaled_MHCQ, self.shift_HCQ, self.floor_C, self.levels)

    def at(self, levels: Sequence[float]) -> Conformal:
        """The same of other levels from the lowest to the highest, with corrections on the line between their neighbours'."""
        index = np.interp(levels, self.levels, np.arange(len(self.levels)))
        low = np.floor(index).astype(np.int64)
        high = np.minimum(low + 1, len(self.levels) - 1)
        share = (index - low).astype(np.float32)
        shift_HCQ = (1 - share) * self.shift_HCQ[..., low] + share * self.shift_HCQ[..., high]
        return replace(self, levels=tuple(levels), shift_HCQ=shift_HCQ)

    def arrays(self) -> dict[str, NDArray]:
        """What is saved as numbers; ``words`` is the rest."""
        return {"shift": self.shift_HCQ, "floor": self.floor_C}

    def words(self) -> dict[str, Any]:
        return {
            "levels": list(self.levels),
            "windows": self.windows,
            "times": self.times,
            "left": list(self.left),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray], words: Mapping[str, Any]) -> Conformal:
        """The inverse of ``arrays`` and ``words``."""
        levels, left = tuple(words["levels"]), tuple(words["left"])
        return cls(levels, arrays["shift"], arrays["floor"], words["windows"], words["times"], left)


def width(scaled_MHCQ: NDArray, floor_C: NDArray) -> NDArray:
    """From the lowest quantile to the highest, [M, H, C, 1]."""
    span_MHC = scaled_MHCQ[..., -1] - scaled_MHCQ[..., 0]
    found: NDArray = np.maximum(span_MHC, floor_C)[..., None]
    return found


def moved(scaled_MHCQ: NDArray, shift: NDArray, floor_C: NDArray, levels: Sequence[float]) -> NDArray:
    """Quantiles moved by so many widths each. The median stays; those that would cross it, or each other, meet.

    Args:
        shift: [H, C, Q], or [M, H, C, Q]; 0 at the median.
    """
    middle = levels.index(0.5)
    found = scaled_MHCQ + (shift * width(scaled_MHCQ, floor_C)).astype(np.float32, copy=False)
    upper = np.maximum.accumulate(found[..., middle:], axis=-1)
    lower = np.minimum.accumulate(found[..., middle::-1], axis=-1)[..., :0:-1]
    return np.concatenate([lower, upper], axis=-1)


def scores(actual_MHC: NDArray, scaled_MHCQ: NDArray, floor_C: NDArray) -> NDArray:
    """How many widths above each quantile the actual value came to lie, [M, H, C, Q]; NaN where it is not known."""
    found: NDArray = (actual_MHC[..., None] - scaled_MHCQ) / width(scaled_MHCQ, floor_C)
    return found


def told(values: NDArray, model: ModelConfig, levels: Sequence[float]) -> NDArray:
    """Corrected quantiles [..., Q] in the target's own units, within what the network's output may be; whole numbers of
    counts, the innermost ones that hold as much."""
    if model.output in LIMITS:
        values = np.clip(values, *LIMITS[model.output])
    if model.distribution == "negative_binomial":
        # Rounding errors of scaling must not cost a count.
        lower, upper = np.ceil(values - 1e-3), np.floor(values + 1e-3)
        values = np.where(np.asarray(levels) < 0.5, lower, upper).clip(0)
    return values


def scaled(values: NDArray, scaler: Scaler, own: Own | None = None, *, quantile_axis: bool = False) -> NDArray:
    """Targets [M, ..., C], or quantiles of them [M, ..., C, Q], in the units that a network learns. Unlike what it reads,
    outliers stay what they are: intervals are to hold what comes.

    Args:
        own: of the windows, where each series has its own units.
    """
    if scaler.transform is not None:
        columns = values.swapaxes(-1, -2) if quantile_axis else values
        values = scaler.transform.apply(columns)
        values = values.swapaxes(-1, -2) if quantile_axis else values
    if own is not None:
        zero, unit = own.across(values.ndim, quantile_axis)
    else:
        zero, unit = (one[:, None] if quantile_axis else one for one in scaler.units("target"))
    found: NDArray = (values - zero) / unit
    return found
