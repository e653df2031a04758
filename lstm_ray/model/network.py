"""The LSTM that reads patches, normalises causally and answers at every origin. Knows nothing of data files or training.

Shapes: B sequences, T steps, N patches (or origins), p steps of a patch, C target channels, P past and K known inputs,
I inputs of one LSTM step, D hidden size, H horizon, Q quantiles.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstm_ray.config import Config
from lstm_ray.data.schema import Schema

RESPONSES = 8
"""Ways in which the state may weigh the known inputs of a horizon step."""
MIN_SCALE = 0.05
"""Smallest trailing deviation, in training deviations: a flat stretch must not blow its noise up."""


class Inputs(NamedTuple):
    """A batch as tensors, scaled: ``windows.Batch`` without the origins' weights."""

    target_BTC: Tensor
    observed_BTC: Tensor
    past_BTP: Tensor
    known_BTK: Tensor


class Body(nn.Module):
    """Stacked LSTM layers over patches: [B, N, I] -> [B, N, D]. Residual and attention are optional."""

    def __init__(self, num_inputs: int, config: Config) -> None:
        super().__init__()
        model = config.model
        self.directions = 2 if model.bidirectional else 1
        self.residual = model.residual
        width = self.width = model.hidden * self.directions
        sizes = [num_inputs] + [width] * (model.layers - 1)
        self.layers = nn.ModuleList(
            nn.LSTM(size, model.hidden, batch_first=True, bidirectional=model.bidirectional) for size in sizes
        )
        self.dropout = nn.Dropout(model.dropout)
        heads = 4 if width % 4 == 0 else 1
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True) if model.attention else None
        for layer in self.layers:
            _initialise(layer, model.hidden)

    def forward(self, inputs_BNI: Tensor, inside_BN: Tensor | None = None) -> Tensor:
        """``inside_BN`` is 1 for real patches and 0 for padding after them; only reading backwards would see padding."""
        states_BND = self.dropout(self._read(self.layers[0], inputs_BNI, inside_BN))
        for layer in self.layers[1:]:
            deeper_BND = self.dropout(self._read(layer, states_BND, inside_BN))
            states_BND = states_BND + deeper_BND if self.residual else deeper_BND
        if self.attention is None:
            return states_BND
        num_patches = states_BND.shape[1]
        future_NN = torch.ones(num_patches, num_patches, dtype=torch.bool, device=states_BND.device).triu(1)
        mask, padding_BN = (
            (None, inside_BN == 0) if inside_BN is not None and self.directions == 2 else (future_NN, None)
        )
        attended_BND, _ = self.attention(
            states_BND, states_BND, states_BND, key_padding_mask=padding_BN, attn_mask=mask, need_weights=False
        )
        return states_BND + self.dropout(attended_BND)

    def _read(self, layer: nn.Module, inputs_BNI: Tensor, inside_BN: Tensor | None) -> Tensor:
        if inside_BN is None or self.directions == 1:
            states: Tensor = layer(inputs_BNI)[0]
            return states
        lengths_B = inside_BN.sum(1).long().cpu()
        packed = pack_padded_sequence(inputs_BNI, lengths_B, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=inputs_BNI.shape[1])[0]


