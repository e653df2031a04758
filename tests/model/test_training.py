"""The training loop: what it minimises, when it ends, and that the same seed takes the same steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from threading import Barrier, get_ident
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.feed import all_batches, source, steps_per_epoch, train_batches
from lstm_ray.data.split import Boundaries
from lstm_ray.data.windows import Segments, cut, cut_windows, plan_sequences
from lstm_ray.errors import InputError
from lstm_ray.model.network import Forecaster, build
from lstm_ray.model.training import (
    EpochRecord,
    Training,
    fit,
    load_matching,
    losses,
    one_cycle,
    start,
    validate,
)
from tests import made

DAY_PARTS: Boundaries = {"train": (0, 24 * 16), "validation": (24 * 16, 24 * 24), "test": (24 * 24, 24 * 32)}


def sine() -> Segments:
    """Two scaled waves without noise, all measured."""
    segments = made.segments_of([240, 240])
    step = np.arange(480, dtype=np.float32)[:, None]
    target = np.sin(2 * np.pi * step / 6) * np.where(step < 240, 1, 2)
    return replace(segments, target_RC=target.astype(np.float32), observed_RC=np.ones_like(segments.observed_RC))


def trained(
    config: Config,
    segments: Segments,
    parts: Boundaries = made.PARTS,
    on_epoch: Callable[[Training, EpochRecord], bool] = lambda training, record: True,
    validation: Segments | None = None,
) -> Training:
    """A fit from the config's seed."""
    items = source(segments, parts, "train", config)
    held_out = source(validation or segments, parts, "validation", config)
    torch.manual_seed(config.seed)
    training = start(build(config, segments.schema), config)
    fit(
        training,
        config,
        lambda epoch: train_batches(items, config, epoch),
        lambda: all_batches(held_out, config),
        steps_per_epoch(items, config),
        on_epoch=lambda record: on_epoch(training, record),
    )
    return training


def untimed(records: list[EpochRecord]) -> list[dict[str, float]]:
    return [{k: v for k, v in asdict(r).items() if k not in ("seconds", "windows_per_second")} for r in records]


