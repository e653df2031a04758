"""A linear map from a channel's whole history to every lead, past the LSTM: solved in closed form, and learned further.

Shapes: M windows, B sequences, T steps, N origins, C target channels, L history, H horizon, A = 1 + L inputs of the closed
form, the first of them 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_ray.config import Config

SHARES = (0.5, 0.0)
"""Shares of the answer that the plain ridge may have with ``average``. Halves are hard to beat (Bates & Granger 1969), and
a share fitted on one validation part does worse on the next; so validation only says whether to take it in at all."""


class Highway(nn.Module):
    """What ``model.linear`` adds to the LSTM's raw answers, in units of the origin's scale above its level.

    The ridge in closed form (``closed_forms``), and with ``trained`` and ``average`` a correction of it that is learned with
    the LSTM from zero, so that weight decay draws the map towards the ridge. Once trained, ``average`` mixes the whole
    answer with that of a forecaster of its own: the plain ridge on the history less its last value (NLinear, Zeng et al.
    2023), which errs in other ways.
    """

    ridge_AH: Tensor
    plain_AH: Tensor
    share: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        window = config.window
        self.kind, self.history, self.patch = config.model.linear, window.history, window.patch
        self.register_buffer("ridge_AH", torch.zeros(1 + window.history, window.horizon))
        self.correction = None
        if self.kind != "residual":
            self.correction = nn.Linear(window.history, window.horizon, bias=False)
            nn.init.zeros_(self.correction.weight)
        if self.kind == "average":
            self.register_buffer("plain_AH", torch.zeros(1 + window.history, window.horizon))
            self.register_buffer("share", torch.tensor(SHARES[0]))

    def forward(self, raw_NBCH: Tensor, target_BTC: Tensor, level_NBC1: Tensor, scale_NBC1: Tensor | None) -> Tensor:
        """``raw`` with the linear answers of N origins.

        Args:
            target_BTC: steps of which the first ``history`` end at the first of these origins, the others a patch apart.
        """
        num_origins = len(raw_NBCH)
        windows_NBCL = target_BTC.unfold(1, self.history, self.patch)[:, :num_origins].transpose(0, 1).contiguous()
        map_HL = self.ridge_AH[1:].T
        if self.correction is not None:
            map_HL = map_HL + self.correction.weight
        whole_NBCH = raw_NBCH + self.ridge_AH[0] + _read(map_HL, windows_NBCL, level_NBC1, scale_NBC1)
        if self.kind != "average" or self.training:
            return whole_NBCH
        last_NBC1 = windows_NBCL[..., -1:]
        above_NBC1 = last_NBC1 - level_NBC1 + self.plain_AH[0]
        plain_NBCH = above_NBC1 if scale_NBC1 is None else above_NBC1 / scale_NBC1
        plain_NBCH = plain_NBCH + _read(self.plain_AH[1:].T, windows_NBCL, last_NBC1, scale_NBC1)
        return torch.lerp(whole_NBCH, plain_NBCH, self.share)


def _read(map_HL: Tensor, windows_NBCL: Tensor, level_NBC1: Tensor, scale_NBC1: Tensor | None) -> Tensor:
    """The map of histories without their level, which is taken out of the answer: a few numbers instead of each window.

    In float32 always: what is left of two numbers of the level's size would have that size's error in bfloat16.
    """
    with torch.autocast(windows_NBCL.device.type, enabled=False):
        away = torch.addmm(-level_NBC1.reshape(-1, 1) * map_HL.sum(1), windows_NBCL.flatten(0, 2), map_HL.T)
    away_NBCH = away.unflatten(0, windows_NBCL.shape[:3])
    return away_NBCH if scale_NBC1 is None else away_NBCH / scale_NBC1
