"""The HTTP routes, in this process."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.model.policy import Labelling, SeriesInput
from lstm_ray.plan.futures.starts import World, start_of
from lstm_ray.plan.what_if.scenarios import under
from lstm_ray.serving.api import in_words, make_app
from lstm_ray.serving.gate import digest
from lstm_ray.serving.scenarios import MAX_SCENARIOS
from lstm_ray.serving.service import Asked, Service
from tests import made
from tests.serving import services as serving
from tests.serving.services import Client

Json = dict[str, Any]
POLICY, CLASSIFIER = serving.forecaster(), serving.classifier()
LABELLERS = {kind: serving.labeller(kind) for kind in ("class", "value")}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(make_app(serving.service(POLICY))) as found:
        yield found


@pytest.fixture
def classes() -> Iterator[Client]:
    with Client(make_app(serving.service(CLASSIFIER))) as found:
        yield found


def good() -> Json:
    return copy.deepcopy(serving.body_of(serving.window()))


def changed(change: Callable[[Json], None]) -> bytes:
    """A good request with one thing wrong."""
    body = good()
    change(body)
    return json.dumps(body).encode()


def post(client: Client, content: bytes | Json, route: str = "/v1/forecast") -> Any:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return client.post(route, content=raw, headers={"content-type": "application/json"})


def told(answer: Any) -> str:
    """Where and what of every fault, and that they have the one shape."""
    items = answer.json()["detail"]
    assert all(set(item) == {"loc", "msg"} for item in items)
    return " ".join(f"{'.'.join(map(str, item['loc']))} {item['msg']}" for item in items)


def test_a_forecast_over_http_equals_the_policys_own(client: Client) -> None:
    windows = [serving.window(origin, f"s{origin}") for origin in (100, 150, 390)]
    found = post(client, serving.body_of(*windows)).json()
    assert found["policy"] == POLICY.version
    for item, forecast, expected in zip(windows, found["forecasts"], POLICY.predict(windows), strict=True):
        assert forecast["name"] == item.name
        assert forecast["times"] == [f"{time}Z" for time in expected.times.astype("datetime64[s]").astype(str)]
        answer = forecast["targets"]["load"]
        np.testing.assert_array_equal(answer["median"], expected.values_HCQ[:, 0, 1])
        for q, name in enumerate(("0.1", "0.5", "0.9")):
            np.testing.assert_array_equal(answer["quantiles"][name], expected.values_HCQ[:, 0, q])


def test_null_is_a_missing_value_and_the_answer_says_so(client: Client) -> None:
    found = post(client, changed(lambda b: b["series"][0]["columns"]["wind"].__setitem__(3, None)))
    assert found.status_code == 200
    assert found.json()["forecasts"][0]["warnings"] == ["1 of 12 values of 'wind' were missing and filled"]


def test_unnamed_series_are_numbered_in_the_answer(client: Client) -> None:
    body = serving.body_of(serving.window(), serving.window(120))
    for series in body["series"]:
        del series["name"]
    assert [f["name"] for f in post(client, body).json()["forecasts"]] == ["0", "1"]


def test_only_the_quantiles_asked_for_are_returned(client: Client) -> None:
    found = post(client, good() | {"quantiles": [0.9]}).json()
    assert list(found["forecasts"][0]["targets"]["load"]["quantiles"]) == ["0.9"]
    refused = post(client, good() | {"quantiles": [0.5, 0.95]})
    assert refused.status_code == 422
    assert "quantile 0.95 is not known to this policy, whose lowest is 0.1 and highest 0.9" in told(refused)


BAD: dict[str, tuple[bytes, str]] = {
    "a value too few": (changed(lambda b: b["series"][0]["columns"]["load"].pop()), "column 'load'"),
    "a short history": (
        changed(
            lambda b: [v.pop(0) for v in (b["series"][0]["times"], *b["series"][0]["columns"].values())]  # type: ignore[func-returns-value]
        ),
        "at least 12",
    ),
    "a short future": (changed(lambda b: b["series"][0]["future"]["price"].pop()), "future: column 'price'"),
    "no future": (changed(lambda b: b["series"][0].pop("future")), "'price' is missing"),
    "a missing column": (changed(lambda b: b["series"][0]["columns"].pop("wind")), "'wind' is missing"),
    "an unknown column": (changed(lambda b: b["series"][0]["columns"].update(sun=[1.0] * 12)), "'sun'"),
    "an unknown field": (changed(lambda b: b.update(colour="red")), "body.colour unknown field"),
    "an unknown field of a series": (changed(lambda b: b["series"][0].update(id=3)), "body.series.0.id unknown field"),
    "NaN": (changed(lambda b: b["series"][0]["columns"]["load"].__setitem__(2, float("nan"))), "columns.load.2"),
    "infinity": (changed(lambda b: b["series"][0]["columns"]["load"].__setitem__(2, float("inf"))), "columns.load.2"),
    "a huge number": (changed(lambda b: b["series"][0]["columns"]["load"].__setitem__(2, 1e300)), "column 'load'"),
    "text for a number": (changed(lambda b: b["series"][0]["columns"]["load"].__setitem__(2, "3")), "columns.load.2"),
    "true for a number": (changed(lambda b: b["series"][0]["columns"]["load"].__setitem__(2, True)), "columns.load.2"),
    "a column that is no list": (changed(lambda b: b["series"][0]["columns"].update(load=1.0)), "columns.load"),
    "times out of order": (changed(lambda b: b["series"][0]["times"].reverse()), "times"),
    "a time twice": (changed(lambda b: b["series"][0]["times"].__setitem__(1, b["series"][0]["times"][0])), "times"),
    "no time": (changed(lambda b: b["series"][0]["times"].__setitem__(1, "yesterday")), "times"),
    "no series": (b'{"series": []}', "body.series"),
    "nothing": (b"", "body"),
    "no JSON": (b"{", "JSON"),
    "half a letter": (b"\xff\xfe", "body"),
    "brackets without end": (b"[" * 100_000, "body"),
    "a number without end": (b'{"series": ' + b"1" * 10_000 + b"}", "body"),
    "half a surrogate pair": (b'{"series": [{"times": ["\\ud800"], "columns": {"\\ud800": [1]}}]}', "hex escape"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_gets_422_that_names_the_field(client: Client, what: str) -> None:
    content, expected = BAD[what]
    answer = post(client, content)
    assert answer.status_code == 422
    assert expected in told(answer)


def test_a_thousand_faults_are_not_all_told(client: Client) -> None:
    answer = post(client, changed(lambda b: b["series"][0]["columns"].update(load=["x"] * 1_000)))
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == 20


def test_a_body_that_does_not_say_it_is_json_is_told_how(client: Client) -> None:
    answer = client.post("/v1/forecast", content=json.dumps(good()), headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert "Content-Type: application/json" in told(answer)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_gets_413_before_anything_parses_it(client: Client, chunked: bool) -> None:
    large = b"{" * (serving.MAX_BODY_BYTES + 1)

    async def parts() -> AsyncIterator[bytes]:
        for first in range(0, len(large), 10_000):
            yield large[first : first + 10_000]

    content = parts() if chunked else large
    answer = client.post("/v1/forecast", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert str(serving.MAX_BODY_BYTES) in told(answer)


def test_unknown_paths_and_methods_are_told_in_the_same_shape(client: Client) -> None:
    assert (client.get("/v2").status_code, client.get("/v1/forecast").status_code) == (404, 405)
    assert "Not Found" in told(client.get("/v2"))


REPLAY: Json = {"operation": "replay", "steps": 3, "value": None}


def scenario(**values: Any) -> Json:
    return {"name": "changed", "column": "load", "operation": "shift", "value": 5.0} | values


def test_a_what_if_equals_the_forecast_of_the_changed_series(client: Client) -> None:
    found = post(client, good() | {"scenarios": [scenario(steps=4)]}, "/v1/what-if").json()
    base = post(client, good()).json()["forecasts"]
    by_hand = good()
    load = by_hand["series"][0]["columns"]["load"]
    load[-4:] = [value + 5 for value in load[-4:]]
    expected = post(client, by_hand).json()["forecasts"]
    np.testing.assert_allclose(
        found["base"][0]["targets"]["load"]["median"], base[0]["targets"]["load"]["median"], rtol=1e-5
    )
    [case] = found["scenarios"]
    assert case["name"] == "changed"
    np.testing.assert_allclose(
        case["forecasts"][0]["targets"]["load"]["median"], expected[0]["targets"]["load"]["median"]
    )
    gap = np.subtract(case["forecasts"][0]["targets"]["load"]["median"], base[0]["targets"]["load"]["median"])
    np.testing.assert_allclose(case["difference"][0]["load"], gap, atol=1e-4)


def test_a_higher_level_behind_gives_a_higher_forecast_and_a_lower_a_lower(client: Client) -> None:
    cases = [scenario(name="up", value=5.0), scenario(name="down", value=-5.0)]
    up, down = post(client, good() | {"scenarios": cases}, "/v1/what-if").json()["scenarios"]
    assert np.mean(up["difference"][0]["load"]) > 2
    assert np.mean(down["difference"][0]["load"]) < -2


def test_a_known_input_changes_over_the_horizon(client: Client) -> None:
    case = scenario(column="price", operation="set", value=40.0, steps=2)
    found = post(client, good() | {"scenarios": [case]}, "/v1/what-if").json()["scenarios"][0]
    by_hand = good()
    by_hand["series"][0]["future"]["price"][:2] = [40.0, 40.0]
    expected = post(client, by_hand).json()["forecasts"][0]["targets"]["load"]["median"]
    np.testing.assert_allclose(found["forecasts"][0]["targets"]["load"]["median"], expected, rtol=1e-5)


def test_a_scenario_changes_the_series_it_names_alone(client: Client) -> None:
    body = serving.body_of(serving.window(100, "a"), serving.window(150, "b"))
    found = post(client, body | {"scenarios": [scenario(series=["b"])]}, "/v1/what-if").json()
    first, second = found["scenarios"][0]["difference"]
    assert not any(first["load"])
    assert any(second["load"])


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"column": "laod"}, "'laod' is no input of this policy; did you mean 'load'?"),
        ({"series": ["nobody"]}, "'nobody' is not in this request"),
        ({"operation": "double"}, "scenarios.0.operation"),
        ({"operation": "noise", "value": -1.0}, "value is -1, but it is the deviation of noise"),
        ({"operation": "replay"}, "'replay' has no use for one; remove it"),
        ({"value": None}, "operation 'shift' needs a value"),
        ({"first": 1}, "scenario 'changed': column 'load' is a target, which is simulated from step 1 on"),
        ({"column": "wind", "first": 1}, "changes from step 1 on, but only 0 steps ahead are simulated"),
        ({"column": "price", "first": 7}, "changes from step 7 on, but only 6 steps ahead are simulated"),
        (
            {"first": -12, "steps": 1},
            "'load' changes nowhere in what was sent, from 2024-03-04 17:00:00 to 2024-03-05 04",
        ),
        ({"between": ["2024-03-04T20:00", "soon"]}, "between is ['2024-03-04T20:00', 'soon']"),
        ({"between": [1, 2]}, "between is '1'; write an ISO date"),
        ({"between": ["2024-03-06", "2024-03-07"]}, "changes nowhere in what was sent"),
        ({"between": ["2024-03-04"]}, "scenarios.0.between"),
        (REPLAY | {"source": 10}, "what is copied begins at 2024-03-04 16:00:00, but series 'one' is known"),
        (REPLAY | {"source": "2024-03-05T03:00Z"}, "is not before the stretch, which begins at 2024-03-05 02:00:00"),
        ({"also": [{"column": "wnd", "operation": "set", "value": 1.0}]}, "'wnd' is no input of this policy"),
        ({"also": [{"column": "wind", "operation": "set", "value": "1"}]}, "scenarios.0.also.0.value"),
        (
            {"also": [{"column": "wind", "operation": "set", "value": 1.0, "name": "x"}]},
            "scenarios.0.also.0.name unknown field",
        ),
        ({"value": "5"}, "scenarios.0.value"),
        ({"value": float("nan")}, "scenarios.0.value"),
        ({"operation": "scale", "value": 1e308}, "column 'load'"),
        ({"steps": 0}, "scenarios.0.steps"),
        ({"unit": "C"}, "scenarios.0.unit unknown field"),
    ],
)
def test_a_bad_scenario_is_refused_by_name(client: Client, case: Json, expected: str) -> None:
    answer = post(client, good() | {"scenarios": [scenario(**case)]}, "/v1/what-if")
    assert answer.status_code == 422
    assert expected in told(answer)
    assert "Value error" not in told(answer)


@pytest.mark.parametrize("column", ["load", "wind", "price"])
@pytest.mark.parametrize(
    "case",
    [
        {"operation": "ramp", "value": 4.0, "steps": 3},
        {"operation": "shock", "value": 8.0, "first": -4, "half_life": 2.0},
        {"operation": "replay", "steps": 3},
        {"operation": "replay", "steps": 3, "source": "2024-03-04T19:00Z"},
        {"operation": "missing", "first": -5, "steps": 4},
        {"operation": "noise", "value": 2.0},
        {"operation": "scale", "value": 2.0, "between": ["2024-03-04T22:00+01:00", "2024-03-05T06:00"]},
        {
            "operation": "shift",
            "value": 2.0,
            "steps": 4,
            "also": [{"column": "wind", "operation": "set", "value": 1.0}],
        },
    ],
    ids=str,
)
def test_a_what_if_is_answered_as_planning_answers_it(client: Client, case: Json, column: str) -> None:
    """The same changes of the same rows, through a rollout's start and through a request."""
    base = {"name": "changed", "column": column, "operation": "shift", "value": 5.0}
    asked = {name: value for name, value in (base | case).items() if name != "value" or name in case}
    policy, segments = serving.forecaster(), serving.segments()
    config = made.make_config(data__known=["price"], plan__scenarios=[asked], plan__steps=6)
    world = World(segments, policy.scaler, config)
    start = under(replace(start_of(world, np.array([100])), series=["one"]), config.plan.scenarios[0], world)
    moved = serving.window(100)
    columns = dict(moved.columns) | {"load": start.target_MXC[0, :, 0], "wind": start.past_MLP[0, :, 0]}
    columns |= {"price": start.known_MTK[0, :12, 0]}
    expected = policy.predict([replace(moved, columns=columns, future={"price": start.known_MTK[0, 12:, 0]})])
    found = post(client, good() | {"scenarios": [asked]}, "/v1/what-if").json()["scenarios"][0]
    if asked["operation"] != "missing" or column != "load":  # what was filled counts as measured where it is sent
        median = found["forecasts"][0]["targets"]["load"]["median"]
        np.testing.assert_allclose(median, expected[0].values_HCQ[:, 0, 1], rtol=1e-5)
    if asked["operation"] == "missing":
        assert f"4 of 12 values of '{column}' were missing and filled" in found["forecasts"][0]["warnings"]


