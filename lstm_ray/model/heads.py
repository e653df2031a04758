"""From raw outputs to forecasts: levels put back, bounds kept, quantiles in order. Knows no LSTM.

Shapes: [..., P, H]: P parameters (quantiles, or those of a distribution), H steps of the horizon, channels before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lstm_ray.model.distributions import MIN_FREEDOM, positive

EDGE = 0.01
"""Share of the way between two bounds within which a level is taken to lie that far inside."""
FLOOR = 0.05
"""The same above a single bound, in training deviations."""
MIN_COUNT = 1e-6
"""Smallest mean of a count: its logarithm must stay finite."""


class Level(NamedTuple):
    """Where forecasts start from, how far a raw 1 carries them, and the target's own units; scaled, each [..., 1]."""

    level: Tensor
    scale: Tensor | None
    """None: 1 everywhere."""
    zero: Tensor
    """Where 0 of the target's own units lies."""
    unit: Tensor
    """Length of 1 of the target's own units."""
    spread: Tensor | float = 1.0
    """Length of a training deviation."""


def ascending(raw: Tensor, median: int, at: Level, output: str = "identity") -> Tensor:
    """Quantiles that never cross, bounded. [..., Q, H]."""
    return stacked([bounded(one, at, output) for one in spread(raw, median, at)])


def spread(raw: Tensor, median: int, at: Level) -> list[Tensor]:
    """How far each quantile lies from the level, ascending: steps away from the median are positive. [..., H] each."""
    raws = raw.unbind(-2)
    away = [_scaled(raws[median], at)]
    for one in raws[median + 1 :]:
        away.append(away[-1] + _scaled(functional.softplus(one), at))
    for one in reversed(raws[:median]):
        away.insert(0, away[0] - _scaled(functional.softplus(one), at))
    return away


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """[..., H] each -> [..., P, H]."""
    return rows[0].unsqueeze(-2) if len(rows) == 1 else torch.stack(list(rows), -2)


def parameters(name: str, raw: Tensor, at: Level) -> Tensor:
    """Parameters of a distribution, as ``distributions`` orders them, from raw outputs. [..., P, H]."""
    first, second, *more = raw.unbind(-2)
    if name == "negative_binomial":
        mean = (bounded(_scaled(first, at), at, "softplus") - at.zero) / at.unit
        return torch.stack([mean.clamp_min(MIN_COUNT), positive(second)], -2)
    found = [_scaled(first, at) + at.level, _scaled(positive(second), at)]
    return torch.stack(found + [MIN_FREEDOM + functional.softplus(one) for one in more], -2)


def bounded(away: Tensor, at: Level, output: str) -> Tensor:
    """Level plus ``away``, both scaled, bent to stay within the bounds of the target's own units.

    Sigmoid, tanh and softplus act behind their inverses: 0 away forecasts the level itself, and where values usually lie
    the bend has a slope of about 1, so training starts where it does without a bound. A level at the very bound, where
    the slope is 0, is taken to lie EDGE (FLOOR) inside, so gradients never vanish at the start. Softplus bends over one
    training deviation. Relu has no slope below 0: the forecast is cut there, but gradients that would raise it pass as if
    it were not (straight through, Bengio et al. 2013), so a forecast that was cut can come back and is pushed no further.
    """
    if output == "identity":
        return away + at.level
    if output == "relu":
        return at.zero + _CutAtZero.apply(away + (at.level - at.zero))
    if output == "softplus":
        start = ((at.level - at.zero) / at.spread).clamp_min(FLOOR)
        # The inverse of softplus, written to hold for large values.
        bent = functional.softplus(away / at.spread + start + torch.log(-torch.expm1(-start)))
        return at.zero + bent * at.spread
    # Tanh is a sigmoid from -1 on, twice as high.
    low, high = (0.0, 1.0) if output == "sigmoid" else (-1.0, 1.0)
    bottom, length = at.zero + low * at.unit, (high - low) * at.unit
    start = ((at.level - bottom) / length).clamp(EDGE, 1 - EDGE)
    usual = (-bottom / length).clamp(EDGE, 1 - EDGE)
    slope = (usual * (1 - usual) * length).clamp_min(0.5 * at.spread)
    return bottom + length * torch.sigmoid(torch.logit(start) + away / slope)


class _CutAtZero(torch.autograd.Function):
    """The positive part. Below 0 a gradient passes where a step against it leads up again."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return gradient * ((values > 0) | (gradient < 0))


def _scaled(values: Tensor, at: Level) -> Tensor:
    return values if at.scale is None else values * at.scale
