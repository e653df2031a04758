"""The training loop: batches in, best weights out. Knows one process; sums over workers only through ``add_up``.

Whoever spreads training over processes wraps the network for gradient averaging, deals each process its share of every
batch, and passes an ``add_up`` that sums a tensor over all processes. Nothing else changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.data.windows import IGNORED, Batch
from lstm_ray.errors import InputError
from lstm_ray.model.losses import class_loss, forecast_loss
from lstm_ray.model.network import Forecaster

WARM_UP = 0.3
"""Share of the one-cycle schedule in which the learning rate rises (Smith & Topin 2018)."""
Batches = Callable[[int], Iterable[Batch]]
"""An epoch's number to its batches."""


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
    learning_rate: float
    """At the end of the epoch."""
    windows_per_second: float
    """Windows (or sequences) trained per second, validation not counted."""
    seconds: float


@dataclass
class Training:
    """Everything a killed training needs to go on: counters here, tensors in the objects it refers to."""

    network: nn.Module
    """The bare network, not its wrapper."""
    optimiser: torch.optim.Optimizer
    best_weights: dict[str, Tensor]
    best_loss: float = math.inf
    epochs_since_best: int = 0
    records: list[EpochRecord] = field(default_factory=list)

    @property
    def finished_epochs(self) -> int:
        return len(self.records)

    @property
    def best_record(self) -> EpochRecord:
        return min(self.records, key=lambda record: record.validation_loss)


def start(network: nn.Module, config: Config) -> Training:
    """A fresh training of a network."""
    train = config.train
    optimiser = torch.optim.AdamW(network.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay)
    return Training(network, optimiser, _copy(network.state_dict()))


def fit(
    training: Training,
    config: Config,
    train_batches: Batches,
    validation_batches: Callable[[], Iterable[Batch]],
    steps_per_epoch: int,
    *,
    wrapped: nn.Module | None = None,
    add_up: Callable[[Tensor], Tensor] = lambda sums: sums,
    on_epoch: Callable[[EpochRecord], bool] = lambda record: True,
) -> None:
    """Train until the epochs or the patience run out, then leave the best weights in the network.

    Args:
        wrapped: the network as it is called, where a wrapper averages gradients over processes.
        add_up: sums a tensor over all processes.
        on_epoch: called after every epoch; training ends where it returns False.

    Raises:
        InputError: the loss is no longer finite.
    """
    called = wrapped or training.network
    device = next(training.network.parameters()).device
    num_workers = float(add_up(torch.ones(1, device=device)))
    total_steps = config.train.max_epochs * steps_per_epoch
    while training.finished_epochs < config.train.max_epochs and training.epochs_since_best < config.train.patience:
        epoch, began = training.finished_epochs, time.perf_counter()
        called.train()
        sums, norms, num_windows = torch.zeros(3, device=device), [], 0.0
        for index, batch in enumerate(train_batches(epoch)):
            rate = config.train.learning_rate * one_cycle(epoch * steps_per_epoch + index, total_steps)
            for group in training.optimiser.param_groups:
                group["lr"] = rate
            batch_sums = losses(called, training.network, batch, config)
            all_sums = add_up(batch_sums.detach())
            # Each process weighs by the count over all of them, so the average of their gradients is the global mean's.
            (batch_sums[0] * num_workers / all_sums[1].clamp_min(1.0)).backward()
            norm = nn.utils.clip_grad_norm_(training.network.parameters(), config.train.clip_norm)
            _require_finite(all_sums[0] + norm, epoch, index, config)
            training.optimiser.step()
            training.optimiser.zero_grad(set_to_none=True)
            sums += all_sums
            norms.append(float(norm))
            num_windows += (
                float(batch.origin_BN.sum()) if config.task == "forecast" else (batch.label_B != IGNORED).sum()
            )
        assert len(norms) == steps_per_epoch, f"{len(norms)} steps where {steps_per_epoch} were planned"
        seconds = time.perf_counter() - began
        checked = validate(called, training.network, validation_batches(), config, add_up)
        _require_finite(checked[0], epoch, index, config)
        trained = float(add_up(torch.tensor(num_windows, device=device)))
        record = EpochRecord(
            epoch=epoch,
            train_loss=float(sums[0] / sums[1].clamp_min(1.0)),
            validation_loss=float(checked[0] / checked[1]),
            validation_metric=float(checked[2] / checked[1]),
            gradient_norm=sum(norms) / len(norms),
            learning_rate=rate,
            windows_per_second=trained / seconds,
            seconds=seconds,
        )
        _remember(training, record)
        if not on_epoch(record):
            break
    training.network.load_state_dict(training.best_weights)