def test_a_static_column_changes_over_history_and_horizon() -> None:
    config = made.make_config(model__quantiles=[0.1, 0.5, 0.9], data__static=["price"])
    policy = made.random_policy(config, serving.segments())
    case = scenario(column="price", operation="set", value=40.0)
    by_hand = good()
    by_hand["series"][0]["columns"]["price"], by_hand["series"][0]["future"]["price"] = [40.0] * 12, [40.0] * 6
    with Client(make_app(serving.service(policy))) as client:
        found = post(client, good() | {"scenarios": [case]}, "/v1/what-if").json()["scenarios"][0]
        expected = post(client, by_hand).json()["forecasts"][0]["targets"]["load"]["median"]
        answer = post(client, good() | {"scenarios": [case | {"steps": 2}]}, "/v1/what-if")
    np.testing.assert_allclose(found["forecasts"][0]["targets"]["load"]["median"], expected, rtol=1e-5)
    assert answer.status_code == 422
    assert "'price' is constant in each series" in told(answer)


def test_scenarios_are_bounded_in_number(client: Client) -> None:
    cases = [scenario(name=str(i)) for i in range(MAX_SCENARIOS + 1)]
    assert post(client, good() | {"scenarios": cases}, "/v1/what-if").status_code == 422


def test_a_sequence_is_classified_as_the_policy_does(classes: Client) -> None:
    found = post(classes, serving.sequence_body(), "/v1/classify").json()["classifications"][0]
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["label"] == max(found["probabilities"], key=found["probabilities"].get)
    assert classes.post("/v1/forecast", json={}).status_code == 404
    case = {"name": "up", "column": "load", "operation": "scale", "value": 3.0}
    asked = post(classes, serving.sequence_body() | {"scenarios": [case]}, "/v1/what-if").json()
    [difference] = asked["scenarios"][0]["difference"]
    assert sum(difference.values()) == pytest.approx(0, abs=1e-6)
    assert difference["up"] != 0


