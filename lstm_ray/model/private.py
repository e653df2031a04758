"""Steps of differential privacy (DP-SGD, Abadi et al. 2016) whose unit is a whole series. Knows one process; no files.

Every step takes each unit by chance and of it one training sequence, drawn at random; the gradient of each is taken alone and
shortened, noise is added to their sum, and that is divided by how many are taken on average. One series so changes a step by
``clip_norm`` over that number at most, and noise hides it.

What is drawn comes from a key that is of the system and kept nowhere: the seed of a run stands in its policy, and whoever
could draw the noise again could take it off. torch's generator is none of cryptography, and sums are of floating point
(Mironov 2012), as in Opacus' default.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstm_ray.data.feed import Items, Source
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.model.augment import augmented
from lstm_ray.model.objective import Lesson, Objective
from lstm_ray.model.spending import Account

Key = bytes


@dataclass(frozen=True)
class Units:
    """Whose presence is hidden, with the training items of each."""

    item_M: NDArray
    """int64: numbers of items, unit by unit."""
    first_U: NDArray
    """int64: where each unit's begin in ``item_M``."""
    count_U: NDArray
    """int64: how many each has."""

    def __len__(self) -> int:
        return len(self.first_U)


def units_of(items: Items, segments: Segments) -> Units:
    """The series that a training part's items are of; one may lie in several segments."""
    first_M = items.number_MW[:, 0]
    segment_M = segments.series_of(first_M) if items.num_rows else first_M
    of_S = np.unique(np.asarray(segments.series), return_inverse=True)[1]
    _, unit_M, count_U = np.unique(of_S[segment_M], return_inverse=True, return_counts=True)
    order_M = np.argsort(unit_M, kind="stable")
    return Units(order_M, np.cumsum(count_U) - count_U, count_U)


class Private:
    """What a private training draws and how it takes a step.

    Args:
        key: of the random numbers; None: of the system, as it must be outside of tests.
    """

    def __init__(self, account: Account, units: Units, key: Key | None = None) -> None:
        self.account, self._units, self._key = account, units, key or os.urandom(32)

    def chosen(self, step: int) -> NDArray:
        """Items that a step learns from, int64: of each unit none, or one of its own drawn at random."""
        random = np.random.default_rng(self._number("chosen", step))
        taken_U = random.random(len(self._units)) < self.account.rate
        turn_U = random.integers(self._units.count_U)
        found: NDArray = self._units.item_M[(self._units.first_U + turn_U)[taken_U]]
        return found

    def batches(self, items: Source, steps_per_epoch: int) -> Callable[[int], Iterator[Batch]]:
        """An epoch's number to its batches, as ``training.fit`` reads them; a step may take nobody, and is then noise."""

        def read(epoch: int) -> Iterator[Batch]:
            for step in range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch):
                chosen = self.chosen(step)
                yield items.cut(chosen) if len(chosen) else items.cut(np.zeros(1, np.int64)).silent_after(0)

        return read

    def backward(self, objective: Objective, batch: Batch, step: int) -> Tensor:
        """Leave a step's noised gradient in the network; returns its sums of loss and weight, [2].

        A sequence's gradient is that of its loss per value that counts. What it has of data.weight and of class weights
        multiplies its loss before the gradient is shortened.
        """
        account, config = self.account, objective.config
        torch.manual_seed(self._number("noise", step))
        weights = [weight for weight in objective.network.parameters() if weight.requires_grad]
        deviation = account.sigma * account.clip_norm
        total = [torch.randn_like(weight) * deviation for weight in weights]
        sums = torch.zeros(2, device=objective.device)
        plain = Objective(config, objective.network, objective.called)
        for number, lesson in enumerate(_one_by_one(objective.lesson(batch))):
            objective.network.zero_grad(set_to_none=True)
            key = (self._number("augment", step), number)
            count = plain.weight(lesson.unweighted()).clamp(min=1)
            for loss in objective.losses(augmented(lesson, config.train.augment, config.window, key)):
                loss.backward()
                sums[0] += loss.detach()
            sums[1] += objective.weight(lesson).detach()
            own = [torch.zeros_like(weight) if weight.grad is None else weight.grad / count for weight in weights]
            norm = torch.stack(torch._foreach_norm(own)).norm()
            torch._foreach_add_(total, torch._foreach_mul(own, (account.clip_norm / norm).clamp(max=1.0)))
        for weight, value in zip(weights, total, strict=True):
            weight.grad = value / account.expected
        return sums

    def _number(self, use: str, step: int) -> int:
        """A seed of 63 bits that nobody finds without the key."""
        return int.from_bytes(sha256(self._key + f"{use}:{step}".encode()).digest()[:8], "big") >> 1


def noise_to_signal(account: Account, num_parameters: int) -> float:
    """Norm of a step's noise, as is to be expected, over that of the longest gradient that all together could have."""
    return account.sigma * math.sqrt(num_parameters) / account.expected


def _one_by_one(lesson: Lesson) -> list[Lesson]:
    return lesson.parts(len(lesson.label_B))