@pytest.mark.parametrize("quantiles", [[], [0.2, 0.5, 0.8]])
def test_the_loss_of_a_sequence_is_the_sum_over_its_windows(quantiles: list[float]) -> None:
    config = made.make_config(model__quantiles=quantiles)
    segments = made.segments_of([60, 50])
    scaled = segments.scaled(made.scaler_of(segments))
    plan = plan_sequences(scaled, made.PARTS, "train", config.window, 3)
    batch = cut(scaled, plan, np.arange(len(plan)))
    network = build(config, segments.schema).eval()
    assert isinstance(network, Forecaster)
    with torch.inference_mode():
        found = losses(network, network, batch, config).tolist()
        inputs = list(map(torch.from_numpy, (batch.target_BTC, batch.observed_BTC, batch.past_BTP, batch.known_BTK)))
        forecast_BNHCQ = network(*inputs).numpy()
    loss = error = count = 0.0
    for b, n, h in np.ndindex(forecast_BNHCQ.shape[:3]):
        row = plan.start_M[b] + config.window.history + n * config.window.patch + h
        if n < plan.num_origins_M[b] and scaled.observed_RC[row, 0]:
            difference = scaled.target_RC[row, 0] - forecast_BNHCQ[b, n, h, 0]
            loss += np.mean([2 * max(q * d, (q - 1) * d) for q, d in zip(quantiles or [0.5], difference, strict=True)])
            error += abs(difference[len(difference) // 2])
            count += 1
    assert found == pytest.approx([loss, count, error], rel=1e-4)
    assert count < plan.num_windows * config.window.horizon


def test_one_origin_to_a_sequence_is_a_window_at_a_time() -> None:
    config = made.make_config(train__origins=1)
    segments = made.segments_of([60])
    network = build(config, segments.schema).eval()
    items = source(segments, made.PARTS, "train", config)
    every = items.cut(np.arange(items.num_items))
    origins = plan_sequences(segments, made.PARTS, "train", config.window, 1).start_M + config.window.history - 1
    with torch.inference_mode():
        found = losses(network, network, every, config)
        expected = losses(network, network, cut_windows(segments, origins, config.window), config)
    torch.testing.assert_close(found, expected)


def test_a_wave_is_learned_and_the_best_weights_are_left_in_place() -> None:
    config = made.make_config(train__max_epochs=12, train__learning_rate=0.01, model__hidden=16)
    segments = sine()
    seen: list[dict[str, torch.Tensor]] = []

    def keep(training: Training, record: EpochRecord) -> bool:
        seen.append(copy.deepcopy(training.network.state_dict()))
        return True

    training = trained(config, segments, on_epoch=keep)
    records = training.records
    assert [record.epoch for record in records] == list(range(12))
    assert records[-1].train_loss < 0.3 * records[0].train_loss
    best = min(range(12), key=lambda epoch: records[epoch].validation_loss)
    assert training.best_record == records[best]
    assert training.best_loss == records[best].validation_loss
    assert all(torch.equal(value, seen[best][name]) for name, value in training.network.state_dict().items())
    held_out = source(segments, made.PARTS, "validation", config)
    sums = validate(training.network, training.network, all_batches(held_out, config), config)
    assert float(sums[0] / sums[1]) == pytest.approx(training.best_loss, rel=1e-5)
    # Predicting the mean would cost the mean of |sin|, 0.64, and twice that of the second wave.
    assert training.best_loss < 0.3


def test_sequences_are_told_apart() -> None:
    config = made.classify_config(train__max_epochs=10, window__history=12, train__learning_rate=0.02)
    segments = made.sequences_of([12, 9, 10, 12] * 8)
    scaled = segments.scaled(made.scaler_of(segments))
    training = trained(config, scaled, DAY_PARTS)
    assert training.best_record.validation_metric == 1.0
    assert training.best_loss < 0.3


def test_patience_ends_training() -> None:
    config = made.make_config(train__max_epochs=30, train__patience=3, train__learning_rate=0.05)
    segments = made.segments_of([240], seed=4)
    noise = replace(segments, target_RC=np.random.default_rng(0).normal(size=(240, 1)).astype(np.float32))
    training = trained(config, noise)
    best = training.records.index(training.best_record)
    assert len(training.records) == best + 1 + 3 < 30
    assert training.epochs_since_best == 3
    # The weights of the best epoch are back, not those of the last.
    held_out = source(noise, made.PARTS, "validation", config)
    sums = validate(training.network, training.network, all_batches(held_out, config), config)
    assert float(sums[0] / sums[1]) == pytest.approx(training.best_loss, rel=1e-5)
    assert training.records[-1].validation_loss > training.best_loss * 1.001


def test_training_ends_where_its_listener_says_so() -> None:
    training = trained(made.make_config(train__max_epochs=5), sine(), on_epoch=lambda _, record: record.epoch < 1)
    assert training.finished_epochs == 2


def test_the_same_seed_gives_the_same_records() -> None:
    config = made.make_config(model__dropout=0.4, train__max_epochs=2)
    torch.manual_seed(99)
    first, again = trained(config, sine()), trained(config, sine())
    other = trained(made.make_config(model__dropout=0.4, train__max_epochs=2, seed=8), sine())
    assert untimed(first.records) == untimed(again.records)
    assert untimed(first.records) != untimed(other.records)


def test_a_record_counts_windows_and_names_the_rate() -> None:
    config = made.make_config(train__max_epochs=1)
    segments = sine()
    [record] = trained(config, segments).records
    items = source(segments, made.PARTS, "train", config)
    assert record.windows_per_second * record.seconds == pytest.approx(items.num_windows, rel=1e-5)
    steps = steps_per_epoch(items, config)
    assert record.learning_rate == config.train.learning_rate * one_cycle(steps - 1, steps)


@pytest.mark.parametrize("rate", [1e9, 1e30])
def test_divergence_is_an_input_error_that_names_the_rate(rate: float) -> None:
    with pytest.raises(InputError, match=r"training diverged at epoch \d+, step \d+: .* lower train.learning_rate"):
        trained(made.make_config(train__learning_rate=rate, train__max_epochs=8), sine())


def test_a_validation_loss_that_is_not_finite_is_an_input_error() -> None:
    segments = sine()
    broken = replace(segments, past_RP=np.full_like(segments.past_RP, np.inf))
    with pytest.raises(InputError, match="training diverged"):
        trained(made.make_config(), segments, validation=broken)


def test_validation_without_a_measured_value_is_an_input_error() -> None:
    segments = sine()
    blind = replace(segments, observed_RC=np.zeros_like(segments.observed_RC))
    with pytest.raises(InputError, match="the validation part has no observed value to score"):
        trained(made.make_config(), segments, validation=blind)


class Together:
    """What DDP does, between threads: sums over workers, and gradients averaged as they arise."""

    def __init__(self, workers: int) -> None:
        self.barrier = Barrier(workers, timeout=60)
        self.given: dict[int, torch.Tensor] = {}

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        self.given[get_ident()] = tensor.clone()
        self.barrier.wait()
        total = torch.stack(list(self.given.values())).sum(0)
        self.barrier.wait()
        self.given.pop(get_ident())
        self.barrier.wait()
        return total

    def average(self, weight: torch.Tensor) -> None:
        assert weight.grad is not None
        weight.grad = self.add_up(weight.grad) / self.barrier.parties


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("task", ["forecast", "classify"])
def test_several_workers_take_the_same_steps_as_one(task: str, workers: int) -> None:
    if task == "forecast":
        config, segments, parts = made.make_config(), made.segments_of([240, 200]), made.PARTS
    else:
        config, segments, parts = made.classify_config(), made.sequences_of([12, 9] * 16), DAY_PARTS
    config = config.model_copy(update={"train": config.train.model_copy(update={"max_epochs": 2, "batch": 7})})
    scaled = segments.scaled(made.scaler_of(segments))
    items, held_out = (source(scaled, parts, part, config) for part in ("train", "validation"))
    together = Together(workers)
    # Drawing weights seeds torch for the whole process, so the threads leave that to the caller.
    trainings = [start(build(config, segments.schema), config) for _ in range(workers)]

    def work(rank: int) -> Training:
        training = trainings[rank]
        for weight in training.network.parameters():
            weight.register_post_accumulate_grad_hook(together.average)
        fit(
            training,
            config,
            lambda epoch: train_batches(items, config, epoch, rank, workers),
            lambda: all_batches(held_out, config, rank, workers),
            steps_per_epoch(items, config),
            add_up=together.add_up,
        )
        return training

    with ThreadPoolExecutor(workers) as pool:
        spread = list(pool.map(work, range(workers)))
    alone = trained(config, scaled, parts)
    for training in spread:
        for one, whole in zip(untimed(training.records), untimed(alone.records), strict=True):
            assert one == pytest.approx(whole, rel=1e-4)
        for record in training.records:
            assert record.windows_per_second * record.seconds == pytest.approx(items.num_windows, rel=1e-5)
    for name, weight in alone.network.state_dict().items():
        torch.testing.assert_close(spread[0].network.state_dict()[name], weight, rtol=1e-3, atol=1e-4)


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = np.array([one_cycle(step, 100) for step in range(101)])
    assert rates[0] == pytest.approx(0.04)
    assert rates.argmax() == 30
    assert rates[30] == pytest.approx(1)
    assert rates[100] == pytest.approx(1e-4)
    assert (np.diff(rates[:31]) > 0).all()
    assert (np.diff(rates[30:]) < 0).all()
    assert one_cycle(0, 1) == pytest.approx(0.04)


@pytest.mark.parametrize(
    "values", [{}, {"model__layers": 2}, {"model__attention": True}, {"model__hidden": 4}], ids=str
)
def test_weights_that_fit_are_copied_and_their_share_told(values: dict[str, Any]) -> None:
    schema = made.schema_of(calendar=[])
    given = build(made.make_config(seed=1), schema).state_dict()
    network = build(made.make_config(**values), schema)
    before = copy.deepcopy(network.state_dict())
    found = load_matching(network, given)
    copied = 0
    for name, value in network.state_dict().items():
        fits = name in given and given[name].shape == value.shape
        assert torch.equal(value, given[name] if fits else before[name])
        copied += value.numel() if fits else 0
    assert found == pytest.approx(copied / sum(value.numel() for value in before.values()))
    assert (found == 1) == (not values)