def label_client(kind: str) -> Client:
    return Client(make_app(serving.service(LABELLERS[kind])))


@pytest.mark.parametrize("kind", ["class", "value"])
def test_every_step_is_labelled_as_the_policy_does(kind: str) -> None:
    policy, body = LABELLERS[kind], serving.sequence_body()
    series = body["series"][0]
    [expected] = policy.predict([SeriesInput(series["times"], series["columns"])])
    assert isinstance(expected, Labelling)
    case = {"name": "more", "column": "load", "operation": "shift", "value": 3.0, "steps": 2}
    with label_client(kind) as asked:
        found = post(asked, body, "/v1/label").json()["labellings"][0]
        what_if = post(asked, body | {"scenarios": [case]}, "/v1/what-if").json()
        assert asked.post("/v1/classify", json={}).status_code == 404
    assert found["name"] == "one"
    assert found["times"] == series["times"]
    told = list(found["probabilities"].values()) or [found["labels"]]
    np.testing.assert_array_equal(np.array(told).T, expected.answer_LA)
    if kind == "class":
        assert list(found["probabilities"]) == ["high", "low"]
        assert found["labels"] == [["high", "low"][k] for k in expected.answer_LA.argmax(1)]
    difference = what_if["scenarios"][0]["difference"][0]
    assert set(difference) == ({"high", "low"} if kind == "class" else {"state"})
    for moves in difference.values():
        assert np.abs(moves[:-2]).max() < 1e-6, "steps before the change are told as before"
        assert np.abs(moves[-2:]).max() > 1e-6


