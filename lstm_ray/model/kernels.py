"""Classes by a ridge over what fixed convolutions count. Nothing in it is learned by gradients; knows no LSTM.

MiniRocket (Dempster, Schmidt & Webb 2021): kernels of nine weights, six of -1 and three of 2, at dilations that double; a
feature is the share of a sequence's steps at which a kernel's output exceeds a threshold.
Shapes: B sequences, T steps, N patches, F inputs, J kernels, V dilations, W thresholds of a kernel, A = 1 + V J W inputs of
the ridge, the first of them 1, K classes.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lstm_ray.config import Config
from lstm_ray.data.schema import Schema
from lstm_ray.data.windows import Batch

LENGTH, HEAVY = 9, 3
"""Weights of a kernel, and those of them that are 2 where the others are -1: all its outputs ignore the level."""
FEATURES = 2000
"""About as many, shared by the dilations: beyond that a ridge gains little and costs its cube."""
MAX_MIXED = 9
"""Inputs that one kernel reads at most, as many as chance has it."""
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples lie evenly between 0 and 1, however many are taken: where thresholds are read from the outputs."""
CHUNK_VALUES = 16_000_000
"""Outputs of kernels held at a time, 64 MB."""


class KernelRidge(nn.Module):
    """Class scores, about 0 to 1, of a ridge on the features of whole sequences."""

    weight_VJFL: Tensor
    threshold_VJW: Tensor
    ridge_AK: Tensor

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        inputs, steps = len(schema.past) + schema.num_known, config.window.history
        self.patch, self.dilations = config.window.patch, dilations(steps)
        weight_VJFL = kernels(inputs, len(self.dilations), config.seed)
        count = max(1, FEATURES // (weight_VJFL.shape[0] * weight_VJFL.shape[1]))
        self.register_buffer("weight_VJFL", weight_VJFL)
        self.register_buffer("threshold_VJW", torch.zeros(*weight_VJFL.shape[:2], count))
        self.register_buffer("ridge_AK", torch.zeros(1 + self.threshold_VJW.numel(), len(schema.classes)))

    def forward(
        self, past_BTP: Tensor, known_BTK: Tensor, origin_BN: Tensor, category_BS: Tensor | None = None
    ) -> Tensor:
        """Scores [B, K]; called as a classifier is, categorical statics unread."""
        features_BA = self.features(torch.cat([past_BTP, known_BTK], -1), origin_BN)
        return self.ridge_AK[0] + features_BA @ self.ridge_AK[1:]

    def features(self, inputs_BTF: Tensor, inside_BN: Tensor) -> Tensor:
        """[B, A - 1], the same to the bit on any device and in any batch."""
        inside_BT = inside_BN.repeat_interleave(self.patch, 1)
        size = max(1, CHUNK_VALUES // (inputs_BTF.shape[1] * self.weight_VJFL.shape[1]))
        parts = zip(inputs_BTF.split(size), inside_BT.split(size), strict=True)
        return torch.cat([self._features(*part) for part in parts])

    def _features(self, inputs_BTF: Tensor, inside_BT: Tensor) -> Tensor:
        found, num_steps_B1 = [], inside_BT.sum(1, keepdim=True)
        for dilation, threshold_JW in enumerate(self.threshold_VJW):
            output_BJT = self.outputs(inputs_BTF, dilation)
            for threshold_J in threshold_JW.unbind(1):
                above_BJT = (output_BJT > threshold_J[:, None]).float()
                found.append((above_BJT @ inside_BT[:, :, None])[..., 0] / num_steps_B1)
        return torch.cat(found, 1)

    def outputs(self, inputs_BTF: Tensor, dilation: int) -> Tensor:
        """What the kernels of one dilation make of each step, float32 [B, J, T]; beyond a sequence's ends lie zeros.

        Many outputs equal a threshold (those of a calendar, of flat stretches), and the order of a sum, which hangs on the
        device and the batch, would move them across it. In float64 these sums are exact, but for the rarest.
        """
        apart, weight_JFL = self.dilations[dilation], self.weight_VJFL[dilation].double()
        inputs_BFT = inputs_BTF.transpose(1, 2).double()
        return functional.conv1d(inputs_BFT, weight_JFL, padding=LENGTH // 2 * apart, dilation=apart).float()

    def thresholds(self, inputs_BTF: Tensor, inside_BN: Tensor) -> NDArray:
        """Quantiles of the kernels' outputs over some sequences' steps, float32 [V, J, W]."""
        inside_BT = inside_BN.repeat_interleave(self.patch, 1) > 0
        places_VJW = (np.arange(1, 1 + self.threshold_VJW.numel()) * GOLDEN % 1).reshape(self.threshold_VJW.shape)
        found_VJW = np.empty(self.threshold_VJW.shape, np.float32)
        for dilation in range(len(self.dilations)):
            output_JM = self.outputs(inputs_BTF, dilation).transpose(0, 1)[:, inside_BT].numpy()
            for kernel, output_M in enumerate(output_JM):
                found_VJW[dilation, kernel] = np.quantile(output_M, places_VJW[dilation, kernel])
        return found_VJW


def dilations(steps: int) -> list[int]:
    """Powers of 2 at which a kernel still lies within so many steps; 1 at least."""
    return [2**power for power in range(max(0, int(np.log2(max(1, (steps - 1) / (LENGTH - 1))))) + 1)]


def kernels(inputs: int, num_dilations: int, seed: int) -> Tensor:
    """Weights [V, J, F, LENGTH] of all kernels. Each reads some of the inputs, added up, as chance has it."""
    heavy_JH = np.array(list(combinations(range(LENGTH), HEAVY)))
    weight_JL = np.full((len(heavy_JH), LENGTH), -1.0, np.float32)
    np.put_along_axis(weight_JL, heavy_JH, 2.0, axis=1)
    random, most = np.random.default_rng(seed), min(inputs, MAX_MIXED)
    read_VJF = np.zeros((num_dilations, len(heavy_JH), inputs), np.float32)
    for read_F in read_VJF.reshape(-1, inputs):
        count = int(2 ** random.uniform(0, np.log2(most))) if most > 1 else 1
        read_F[random.choice(inputs, count, replace=False)] = 1
    return torch.from_numpy(read_VJF[..., None] * weight_JL[None, :, None])


def read(batch: Batch) -> tuple[Tensor, Tensor]:
    """A batch of whole sequences as ``features`` takes them."""
    inputs_BTF = np.concatenate([batch.past_BTP, batch.known_BTK], -1)
    return torch.from_numpy(inputs_BTF), torch.from_numpy(batch.origin_BN)
