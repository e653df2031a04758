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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import IGNORED, Batch
from lstm_ray.errors import InputError
from lstm_ray.model.augment import augmented
from lstm_ray.model.averaging import WeightAverage
from lstm_ray.model.choosing import Scores, Sum, apply, require_scored, score
from lstm_ray.model.closed_forms import Solved
from lstm_ray.model.ensemble import learns
from lstm_ray.model.heap import steady_heap
from lstm_ray.model.losses import require_usable
from lstm_ray.model.network import Ensemble, Forecaster, single
from lstm_ray.model.objective import Lesson, Objective
from lstm_ray.model.optimisers import Gradients, make_optimiser, memory_named
from lstm_ray.model.private import Private
from lstm_ray.model.schedules import learning_rate, longest_stall, num_epochs, patience

Batches = Callable[[int], Iterable[Batch]]
"""An epoch's number to its batches."""
Later = Callable[[Tensor], Callable[[], Tensor]]
"""Begins to add a tensor up over all processes; what it returns waits for the sum."""

UNKEPT = (
    "only the stage 'train', in its own process, trains so: trials of a search and further training would be in nobody's "
    "account; run the stages without tune: 'lstm-ray deploy CONFIG', or leave train.private out"
)


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch's line in metrics.jsonl says."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_metric: float
    """Scaled MAE of the median (or value), or accuracy of the class."""
    kept_loss: float
    """On validation, of the weights kept so far: each member's of its own best epoch."""
    member_losses: list[float]
    """Validation loss of each network alone, without what closed forms add."""
    gradient_norm: float
    """Mean over the epoch's steps, before clipping."""
    largest_gradient_norm: float
    clipped_share: float
    """Share of the steps whose gradient was longer than train.clip_norm."""
    learning_rate: float
    """At the end of the epoch."""
    windows_per_second: float
    """Windows (or sequences, or labelled steps) trained per second, validation not counted."""
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
        """Validation loss of the best weights."""
        return self.records[-1].kept_loss if self.records else math.inf

    @property
    def best_epochs(self) -> list[int]:
        """Of each network that learns, the number of the epoch whose weights it keeps, from 0."""
        losses = [self.member_losses(e) for e in _able(self.network)]
        return [own.index(min(own)) for own in losses]

    def member_losses(self, member: int) -> list[float]:
        """Validation losses of one network alone, an epoch each."""
        return [record.member_losses[member] for record in self.records]


def start(
    network: nn.Module,
    config: Config,
    *,
    scaler: Scaler | None = None,
    class_weight_K: NDArray | None = None,
    solved: Sequence[Solved] = (),
) -> Training:
    """A fresh training of a network.

    Args:
        solved: of ``closed_forms.closed_forms``; none: what the network's weights brought along.
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
    device = next(network.parameters()).device
    training = Training(
        network,
        make_optimiser(network, train),
        _copy(network.state_dict()),
        WeightAverage(network, train.weight_averaging) if train.weight_averaging else None,
        torch.from_numpy(class_weight_K).to(device) if class_weight_K is not None else None,
    )
    if solved:
        set_solved(training, solved)
    return training


def set_solved(training: Training, solved: Sequence[Solved]) -> None:
    """Give a training that has taken no step its closed forms, of ``closed_forms.solved``."""
    for one, buffers in zip(single(training.network), solved, strict=True):
        own = dict(one.named_buffers())
        for name, value in buffers.items():
            own[name].copy_(torch.from_numpy(value))
    training.best_weights = _copy(training.network.state_dict())


def fit(
    training: Training,
    config: Config,
    train_batches: Batches,
    validation_batches: Callable[[], Iterable[Batch]],
    steps_per_epoch: int,
    *,
    wrap: Callable[[nn.Module], nn.Module] = lambda network: network,
    add_up: Sum = lambda sums: sums,
    add_up_later: Later | None = None,
    on_epoch: Callable[[EpochRecord], bool] = lambda record: True,
    rank: int = 0,
    private: Private | None = None,
) -> None:
    """Train until the epochs or the patience run out, then leave the best weights in the network.

    Each member of an ensemble learns as if it were alone: it has a patience and a best epoch of its own.

    Args:
        wrap: gives the network as it is called, where a wrapper averages the gradients of those weights that ask for any
            over processes; called again whenever a member has learned enough.
        add_up: sums a tensor over all processes.
        add_up_later: begins to, beside other work; none: ``add_up`` when the sum is asked for.
        on_epoch: called after every epoch; training ends where it returns False.
        rank: number of this process, so that each augments in its own way.
        private: takes the steps of a training with differential privacy, from batches of its own.

    Raises:
        InputError: the loss or a gradient is no longer finite, or a batch does not fit into memory; train.private is set, and
            whoever calls cannot keep it.
    """
    train = config.train
    if train.private is not None and private is None:
        raise InputError(f"train.private is set, and {UNKEPT}")
    steady_heap()
    num_workers, learners = 0.0, None
    while training.finished_epochs < num_epochs(config, steps_per_epoch):
        if learners != (learners := _learners(training, config, steps_per_epoch)):
            if not learners:
                break
            _let_learn(training, learners)
            objective = Objective(config, training.network, wrap(training.network), training.class_weight_K)
            num_workers = float(add_up(torch.ones(1, device=objective.device)))
        epoch, began = training.finished_epochs, time.perf_counter()
        gradients, num_windows = Gradients(single(training.network), config, epoch), 0.0
        objective.called.train()
        with memory_named(config):
            for index, batch in enumerate(train_batches(epoch)):
                step = epoch * steps_per_epoch + index
                rate = _set_rate(training, config, step, steps_per_epoch)
                if private is None:
                    key = (config.seed, epoch, index, rank)
                    lesson = augmented(objective.lesson(batch), train.augment, config.window, key)
                    sums = _backward(objective, lesson, num_workers, add_up_later or begun(add_up))
                else:
                    sums = private.backward(objective, batch, step)
                gradients.clip(sums)
                training.optimiser.step()
                training.optimiser.zero_grad(set_to_none=True)
                if training.average is not None:
                    training.average.update()
                num_windows += _num_windows(batch, config)
        assert gradients.steps == steps_per_epoch, f"{gradients.steps} steps where {steps_per_epoch} were planned"
        taught, norms = add_up(gradients.finish()), gradients.norms
        seconds = time.perf_counter() - began
        with training.average.in_place() if training.average is not None else nullcontext():
            found = score(objective, validation_batches(), add_up)
            kept_loss = _keep(training, found, objective, validation_batches, add_up)
        answer = found.best()
        record = EpochRecord(
            epoch=epoch,
            train_loss=float(taught[0] / _or_one(taught[1])),
            validation_loss=found.loss(answer),
            validation_metric=found.metric(answer),
            kept_loss=kept_loss,
            member_losses=found.member_losses,
            gradient_norm=float(norms.mean()),
            largest_gradient_norm=float(norms.max()),
            clipped_share=float((norms > train.clip_norm).float().mean()),
            learning_rate=rate,
            windows_per_second=float(add_up(torch.tensor(num_windows, device=taught.device))) / seconds,
            seconds=seconds,
        )
        training.records.append(record)
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
            sums += objective.sums(objective.lesson(batch).unweighted())
    sums = add_up(sums)
    require_scored(sums, objective)
    return sums


def load_matching(network: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """Copy the tensors whose name and shape fit; returns the share of the network's parameters so filled."""
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **fitting})
    return sum(value.numel() for value in fitting.values()) / sum(value.numel() for value in own.values())