@pytest.mark.parametrize(("kind", "true", "wrong"), [("class", "low", "lwo"), ("value", 20.5, "low")])
def test_true_labels_are_held_against_the_answers(kind: str, true: Any, wrong: str) -> None:
    with label_client(kind) as asked:
        found = post(asked, serving.sequence_body("day"), "/v1/label").json()["labellings"][0]
        truth = [*found["labels"][:9], None, true, true]
        sent = {"name": "day", "times": found["times"], "labels": truth}
        assert post(asked, {"series": [sent]}, "/v1/observations").json() == {"scored": 11}
        live = asked.get("/v1/monitor").json()["performance"]
        refused = post(asked, {"series": [sent | {"labels": [wrong] * 12}]}, "/v1/observations")
        short = post(asked, {"series": [sent | {"labels": truth[:3]}]}, "/v1/observations")
    assert refused.status_code == short.status_code == 422
    assert f"'{wrong}' is no {'class; did you mean' if kind == 'class' else 'number'}" in told(refused)
    assert "3 were sent; send 12, one a step" in told(short)
    if kind == "class":
        right = sum(label == told_label for label, told_label in zip(truth, found["labels"], strict=True))
        assert (live["metric"], live["rolling"]) == ("accuracy", pytest.approx(right / 11))
    else:
        errors = [abs(true - value) for value in found["labels"][10:]]
        assert (live["metric"], live["rolling"]) == ("mae", pytest.approx(sum(errors) / 11))
        assert live["rolling_by_target"] == {"state": live["rolling"]}


