"""The training loop: what it minimises, when it ends, and that the same seed takes the same steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from threading import Barrier, get_ident
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.feed import all_batches, class_weights, source, steps_per_epoch, train_batches
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Batch, Segments, cut, cut_windows, origins, plan_sequences
from lstm_ray.errors import InputError
from lstm_ray.model import kernels
from lstm_ray.model.checkpoint import fit_kept
from lstm_ray.model.choosing import score
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.network import Forecaster, build, single
from lstm_ray.model.objective import Objective
from lstm_ray.model.schedules import one_cycle
from lstm_ray.model.training import EpochRecord, Training, fit, load_matching, start, validate
from tests import made

AUTO: dict[str, Any] = {"model__normalisation": "auto", "model__linear": "average"}
RESTING: dict[str, Any] = {
    "model__members": 2,
    "train__patience": 1,
    "train__max_epochs": 4,
    "train__learning_rate": 0.03,
    "train__schedule": "constant",
}
"""Members whose losses stall one after the other."""
SMOOTH: dict[str, Any] = {"train__optimiser": "sgd", "train__learning_rate": 0.2, "seed": 8}
"""Adam blows up what rounding leaves of a small gradient."""
DAY_PARTS: Boundaries = {"train": (0, 24 * 16), "validation": (24 * 16, 24 * 24), "test": (24 * 24, 24 * 32)}


def sine() -> Segments:
    """Two scaled waves without noise, all measured."""
    segments = made.segments_of([240, 240])
    step = np.arange(480, dtype=np.float32)[:, None]
    target = np.sin(2 * np.pi * step / 6) * np.where(step < 240, 1, 2)
    return replace(segments, target_RC=target.astype(np.float32), observed_RC=np.ones_like(segments.observed_RC))


def noisy_days() -> Segments:
    """Sequences of which some are of the other class than they look."""
    segments = made.sequences_of([12, 9] * 16)
    assert segments.label is not None
    turned = np.random.default_rng(2).random(32) < 0.25
    return replace(segments, label=np.where(turned, 1 - segments.label, segments.label))


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
    weights = class_weights(segments, parts, config)
    solved = closed_forms(config, segments, parts)
    training = start(build(config, segments.schema), config, class_weight_K=weights, solved=solved)
    fit_kept(training, config, items, held_out, None, lambda record: on_epoch(training, record))
    return training


def sums_of(training: Training, config: Config, batches: Iterable[Batch]) -> torch.Tensor:
    """Of loss, its weight, the metric and its count, as validation adds them up."""
    return validate(Objective(config, training.network, training.network, training.class_weight_K), batches)


def untimed(records: list[EpochRecord]) -> list[dict[str, float]]:
    """Without what the clock says; each member's loss by its name."""
    found = []
    for record in records:
        values = asdict(record)
        values |= {f"member {e}": loss for e, loss in enumerate(values.pop("member_losses"))}
        found.append({name: value for name, value in values.items() if name not in ("seconds", "windows_per_second")})
    return found


@pytest.mark.parametrize("quantiles", [[], [0.2, 0.5, 0.8]])
def test_the_loss_of_a_sequence_is_the_sum_over_its_windows(quantiles: list[float]) -> None:
    config = made.make_config(model__quantiles=quantiles)
    segments = made.segments_of([60, 50])
    scaled = segments.scaled(made.scaler_of(segments))
    plan = plan_sequences(scaled, made.PARTS, "train", config.window, 3)
    batch = cut(scaled, plan, np.arange(len(plan)))
    network = build(config, segments.schema).eval()
    assert isinstance(network, Forecaster)
    found = sums_of(start(network, config), config, [batch]).tolist()
    with torch.inference_mode():
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
    assert found == pytest.approx([loss, count, error, count], rel=1e-4)
    assert count < plan.num_windows * config.window.horizon


@pytest.mark.parametrize("normalisation", ["none", "last", "mean", "mean_deviation"])
@pytest.mark.parametrize("stride", [1, 3, 18])
def test_every_origin_and_a_window_at_a_time_have_one_loss_on_the_same_windows(normalisation: str, stride: int) -> None:
    segments = made.segments_of([60, 40])
    every, alone = (
        made.make_config(train__origins=n, model__normalisation=normalisation, window__stride=stride) for n in (5, 1)
    )
    network = build(every, segments.schema).eval()
    assert isinstance(network, Forecaster)
    network.body = Forgetful(network.body)
    found = []
    for config in (every, alone):
        items = source(segments, made.PARTS, "train", config)
        found.append(sums_of(start(network, config), config, [items.cut(np.arange(items.num_items))]))
    windows = origins(segments, made.PARTS, "train", every.window)
    firsts = [rows[::stride] for rows in (windows[windows < 60], windows[windows >= 60])]
    batch = cut_windows(segments, np.concatenate(firsts), every.window)
    expected = sums_of(start(network, every), every, [batch])
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], expected)


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
    sums = sums_of(training, config, all_batches(held_out, config))
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
    # The weights of the best epoch are back, not those of the last.
    held_out = source(noise, made.PARTS, "validation", config)
    sums = sums_of(training, config, all_batches(held_out, config))
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


