"""The training loop: batches in, best weights out. Knows one process; sums over workers only through ``add_up``.

Whoever spreads training over processes wraps the network for gradient averaging, deals each process its share of every
batch, and passes an ``add_up`` that sums a tensor over all processes. Nothing else changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import IGNORED, Batch
from lstm_ray.errors import InputError
from lstm_ray.model.augment import augmented
from lstm_ray.model.averaging import WeightAverage
from lstm_ray.model.heap import steady_heap
from lstm_ray.model.highway import SHARES
from lstm_ray.model.losses import require_usable
from lstm_ray.model.network import Ensemble, Forecaster, single
from lstm_ray.model.objective import Lesson, Objective
from lstm_ray.model.optimisers import Gradients, lower_the_rate, make_optimiser, memory_named
from lstm_ray.model.schedules import epochs_stalled, learning_rate, num_epochs, patience

Batches = Callable[[int], Iterable[Batch]]
"""An epoch's number to its batches."""
Sum = Callable[[Tensor], Tensor]
"""Adds a tensor up over all processes."""


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch's line in metrics.jsonl says."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_metric: float
    """Scaled MAE of the median (forecast) or accuracy (classify)."""
    gradient_norm: float
    """Mean over the epoch's steps, before clipping."""
    largest_gradient_norm: float
    clipped_share: float
    """Share of the steps whose gradient was longer than train.clip_norm."""
    learning_rate: float
    """At the end of the epoch."""
    windows_per_second: float
    """Windows (or sequences) trained per second, validation not counted."""
    seconds: float


@dataclass
class Training:
    """Everything a killed training needs to go on: records here, tensors in the objects it refers to."""

    network: nn.Module
    """The bare network, not its wrapper."""
    optimiser: torch.optim.Optimizer
    best_weights: dict[str, Tensor]
    average: WeightAverage | None = None
    class_weight_K: Tensor | None = None
    records: list[EpochRecord] = field(default_factory=list)

    @property
    def finished_epochs(self) -> int:
        return len(self.records)

    @property
    def best_record(self) -> EpochRecord:
        return min(self.records, key=lambda record: record.validation_loss)

    @property
    def validation_losses(self) -> list[float]:
        return [record.validation_loss for record in self.records]

    @property
    def best_loss(self) -> float:
        return min(self.validation_losses, default=math.inf)


def start(
    network: nn.Module,
    config: Config,
    *,
    scaler: Scaler | None = None,
    class_weight_K: NDArray | None = None,
    ridges: Sequence[NDArray | None] = (),
) -> Training:
    """A fresh training of a network.

    Args:
        ridges: of ``highway.closed_forms``; none: what the network's weights brought along.
        scaler: of the data; needed where the network speaks the target's own units.
        class_weight_K: of ``feed.class_weights``; needed where train.class_weights asks for any.

    Raises:
        InputError: the user's own loss cannot be used.
    """
    train = config.train
    if train.class_weights != "none" and class_weight_K is None:
        raise ValueError("train.class_weights is set: pass feed.class_weights() to start()")
    require_usable(config)
    for one in single(network):
        if isinstance(one, Forecaster) and scaler is not None:
            one.set_units(scaler)
    for one, ridge_AH in zip(single(network), ridges, strict=bool(ridges)):
        if ridge_AH is not None:
            assert isinstance(one, Forecaster)
            assert one.highway is not None
            one.highway.ridge_AH.copy_(torch.from_numpy(ridge_AH))
    device = next(network.parameters()).device
    return Training(
        network,
        make_optimiser(network, train),
        _copy(network.state_dict()),
        WeightAverage(network, train.weight_averaging) if train.weight_averaging else None,
        torch.from_numpy(class_weight_K).to(device) if class_weight_K is not None else None,
    )


def fit(
    training: Training,
    config: Config,
    train_batches: Batches,
    validation_batches: Callable[[], Iterable[Batch]],
    steps_per_epoch: int,
    *,
    wrapped: nn.Module | None = None,
    add_up: Sum = lambda sums: sums,
    on_epoch: Callable[[EpochRecord], bool] = lambda record: True,
    rank: int = 0,
) -> None:
    """Train until the epochs or the patience run out, then leave the best weights in the network.

    Args:
        wrapped: the network as it is called, where a wrapper averages gradients over processes.
        add_up: sums a tensor over all processes.
        on_epoch: called after every epoch; training ends where it returns False.
        rank: number of this process, so that each augments in its own way.

    Raises:
        InputError: the loss or a gradient is no longer finite, or a batch does not fit into memory.
    """
    train = config.train
    steady_heap()
    objective = Objective(config, training.network, wrapped or training.network, training.class_weight_K)
    num_workers = float(add_up(torch.ones(1, device=objective.device)))
    while training.finished_epochs < num_epochs(config, steps_per_epoch) and not _stopped(
        training, config, steps_per_epoch
    ):
        epoch, began = training.finished_epochs, time.perf_counter()
        gradients, num_windows = Gradients(training.network, config, epoch), 0.0
        objective.called.train()
        with memory_named(config):
            for index, batch in enumerate(train_batches(epoch)):
                rate = _set_rate(training, config, epoch * steps_per_epoch + index, steps_per_epoch)
                key = (config.seed, epoch, index, rank)
                lesson = augmented(objective.lesson(batch), train.augment, config.window, key)
                gradients.clip(_backward(objective, lesson, num_workers, add_up))
                training.optimiser.step()
                training.optimiser.zero_grad(set_to_none=True)
                if training.average is not None:
                    training.average.update()
                num_windows += _num_windows(batch, config)
        assert gradients.steps == steps_per_epoch, f"{gradients.steps} steps where {steps_per_epoch} were planned"
        taught, norms = add_up(gradients.finish()), gradients.norms
        seconds = time.perf_counter() - began
        with training.average.in_place() if training.average is not None else nullcontext():
            checked = validate_best(objective, validation_batches, add_up)
            record = EpochRecord(
                epoch=epoch,
                train_loss=float(taught[0] / _or_one(taught[1])),
                validation_loss=float(checked[0] / checked[1]),
                validation_metric=float(checked[2] / checked[3]),
                gradient_norm=float(norms.mean()),
                largest_gradient_norm=float(norms.max()),
                clipped_share=float((norms > train.clip_norm).float().mean()),
                learning_rate=rate,
                windows_per_second=float(add_up(torch.tensor(num_windows, device=taught.device))) / seconds,
                seconds=seconds,
            )
            _remember(training, record)
        if not on_epoch(record):
            break
    training.network.load_state_dict(training.best_weights)