def test_the_words_say_how_far_a_label_sees() -> None:
    seen = {
        "read at it alone and at the steps before": serving.labeller(),
        "read at it and up to 3 after it": serving.labeller(window__patch=4),
        "read at those around it": serving.labeller("value", model__bidirectional=True),
    }
    for words, policy in seen.items():
        assert words in in_words(policy)


def test_true_classes_are_held_against_the_answers(classes: Client) -> None:
    label = post(classes, serving.sequence_body("day"), "/v1/classify").json()["classifications"][0]["label"]
    sent = post(classes, {"series": [{"name": "day", "label": label}]}, "/v1/observations")
    assert sent.json() == {"scored": 1}
    assert classes.get("/v1/monitor").json()["performance"]["rolling"] == 1.0
    assert "'upp' is no class" in told(post(classes, {"series": [{"name": "day", "label": "upp"}]}, "/v1/observations"))


def observed(times: list[str], values: list[float | None], **series: Any) -> Json:
    return {"series": [{"name": "one", "times": times, "columns": {"load": values}, **series}]}


def test_the_truth_that_arrives_is_held_against_the_forecast(client: Client) -> None:
    forecast = post(client, good()).json()["forecasts"][0]
    median = forecast["targets"]["load"]["median"]
    sent = post(client, observed(forecast["times"], [m + 2 for m in median[:4]] + [None, None]), "/v1/observations")
    assert sent.json() == {"scored": 4}
    found = client.get("/v1/monitor").json()["performance"]
    assert found["rolling"] == pytest.approx(2.0, rel=1e-4)
    assert found["validation"] == 1.5


