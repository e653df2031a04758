"""What one batch costs: its tensors, the network's answers, and sums of loss, weight, metric and count.

Knows one process and no optimiser. Sums add over workers; whoever has them all divides.
Shapes: B sequences, T steps, N origins, H horizon, C targets, K classes, A answers for
one step, M labelled steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.data.windows import IGNORED, Batch
from lstm_ray.model.losses import class_loss, forecast_loss, value_loss
from lstm_ray.model.network import Ensemble, forecaster


@dataclass(frozen=True)
class Lesson:
    """A batch on the network's device: what the network reads, and what is held against its answer.

    The two are told apart, for augmentation may hide or blur what is read and never what is true.
    """

    target_BTC: Tensor
    observed_BTC: Tensor
    past_BTP: Tensor
    known_BTK: Tensor
    category_BS: Tensor
    origin_BN: Tensor
    label_B: Tensor
    label_BT: Tensor
    weight_BT: Tensor
    """Of each step; of a whole sequence to classify, [B, 1]; [B, 0]: all count alike."""
    truth_BTC: Tensor
    """What targets are in truth; ``target_BTC`` itself unless augmented."""
    measured_BTC: Tensor
    """1 where the truth counts."""
    other_B: Tensor
    """Label of the sequence mixed into each (mixup); its own where none is."""
    share_B: Tensor
    """How much of each sequence is its own, 0.5 to 1."""

    def counted(self) -> Tensor:
        """How much each value of the truth counts in the loss, [B, T, C]."""
        return self.measured_BTC * self.weight_BT[..., None] if self.weight_BT.shape[1] else self.measured_BTC

    def unweighted(self) -> Lesson:
        """The same, every step (sequence) counting alike: what is scored, not learned (data.weight)."""
        return replace(self, weight_BT=self.weight_BT[:, :0])

    def parts(self, number: int) -> list[Lesson]:
        """The same sequences in at most ``number`` parts of about one size, in order."""
        size = -(-len(self.label_B) // number)
        split = {field.name: getattr(self, field.name).split(size) for field in fields(self)}
        return [Lesson(**dict(zip(split, part, strict=True))) for part in zip(*split.values(), strict=True)]


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Args:
        config: complete.
        network: bare.
        called: the network as it is called, where a wrapper averages gradients over processes.
        class_weight_K: of each class in the loss; none: 1 (task: classify).
    """

    config: Config
    network: nn.Module
    called: nn.Module
    class_weight_K: Tensor | None = None

    @property
    def num_learners(self) -> int:
        """Networks that an answer in training is of."""
        return len(self.network.learners) if isinstance(self.network, Ensemble) else 1

    @cached_property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def lesson(self, batch: Batch) -> Lesson:
        """A batch's tensors on the network's device."""
        read = {name: to_device(torch.from_numpy(value), self.device) for name, value in vars(batch).items()}
        label_B = read["label_B"]
        return Lesson(
            **read,
            truth_BTC=read["target_BTC"],
            measured_BTC=read["observed_BTC"],
            other_B=label_B,
            share_B=torch.ones(len(label_B), device=self.device),
        )

    def weight(self, lesson: Lesson) -> Tensor:
        """Sum of the weights of all values (sequences, labelled steps) that the loss counts."""
        if self.config.task == "forecast":
            counted_BT1 = lesson.counted().sum(-1, keepdim=True)
            return (forecaster(self.network).futures(counted_BT1).sum((2, 3)) * lesson.origin_BN).sum()
        if self.config.task == "label":
            return self._step_weights(lesson).sum()
        own_B, other_B = (self._class_weights(label_B, lesson) for label_B in (lesson.label_B, lesson.other_B))
        return (lesson.share_B * own_B + (1 - lesson.share_B) * other_B).sum()

    def losses(self, lesson: Lesson) -> Iterator[Tensor]:
        """Weighted sums of losses that add up to the batch's: one, or as many as ``train.accumulate`` and
        ``train.truncate_steps`` make.

        Take each one's gradient before asking for the next: no more than one part's activations are then held, and
        processes average their gradients with the last one alone.
        """
        train = self.config.train
        parts = lesson.parts(train.accumulate) if train.accumulate > 1 else [lesson]
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            if train.truncate_steps is not None:
                yield from self._truncated(part, train.truncate_steps, last)
                continue
            with self._averaging(last):
                yield self._sum(self.answer(part), part)

    def _truncated(self, lesson: Lesson, steps: int, last: bool) -> Iterator[Tensor]:
        """Sums part by part of ``steps`` steps: truncated backpropagation through time (Williams & Peng 1990).

        The LSTM's state is carried from part to part, the graph behind it is not.
        """
        network, reader = self.network, forecaster(self.network)
        first_origin, patches = reader.history // reader.patch - 1, steps // reader.patch
        end = first_origin + lesson.origin_BN.shape[1]
        # Parts before the first origin have no loss, so no gradient: they are read at once, to warm the state up.
        begin, state = first_origin // patches * patches, None
        if begin:
            with torch.no_grad(), self._precision():
                _, state = network(*self.inputs(lesson), part=(0, begin), state=None)
        for first in range(begin, end, patches):
            part = (first, min(first + patches, end))
            with self._averaging(last and part[1] == end):
                with self._precision():
                    raw, state = self.called(*self.inputs(lesson), part=part, state=state)
                state = detached(state)
                yield self._sum(raw, lesson, max(0, first - first_origin))

    def sums(self, lesson: Lesson) -> Tensor:
        """Sums of loss and its weight, of the metric (absolute error of the median or value, or hits) and its count, [4]."""
        return self.sums_of(self.answer(lesson), lesson)

    def answer(self, lesson: Lesson, **options: Any) -> Tensor:
        """What the network answers, called with these options."""
        with self._precision():
            answer: Tensor = self.called(*self.inputs(lesson), **options)
        return answer

    def sums_of(self, answer: Tensor, lesson: Lesson) -> Tensor:
        """``sums`` of an answer."""
        weight = self.weight(lesson)
        if self.config.task == "forecast":
            reader = forecaster(self.network)
            median_BNHC = reader.forecast(answer)[..., reader.quantiles.index(0.5)].float()
            error_BNHC = (median_BNHC - reader.futures(lesson.truth_BTC)).abs()
            metric, count = self._counted(error_BNHC, lesson), weight
        elif self.config.task == "label":
            told_MA, label_M = self._labelled(answer, lesson)
            right = (
                told_MA.argmax(-1) == label_M if self.config.answers == "classes" else (told_MA[:, 0] - label_M).abs()
            )
            metric, count = right.sum(), torch.tensor(len(label_M))
        else:
            counted_B = lesson.label_B != IGNORED
            metric, count = ((answer.argmax(-1) == lesson.label_B) & counted_B).sum(), counted_B.sum()
        return torch.stack([self._sum_of_one(answer, lesson, 0), weight, metric.to(weight), count.to(weight)])

    def inputs(self, lesson: Lesson) -> tuple[Tensor, ...]:
        if self.config.task == "forecast":
            return lesson.target_BTC, lesson.observed_BTC, lesson.past_BTP, lesson.known_BTK, lesson.category_BS
        if self.config.task == "label":
            return lesson.past_BTP, lesson.observed_BTC, lesson.known_BTK, lesson.origin_BN, lesson.category_BS
        return lesson.past_BTP, lesson.known_BTK, lesson.origin_BN, lesson.category_BS

    def _precision(self) -> AbstractContextManager[Any]:
        return autocast(self.config, self.device)

    def _averaging(self, wanted: bool) -> AbstractContextManager[Any]:
        """Where not wanted, a wrapper that averages gradients over processes leaves the next backward pass alone."""
        pause: Any = getattr(self.called, "no_sync", nullcontext)
        return nullcontext() if wanted else pause()

    def _sum(self, answer: Tensor, lesson: Lesson, first: int = 0) -> Tensor:
        """Weighted sum of the losses of an answer; a forecast's begins at the ``first`` origin. Of members all theirs, so
        that each learns as if it were alone."""
        if isinstance(self.network, Ensemble):
            return torch.stack([self._sum_of_one(one, lesson, first) for one in answer.unbind(0)]).sum()
        return self._sum_of_one(answer, lesson, first)

    def _sum_of_one(self, answer: Tensor, lesson: Lesson, first: int) -> Tensor:
        if self.config.task == "forecast":
            return self._forecast_sum(answer, lesson, first)
        if self.config.task == "label":
            return self._label_sum(answer, lesson)
        return self._class_sum(answer, lesson)

    def _forecast_sum(self, raw_BNHCP: Tensor, lesson: Lesson, first: int) -> Tensor:
        network = forecaster(self.network)
        actual_BNHC = network.futures(lesson.truth_BTC)[:, first : first + raw_BNHCP.shape[1]]
        raw_BNHCP = raw_BNHCP.float()
        if self.config.loss == "likelihood":
            loss_BNHC = network.negative_log_likelihood(raw_BNHCP, actual_BNHC)
        else:
            loss_BNHC = forecast_loss(self.config, raw_BNHCP, actual_BNHC, network.quantiles)
        return self._counted(loss_BNHC, lesson, first)

    def _counted(self, values_BNHC: Tensor, lesson: Lesson, first: int = 0) -> Tensor:
        answered = slice(first, first + values_BNHC.shape[1])
        counted_BNHC = forecaster(self.network).futures(lesson.counted())[:, answered]
        return ((values_BNHC * counted_BNHC).sum((2, 3)) * lesson.origin_BN[:, answered]).sum()

    def _class_sum(self, logits_BK: Tensor, lesson: Lesson) -> Tensor:
        logits_BK = logits_BK.float()
        loss_B = class_loss(self.config, logits_BK, lesson.label_B) * self._class_weights(lesson.label_B, lesson)
        if lesson.other_B is lesson.label_B:
            return loss_B.sum()
        other_B = class_loss(self.config, logits_BK, lesson.other_B) * self._class_weights(lesson.other_B, lesson)
        return (lesson.share_B * loss_B + (1 - lesson.share_B) * other_B).sum()

    def _label_sum(self, answer_BTA: Tensor, lesson: Lesson) -> Tensor:
        told_MA, label_M = self._labelled(answer_BTA, lesson)
        if self.config.answers == "values":
            loss_M = value_loss(self.config, told_MA[:, 0], label_M)
        else:
            loss_M = class_loss(self.config, told_MA, label_M.long())
        return (loss_M * self._step_weights(lesson)).sum()

    def _labelled(self, answer_BTA: Tensor, lesson: Lesson) -> tuple[Tensor, Tensor]:
        """The answers for labelled steps, [M, A], and these labels, [M]."""
        counted_BT = ~lesson.label_BT.isnan()
        return answer_BTA[counted_BT].float(), lesson.label_BT[counted_BT]

    def _step_weights(self, lesson: Lesson) -> Tensor:
        """Of labelled steps, [M]."""
        told_BT = ~lesson.label_BT.isnan()
        label_M = lesson.label_BT[told_BT]
        weight_M = torch.ones_like(label_M) if self.class_weight_K is None else self.class_weight_K[label_M.long()]
        return weight_M * lesson.weight_BT[told_BT] if lesson.weight_BT.shape[1] else weight_M

    def _class_weights(self, label_B: Tensor, lesson: Lesson) -> Tensor:
        """Of sequences with these labels, [B]."""
        counted_B = label_B != IGNORED
        weight_B = counted_B.float()
        if self.class_weight_K is not None:
            weight_B = self.class_weight_K[label_B.where(counted_B, 0)] * counted_B
        return weight_B * lesson.weight_BT[:, 0] if lesson.weight_BT.shape[1] else weight_B


def autocast(config: Config, device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 autocast (Kalamkar et al. 2019) where ``precision`` says so."""
    if precision(config, device) == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def precision(config: Config, device: torch.device) -> str:
    """``train.precision``, 'auto' being bfloat16 where the device multiplies in it and float32 where it would only convert."""
    if config.train.precision != "auto":
        return config.train.precision
    if device.type != "cpu":
        return "bfloat16"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor there. Copies to a GPU go from pinned memory, so that they run beside its work."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def detached(state: Any) -> Any:
    """A state of tensors, however nested, without the graph behind it."""
    if isinstance(state, Tensor):
        return state.detach()
    return tuple(detached(part) for part in state)