@pytest.mark.parametrize(
    "values",
    [
        {"train__optimiser": "adam"},
        {"train__optimiser": "sgd", "train__learning_rate": 0.1},
        {"train__schedule": "cosine"},
        {"train__schedule": "plateau"},
        {"train__schedule": "constant"},
        {"train__loss": "huber"},
        {"train__weight_averaging": 0.9},
        {"train__accumulate": 3},
        {"train__truncate_steps": 16},
        {"train__precision": "bfloat16"},
        {"model__distribution": "gaussian"},
        {"train__augment": {"jitter": 0.05, "scaling": 0.1, "time_warp": 0.05, "masking": 0.1, "mixup": 0.2}},
    ],
    ids=str,
)
def test_a_wave_is_learned_in_every_way(values: dict[str, Any]) -> None:
    values = {"train__max_epochs": 8, "train__patience": 8, "train__learning_rate": 0.01, "model__hidden": 16} | values
    training = trained(made.make_config(**values), sine())
    # Predicting the mean would cost the mean of |sin|, 0.64, and twice that of the second wave.
    assert training.best_record.validation_metric < 0.45
    assert training.records[-1].train_loss < training.records[0].train_loss


@pytest.mark.parametrize("values", [{"train__loss": "focal"}, {"train__class_weights": "balanced"}], ids=str)
def test_sequences_are_told_apart_by_other_losses(values: dict[str, Any]) -> None:
    config = made.classify_config(train__max_epochs=10, window__history=12, train__learning_rate=0.02, **values)
    segments = made.sequences_of([12, 9, 10, 12] * 8)
    training = trained(config, segments.scaled(made.scaler_of(segments)), DAY_PARTS)
    assert training.best_record.validation_metric == 1.0


def test_validation_and_the_best_weights_are_those_of_the_average() -> None:
    config = made.make_config(train__max_epochs=4, train__weight_averaging=0.9, train__learning_rate=0.05)
    averages = []

    def keep(training: Training, record: EpochRecord) -> bool:
        assert training.average is not None
        averages.append({name: value.clone() for name, value in training.average.state().items()})
        own = dict(training.network.named_parameters())
        assert not torch.equal(own["head.weight"], averages[-1]["head.weight"]), (
            "steps are taken from the weights as is"
        )
        return True

    training = trained(config, sine(), on_epoch=keep)
    best = training.records.index(training.best_record)
    own = dict(training.network.named_parameters())
    assert all(torch.equal(own[name], value) for name, value in averages[best].items())
    sums = sums_of(training, config, all_batches(source(sine(), made.PARTS, "validation", config), config))
    assert float(sums[0] / sums[1]) == pytest.approx(training.best_loss, rel=1e-5)
    steps = steps_per_epoch(source(sine(), made.PARTS, "train", config), config)
    assert training.average is not None
    assert training.average.steps == 4 * steps


def test_validation_reads_sequences_as_they_are() -> None:
    augment = {"jitter": 0.5, "scaling": 0.5, "time_warp": 0.5, "masking": 0.5, "mixup": 1.0, "window_slice": 0.5}
    frozen = {"train__learning_rate": 1e-30, "train__weight_decay": 0.0, "train__max_epochs": 2}
    plain, wild = (trained(made.make_config(**frozen, **v), sine()) for v in ({}, {"train__augment": augment}))
    for one, other in zip(plain.records, wild.records, strict=True):
        assert one.validation_loss == other.validation_loss
        assert one.train_loss != pytest.approx(other.train_loss, rel=0.01)
    # Every epoch draws anew.
    assert wild.records[0].train_loss != pytest.approx(wild.records[1].train_loss, rel=1e-4)


def test_training_ends_where_validation_no_longer_falls_by_enough() -> None:
    values = {"train__max_epochs": 30, "train__patience": 2, "train__learning_rate": 0.01}
    every, large = (trained(made.make_config(**values, train__min_improvement=m), sine()) for m in (0.0, 0.5))
    assert len(large.records) < len(every.records)
    # The lowest loss is kept, also where it did not count as better.
    assert large.best_loss == min(large.validation_losses)


