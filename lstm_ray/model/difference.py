"""Changes instead of values (model.difference): read so many steps apart, forecast, and added up again exactly.

A change is x_t - x_(t-d) in units of the training part's typical one, and has no level: a drift stays in it, for it goes on.
Where normalisation scales at all, it is by the changes' own trailing size. A linear map beside the LSTM stays one of values.
Shapes: B sequences, T steps, N origins, C target channels, H horizon, F any columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm_ray.config import Config


class Difference(nn.Module):
    """Of values to changes and back.

    Quantiles add up as the median does, each by itself: the loss sees their sums, so how far apart they must lie is learned
    for the sums too.
    """

    change_C: Tensor
    """Root mean square of the training part's changes (``closed_forms``)."""

    def __init__(self, config: Config, num_targets: int) -> None:
        super().__init__()
        assert config.model.difference is not None, "without it values are read as they are"
        self.steps, self.horizon = config.model.difference, config.window.horizon
        self.register_buffer("change_C", torch.ones(num_targets))

    def forward(self, values_BTC: Tensor, there_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Changes and which were observed, [B, T, C] (or [B, T, J, C]) each: where both their ends were. The first ``steps``
        are 0, and not."""
        before, pad = slice(None, values_BTC.shape[1] - self.steps), (0, 0) * (values_BTC.dim() - 2) + (self.steps, 0)
        change_BTC = (values_BTC[:, self.steps :] - values_BTC[:, before]) / self.change_C
        both_BTC = there_BTC[:, self.steps :] * there_BTC[:, before]
        return functional.pad(change_BTC, pad), functional.pad(both_BTC, pad)

    def added_up(self, change_NBCH: Tensor) -> Tensor:
        """Scaled sums over each lead and those whole ``steps`` before it."""
        change_NBCH = change_NBCH * self.change_C[:, None]
        short = -self.horizon % self.steps
        turns_NBCVd = functional.pad(change_NBCH, (0, short)).unflatten(-1, (-1, self.steps))
        return turns_NBCVd.cumsum(-2).flatten(-2)[..., : self.horizon]

    def repeated(self, windows_NBCL: Tensor) -> Tensor:
        """What sums are added to: the newest ``steps`` values of each history, over and over, [N, B, C, H]."""
        lead_H = torch.arange(self.horizon, device=windows_NBCL.device) % self.steps
        return windows_NBCL[..., windows_NBCL.shape[-1] - self.steps :][..., lead_H]
