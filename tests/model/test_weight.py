"""Weights of rows in the loss (data.weight): what they multiply, what they are divided by, and what they never touch.

Shapes as in ``objective.py``: B sequences, T steps, N origins, H horizon.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.feed import source
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.preparing.segments import make_schema, make_segments
from lstm_ray.data.store import to_segments
from lstm_ray.data.windows import Batch, Segments, sequence_weights
from lstm_ray.model import kernels
from lstm_ray.model.augment import augmented
from lstm_ray.model.closed_forms import Whole, closed_forms, window_sums_of
from lstm_ray.model.losses import class_loss
from lstm_ray.model.network import build
from lstm_ray.model.objective import Objective
from lstm_ray.sections.train import AugmentConfig
from tests import made
from tests.model.test_training import trained

DAY_PARTS: Boundaries = {"train": (0, 24 * 16), "validation": (24 * 16, 24 * 18), "test": (24 * 18, 24 * 20)}
TASKS: dict[str, tuple[Config, Segments, Boundaries]] = {
    "forecast": (made.make_config(), made.segments_of([240, 100], [0, 20]), made.PARTS),
    "classify": (made.classify_config(), made.sequences_of([12, 9, 10] * 6), DAY_PARTS),
    "label": (made.label_config(), made.labelled_of([240, 100], [0, 20]), made.PARTS),
    "value": (made.value_config(), made.labelled_of([240, 100], [0, 20], "value"), made.PARTS),
}


def weighted(segments: Segments, seed: int = 0) -> Segments:
    """Scaled, each row with a weight; a third of them 0."""
    random = np.random.default_rng(seed)
    weight_R = random.uniform(0.2, 3, len(segments.past_RP)) * (random.random(len(segments.past_RP)) > 1 / 3)
    return replace(segments.scaled(made.scaler_of(segments)), weight_R=weight_R.astype(np.float32))


def world(task: str, **values: Any) -> tuple[Config, Segments, Objective, Batch]:
    config, segments, bounds = TASKS[task]
    config = config.model_validate(config.model_dump() | {"train": config.train.model_dump() | values})
    segments = weighted(segments)
    network = build(config, segments.schema).eval()
    batch = source(segments, bounds, "train", config).cut(np.arange(6))
    return config, segments, Objective(config, network, network), batch


def test_the_loss_of_a_forecast_weighs_each_step_of_a_horizon() -> None:
    config, _, objective, batch = world("forecast")
    lesson = objective.lesson(batch)
    with torch.inference_mode():
        [total] = objective.losses(lesson)
        forecast_BNH = objective.answer(lesson)[..., 0, 0].numpy()
    loss = weight = 0.0
    for b, n, h in np.ndindex(forecast_BNH.shape):
        t = config.window.history + n * config.window.patch + h
        own = batch.weight_BT[b, t] * batch.observed_BTC[b, t, 0] * batch.origin_BN[b, n]
        loss += own * abs(forecast_BNH[b, n, h] - batch.target_BTC[b, t, 0])
        weight += own
    assert float(total) == pytest.approx(loss, rel=1e-4)
    assert float(objective.weight(lesson)) == pytest.approx(weight, rel=1e-4)
    assert weight != pytest.approx(float(objective.weight(lesson.unweighted())), rel=0.1)


def test_the_loss_of_a_sequence_weighs_its_mean() -> None:
    _, segments, objective, batch = world("classify")
    lesson = objective.lesson(batch)
    assert segments.weight_R is not None
    means = [segments.weight_R[a:b].mean() for a, b in zip(segments.bounds[:-1], segments.bounds[1:], strict=True)]
    np.testing.assert_allclose(batch.weight_BT[:, 0], means[:6], rtol=1e-5)
    np.testing.assert_allclose(sequence_weights(segments, np.arange(18)), means, rtol=1e-5)
    with torch.inference_mode():
        [total] = objective.losses(lesson)
        loss_B = class_loss(objective.config, objective.answer(lesson), lesson.label_B)
    assert float(total) == pytest.approx(float((loss_B.numpy() * batch.weight_BT[:, 0]).sum()), rel=1e-5)
    assert float(objective.weight(lesson)) == pytest.approx(batch.weight_BT.sum(), rel=1e-5)


@pytest.mark.parametrize("task", ["label", "value"])
def test_the_loss_of_a_labelled_step_weighs_as_the_step_does(task: str) -> None:
    _, _, objective, batch = world(task)
    told_BT = ~np.isnan(batch.label_BT)
    whole = objective.lesson(batch)
    assert float(objective.weight(whole)) == pytest.approx(batch.weight_BT[told_BT].sum(), rel=1e-5)
    step = np.argwhere(told_BT & (batch.weight_BT > 0))[3]
    alone = np.full_like(batch.label_BT, np.nan)
    alone[tuple(step)] = batch.label_BT[tuple(step)]
    one = objective.lesson(replace(batch, label_BT=alone))
    with torch.inference_mode():
        [weighed], [plain] = (list(objective.losses(lesson)) for lesson in (one, one.unweighted()))
    assert float(weighed) == pytest.approx(float(plain) * float(batch.weight_BT[tuple(step)]), rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_equal_weights_of_any_size_change_nothing(task: str) -> None:
    config, segments, bounds = TASKS[task]
    scaled = segments.scaled(made.scaler_of(segments))
    found = []
    for weight_R in (None, np.full(len(scaled.past_RP), 4, np.float32)):
        training = trained(config, replace(scaled, weight_R=weight_R), bounds)
        found.append((training.best_loss, [record.train_loss for record in training.records]))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-3)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_validation_is_scored_without_weights(task: str) -> None:
    config, segments, bounds = TASKS[task]
    held_out = replace(segments.scaled(made.scaler_of(segments)), weight_R=None)
    losses = []
    for validation in (held_out, weighted(segments)):
        training = trained(config, held_out, bounds, validation=validation)
        losses.append([(record.validation_loss, record.validation_metric) for record in training.records])
    assert losses[0] == losses[1]


def test_what_happened_at_steps_of_weight_0_teaches_nothing() -> None:
    """The last horizon of a stretch is read by no window of the training part, only held against its forecasts."""
    segments = made.segments_of([240, 60], [0, 20])
    scaled = segments.scaled(made.scaler_of(segments))
    last = slice(240 + 54, 240 + 60)
    target_RC = scaled.target_RC.copy()
    target_RC[last] += 3.0
    config = made.make_config()
    for weight, taught in ((1.0, True), (0.0, False)):
        weight_R = np.ones(300, np.float32)
        weight_R[last] = weight
        found = [
            trained(config, replace(scaled, target_RC=values, weight_R=weight_R)).network.state_dict()
            for values in (scaled.target_RC, target_RC)
        ]
        same = all(torch.equal(found[0][name], found[1][name]) for name in found[0])
        assert same is not taught


def test_a_ridge_weighs_windows_as_often_as_they_count() -> None:
    """Of three stretches, the one that counts three times lies in the data three times."""
    config = made.make_config(model__linear="residual", model__normalisation="mean")
    segments = made.segments_of([100, 100, 240])
    range_S2, times = np.array([[0, 100], [100, 200], [200, 440]]), [1, 3, 1]
    scaled = segments.scaled(made.scaler_of(segments))
    weight_R = np.repeat(np.asarray(times, np.float32), range_S2[:, 1] - range_S2[:, 0])
    counted, copied, plain = (
        closed_forms(config, one, made.PARTS)[0]["highway.ridge_AH"]
        for one in (replace(scaled, weight_R=weight_R), scaled.stretches(np.repeat(range_S2, times, axis=0)), scaled)
    )
    np.testing.assert_allclose(counted, copied, atol=2e-3)
    assert np.abs(counted - plain).max() > 0.02


def test_a_ridge_on_sequences_does_not_hear_classes_of_weight_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "FEATURES", 100)
    config, segments = made.classify_config(model__linear="average"), TASKS["classify"][1]
    assert segments.label is not None
    silent_S = np.arange(18) % 5 == 0
    turned = np.where(silent_S & (np.arange(18) < 16), 1 - segments.label, segments.label)
    for weight, heard in ((1.0, True), (0.0, False)):
        weight_R = np.repeat(np.where(silent_S, weight, 1).astype(np.float32), np.diff(segments.bounds))
        found = [
            closed_forms(config, replace(segments, label=label, weight_R=weight_R), DAY_PARTS)[-1]["ridge_AK"]
            for label in (segments.label, turned)
        ]
        assert bool(np.abs(found[0] - found[1]).max() > 1e-3) == heard


def test_the_penalty_of_a_ridge_is_chosen_without_weights() -> None:
    config, segments, bounds = TASKS["forecast"]
    found = [
        window_sums_of(config, Whole(one), bounds, "validation")
        for one in (weighted(segments), replace(weighted(segments), weight_R=None))
    ]
    np.testing.assert_array_equal(found[0].xx_AA, found[1].xx_AA)


@pytest.mark.parametrize("task", ["forecast", "classify"])
@pytest.mark.parametrize("name", ["mixup", "time_warp", "window_slice"])
def test_what_is_made_of_two_steps_counts_as_the_lesser_one(task: str, name: str) -> None:
    config, _, objective, batch = world(task)
    before = objective.lesson(batch)
    after = augmented(before, AugmentConfig.model_validate({name: 0.5}), config.window, (1, 2, 3, 0))
    assert after.weight_BT.shape == before.weight_BT.shape
    values = set(before.weight_BT.flatten().tolist())
    assert set(after.weight_BT.flatten().tolist()) <= values
    if name == "mixup":
        assert (after.weight_BT <= before.weight_BT).all()
        assert (after.weight_BT < before.weight_BT).any()


@pytest.mark.parametrize("task", ["forecast", "classify"])
def test_weights_come_with_the_rows_and_an_empty_one_is_1(task: str) -> None:
    columns = {"load": [1.0, 2.0, 3.0, 4.0], "wind": [0.0, 0.0, 1.0, 1.0], "count": [0.5, None, 0.0, 7.0]}
    frame = made.frame_of(**columns)
    config = made.make_config(data__weight="count")
    if task == "classify":
        config = made.classify_config(data__weight="count")
        other = frame.with_columns(series=pl.lit("other"), kind=pl.lit("down"))
        frame = pl.concat([frame.with_columns(kind=pl.lit("up")), other]).drop("wind")
    schema = make_schema(frame, 1, config)
    segments = to_segments(make_segments(frame, schema, config), schema)
    expected = np.array([0.5, 1.0, 0.0, 7.0] * (1 if task == "forecast" else 2), np.float32)
    np.testing.assert_array_equal(segments.weight_R, expected)
    assert (segments.label is None) == (task == "forecast")
    plain = (
        to_segments(make_segments(frame, schema, config), schema.model_copy(update={"weight": None}))
        if task == "forecast"
        else None
    )
    assert plain is None or plain.weight_R is None