def test_plateau_lowers_the_rate_where_validation_stalls() -> None:
    values = {"train__schedule": "plateau", "train__patience": 4, "train__learning_rate": 0.01}
    noise = replace(sine(), target_RC=np.random.default_rng(0).normal(size=(480, 1)).astype(np.float32))
    training = trained(made.make_config(train__max_epochs=30, **values), noise)
    rates = [record.learning_rate for record in training.records]
    assert rates[0] == 0.01
    assert rates[-1] < 0.01
    assert set(np.log2(np.array(rates) / 0.01).round(6) % 1) == {0.0}


def test_a_record_tells_of_clipped_steps() -> None:
    loose, tight = (trained(made.make_config(train__max_epochs=1, train__clip_norm=n), sine()) for n in (1e9, 1e-3))
    [free], [held] = loose.records, tight.records
    assert (free.clipped_share, held.clipped_share) == (0.0, 1.0)
    assert held.largest_gradient_norm >= held.gradient_norm > 1e-3
    assert free.largest_gradient_norm > free.gradient_norm


def test_an_exploding_gradient_is_told_with_its_step_and_norm() -> None:
    config = made.make_config()
    network = build(config, sine().schema)
    steps = []

    def explode(gradient: torch.Tensor) -> torch.Tensor:
        steps.append(len(steps))
        return gradient * (float("inf") if len(steps) == 3 else 1.0)

    network.get_parameter("head.weight").register_hook(explode)
    items = source(sine(), made.PARTS, "train", config)
    with pytest.raises(InputError) as refused:
        fit(
            start(network, config),
            config,
            lambda e: train_batches(items, config, e),
            list,
            steps_per_epoch(items, config),
        )
    words = ("epoch 0, step 2", "the gradient's norm is", "train.learning_rate (now 0.01)", "train.clip_norm (now 1)")
    assert [word for word in words if word not in str(refused.value)] == []


@pytest.mark.parametrize("task", ["forecast", "classify"])
@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_a_batch_that_does_not_fit_names_the_settings_to_lower(task: str, kind: str) -> None:
    config = made.make_config() if task == "forecast" else made.classify_config()
    segments, parts = (sine(), made.PARTS) if task == "forecast" else (made.sequences_of([12, 9] * 16), DAY_PARTS)
    items = source(segments, parts, "train", config)

    def batches(epoch: int) -> Iterator[Batch]:
        for batch in train_batches(items, config, epoch):
            if kind == "numpy":
                np.empty(1 << 50, dtype=np.uint8)
            else:
                torch.empty(1 << 50, dtype=torch.uint8)
            yield batch

    training = start(build(config, segments.schema), config)
    with pytest.raises(InputError) as refused:
        fit(training, config, batches, list, steps_per_epoch(items, config))
    words = ["does not fit into memory", "train.batch 8", "train.accumulate (now 1)"]
    words += (
        ["up to 34 steps", "train.origins (now 5)", "train.truncate_steps"]
        if task == "forecast"
        else ["up to 12 steps"]
    )
    assert [word for word in words if word not in str(refused.value)] == []


def test_another_runtime_error_is_not_taken_for_a_lack_of_memory() -> None:
    def broken(epoch: int) -> Iterator[Batch]:
        raise RuntimeError("something else")
        yield

    config = made.make_config()
    with pytest.raises(RuntimeError, match="something else"):
        fit(start(build(config, sine().schema), config), config, broken, list, 1)


def test_class_weights_that_were_forgotten_are_missed() -> None:
    config = made.classify_config(train__class_weights="balanced")
    with pytest.raises(ValueError, match=r"pass feed.class_weights\(\)"):
        start(build(config, made.sequences_of([12, 9]).schema), config)


def test_a_training_that_knows_the_scaler_tells_the_network_its_units() -> None:
    segments = made.segments_of()
    config, scaler = made.make_config(), made.scaler_of(segments)
    training = start(build(config, segments.schema), config, scaler=scaler)
    expected = torch.from_numpy(-scaler.target_mean / scaler.target_deviation)
    torch.testing.assert_close(training.best_weights["zero_C"], expected)


