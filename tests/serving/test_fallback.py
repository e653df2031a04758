"""What is not finite never leaves a server: every route, with networks that answer NaN, infinity or too much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.data.parts import Boundaries
from lstm_ray.errors import InputError
from lstm_ray.model.levels import NORMAL
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.serving import bodies, fallback, planning
from lstm_ray.serving.api import make_app
from lstm_ray.serving.grpc import answering, messages
from lstm_ray.serving.service import Asked, answer, answer_and_count
from lstm_ray.serving.streams.keeper import Keeper
from lstm_ray.serving.streams.messages import Ahead
from lstm_ray.serving.streams.store import Store
from tests import made
from tests.serving import services as serving
from tests.serving.services import Client
from tests.serving.test_planning import planner
from tests.serving.test_streams import Here

Json = dict[str, Any]
PARTS: Boundaries = {"train": (0, 300), "validation": (300, 350), "test": (350, 400)}


def broken(policy: Policy, value: float = float("nan")) -> Policy:
    """Past the checks of loading: its weights change in memory."""
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.fill_(value)
    return policy


def post(policy: Policy, route: str, body: Json, value: float = float("nan"), **values: Any) -> tuple[Json, Json]:
    """The answer of an application whose policy breaks after it has started, and the monitor's summary."""
    with Client(make_app(serving.service(policy, **values))) as client:
        broken(policy, value)
        found = client.post(route, json=body)
        assert found.status_code == 200, found.text
        assert not {"nan", "inf"} & set(found.text.lower().replace('"', " ").replace(",", " ").split())
        return strict(found.text), strict(client.get("/v1/monitor").text)


def strict(text: str) -> Json:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found: Json = json.loads(text, parse_constant=refuse)
    return found


def numbers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers(each)]
    if isinstance(value, list):
        return [number for each in value for number in numbers(each)]
    return [value] if value is None or isinstance(value, float) else []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_forecast_that_is_not_finite_is_the_seasonal_naive_one_flagged_and_counted(value: float) -> None:
    item = serving.window()
    found, monitor = post(serving.forecaster(), "/v1/forecast", serving.body_of(item, quantiles=[0.1, 0.2, 0.9]), value)
    [one] = found["forecasts"]
    assert one["fallback"] == "seasonal naive"
    assert "was not finite" in one["warnings"][-1]
    assert "the last 6 steps repeated" in one["warnings"][-1]
    assert monitor["fallbacks"] == 1
    load = np.asarray(item.columns["load"])
    filled = [next(load[t - 6 * k] for k in range(2) if np.isfinite(load[t - 6 * k])) for t in range(6, 12)]
    told = one["targets"]["load"]
    assert told["median"] == pytest.approx(filled)
    assert told["mean"] == told["median"]
    assert list(told["quantiles"]) == ["0.1", "0.2", "0.9"]
    assert np.all(np.diff([told["quantiles"][level] for level in ("0.1", "0.2", "0.9")], axis=0) > 0)
    assert None not in numbers(one["targets"])


def test_only_the_series_that_is_not_finite_falls_back() -> None:
    policy = serving.forecaster()
    one, other = serving.window(100, "one"), serving.window(150, "other")
    wanted = policy.predict([other])[0]
    plain = policy.predict

    def predict(series: Any, levels: Any = ()) -> Any:
        found = plain(series, levels)
        return [replace(f, values_HCQ=f.values_HCQ * np.nan) if f.name == "one" else f for f in found]

    policy.predict = predict  # type: ignore[method-assign]
    [[first, second]], tally = answer_and_count(policy, [Asked([one, other])])
    assert (first.fallback, second.fallback, tally.fallbacks) == ("seasonal naive", None, 1)
    assert second.values_HCQ == pytest.approx(wanted.values_HCQ, abs=1e-5)


def test_scenarios_of_a_forecast_that_is_not_finite_hold_numbers_alone() -> None:
    scenario = {"name": "up", "column": "wind", "operation": "shift", "value": 1.0}
    found, monitor = post(serving.forecaster(), "/v1/what-if", serving.body_of(serving.window(), scenarios=[scenario]))
    assert found["base"][0]["fallback"] == found["scenarios"][0]["forecasts"][0]["fallback"] == "seasonal naive"
    assert None not in numbers(found["scenarios"][0]["difference"])
    assert monitor["fallbacks"] == 2