class Forecaster(nn.Module):
    """Forecasts at every origin: one pass over T = L + (N - 1) p + H steps answers N windows (MQ-RNN's forking
    sequences, Wen et al. 2017), reading patches (Nie et al. 2023) with one set of weights for all channels."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        window, model = config.window, config.model
        self.history, self.horizon, self.patch = window.history, window.horizon, window.patch
        self.normalisation = model.normalisation
        self.normalisation_steps = model.normalisation_steps or window.history
        self.quantiles = model.quantiles or [0.5]
        num_known = schema.num_known
        num_inputs = window.patch * (2 + len(schema.past) + num_known) + 2
        self.body = Body(num_inputs, config)
        self.head = nn.Linear(self.body.width, window.horizon * len(self.quantiles))
        # The newest patch also reaches every lead directly, as a linear map (the autoregressive highway of Lai et al. 2018):
        # the state alone blurs the last value, which the first steps of a forecast hang on.
        self.newest = nn.Linear(num_inputs, window.horizon * len(self.quantiles), bias=False)
        nn.init.zeros_(self.newest.weight)
        self.respond = nn.Linear(self.body.width, RESPONSES) if num_known else None
        self.known = nn.Linear(num_known, RESPONSES, bias=False) if num_known else None

    def forward(self, target_BTC: Tensor, observed_BTC: Tensor, past_BTP: Tensor, known_BTK: Tensor) -> Tensor:
        """Scaled inputs to scaled forecasts [B, N, H, C, Q]. The last ``horizon`` steps are read from ``known`` alone."""
        batch, steps, channels = target_BTC.shape
        seen = steps - self.horizon
        assert seen % self.patch == 0, f"{seen} steps are no whole number of patches"
        assert seen >= self.history, f"{seen} steps are less than the history"
        level_BNC, scale_BNC = self._statistics(target_BTC[:, :seen])
        target_BNpC = target_BTC[:, :seen].unflatten(1, (-1, self.patch))
        normal_BNpC = (target_BNpC - level_BNC[:, :, None]) / scale_BNC[:, :, None]
        observed_BNpC = observed_BTC[:, :seen].unflatten(1, (-1, self.patch))
        shared_BNI = torch.cat([past_BTP, known_BTK], -1)[:, :seen].unflatten(1, (-1, self.patch)).flatten(2)
        own_BNCI = torch.cat(
            [
                normal_BNpC.transpose(2, 3),
                observed_BNpC.transpose(2, 3),
                level_BNC[..., None],
                scale_BNC.log()[..., None],
            ],
            -1,
        )
        inputs_BNCI = torch.cat([own_BNCI, shared_BNI[:, :, None].expand(-1, -1, channels, -1)], -1)
        # B N C I -> (B C) N I: channels share the weights.
        states = self.body(inputs_BNCI.transpose(1, 2).flatten(0, 1))
        first = self.history // self.patch - 1
        states_BCND = states[:, first:].unflatten(0, (batch, channels))
        newest_BCNI = inputs_BNCI[:, first:].transpose(1, 2)
        forecast_BCNHQ = self._decode(states_BCND, newest_BCNI, known_BTK)
        forecast_BNHCQ = forecast_BCNHQ.permute(0, 2, 3, 1, 4)
        level, scale = (v[:, first:, None, :, None] for v in (level_BNC, scale_BNC))
        return forecast_BNHCQ * scale + level

    def futures(self, values_BTC: Tensor) -> Tensor:
        """The H steps after each origin: [B, T, C] -> [B, N, H, C], as a view."""
        return values_BTC[:, self.history :].unfold(1, self.horizon, self.patch).transpose(2, 3)

    def _decode(self, states_BCND: Tensor, newest_BCNI: Tensor, known_BTK: Tensor) -> Tensor:
        forecast = self.head(states_BCND) + self.newest(newest_BCNI)
        forecast = forecast.unflatten(-1, (self.horizon, len(self.quantiles)))
        if self.known is not None and self.respond is not None:
            known_BNHR = self.known(self.futures(known_BTK))
            response_BCNR = self.respond(states_BCND)
            forecast = forecast + torch.einsum("bnhr,bcnr->bcnh", known_BNHR, response_BCNR)[..., None]
        return _ascending(forecast, self.quantiles.index(0.5))

    def _statistics(self, target_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Level and scale at each patch's last step, [B, N, C] each, from that step and those before it alone."""
        ends = slice(self.patch - 1, None, self.patch)
        last_BNC = target_BTC[:, ends]
        if self.normalisation == "none":
            return torch.zeros_like(last_BNC), torch.ones_like(last_BNC)
        if self.normalisation == "last":
            return last_BNC, torch.ones_like(last_BNC)
        mean_BNC = _trailing_mean(target_BTC, self.normalisation_steps)[:, ends]
        if self.normalisation == "mean":
            return mean_BNC, torch.ones_like(mean_BNC)
        squares_BNC = _trailing_mean(target_BTC**2, self.normalisation_steps)[:, ends]
        return mean_BNC, (squares_BNC - mean_BNC**2).clamp_min(MIN_SCALE**2).sqrt()


class Classifier(nn.Module):
    """One class for a whole sequence: the same body, pooled over the patches that hold data."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.patch, self.pooling = config.window.patch, config.model.pooling
        self.body = Body(self.patch * (len(schema.past) + schema.num_known), config)
        self.head = nn.Linear(self.body.width, len(schema.classes))

    def forward(self, past_BTP: Tensor, known_BTK: Tensor, origin_BN: Tensor) -> Tensor:
        """Scaled inputs to class logits [B, classes]."""
        inputs_BNI = torch.cat([past_BTP, known_BTK], -1).unflatten(1, (-1, self.patch)).flatten(2)
        states_BND, inside_BN1 = self.body(inputs_BNI, origin_BN), origin_BN[..., None]
        if self.pooling == "mean":
            pooled_BD = (states_BND * inside_BN1).sum(1) / inside_BN1.sum(1)
        elif self.pooling == "max":
            pooled_BD = states_BND.masked_fill(inside_BN1 == 0, float("-inf")).amax(1)
        else:
            last_B = origin_BN.sum(1).long() - 1
            pooled_BD = states_BND[torch.arange(len(last_B), device=last_B.device), last_B]
        logits: Tensor = self.head(pooled_BD)
        return logits


def build(config: Config, schema: Schema) -> Forecaster | Classifier:
    """The network of a config, its weights drawn from the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Forecaster(config, schema) if config.task == "forecast" else Classifier(config, schema)


def _trailing_mean(values_BTC: Tensor, length: int) -> Tensor:
    """Mean of the ``length`` steps that end at each step; of as many as there are at the beginning."""
    total_BTC = values_BTC.cumsum(1)
    before_BTC = functional.pad(total_BTC, (0, 0, length, 0))[:, : values_BTC.shape[1]]
    count_T = torch.arange(1, values_BTC.shape[1] + 1, device=values_BTC.device).clamp_max(length)
    return (total_BTC - before_BTC) / count_T[:, None]


def _ascending(raw: Tensor, median: int) -> Tensor:
    """Quantiles that never cross: steps away from the median are positive. Last axis Q."""
    if raw.shape[-1] == 1:
        return raw
    steps = functional.softplus(raw)
    above = raw[..., median : median + 1] + steps[..., median + 1 :].cumsum(-1)
    below = raw[..., median : median + 1] - steps[..., :median].flip(-1).cumsum(-1).flip(-1)
    return torch.cat([below, raw[..., median : median + 1], above], -1)


def _initialise(layer: nn.Module, hidden: int) -> None:
    """Orthogonal recurrence and an open forget gate (Jozefowicz et al. 2015)."""
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            for gate in weight.data.split(hidden):
                nn.init.orthogonal_(gate)
        elif name.startswith("bias_ih"):
            weight.data.zero_()
            weight.data[hidden : 2 * hidden] = 1.0
        elif name.startswith("bias_hh"):
            weight.data.zero_()
