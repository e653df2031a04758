"""What the trainer is measured against: loops of bare torch as somebody who knows it would write them, on ready tensors.

Shapes: B sequences, T steps, N patches, p steps of a patch, I inputs of one LSTM step, L history, H horizon, M windows.
The optimiser is AdamW as torch gives it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


class Net(nn.Module):
    """One LSTM layer and a linear head; where asked, also a linear map of the newest patch, past the LSTM."""

    def __init__(self, num_inputs: int, hidden: int, horizon: int, past_the_lstm: bool = False) -> None:
        super().__init__()
        self.lstm = nn.LSTM(num_inputs, hidden, batch_first=True)
        self.head = nn.Linear(hidden, horizon)
        self.newest = nn.Linear(num_inputs, horizon, bias=False) if past_the_lstm else None

    def forward(self, inputs_BNI: Tensor, first: int) -> Tensor:
        """Forecasts at every origin from patch ``first`` on, [B, N, H]."""
        forecast: Tensor = self.head(self.lstm(inputs_BNI)[0][:, first:])
        return forecast if self.newest is None else forecast + self.newest(inputs_BNI[:, first:])


@dataclass(frozen=True)
class Loop:
    """A training loop that goes on where it stopped."""

    batches: list[tuple[Tensor, ...]]
    read: Callable[..., tuple[Tensor, Tensor, Tensor | float]]
    """A batch to what the LSTM reads, [B, N, I], the values [B, T] whose futures are forecast, and the level of each patch,
    [B, N, 1]."""
    net: Net
    optimiser: torch.optim.Optimizer
    window: Mapping[str, int]
    clip_norm: float | None

    def windows_per_second(self) -> float:
        """One pass over the batches, timed."""
        num_windows, began = 0, time.perf_counter()
        for batch in self.batches:
            num_windows += self._step(*self.read(*batch))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return num_windows / (time.perf_counter() - began)

    def _step(self, inputs_BNI: Tensor, values_BT: Tensor, level_BN1: Tensor | float) -> int:
        history, patch = self.window["history"], self.window["patch"]
        # bfloat16 is what the trainer takes on a GPU, too.
        with torch.autocast("cuda", torch.bfloat16, enabled=values_BT.is_cuda):
            forecast_BNH = self.net(inputs_BNI, history // patch - 1)
        if isinstance(level_BN1, Tensor):
            forecast_BNH = forecast_BNH + level_BN1[:, history // patch - 1 :]
        actual_BNH = values_BT[:, history:].unfold(1, self.window["horizon"], patch)
        loss = (forecast_BNH - actual_BNH).abs().mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_norm)
        self.optimiser.step()
        return forecast_BNH.shape[0] * forecast_BNH.shape[1]


def every_origin(
    values: Tensor, window: Mapping[str, int], hidden: int, batch: int, origins: int, num_inputs: int
) -> Loop:
    """A loss at every origin of sequences whose inputs were computed, cut and batched beforehand: the LSTM and its head.

    Args:
        values: a series, [R]; all its windows are origins of some sequence, as they are for the trainer.
        num_inputs: what the LSTM reads of a patch: its p values, and ones where that is not all.
    """
    patch, horizon = window["patch"], window["horizon"]
    batches: list[tuple[Tensor, ...]] = []
    for values_BT in _sequences(values, window, batch, origins):
        inputs_BNI = values_BT[:, :-horizon].unflatten(1, (-1, patch))
        ones = torch.ones_like(inputs_BNI[..., :1]).expand(-1, -1, num_inputs - patch)
        batches.append((torch.cat([inputs_BNI, ones], -1), values_BT))
    return _loop(batches, lambda inputs, values: (inputs, values, 0.0), num_inputs, window, hidden, 1.0)


def same_network(values: Tensor, window: Mapping[str, int], hidden: int, batch: int, origins: int) -> Loop:
    """A loss at every origin of sequences cut and batched beforehand, by the network that the trainer trains: each patch
    freed of the trailing mean, which is read beside it and put back, and the newest patch heard past the LSTM."""
    history, horizon, patch = window["history"], window["horizon"], window["patch"]

    def normalise(values_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen_BT = values_BT[:, :-horizon]
        sums_BT = functional.pad(seen_BT.cumsum(1), (history, 0))
        ends = slice(patch - 1, None, patch)
        count_N = torch.arange(1, seen_BT.shape[1] + 1, device=values.device).clamp_max(history)[ends]
        level_BN1 = ((sums_BT[:, history:] - sums_BT[:, :-history])[:, ends] / count_N)[..., None]
        own_BNp = seen_BT.unflatten(1, (-1, patch)) - level_BN1
        rest_BN2 = torch.zeros_like(level_BN1).expand(-1, -1, 2)
        return torch.cat([own_BNp, torch.ones_like(own_BNp), level_BN1, rest_BN2], -1), values_BT, level_BN1

    batches: list[tuple[Tensor, ...]] = [(values_BT,) for values_BT in _sequences(values, window, batch, origins)]
    return _loop(batches, normalise, 2 * patch + 3, window, hidden, 1.0, past_the_lstm=True)


def _sequences(values: Tensor, window: Mapping[str, int], batch: int, origins: int) -> list[Tensor]:
    """Batches [B, T] in which every window is the origin of one sequence, shuffled."""
    patch = window["patch"]
    steps = window["history"] + (origins - 1) * patch + window["horizon"]
    sequences = torch.cat([values[phase:].unfold(0, steps, patch * origins) for phase in range(patch)])
    order = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(0))
    return list(sequences[order.to(values.device)].split(batch))


def window_at_a_time(values: Tensor, window: Mapping[str, int], hidden: int, batch: int, num_batches: int) -> Loop:
    """The usual loop: every window's history is read again from its first step, and its last state gives a forecast.

    Args:
        values: a series, [R]; its windows are views, gathered by the batch.
    """
    windows_MT = values.unfold(0, window["history"] + window["horizon"], 1)
    chosen = torch.randint(len(windows_MT), (num_batches, batch), generator=torch.Generator().manual_seed(0))

    def gather(numbers_B: Tensor) -> tuple[Tensor, Tensor, float]:
        values_BT = windows_MT[numbers_B]
        return values_BT[:, : -window["horizon"]].unflatten(1, (-1, window["patch"])), values_BT, 0.0

    batches: list[tuple[Tensor, ...]] = [(numbers_B,) for numbers_B in chosen.to(values.device)]
    return _loop(batches, gather, window["patch"], window, hidden, None)


def _loop(
    batches: list[tuple[Tensor, ...]],
    read: Callable[..., tuple[Tensor, Tensor, Tensor | float]],
    num_inputs: int,
    window: Mapping[str, int],
    hidden: int,
    clip_norm: float | None,
    past_the_lstm: bool = False,
) -> Loop:
    torch.manual_seed(0)
    net = Net(num_inputs, hidden, window["horizon"], past_the_lstm).to(batches[0][0].device)
    return Loop(batches, read, net, torch.optim.AdamW(net.parameters(), lr=1e-3), window, clip_norm)
