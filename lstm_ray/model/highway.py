"""A linear map from a channel's whole history to every lead, past the LSTM: solved in closed form, and learned further.

Shapes: M windows, B sequences, T steps, N origins, C target channels, L history, H horizon, A = 1 + L inputs of the closed
form, the first of them 1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.data.split import Boundaries, Part
from lstm_ray.data.windows import Segments, origins
from lstm_ray.model import ridge
from lstm_ray.model.inputs import statistics
from lstm_ray.model.views import members_each, views

SHARES = (0.5, 0.0)
"""Shares of the forecast that the closed form may have with ``average``. Halves are hard to beat (Bates & Granger 1969), and
a share fitted on one validation part does worse on the next; so validation only says whether to take it in at all."""


class Highway(nn.Module):
    """What ``model.linear`` adds to the LSTM's raw answers, in units of the origin's scale above its level.

    The ridge in closed form (``closed_form``), and with ``trained`` and ``average`` a correction of it that is learned with
    the LSTM from zero, so that weight decay draws the map towards the ridge. Once trained, ``average`` mixes the whole
    answer with the ridge's alone.
    """

    ridge_AH: Tensor
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
            self.register_buffer("share", torch.tensor(SHARES[0]))

    def forward(self, raw_NBCH: Tensor, target_BTC: Tensor, level_NBC1: Tensor, scale_NBC1: Tensor | None) -> Tensor:
        """``raw`` with the linear answers of N origins.

        Args:
            target_BTC: steps of which the first ``history`` end at the first of these origins, the others a patch apart.
        """
        num_origins = len(raw_NBCH)
        windows_NBCL = target_BTC.unfold(1, self.history, self.patch)[:, :num_origins].transpose(0, 1).contiguous()
        ridge_HL = self.ridge_AH[1:].T
        map_HL = ridge_HL if self.correction is None else ridge_HL + self.correction.weight
        whole_NBCH = raw_NBCH + self.ridge_AH[0] + _read(map_HL, windows_NBCL, level_NBC1, scale_NBC1)
        if self.kind != "average" or self.training:
            return whole_NBCH
        alone_NBCH = self.ridge_AH[0] + _read(ridge_HL, windows_NBCL, level_NBC1, scale_NBC1)
        return torch.lerp(whole_NBCH, alone_NBCH, self.share)


def closed_forms(config: Config, scaled: Segments, bounds: Boundaries) -> list[NDArray | None]:
    """``closed_form`` for every network of a config, in the order of ``views.members``."""
    found = [closed_form(view, scaled, bounds) for view in views(config)]
    return [ridge_AH for ridge_AH in found for _ in range(members_each(config))]


def closed_form(config: Config, scaled: Segments, bounds: Boundaries) -> NDArray | None:
    """The ridge of the training part's windows, penalty chosen on validation, float32 [A, H]; None where none is asked for.

    Windows are normalised as the network normalises them.
    """
    if config.task != "forecast" or config.model.linear == "none":
        return None
    train, validation = (part_sums(config, scaled, bounds, part) for part in ("train", "validation"))
    return ridge.solve(train, validation)[0]


def part_sums(
    config: Config, scaled: Segments, bounds: Boundaries, part: Part, share: int = 0, shares: int = 1
) -> ridge.LinearSums:
    """Sums over one share of a part's windows; those of all ``shares`` add up to the part's."""
    model, window = config.model, config.window
    chosen = ridge.spread(origins(scaled, bounds, part, window), scaled.target_RC.shape[1])[share::shares]

    def normalise(history_ML: NDArray) -> tuple[NDArray, NDArray]:
        steps = model.normalisation_steps or window.history
        target_MLC = torch.from_numpy(np.ascontiguousarray(history_ML))[..., None]
        level, scale = statistics(target_MLC, window.history, model.normalisation, steps)
        return level[..., 0].numpy(), scale[..., 0].numpy()

    return ridge.linear_sums(scaled.target_RC, scaled.observed_RC, chosen, window, normalise)


def _read(map_HL: Tensor, windows_NBCL: Tensor, level_NBC1: Tensor, scale_NBC1: Tensor | None) -> Tensor:
    """The map of histories without their level, which is taken out of the answer: a few numbers instead of each window."""
    away = torch.addmm(-level_NBC1.reshape(-1, 1) * map_HL.sum(1), windows_NBCL.flatten(0, 2), map_HL.T)
    away_NBCH = away.unflatten(0, windows_NBCL.shape[:3])
    return away_NBCH if scale_NBC1 is None else away_NBCH / scale_NBC1