def test_forecasts_of_unnamed_series_and_of_what_ifs_are_not_scored(client: Client) -> None:
    body = good()
    times = post(client, body | {"scenarios": [scenario()]}, "/v1/what-if").json()["base"][0]["times"]
    del body["series"][0]["name"]
    post(client, body)
    for name in ("one", "0"):
        assert post(client, observed(times, [1.0] * 6, name=name), "/v1/observations").json() == {"scored": 0}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (observed(["2024-03-01T00:00:00Z"], [1.0, 2.0]), "column 'load' has 2 values; send 1"),
        (observed(["2024-03-01T01:00:00Z", "2024-03-01T00:00:00Z"], [1.0, 2.0]), "do not ascend"),
        (observed(["noon"], [1.0]), "times"),
        (observed(["2024-03-01T00:00:00Z"], [1.0], columns={"wid": [1.0]}), "did you mean 'wind'?"),
        (observed(["2024-03-01T00:00:00Z"], [1.0], columns={}), "columns"),
        (observed(["2024-03-01T00:00:00Z"], [1.0], name=""), "series.0.name"),
    ],
)
def test_bad_observations_are_refused(client: Client, body: Json, expected: str) -> None:
    answer = post(client, body, "/v1/observations")
    assert answer.status_code == 422
    assert expected in told(answer)


def test_the_monitor_counts_requests_refusals_and_inputs(client: Client) -> None:
    for _ in range(50):
        post(client, good())
    post(client, b"{")
    client.get("/healthz")
    found = client.get("/v1/monitor").json()
    assert found["requests"]["by_route"]["/v1/forecast"] == 51
    assert (found["requests"]["refused"], found["requests"]["errors"]) == (1, 0)
    assert found["latency_ms"]["p50"] > 0
    assert found["inputs"]["series"] == 50, "neither the refused request nor the smoke prediction is a live input"
    assert {row["column"] for row in found["inputs"]["columns"]} == {"load", "wind", "price"}


def test_a_shift_of_live_inputs_is_noticed(client: Client) -> None:
    moved = changed(lambda b: b["series"][0]["columns"].update(wind=[40.0 + i for i in range(12)]))
    for _ in range(60):
        post(client, moved)
    assert "'wind'" in client.get("/v1/monitor").json()["inputs"]["state"]


def test_the_policy_tells_what_it_is(client: Client) -> None:
    found = client.get("/v1/policy").json()
    assert (found["task"], found["history"], found["horizon"], found["step"]) == ("forecast", 12, 6, "1h")
    assert found["quantiles"] == [0.1, 0.5, 0.9]
    assert found["validation"] == {"mae": 1.5}
    assert found["schema"]["known"] == ["price"]


def test_it_is_ready_only_once_a_prediction_has_succeeded() -> None:
    service = serving.service(POLICY)
    app = make_app(service)
    with Client(app) as client:
        service.ready = False
        assert client.get("/readyz").status_code == 503
    with Client(app) as client:
        assert client.get("/readyz").json() == {"status": "ready", "policy": POLICY.version}


