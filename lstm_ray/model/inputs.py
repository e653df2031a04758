"""What a network reads, made from scaled columns: levels, patches, embeddings. Each looks back alone. Knows no LSTM.

Shapes: B sequences, T steps, N patches of p steps, C target channels, F any columns, K categorical columns, I inputs of
one LSTM step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

MIN_SCALE = 0.05
"""Smallest trailing deviation, in training deviations: a flat stretch must not blow its noise up."""
UNSEEN_SHARE = 0.05
"""Codes hidden at random in training, so that the slot of unseen values learns the average answer."""
MAX_EMBEDDING = 32
"""Widest embedding of a column."""


class Categories(nn.Module):
    """Embeddings of categorical statics, side by side: codes [B, K] -> [B, width]. Code 0 is a value not seen in training."""

    def __init__(self, categories: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        sizes = [1 + len(values) for values in categories.values()]
        self.tables = nn.ModuleList(nn.Embedding(size, embedding_width(size)) for size in sizes)
        self.width = sum(embedding_width(size) for size in sizes)

    def forward(self, code_BK: Tensor | None, batch: int) -> Tensor:
        """``None``: every value is unseen."""
        device = next(self.tables.parameters()).device
        if code_BK is None:
            code_BK = torch.zeros(batch, len(self.tables), dtype=torch.long, device=device)
        if self.training:
            code_BK = code_BK * (torch.rand(code_BK.shape, device=device) >= UNSEEN_SHARE)
        return torch.cat([table(code_B) for table, code_B in zip(self.tables, code_BK.unbind(1), strict=True)], -1)


def patches(values_BTF: Tensor, patch: int, begin: int, end: int) -> Tensor:
    """Those from ``begin`` to before ``end``: [B, T, F] -> [N, B, p, F], as a view."""
    read = values_BTF[:, begin * patch : end * patch]
    return read.unflatten(1, (end - begin, patch)).transpose(0, 1)


def overlapping_patches(values_BTF: Tensor, patch: int) -> Tensor:
    """Each patch and the one before, nothing before the first: [B, T, F] -> [B, N, 2 p F]. What happens where two patches
    meet is seen whole by one of them."""
    own_BNI = values_BTF.unflatten(1, (-1, patch)).flatten(2)
    return torch.cat([functional.pad(own_BNI[:, :-1], (0, 0, 1, 0)), own_BNI], -1)


def embedding_width(num_values: int) -> int:
    """Grows slowly with the number of values: 2 to 32."""
    return min(MAX_EMBEDDING, max(2, round(1.6 * num_values**0.56)))


def statistics(
    target_BTC: Tensor, patch: int, kind: str, steps: int, spread_C: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    """Level and scale at each patch's last step, [B, N, C] each, from that step and those before it alone.

    Args:
        kind: a model.normalisation, or 'size': no level, and the scale is measured from 0.
        spread_C: training deviation as targets are scaled.
    """
    least = MIN_SCALE**2 * spread_C**2
    ends = slice(patch - 1, None, patch)
    last_BNC = target_BTC[:, ends]
    if kind == "none":
        return torch.zeros_like(last_BNC), torch.ones_like(last_BNC)
    if kind == "last":
        return last_BNC, torch.ones_like(last_BNC)
    if kind == "size":
        return torch.zeros_like(last_BNC), trailing_mean(target_BTC**2, steps)[:, ends].clamp_min(least).sqrt()
    mean_BNC = trailing_mean(target_BTC, steps)[:, ends]
    if kind == "mean":
        return mean_BNC, torch.ones_like(mean_BNC)
    squares_BNC = trailing_mean(target_BTC**2, steps)[:, ends]
    return mean_BNC, (squares_BNC - mean_BNC**2).clamp_min(least).sqrt()


def trailing_mean(values_BTC: Tensor, length: int) -> Tensor:
    """Mean of the ``length`` steps that end at each step; of as many as there are at the beginning."""
    sums_BTC = values_BTC.cumsum(1)
    sums_BTC = sums_BTC - functional.pad(sums_BTC, (0, 0, length, 0))[:, : sums_BTC.shape[1]]
    count_T = torch.arange(1, values_BTC.shape[1] + 1, device=values_BTC.device).clamp_max(length)
    return sums_BTC / count_T[:, None]


def steps_since_observed(observed_BTC: Tensor, patch: int, longest: int) -> Tensor:
    """Steps between each patch's last step and the newest observed one, [B, N, C]; ``longest`` where there is none nearer.

    The bound lets an origin deep in a long sequence see what the same origin sees in a window of that length.
    """
    num_patches = observed_BTC.shape[1] // patch
    # Steps count from 1, so that 0 is: none so far.
    step_Np = torch.arange(1, 1 + num_patches * patch, device=observed_BTC.device).view(num_patches, patch)
    seen_BNpC = observed_BTC.unflatten(1, (num_patches, patch)) > 0
    newest_BNC = _running_maximum((seen_BNpC * step_Np[:, :, None]).amax(2), -(-longest // patch))
    return (step_Np[:, -1:] - newest_BNC).clamp_max(longest).to(observed_BTC.dtype)


def _running_maximum(values_BNC: Tensor, reach: int) -> Tensor:
    """Of each patch and those before it; in a graph of at least ``reach`` before it, for not every format has the former."""
    if not torch.compiler.is_exporting():
        return values_BNC.cummax(1).values
    apart = 1
    while apart <= reach:
        earlier_BNC = functional.pad(values_BNC, (0, 0, apart, 0))[:, : values_BNC.shape[1]]
        values_BNC, apart = torch.maximum(values_BNC, earlier_BNC), 2 * apart
    return values_BNC
