"""What moved an answer adds up to how far it moved, in the data's units, for every task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.model.explaining import MOST_STRETCHES, explain
from lstm_ray.model.policy import Classification, Forecast, Labelling, Policy
from tests import made


def forecaster(**values: object) -> tuple[Policy, Any]:
    segments = made.segments_of(schema=made.schema_of(known=("price",)))
    config = made.make_config(**({"data__known": ["price"], "model__quantiles": [0.1, 0.5, 0.9]} | values))
    policy = made.random_policy(config, segments)
    return policy, made.series_input(segments, 100, 12, 6)


def total(moved: Any) -> float:
    return float(sum(values.sum() for values in moved.column_F.values()))


@pytest.mark.parametrize("normalisation", ["none", "last", "mean", "mean_deviation"])
def test_contributions_to_a_forecast_add_up_in_its_own_units(normalisation: str) -> None:
    policy, item = forecaster(model__normalisation=normalisation)
    found = explain(policy, item)
    [moved] = found.moved
    [answer] = policy.predict([item])
    assert isinstance(answer, Forecast)
    assert moved.answer == pytest.approx(float(answer.values_HCQ[:, 0, 1].mean()), rel=1e-5)
    assert total(moved) + moved.gap == pytest.approx(moved.answer - moved.baseline, rel=1e-4, abs=1e-5)
    assert abs(moved.gap) <= 0.02 * abs(moved.answer - moved.baseline) + 1e-4
    assert set(moved.column_F) == {"load", "wind", "price", "calendar"}
    assert found.ahead == [False, False, False, True]
    times = np.asarray(item.times)
    assert (found.first[0], found.last[2]) == (times[0], times[-1])
    assert found.last[-1] == answer.times[-1]
    assert moved.column_F["load"][-1] == moved.column_F["wind"][-1] == 0, (
        "of what lies ahead only known inputs are read"
    )


def test_typical_inputs_move_nothing() -> None:
    policy, item = forecaster(model__normalisation="none")
    scaler = policy.scaler
    flat = {"load": np.full(12, scaler.target.mean[0]), "wind": np.full(12, scaler.past.mean[0])}
    price = scaler.known.mean[0]
    typical = made.SeriesInput(item.times, {**flat, "price": np.full(12, price)}, {"price": np.full(6, price)})
    [moved] = explain(policy, typical).moved
    for column in ("load", "wind", "price"):
        assert np.abs(moved.column_F[column]).max() < 1e-4, "what is left is the calendar's"


def test_they_add_up_where_targets_are_learned_as_logarithms() -> None:
    policy, item = forecaster()
    policy.scaler = made.in_logarithms(policy.scaler, 30.0, 4.0, 0.3)
    policy.requests = type(policy.requests)(policy.config, policy.schema, policy.scaler)
    [moved] = explain(policy, item).moved
    [answer] = policy.predict([item])
    assert isinstance(answer, Forecast)
    assert moved.answer == pytest.approx(float(answer.values_HCQ[:, 0, 1].mean()), rel=1e-4)
    assert total(moved) == pytest.approx(moved.answer - moved.baseline, rel=0.02, abs=1e-3)


def test_lags_are_told_by_their_target() -> None:
    policy, _ = forecaster(window__lags=[24])
    segments = made.segments_of(schema=made.schema_of(known=("price",)))
    [moved] = explain(policy, made.series_input(segments, 100, 40, 6)).moved
    assert np.abs(moved.column_F["load (lags)"]).max() > 0
    assert total(moved) == pytest.approx(moved.answer - moved.baseline, rel=0.02, abs=1e-3)


def test_an_input_that_is_not_read_moves_nothing() -> None:
    policy, item = forecaster()
    original = policy.network.forward

    def blind(target: Any, observed: Any, past: Any, known: Any, category: Any = None, **options: Any) -> Any:
        return original(target, observed, torch.zeros_like(past), known, category, **options)

    policy.network.forward = blind  # type: ignore[method-assign]
    [moved] = explain(policy, item).moved
    assert not moved.column_F["wind"].any()
    assert np.abs(moved.column_F["load"]).max() > 0


def test_a_class_is_explained_by_its_probability() -> None:
    policy = made.random_policy(made.classify_config(), made.sequences_of([12] * 8))
    times = [made.START + step for step in range(10)]
    item = made.SeriesInput(times, {"load": 20.0 + np.arange(10.0)})
    found = explain(policy, item)
    [answer] = policy.predict([item])
    assert isinstance(answer, Classification)
    [moved] = found.moved
    assert moved.name == policy.schema.classes[int(answer.probabilities.argmax())]
    assert moved.answer == pytest.approx(float(answer.probabilities.max()), rel=1e-5)
    assert total(moved) == pytest.approx(moved.answer - moved.baseline, rel=0.02, abs=1e-4)
    assert found.first[0] == times[0]
    assert found.last[-1] == times[-1]


@pytest.mark.parametrize("kind", ["class", "value"])
@pytest.mark.parametrize("length", [1, 5, 40])
def test_the_newest_label_is_explained(kind: str, length: int) -> None:
    policy = made.random_policy(made.label_config(data__label_kind=kind), made.labelled_of((240,), kind=kind))
    times = [made.START + step for step in range(length)]
    item = made.SeriesInput(times, {"load": 20.0 + np.sin(np.arange(float(length)))})
    found = explain(policy, item)
    [answer] = policy.predict([item])
    assert isinstance(answer, Labelling)
    [moved] = found.moved
    assert moved.answer == pytest.approx(float(answer.answer_LA[-1].max()), rel=1e-4)
    assert total(moved) == pytest.approx(moved.answer - moved.baseline, rel=0.02, abs=1e-3)
    assert found.last[-1] == times[-1]
    assert len(found.ahead) <= MOST_STRETCHES


def test_what_is_not_finite_is_not_explained() -> None:
    policy, item = forecaster()
    with torch.no_grad():
        next(policy.network.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="not finite"):
        explain(policy, item)


def test_it_agrees_with_captum() -> None:
    captum = pytest.importorskip("captum.attr")
    policy, item = forecaster(model__normalisation="mean_deviation", model__quantiles=[])
    [moved] = explain(policy, item).moved
    batch = policy.requests.read(item, 0).batch
    inputs = tuple(torch.from_numpy(getattr(batch, name)) for name in ("target_BTC", "past_BTP", "known_BTK"))
    unit = float(policy.scaler.units("target")[1][0])

    def answer(target: Any, past: Any, known: Any) -> Any:
        observed = torch.from_numpy(batch.observed_BTC).expand(len(target), -1, -1)
        raw = policy.network(target, observed, past, known, torch.zeros(len(target), 0, dtype=torch.int64))[:, -1]
        return raw[..., 0, 0].mean(1) * unit

    typical = tuple(torch.zeros_like(one) for one in inputs)
    found = captum.IntegratedGradients(answer).attribute(inputs, typical, n_steps=32)
    assert moved.column_F["wind"].sum() == pytest.approx(float(found[1].sum()), rel=1e-3, abs=1e-5)
    assert moved.column_F["load"].sum() == pytest.approx(float(found[0].sum()), rel=1e-3, abs=1e-5)