def test_a_policy_that_cannot_predict_does_not_start() -> None:
    service = serving.service(POLICY)

    async def broken(asked: Asked) -> Any:
        raise FloatingPointError("not finite")

    service.predict = broken
    with pytest.raises(FloatingPointError), Client(make_app(service)):
        pass


def test_a_prediction_that_takes_too_long_gets_504() -> None:
    service = serving.service(POLICY)
    with Client(make_app(service)) as client:

        async def slow(asked: Asked) -> Any:
            await asyncio.sleep(5)

        service.predict, service.predict_seconds = slow, 0.05
        answer = post(client, good())
    assert answer.status_code == 504
    assert "too long" in told(answer)


def guarded_by(token: bytes) -> Service:
    return serving.service(POLICY, tokens={"token": digest(token)})


def test_with_a_token_only_its_bearer_gets_answers() -> None:
    with Client(make_app(guarded_by(b"a long secret"))) as client:
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic a long secret"}):
            answer = client.get("/v1/policy", headers=header)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "secret" not in answer.text
        assert client.get("/v1/policy", headers={"authorization": "Bearer a long secret"}).status_code == 200
        assert client.get("/openapi.json").status_code == 401
        for path in ("/", "/docs", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(client: Client, path: str) -> None:
    text = client.get(path).text
    assert not re.findall(r"(?:https?:)?//[a-z0-9]", text.replace("http://www.w3.org", ""))
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(?!data:|page/)", text)
    assert "@import" not in text


def test_every_example_of_the_documentation_is_answered(client: Client, classes: Client) -> None:
    with label_client("class") as labels, label_client("value") as values:
        for asked in (client, classes, labels, values):
            paths = asked.get("/openapi.json").json()["paths"]
            posts = {path: item["post"] for path, item in paths.items() if "post" in item}
            assert len(posts) == 3
            for path, operation in posts.items():
                example = operation["requestBody"]["content"]["application/json"]["example"]
                assert post(asked, example, path).status_code == 200, path


def test_categories_are_asked_for_in_the_example_and_unseen_ones_are_told() -> None:
    policy = serving.categorical()
    with Client(make_app(serving.service(policy))) as client:
        paths = client.get("/openapi.json").json()["paths"]
        body = paths["/v1/forecast"]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert body["series"][0]["static"] == {"kind": "shop"}
        assert post(client, body).json()["forecasts"][0]["warnings"] == []
        body["series"][0]["static"]["kind"] = "barn"
        assert "training did not see" in post(client, body).json()["forecasts"][0]["warnings"][0]
        scenario = {"name": "s", "column": "wind", "operation": "shift", "value": 1}
        assert post(client, body | {"scenarios": [scenario]}, "/v1/what-if").status_code == 200
        del body["series"][0]["static"]
        refused = post(client, body)
        assert refused.status_code == 422
        assert "'kind' is missing" in told(refused)


def test_a_policy_that_reads_lags_asks_for_them_and_answers_as_it_predicts() -> None:
    config = made.make_config(window__lags=[6, 20])
    segments = made.segments_of()
    policy = made.random_policy(config, segments)
    torch.nn.init.normal_(policy.network.recall.weigh.weight)
    with Client(make_app(serving.service(policy))) as client:
        assert client.get("/v1/policy").json()["lags"] == [6, 20]
        assert "the targets 6 and 20 steps before" in in_words(policy)
        paths = client.get("/openapi.json").json()["paths"]
        body = paths["/v1/forecast"]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert len(body["series"][0]["times"]) == 12 + 20
        assert post(client, body).json()["forecasts"][0]["warnings"] == []
        medians = []
        for length in (32, 12):
            sent = made.series_input(segments, 100, length, 6)
            answer = post(client, serving.body_of(sent)).json()["forecasts"][0]
            [expected] = policy.predict([sent])
            np.testing.assert_allclose(answer["targets"]["load"]["median"], expected.values_HCQ[:, 0, 0], rtol=1e-5)
            assert len(answer["warnings"]) == len(expected.warnings) == (length == 12)
            medians.append(answer["targets"]["load"]["median"])
        assert np.abs(np.subtract(*medians)).max() > 1e-3