class Forgetful(torch.nn.Module):
    """A body without memory: what lies before a window cannot tell a sequence's origins from windows of their own."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs_NBI: torch.Tensor, inside_BN: object = None, state: object = None, first: int = 0) -> Any:
        states_BD, after = self.body(inputs_NBI.flatten(0, 1)[None])
        return states_BD[0].unflatten(0, inputs_NBI.shape[:2])[first:], after


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
@pytest.mark.parametrize(
    ("task", "values"),
    [
        ("forecast", {}),
        ("classify", {}),
        ("forecast", {"train__accumulate": 2, "train__weight_averaging": 0.9}),
        ("forecast", {"train__truncate_steps": 16, "window__stride": 3}),
        ("classify", {"train__class_weights": "balanced", "train__loss": "focal"}),
        ("forecast", AUTO | RESTING | SMOOTH),
        ("forecast", RESTING | SMOOTH | {"train__weight_averaging": 0.9, "train__truncate_steps": 16}),
        ("classify", RESTING | {"model__linear": "average", "train__max_epochs": 8}),
        ("forecast", SMOOTH | {"data__weight": "count", "window__lags": [9], "model__difference": 3}),
        ("classify", {"data__weight": "count", "train__class_weights": "balanced"}),
    ],
    ids=str,
)
def test_several_workers_take_the_same_steps_as_one(
    task: str, values: dict[str, Any], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "FEATURES", 100)
    given = {"train__max_epochs": 2, "train__batch": 7} | values
    if task == "forecast":
        config, segments, parts = made.make_config(**given), made.segments_of([240, 200]), made.PARTS
    else:
        segments = noisy_days() if "train__patience" in values else made.sequences_of([12, 9] * 16)
        config, parts = made.classify_config(**given), DAY_PARTS
    scaled = segments.scaled(made.scaler_of(segments))
    if config.data.weight:
        weight_R = np.random.default_rng(3).integers(0, 3, len(scaled.past_RP))
        scaled = replace(scaled, weight_R=weight_R.astype(np.float32))
    items, held_out = (source(scaled, parts, part, config) for part in ("train", "validation"))
    together = Together(workers)
    # Drawing weights seeds torch for the whole process, so the threads leave that to the caller.
    weights = class_weights(segments, parts, config)
    solved = closed_forms(config, scaled, parts)
    trainings = [
        start(build(config, segments.schema), config, class_weight_K=weights, solved=solved) for _ in range(workers)
    ]

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
    if "train__patience" in values:
        # At the end one rests, with the loss that was its least, while another still moves.
        learners = [e for e, one in enumerate(single(alone.network)) if list(one.parameters())]
        losses = {e: alone.member_losses(e) for e in learners}
        assert {loss[-1] == min(loss[:-1]) for loss in losses.values()} == {True, False}
    for training in spread:
        for one, whole in zip(untimed(training.records), untimed(alone.records), strict=True):
            assert one == pytest.approx(whole, rel=1e-4)
        for record in training.records:
            assert record.windows_per_second * record.seconds == pytest.approx(items.num_windows, rel=1e-5)
    for name, weight in alone.network.state_dict().items():
        torch.testing.assert_close(spread[0].network.state_dict()[name], weight, rtol=1e-3, atol=1e-3)


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


@pytest.mark.parametrize("averaging", [None, 0.9])
def test_the_best_weights_hold_what_validation_chose_for_them(averaging: float | None) -> None:
    values = AUTO | {"train__max_epochs": 4, "train__learning_rate": 0.05, "train__weight_averaging": averaging}
    config = made.make_config(**values)
    items, held_out = (source(sine(), made.PARTS, part, config) for part in ("train", "validation"))
    ridge_AH = np.zeros((13, 6), np.float32)
    ridge_AH[0] = 5.0
    training = start(build(config, sine().schema), config, solved=[{"highway.ridge_AH": ridge_AH}, {}])
    kept = []

    def keep(record: EpochRecord) -> bool:
        kept.append(
            (training.best_weights["weight_E"].tolist(), float(training.best_weights["members.0.highway.share"]))
        )
        return True

    batches = lambda: all_batches(held_out, config)  # noqa: E731
    steps = steps_per_epoch(items, config)
    fit(training, config, lambda epoch: train_batches(items, config, epoch), batches, steps, on_epoch=keep)
    network = training.network
    assert isinstance(network, Ensemble)
    chosen = score(Objective(config, network, network), batches()).best()
    assert kept[-1] == (list(chosen.weight_E), chosen.share)
    # A ridge that is 5 off is not taken in.
    assert chosen.share == 0.0 or chosen.weight_E == (0.0, 1.0)
    for weights in (training.best_weights, network.state_dict()):
        assert weights["weight_E"].tolist() == list(chosen.weight_E)
        assert float(weights["members.0.highway.share"]) == chosen.share
        assert weights["members.0.highway.ridge_AH"][0].tolist() == [5.0] * 6
    sums = sums_of(training, config, batches())
    assert float(sums[0] / sums[1]) == pytest.approx(training.best_loss, rel=1e-5)