def test_classes_fall_back_to_their_shares_of_the_training_part() -> None:
    policy = serving.classifier()
    policy.facts[fallback.SHARES_KEY] = [0.25, 0.75]
    found, monitor = post(policy, "/v1/classify", serving.sequence_body())
    [one] = found["classifications"]
    assert list(one["probabilities"].values()) == [0.25, 0.75]
    assert (one["label"], one["fallback"]) == (policy.schema.classes[1], "training shares")
    assert monitor["fallbacks"] == 1


def test_a_bundle_without_shares_says_that_they_are_equal() -> None:
    found, _ = post(serving.classifier(), "/v1/classify", serving.sequence_body())
    [one] = found["classifications"]
    assert set(one["probabilities"].values()) == {0.5}
    assert "equal shares (the bundle carries no others)" in one["warnings"][-1]


@pytest.mark.parametrize(("kind", "told"), [("class", "training shares"), ("value", "training mean")])
def test_labels_fall_back_to_shares_or_the_mean(kind: str, told: str) -> None:
    policy = serving.labeller(kind)
    found, _ = post(policy, "/v1/label", serving.sequence_body())
    [one] = found["labellings"]
    assert one["fallback"] == told
    if kind == "value":
        assert policy.scaler.label is not None
        assert one["labels"] == [policy.scaler.label.mean[0]] * 12
    assert None not in numbers(one["probabilities"])


def test_shares_are_those_of_the_training_part() -> None:
    data = made.sequences_of([12] * 8)
    assert data.label is not None
    shares = fallback.shares_of(data, {"train": (0, 4), "validation": (4, 6), "test": (6, 8)})
    assert sum(shares) == pytest.approx(1)
    steps = made.labelled_of((240,), kind="class")
    assert steps.label_R is not None
    shares = fallback.shares_of(steps, made.PARTS)
    label = steps.label_R[: made.PARTS["train"][1]]
    assert shares[0] == pytest.approx(float((label == 0).sum() / np.isfinite(label).sum()))


def test_a_plan_is_refused_where_forecasts_are_not_finite() -> None:
    policy = planner()
    example = planning.example(policy)

    async def plan(inputs: list[SeriesInput]) -> list[planning.Planned]:
        return planning.plan(policy, inputs, 5.0)

    with Client(make_app(serving.service(policy, plan=plan))) as client:
        broken(policy)
        found = client.post("/v1/plan", json=example)
    assert found.status_code == 500, found.text
    assert "not finite" in found.json()["detail"][0]["msg"]


def test_a_stream_falls_back_as_a_forecast_does(tmp_path: Path) -> None:
    store = Store(tmp_path / "streams.sqlite")
    store.policy = serving.forecaster().files()
    keeper = Keeper(store, 10, 1e6)
    item = serving.window()
    body = serving.body_of(item)["series"][0]
    future = body.pop("future")
    keeper.put("one", bodies.Series(**body))
    broken(keeper.policy)
    told = strict(keeper.forecast("one", Ahead(future=future)).model_dump_json())["forecasts"][0]
    wanted = post(serving.forecaster(), "/v1/forecast", serving.body_of(item))[0]["forecasts"][0]
    assert told["fallback"] == "seasonal naive"
    assert told["targets"]["load"]["median"] == pytest.approx(wanted["targets"]["load"]["median"], rel=1e-6)


def test_a_stream_over_http_counts_its_fallbacks(tmp_path: Path) -> None:
    store = Store(tmp_path / "streams.sqlite")
    policy = serving.forecaster()
    store.policy = policy.files()
    keeper = Keeper(store, 10, 1e6)
    body = serving.body_of(serving.window())["series"][0]
    future = body.pop("future")
    with Client(make_app(serving.service(policy, streams=Here(keeper)))) as client:
        client.request("PUT", "/v1/streams/one", json=body)
        broken(keeper.policy)
        answer = client.post("/v1/streams/one/forecast", json={"future": future})
        assert answer.json()["forecasts"][0]["fallback"] == "seasonal naive"
        assert client.get("/v1/monitor").json()["fallbacks"] == 1


