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


class Net(nn.Module):
    """One LSTM layer and a linear head."""

    def __init__(self, num_inputs: int, hidden: int, horizon: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(num_inputs, hidden, batch_first=True)
        self.head = nn.Linear(hidden, horizon)

    def forward(self, inputs_BNI: Tensor, first: int) -> Tensor:
        """Forecasts at every origin from patch ``first`` on, [B, N, H]."""
        forecast: Tensor = self.head(self.lstm(inputs_BNI)[0][:, first:])
        return forecast


@dataclass(frozen=True)
class Loop:
    """A training loop that goes on where it stopped."""

    batches: list[tuple[Tensor, ...]]
    read: Callable[..., tuple[Tensor, Tensor]]
    """A batch to what the LSTM reads, [B, N, I], and the values [B, T] whose futures are forecast."""
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

    def _step(self, inputs_BNI: Tensor, values_BT: Tensor) -> int:
        history, patch = self.window["history"], self.window["patch"]
        # bfloat16 is what the trainer takes on a GPU, too.
        with torch.autocast("cuda", torch.bfloat16, enabled=values_BT.is_cuda):
            forecast_BNH = self.net(inputs_BNI, history // patch - 1)
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
    """A loss at every origin of sequences whose inputs were computed, cut and batched beforehand.

    Args:
        values: a series, [R]; all its windows are origins of some sequence, as they are for the trainer.
        num_inputs: what the LSTM reads of a patch: its p values, and ones where that is not all.
    """
    patch, horizon = window["patch"], window["horizon"]
    steps = window["history"] + (origins - 1) * patch + horizon
    sequences = torch.cat([values[phase:].unfold(0, steps, patch * origins) for phase in range(patch)])
    order = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(0))
    batches: list[tuple[Tensor, ...]] = []
    for values_BT in sequences[order.to(values.device)].split(batch):
        inputs_BNI = values_BT[:, :-horizon].unflatten(1, (-1, patch))
        ones = torch.ones_like(inputs_BNI[..., :1]).expand(-1, -1, num_inputs - patch)
        inputs_BNI = torch.cat([inputs_BNI, ones], -1)
        batches.append((inputs_BNI, values_BT))
    return _loop(batches, lambda inputs, values: (inputs, values), num_inputs, window, hidden, 1.0)


def window_at_a_time(values: Tensor, window: Mapping[str, int], hidden: int, batch: int, num_batches: int) -> Loop:
    """The usual loop: every window's history is read again from its first step, and its last state gives a forecast.

    Args:
        values: a series, [R]; its windows are views, gathered by the batch.
    """
    windows_MT = values.unfold(0, window["history"] + window["horizon"], 1)
    chosen = torch.randint(len(windows_MT), (num_batches, batch), generator=torch.Generator().manual_seed(0))

    def gather(numbers_B: Tensor) -> tuple[Tensor, Tensor]:
        values_BT = windows_MT[numbers_B]
        return values_BT[:, : -window["horizon"]].unflatten(1, (-1, window["patch"])), values_BT

    batches: list[tuple[Tensor, ...]] = [(numbers_B,) for numbers_B in chosen.to(values.device)]
    return _loop(batches, gather, window["patch"], window, hidden, None)


def _loop(
    batches: list[tuple[Tensor, ...]],
    read: Callable[..., tuple[Tensor, Tensor]],
    num_inputs: int,
    window: Mapping[str, int],
    hidden: int,
    clip_norm: float | None,
) -> Loop:
    torch.manual_seed(0)
    net = Net(num_inputs, hidden, window["horizon"]).to(batches[0][0].device)
    return Loop(batches, read, net, torch.optim.AdamW(net.parameters(), lr=1e-3), window, clip_norm)
