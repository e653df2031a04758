"""A step's label is told from its patch and what lies before, never from what follows, and the same in any company."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lstm_ray.config import Config
from lstm_ray.data.feed import all_batches, class_weights, source, steps_per_epoch, train_batches
from lstm_ray.data.steps import cut_steps, plan_part
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.errors import InputError
from lstm_ray.model.network import Labeller, build
from lstm_ray.model.objective import Objective
from lstm_ray.model.training import fit, start
from tests import made

SEGMENTS = made.labelled_of((240, 60, 7), (0, 100, 10))
VALUES = made.labelled_of((240, 60, 7), (0, 100, 10), "value")


def scaled_of(segments: Segments) -> Segments:
    return segments.scaled(made.scaler_of(segments))


def labeller(config: Config, segments: Segments = SEGMENTS) -> Labeller:
    network = build(config, segments.schema).eval()
    assert isinstance(network, Labeller)
    with torch.no_grad():
        network.newest.weight.normal_(0, 0.1)
    return network


def batch_of(config: Config, segments: Segments = SEGMENTS) -> Batch:
    """The training part's sequences, whole."""
    plan = plan_part(scaled_of(segments), made.PARTS, "train", config.window, config.train.origins)
    return cut_steps(scaled_of(segments), plan, np.arange(len(plan)))


def tensors(batch: Batch) -> list[Tensor]:
    parts = (batch.past_BTP, batch.observed_BTC, batch.known_BTK, batch.origin_BN, batch.category_BS)
    return [torch.from_numpy(part) for part in parts]


def reached(network: Labeller, inputs: list[Tensor], changed: int) -> list[int]:
    """The steps whose answers move when the inputs of one step do."""
    with torch.inference_mode():
        before = network(*inputs)
        moved = [part.clone() for part in inputs]
        for part in moved[:3]:
            part[:, changed] += 1.0
        after = network(*moved)
    return sorted({int(step) for step in (before != after).any(-1).nonzero()[:, 1]})


@pytest.mark.parametrize(
    ("patch", "layers", "attention", "norm"), list(product((1, 4), (1, 2), *[(False, True)] * 2)), ids=str
)
def test_a_label_sees_nothing_after_its_patch(patch: int, layers: int, attention: bool, norm: bool) -> None:
    """With patches of one step it sees nothing after its own step."""
    values = {"model__layers": layers, "model__attention": attention, "model__layer_norm": norm}
    config = made.label_config(window__patch=patch, model__residual=layers > 1, **values)
    inputs = tensors(batch_of(config))
    network = labeller(config)
    steps = inputs[0].shape[1]
    for changed in (0, 5, 10, 15):
        seen = reached(network, [part[:1] for part in inputs], changed)
        assert min(seen) == changed // patch * patch, "the patch of the step is the first that it reaches"
        assert changed in seen
        assert max(seen) == steps - 1, "and the last one is reached through the state"


@pytest.mark.parametrize("attention", [False, True])
def test_read_both_ways_a_label_sees_what_follows(attention: bool) -> None:
    config = made.label_config(model__bidirectional=True, model__attention=attention)
    inputs = [part[:1] for part in tensors(batch_of(config))]
    assert reached(labeller(config), inputs, 15)[0] == 0