def test_grpc_flags_a_fallback_too() -> None:
    policy = serving.forecaster()
    service = serving.service(policy)
    item = serving.window()
    request = messages.Request()
    one = request.series.add(name="one", times=[f"{np.datetime64(t, 's')}Z" for t in item.times])
    for part, sent in (("columns", item.columns), ("future", item.future)):
        for name, values in sent.items():
            getattr(one, part)[name].values.extend(np.asarray(values, dtype=float).tolist())
    with Client(make_app(service)):
        told = asyncio.run(answering.answered(service, "Forecast", request, {})).forecasts[0]
        assert told.fallback == ""
        broken(policy)
        told = asyncio.run(answering.answered(service, "Forecast", request, {})).forecasts[0]
    assert told.fallback == "seasonal naive"
    assert np.isfinite(list(told.targets["load"].median)).all()


def test_a_server_does_not_start_with_a_policy_that_answers_its_example_with_nan() -> None:
    with (
        pytest.raises(FloatingPointError, match="its own example"),
        Client(make_app(serving.service(broken(serving.forecaster())))),
    ):
        raise AssertionError("it started")


@pytest.mark.parametrize("make", [serving.forecaster, serving.classifier, serving.labeller])
def test_weights_that_are_not_finite_are_not_loaded(make: Callable[[], Policy]) -> None:
    policy = make()
    with torch.no_grad():
        next(policy.network.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(InputError, match="NaN or infinity in"):
        Policy.of(policy.files())


def test_inputs_as_large_as_a_request_may_bring_are_answered_with_numbers() -> None:
    policy = serving.forecaster()
    item = serving.window()
    far = {name: np.asarray(values) * 1e7 for name, values in item.columns.items()}
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.mul_(1e25)
    [[found]] = answer(policy, [Asked([replace(item, columns=far)])])
    assert fallback.is_finite(found)


def history(*values: float) -> Any:
    return np.array(values)[:, None]


def of(value_TC: Any, **config: Any) -> Any:
    """The fallback of a history, for a policy with horizon 6 and season 6."""
    policy = made.random_policy(
        made.make_config(**({"model__quantiles": [0.1, 0.5, 0.9]} | config)), serving.segments(known=False)
    )
    plain = policy.predict([made.series_input(serving.segments(known=False), 100, 12, 6)])[0]
    return fallback.forecast(policy, value_TC, plain), policy


def test_a_phase_that_was_not_measured_takes_the_season_before_then_the_last_value() -> None:
    nan = float("nan")
    found, _ = of(history(1, 2, nan, 4, 5, 6, nan, 20, nan, 40, 50, nan))
    assert found.values_HCQ[:, 0, 1].tolist() == [1, 20, 50, 40, 50, 6]


def test_a_history_shorter_than_a_season_repeats_its_last_value_and_an_empty_one_the_mean() -> None:
    found, policy = of(history(1, 2, 3))
    assert found.fallback == "last value"
    assert found.values_HCQ[:, 0, 1].tolist() == [3] * 6
    found, policy = of(history(*[float("nan")] * 12))
    assert found.values_HCQ[:, 0, 1] == pytest.approx(policy.scaler.target_mean[0])
    assert np.isfinite(found.values_HCQ).all()


def test_quantiles_are_as_wide_as_the_seasonal_differences_and_grow_by_the_season() -> None:
    random = np.random.default_rng(0)
    value = np.tile(np.arange(6.0), 40) + random.normal(0, 2, 240)
    found, _ = of(history(*value), window__horizon=12)
    change = value[6:] - value[:-6]
    wide = found.values_HCQ[:, 0, 2] - found.values_HCQ[:, 0, 1]
    assert wide[0] == pytest.approx(NORMAL.inv_cdf(0.9) * np.sqrt((change**2).mean()))
    assert wide[6] / wide[0] == pytest.approx(np.sqrt(2))