def validate(objective: Objective, batches: Iterable[Batch], add_up: Sum = lambda sums: sums) -> Tensor:
    """Sums over all batches of all processes: of loss and its weight, of the metric and its count, [4].

    Raises:
        InputError: nothing was observed, the loss is not finite, or a batch does not fit into memory.
    """
    objective.called.eval()
    sums = torch.zeros(4, device=objective.device)
    with torch.inference_mode(), memory_named(objective.config):
        for batch in batches:
            sums += objective.sums(objective.lesson(batch))
    sums = add_up(sums)
    if not sums[1] > 0:
        raise InputError("the validation part has no observed value to score; move split.validation or fill its gaps")
    if not torch.isfinite(sums[0]):
        raise InputError(
            f"training diverged: the validation loss is {float(sums[0])}; {lower_the_rate(objective.config)}"
        )
    return sums


def validate_best(
    objective: Objective, batches: Callable[[], Iterable[Batch]], add_up: Sum = lambda sums: sums
) -> Tensor:
    """``validate`` with each part that closed forms and kinds of members may have in the answer; leaves the best in place."""
    network = objective.network
    averaged = [
        one.highway.share
        for one in single(network)
        if isinstance(one, Forecaster) and one.highway is not None and one.highway.kind == "average"
    ]
    shares = [torch.tensor(share) for share in SHARES] if averaged else []
    found = _best([(averaged, value) for value in shares], objective, batches, add_up)
    if isinstance(network, Ensemble) and network.kinds > 1:
        found = _best([([network.weight_E], value) for value in network.choices()], objective, batches, add_up)
    return validate(objective, batches(), add_up) if found is None else found


def _best(
    choices: list[tuple[list[Tensor], Tensor]],
    objective: Objective,
    batches: Callable[[], Iterable[Batch]],
    add_up: Sum,
) -> Tensor | None:
    """The sums with the least loss, over values that some buffers may take; the buffers keep those. None without choices."""
    tried = []
    for buffers, value in choices:
        for buffer in buffers:
            buffer.copy_(value)
        sums = validate(objective, batches(), add_up)
        tried.append((float(sums[0] / sums[1]), sums, buffers, value))
    if not tried:
        return None
    _, sums, buffers, value = min(tried, key=lambda one: one[0])
    for buffer in buffers:
        buffer.copy_(value)
    return sums


def load_matching(network: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """Copy the tensors whose name and shape fit; returns the share of the network's parameters so filled."""
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **fitting})
    return sum(value.numel() for value in fitting.values()) / sum(value.numel() for value in own.values())


def _backward(objective: Objective, lesson: Lesson, num_workers: float, add_up: Sum) -> Tensor:
    """Gradients of the mean loss over the whole batch of all processes; returns this one's sums of loss and weight, [2].

    Each process weighs by the weight over all of them, so the average of their gradients is the global mean's.
    """
    weight = objective.weight(lesson)
    share = num_workers / _or_one(add_up(weight))
    total = torch.zeros_like(weight)
    for loss in objective.losses(lesson):
        (loss * share).backward()
        total += loss.detach()
    return torch.stack([total, weight])


def _set_rate(training: Training, config: Config, index: int, steps_per_epoch: int) -> float:
    """Give the optimiser the learning rate of a step, counted over all epochs."""
    rate = learning_rate(config, index, steps_per_epoch, training.validation_losses)
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    return rate


def _num_windows(batch: Batch, config: Config) -> float:
    return float(batch.origin_BN.sum() if config.task == "forecast" else (batch.label_B != IGNORED).sum())


def _stopped(training: Training, config: Config, steps_per_epoch: int) -> bool:
    """Whether validation has not improved, by as much as it must, for as long as the patience lasts."""
    stalled = epochs_stalled(training.validation_losses, config.train.min_improvement)
    return stalled >= patience(config, steps_per_epoch)


def _remember(training: Training, record: EpochRecord) -> None:
    if record.validation_loss < training.best_loss:
        training.best_weights = _copy(training.network.state_dict())
    training.records.append(record)


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


def _or_one(weight: Tensor) -> Tensor:
    return weight.where(weight > 0, 1.0)