@pytest.mark.parametrize(("patch", "bidirectional", "attention"), list(product((1, 4), *[(False, True)] * 2)), ids=str)
def test_a_sequence_is_told_alike_whatever_it_is_batched_with(patch: int, bidirectional: bool, attention: bool) -> None:
    values = {"model__bidirectional": bidirectional, "model__attention": attention}
    config = made.label_config(window__patch=patch, model__layers=2, **values)
    network, batch = labeller(config), batch_of(config)
    inputs = tensors(batch)
    lengths = batch.origin_BN.sum(1).astype(int)
    assert len(set(lengths)) > 1, "sequences of different lengths are padded"
    with torch.inference_mode():
        together = network(*inputs)
        spoilt = [part.clone() for part in inputs]
        for part in spoilt[:3]:
            part[(inputs[3] == 0).repeat_interleave(patch, dim=1)] = 99.0
        moved = network(*spoilt)
        for item, length in enumerate(lengths):
            own = [part[item : item + 1] for part in inputs]
            alone = network(*[part[:, : length * patch] for part in own[:3]], own[3][:, :length], own[4])
            torch.testing.assert_close(alone[0], together[item, : length * patch], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(moved[item, : length * patch], together[item, : length * patch])


def test_measured_and_filled_inputs_are_told_apart() -> None:
    config = made.label_config()
    network, inputs = labeller(config), tensors(batch_of(config))
    hidden = [inputs[0], torch.zeros_like(inputs[1]), *inputs[2:]]
    with torch.inference_mode():
        assert not torch.allclose(network(*inputs), network(*hidden))


def test_categories_and_known_inputs_reach_every_label() -> None:
    schema = SEGMENTS.schema.model_copy(update={"categories": {"kind": ["pump", "fan"]}})
    codes = np.ones((3, 1), np.int64)
    segments = replace(SEGMENTS, schema=schema, category_SK=codes)
    config = made.label_config(data__categorical=["kind"])
    network = labeller(config, segments)
    inputs = tensors(batch_of(config, segments))
    with torch.inference_mode():
        before = network(*inputs)
        other = network(*inputs[:4], torch.full_like(inputs[4], 2))
        calendar = network(*inputs[:2], inputs[2] + 1.0, *inputs[3:])
    for after in (other, calendar):
        assert (before != after).any(-1).all()


def test_members_are_those_of_a_classifier() -> None:
    assert len(build(made.label_config(model__members=None), SEGMENTS.schema).members) == 3  # type: ignore[union-attr]


def objective_of(config: Config, segments: Segments, weights: list[float] | None = None) -> Objective:
    network = build(config, segments.schema)
    return Objective(config, network, network, torch.tensor(weights) if weights else None)


def by_hand(config: Config, segments: Segments, weights: list[float] | None = None) -> tuple[float, ...]:
    """Sums of loss, weight, metric and count, walking over every step of a batch."""
    batch = batch_of(config, segments)
    network = objective_of(config, segments).network.eval()
    with torch.inference_mode():
        answer_BTA = network(*tensors(batch))
    loss = weight = metric = count = 0.0
    for b, t in np.argwhere(~np.isnan(batch.label_BT)):
        told, true = answer_BTA[b, t].double(), float(batch.label_BT[b, t])
        count += 1
        if config.answers == "values":
            loss += abs(float(told[0]) - true) if config.loss == "mae" else (float(told[0]) - true) ** 2
            metric += abs(float(told[0]) - true)
            weight += 1
            continue
        own = weights[int(true)] if weights else 1.0
        log_p = float(told.log_softmax(0)[int(true)])
        discount = (1 - np.exp(log_p)) ** config.train.focal_gamma if config.loss == "focal" else 1.0
        loss += -own * discount * log_p
        weight += own
        metric += int(told.argmax()) == int(true)
    return loss, weight, metric, count


@pytest.mark.parametrize(
    ("config", "segments", "weights"),
    [
        (made.label_config(), SEGMENTS, None),
        (made.label_config(window__patch=4), SEGMENTS, [0.5, 3.0]),
        (made.label_config(train__loss="focal"), SEGMENTS, [2.0, 1.0]),
        (made.value_config(), VALUES, None),
        (made.value_config(train__loss="mse", window__patch=4), VALUES, None),
    ],
)
def test_every_labelled_step_counts_once_and_others_do_not(
    config: Config, segments: Segments, weights: list[float] | None
) -> None:
    objective = objective_of(config, segments, weights)
    objective.network.eval()
    lesson = objective.lesson(batch_of(config, segments))
    sums = objective.sums(lesson).tolist()
    assert sums == pytest.approx(by_hand(config, segments, weights), rel=1e-4)
    assert sums[3] == source(scaled_of(segments), made.PARTS, "train", config).num_windows
    assert float(objective.weight(lesson)) == pytest.approx(sums[1])


@pytest.mark.parametrize("segments", [SEGMENTS, VALUES], ids=["class", "value"])
def test_a_batch_read_in_parts_has_the_gradient_of_the_whole(segments: Segments) -> None:
    kind = "class" if segments is SEGMENTS else "value"
    gradients = []
    for accumulate in (1, 3):
        config = made.label_config(data__label_kind=kind, train__accumulate=accumulate)
        objective = objective_of(config, segments)
        for loss in objective.losses(objective.lesson(batch_of(config, segments))):
            loss.backward()
        gradients.append({name: w.grad for name, w in objective.network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


def squared(answer: Tensor, truth: Tensor) -> Tensor:
    return (answer - truth) ** 2


def doubled(logits: Tensor, label: Tensor) -> Tensor:
    return 2 * torch.nn.functional.cross_entropy(logits, label, reduction="none")


@pytest.mark.parametrize(
    ("segments", "own", "known", "factor"), [(SEGMENTS, "doubled", "cross_entropy", 2), (VALUES, "squared", "mse", 1)]
)
def test_a_loss_of_the_users_is_asked_for_labelled_steps_alone(
    segments: Segments, own: str, known: str, factor: int
) -> None:
    kind = "class" if segments is SEGMENTS else "value"
    sums = []
    for loss in (f"{__name__}:{own}", known):
        config = made.label_config(data__label_kind=kind, train__loss=loss)
        objective = objective_of(config, segments)
        start(objective.network, config)
        objective.network.eval()
        with torch.inference_mode():
            sums.append(float(objective.sums(objective.lesson(batch_of(config, segments)))[0]))
    assert sums[0] == pytest.approx(factor * sums[1], rel=1e-5)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("segments", [SEGMENTS, VALUES], ids=["class", "value"])
def test_training_learns_what_a_step_and_the_two_before_say(segments: Segments, members: int) -> None:
    kind, scaled = ("class" if segments is SEGMENTS else "value"), scaled_of(segments)
    settings: dict[str, Any] = {"train__max_epochs": 15, "train__learning_rate": 0.03, "model__members": members}
    config = made.label_config(data__label_kind=kind, preprocess__calendar=[], **settings)
    items, held_out = (source(scaled, made.PARTS, part, config) for part in ("train", "validation"))  # type: ignore[arg-type]
    network = build(config, scaled.schema)
    training = start(network, config, class_weight_K=class_weights(scaled, made.PARTS, config))
    every = steps_per_epoch(items, config)
    fit(training, config, lambda e: train_batches(items, config, e), lambda: all_batches(held_out, config), every)
    best = training.best_record.validation_metric
    assert best > 0.9 if kind == "class" else best < 0.3


@pytest.mark.parametrize("augment", ["jitter", "scaling", "magnitude_warp", "masking"])
def test_augmentation_changes_what_is_read_and_no_label(augment: str) -> None:
    from lstm_ray.model.augment import augmented

    config = made.label_config(train__augment={augment: 0.3}, window__patch=4)
    objective = objective_of(config, SEGMENTS)
    lesson = objective.lesson(batch_of(config))
    changed = augmented(lesson, config.train.augment, config.window, (1, 2))
    assert not torch.equal(changed.past_BTP, lesson.past_BTP)
    torch.testing.assert_close(changed.label_BT, lesson.label_BT, equal_nan=True)
    padding = (lesson.origin_BN == 0).repeat_interleave(4, dim=1)
    assert not changed.past_BTP[padding].any()
    if augment == "masking":
        assert changed.observed_BTC.sum() < lesson.observed_BTC.sum()


def test_a_class_that_training_never_sees_and_a_part_without_labels_are_refused() -> None:
    assert SEGMENTS.label_R is not None
    steps = SEGMENTS.steps(np.arange(len(SEGMENTS.label_R)))
    late = np.where(steps < 140, 0.0, SEGMENTS.label_R).astype(np.float32)
    with pytest.raises(
        InputError, match=r"validation part holds .* steps of classes that the training part lacks, 'low'"
    ):
        source(replace(SEGMENTS, label_R=late), made.PARTS, "train", made.label_config())
    none = np.where((steps >= 140) & (steps < 180), np.nan, SEGMENTS.label_R).astype(np.float32)
    with pytest.raises(InputError, match=r"validation part \(140, 180\) holds no label in 'state'"):
        source(replace(SEGMENTS, label_R=none), made.PARTS, "validation", made.label_config())


def test_balanced_classes_weigh_the_same_in_all_and_a_step_one_on_average() -> None:
    config = made.label_config(train__class_weights="balanced")
    weights = class_weights(SEGMENTS, made.PARTS, config)
    batch = batch_of(config)
    codes = batch.label_BT[~np.isnan(batch.label_BT)].astype(int)
    assert weights is not None
    totals = np.bincount(codes) * weights
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    assert weights[codes].mean() == pytest.approx(1, rel=1e-5)
