"""A moving average of a network's weights, kept beside them. Knows nothing of losses or batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of weights over optimiser steps (Polyak & Juditsky 1992; Tarvainen & Valpola 2017).

    The decay grows with the steps t as (1 + t) / (10 + t) up to its value: at first the average forgets fast, so that it
    does not remember the weights that the seed drew.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._own = dict(network.named_parameters())
        self._mean = {name: weight.detach().clone() for name, weight in self._own.items()}

    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self._mean.values()), list(self._own.values()), 1 - decay)

    def set(self, name: str, value: Tensor) -> None:
        """Forget what a weight was."""
        self._mean[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the network hold the averaged weights, and its own again afterwards."""
        own = {name: weight.detach().clone() for name, weight in self._own.items()}
        self._put(self._mean)
        try:
            yield
        finally:
            self._put(own)

    def state(self) -> dict[str, Tensor]:
        """Name to averaged weight."""
        return dict(self._mean)

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Go on from what ``state`` gave after so many steps."""
        self.steps = steps
        for name, mean in self._mean.items():
            mean.copy_(state[name])

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._own.items():
                weight.copy_(weights[name])