def _backward(objective: Objective, lesson: Lesson, num_workers: float, add_up_later: Later) -> Tensor:
    """Gradients of the mean loss over the whole batch of all processes; returns this one's sums of loss and weight, [2].

    Each process takes the gradient of its sum of losses; the average of these over processes is then divided by the weight
    over all of them, which has been added up meanwhile.
    """
    weight = objective.weight(lesson)
    whole = add_up_later(weight)
    total = torch.zeros_like(weight)
    for loss in objective.losses(lesson):
        loss.backward()
        total += loss.detach()
    gradients = [own.grad for own in objective.network.parameters() if own.grad is not None]
    torch._foreach_mul_(gradients, num_workers / _or_one(whole()))
    # Reported is the mean over those that learn; learned from, each one's own.
    return torch.stack([total / objective.num_learners, weight])


def begun(add_up: Sum) -> Later:
    """A sum that begins when it is asked for."""
    return lambda tensor: lambda: add_up(tensor)


def _set_rate(training: Training, config: Config, index: int, steps_per_epoch: int) -> float:
    """Give the optimiser the learning rate of a step, counted over all epochs."""
    rate = learning_rate(config, index, steps_per_epoch, training.validation_losses)
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    return rate


def _num_windows(batch: Batch, config: Config) -> float:
    if config.task == "label":
        return float((~np.isnan(batch.label_BT)).sum())
    return float(batch.origin_BN.sum() if config.task == "forecast" else (batch.label_B != IGNORED).sum())


def _learners(training: Training, config: Config, steps_per_epoch: int) -> list[int]:
    """Networks whose validation loss alone has always improved, by as much as it must, within the patience."""
    wait, least = patience(config, steps_per_epoch), config.train.min_improvement
    return [e for e in _able(training.network) if longest_stall(training.member_losses(e), least) < wait]


def _able(network: nn.Module) -> list[int]:
    """Numbers of the networks in which there is anything to learn."""
    return [e for e, one in enumerate(single(network)) if learns(one)]


def _let_learn(training: Training, learners: list[int]) -> None:
    """From now on move these networks alone; the others rest at their best weights."""
    network = training.network
    if not isinstance(network, Ensemble):
        return
    network.learners = learners
    for index, member in enumerate(network.members):
        member.requires_grad_(index in learners)
        if index not in learners:
            for name, weight in member.named_parameters(f"members.{index}"):
                with torch.no_grad():
                    weight.copy_(training.best_weights[name])
                if training.average is not None:
                    training.average.set(name, training.best_weights[name])


def _keep(
    training: Training, found: Scores, objective: Objective, batches: Callable[[], Iterable[Batch]], add_up: Sum
) -> float:
    """Keep the weights of those that did best so far, and how they answer best together; returns the loss they have then.

    Args:
        found: of the network as it is.
    """
    network = training.network
    better = [
        e for e, loss in enumerate(found.member_losses) if loss < min(training.member_losses(e), default=math.inf)
    ]
    if not better:
        return training.best_loss
    now = _copy(network.state_dict())
    if len(better) == len(single(network)):
        training.best_weights = now
    else:
        own = tuple(f"members.{e}." for e in better)
        training.best_weights |= {name: value for name, value in now.items() if name.startswith(own)}
        network.load_state_dict(training.best_weights)
        found = score(objective, batches(), add_up)
    best = found.best()
    apply(network, best)
    training.best_weights = _copy(network.state_dict())
    network.load_state_dict(now)
    return found.loss(best)


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


def _or_one(weight: Tensor) -> Tensor:
    return weight.where(weight > 0, 1.0)
