"""What a forecaster makes of targets of earlier seasons (window.lags). Knows nothing of how they were cut.

Each channel hears its own alone, freed of the level and scale of its history, so that it means the same wherever it lies.
Shapes: B sequences, T steps, N patches or origins, p steps of a patch, C target channels, G groups of channels, J lags, P
parameters, H horizon, D width of a state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.model.difference import Difference
from lstm_ray.model.inputs import patches


class Lags(NamedTuple):
    """Of every step, scaled."""

    value_BTJC: Tensor
    there_BTJ1: Tensor
    """0 where a lag, which is then 0, lies before its segment's first step."""


class Recall(nn.Module):
    """Adds to each lead its own lags, weighed by the state: silent until it has learned."""

    def __init__(self, width: int, rows: int, config: Config) -> None:
        """``rows``: outputs for a lead that one state gives."""
        super().__init__()
        self.num_lags = len(config.window.lags)
        self.horizon, self.patch = config.window.horizon, config.window.patch
        self.weigh = nn.Linear(width, rows * 2 * self.num_lags)
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    def split(self, known_BTK: Tensor, channels: int, difference: Difference | None) -> tuple[Tensor, Lags]:
        """Known inputs without the lags, and those; their changes, where values are read as changes."""
        size = self.num_lags * (channels + 1)
        lagged_BTJC = known_BTK[..., known_BTK.shape[-1] - size :].unflatten(-1, (self.num_lags, channels + 1))
        lags = Lags(lagged_BTJC[..., :-1], lagged_BTJC[..., -1:])
        if difference is not None:
            change_BTJC, both_BTJ1 = difference(*lags)
            lags = Lags(change_BTJC * both_BTJ1, both_BTJ1)
        return known_BTK[..., : known_BTK.shape[-1] - size], lags

    def inputs(
        self, lags: Lags, part: tuple[int, int], level_NBC1: Tensor, scale_NBC1: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What the LSTM reads at the patches of a part: lags, and which are there, [N, B, C, J p] each."""
        value_NBpJC, there_NBpJ1 = (
            patches(lag.flatten(2), self.patch, *part).unflatten(-1, lag.shape[2:]) for lag in lags
        )
        # [N, B, C, 1] -> [N, B, 1, 1, C]
        level = level_NBC1[:, :, None, None, :, 0]
        scale = None if scale_NBC1 is None else scale_NBC1[:, :, None, None, :, 0]
        away_NBpJC = freed(value_NBpJC, there_NBpJ1, level, scale)
        away, there = (one.permute(0, 1, 4, 3, 2).flatten(3) for one in (away_NBpJC, there_NBpJ1.expand_as(away_NBpJC)))
        return away, there

    def forward(
        self,
        raw_NBCPH: Tensor,
        states_NBGD: Tensor,
        lags: Lags,
        level_NBC1: Tensor,
        scale_NBC1: Tensor | None,
    ) -> Tensor:
        """``raw`` with what the lags of each horizon say; they begin with the step after the first origin."""
        shape = (*raw_NBCPH.shape[:4], self.num_lags, 2)
        weight_NBCPJ2 = self.weigh(states_NBGD).view(shape)
        for j in range(self.num_lags):
            value_NBCH = self._futures(lags.value_BTJC[:, :, j], len(raw_NBCPH))
            there_NB1H = self._futures(lags.there_BTJ1[:, :, j], len(raw_NBCPH))
            away_NBCH = freed(value_NBCH, there_NB1H, level_NBC1, scale_NBC1)
            raw_NBCPH = raw_NBCPH + weight_NBCPJ2[..., j, :1] * away_NBCH[:, :, :, None]
            raw_NBCPH = raw_NBCPH + weight_NBCPJ2[..., j, 1:] * there_NB1H[:, :, :, None]
        return raw_NBCPH

    def _futures(self, values_BTC: Tensor, number: int) -> Tensor:
        """[B, T, C] -> [N, B, C, H], as a view."""
        return values_BTC.transpose(1, 2).unfold(2, self.horizon, self.patch)[:, :, :number].permute(2, 0, 1, 3)


def freed(values: Tensor, there: Tensor, level: Tensor, scale: Tensor | None) -> Tensor:
    """Lags above a level, in units of a scale; 0 where they are not there."""
    away = torch.addcmul(values, level, there, value=-1)
    return away if scale is None else away / scale
