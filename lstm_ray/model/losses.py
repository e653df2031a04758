"""Losses as sums and counts, so that workers can add before anyone divides. Knows nothing of networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lstm_ray.data.windows import IGNORED


def forecast_loss(name: str, forecast_BNHCQ: Tensor, actual_BNHC: Tensor, weight_BNHC: Tensor, q: Tensor) -> Tensor:
    """Sum of losses and sum of weights, [2].

    ``pinball`` is twice the mean over quantiles (Koenker & Bassett 1978), so that at the median alone it is the MAE.
    """
    error = actual_BNHC[..., None] - forecast_BNHCQ
    if name == "mse":
        loss = error[..., 0].square()
    elif name == "mae":
        loss = error[..., 0].abs()
    elif name == "pinball":
        loss = 2 * torch.maximum(q * error, (q - 1) * error).mean(-1)
    else:
        raise ValueError(f"loss '{name}' does not fit a forecast")
    return torch.stack([(loss * weight_BNHC).sum(), weight_BNHC.sum()])


def class_loss(logits: Tensor, label_B: Tensor) -> Tensor:
    """Sum of cross-entropies and number of sequences, [2]; sequences labelled IGNORED do not count."""
    total = functional.cross_entropy(logits, label_B, reduction="sum", ignore_index=IGNORED)
    return torch.stack([total, (label_B != IGNORED).sum().to(total.dtype)])