def validate(
    called: nn.Module,
    network: nn.Module,
    batches: Iterable[Batch],
    config: Config,
    add_up: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Tensor:
    """Sums of loss, count and metric over all batches of all processes, [3]."""
    called.eval()
    sums = torch.zeros(3, device=next(network.parameters()).device)
    with torch.inference_mode():
        for batch in batches:
            sums += losses(called, network, batch, config)
    sums = add_up(sums)
    if not sums[1] > 0:
        raise InputError("the validation part has no observed value to score; move split.validation or fill its gaps")
    return sums


def losses(called: nn.Module, network: nn.Module, batch: Batch, config: Config) -> Tensor:
    """Sums of loss, count, and metric (absolute error of the median, or hits) of one batch, [3]."""
    device = next(network.parameters()).device
    tensors = {name: torch.from_numpy(value).to(device) for name, value in vars(batch).items()}
    if isinstance(network, Forecaster):
        inputs = [tensors[name] for name in ("target_BTC", "observed_BTC", "past_BTP", "known_BTK")]
        forecast_BNHCQ = called(*inputs)
        actual_BNHC = network.futures(tensors["target_BTC"])
        weight_BNHC = network.futures(tensors["observed_BTC"]) * tensors["origin_BN"][:, :, None, None]
        quantiles = torch.tensor(network.quantiles, device=device)
        sums = forecast_loss(config.loss, forecast_BNHCQ, actual_BNHC, weight_BNHC, quantiles)
        error_BNHC = forecast_BNHCQ[..., network.quantiles.index(0.5)].detach() - actual_BNHC
        return torch.cat([sums, (error_BNHC.abs() * weight_BNHC).sum()[None]])
    logits = called(tensors["past_BTP"], tensors["known_BTK"], tensors["origin_BN"])
    hits = (logits.detach().argmax(-1) == tensors["label_B"]).sum()[None]
    return torch.cat([class_loss(logits, tensors["label_B"]), hits.to(logits.dtype)])


def one_cycle(step: int, total: int) -> float:
    """Learning rate as a share of its peak: a cosine up, then a cosine down (Smith & Topin 2018)."""
    peak = WARM_UP * total
    if step < peak:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / peak)) / 2
    return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (step - peak) / max(1.0, total - peak))) / 2


def load_matching(network: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """Copy the tensors whose name and shape fit; returns the share of the network's parameters so filled."""
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **fitting})
    return sum(value.numel() for value in fitting.values()) / sum(value.numel() for value in own.values())


def _remember(training: Training, record: EpochRecord) -> None:
    training.records.append(record)
    if record.validation_loss < training.best_loss:
        training.best_loss, training.epochs_since_best = record.validation_loss, 0
        training.best_weights = _copy(training.network.state_dict())
    else:
        training.epochs_since_best += 1


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


def _require_finite(value: Tensor, epoch: int, step: int, config: Config) -> None:
    if not torch.isfinite(value):
        raise InputError(
            f"training diverged at epoch {epoch}, step {step}: loss or gradient is {float(value)}; "
            f"lower train.learning_rate (now {config.train.learning_rate:g}) or train.clip_norm ({config.train.clip_norm:g})"
        )
