"""What may be sent: records as well as columns, any quantile between the policy's, and what is refused with its reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.data.schema import SeriesUnits
from lstm_ray.serving.api import make_app
from lstm_ray.serving.bodies import MAX_SERIES, ForecastRequest
from lstm_ray.serving.routes.reading import UnreadableError, read
from tests.serving import services as serving
from tests.serving.services import Client
from tests.serving.test_api import changed, good, post, told

Json = dict[str, Any]
POLICY = serving.forecaster()


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(make_app(serving.service(POLICY, max_body_bytes=5_000_000))) as found:
        yield found


def as_records(body: Json, timed: bool = True) -> Json:
    """The same request, row by row."""
    found = []
    for series in body["series"]:
        rows = [
            {"time": time} | {name: values[t] for name, values in series["columns"].items()}
            for t, time in enumerate(series["times"])
        ]
        ahead = [{name: values[h] for name, values in series["future"].items()} for h in range(6)]
        if timed:
            first = np.datetime64(series["times"][-1].removesuffix("Z")) + np.timedelta64(1, "h")
            ahead = [{"time": f"{first + np.timedelta64(h, 'h')}Z"} | row for h, row in enumerate(ahead)]
        found.append({"name": series["name"], "records": rows, "future_records": ahead})
    return body | {"series": found}


@pytest.mark.parametrize("timed", [True, False])
def test_records_are_answered_as_the_same_columns_are(client: Client, timed: bool) -> None:
    wanted = post(client, good()).json()
    assert post(client, as_records(good(), timed)).json() == wanted


def test_what_a_record_leaves_out_is_missing(client: Client) -> None:
    body = as_records(good())
    del body["series"][0]["records"][3]["wind"]
    body["series"][0]["records"][5]["wind"] = None
    found = post(client, body).json()["forecasts"][0]
    assert found["warnings"] == ["2 of 12 values of 'wind' were missing and filled"]


def bad_records(change: Callable[[Json], Any]) -> bytes:
    body = as_records(good())
    change(body["series"][0])
    return json.dumps(body).encode()


LATER = "2024-03-06T00:00:00Z"
BAD: dict[str, tuple[bytes, str]] = {
    "both forms": (bad_records(lambda s: s.update(times=[LATER])), "both records and times or columns were sent"),
    "both futures": (bad_records(lambda s: s.update(future={"price": [1.0]})), "both future and future_records"),
    "neither": (changed(lambda b: b["series"][0].pop("times")), "send 'times' and 'columns', or 'records'"),
    "no records": (bad_records(lambda s: s.update(records=[])), "has no time stamps"),
    "a record without time": (bad_records(lambda s: s["records"][2].pop("time")), "records.2.time"),
    "text in a record": (bad_records(lambda s: s["records"][2].update(load="3")), "records.2.load"),
    "a list in a record": (bad_records(lambda s: s["records"][2].update(load=[3.0])), "records.2.load"),
    "a misspelt name in a record": (bad_records(lambda s: s["records"][2].update(laod=3.0)), "'laod' is no input"),
    "a record twice": (bad_records(lambda s: s["records"].insert(2, s["records"][1])), "not by the next step"),
    "a future that begins late": (bad_records(lambda s: s["future_records"].pop(0)), "where the step of"),
    "a future out of order": (bad_records(lambda s: s["future_records"].reverse()), "do not ascend"),
    "a future half timed": (bad_records(lambda s: s["future_records"][1].pop("time")), "some have a time"),
    "a name twice in an object": (b'{"series": [{"times": [], "times": []}]}', "'times' is there twice"),
    "a column twice": (
        json.dumps(good()).replace('"wind":', '"load":').encode(),
        "'load' is there twice in one object",
    ),
    "a column twice, spaced": (
        json.dumps(good()).replace('"wind":', '"load" :').replace('"name":', '"name" :').encode(),
        "'load' is there twice in one object",
    ),
    "too many series": (
        json.dumps({"series": [{"times": [], "columns": {}}] * (MAX_SERIES + 1)}).encode(),
        "at most 10000 items",
    ),
    "a list for the body": (b"[]", "body"),
    "text for the body": (b'"series"', "body"),
    "lists without end": (b'{"series": ' + b"[" * 500 + b"]" * 500 + b"}", "recursion limit"),
    "NaN as written by Python": (b'{"series": [{"times": [1], "columns": {"load": [NaN]}}]}', "columns.load.0"),
    "a number that overflows": (b'{"series": [{"times": [1], "columns": {"load": [1e999]}}]}', "columns.load.0"),
    "a long name": (changed(lambda b: b["series"][0].update(name="n" * 201)), "series.0.name"),
    "a long time": (changed(lambda b: b["series"][0]["times"].__setitem__(0, "2" * 1000)), "times"),
    "whole numbers for dates": (changed(lambda b: b["series"][0].update(times=list(range(12)))), "times"),
    "a time that skips": (changed(lambda b: b["series"][0]["times"].__setitem__(-1, LATER)), "not by the next step"),
    "a zone that shifts one time": (
        changed(lambda b: b["series"][0]["times"].__setitem__(3, b["series"][0]["times"][3][:-1] + "+01:00")),
        "not by the next step",
    ),
    "no such zone": (
        changed(lambda b: b["series"][0]["times"].__setitem__(3, b["series"][0]["times"][3][:-1] + "+99:00")),
        "times",
    ),
    "a quantile of 1": (json.dumps(good() | {"quantiles": [1.0]}).encode(), "quantiles.0"),
    "a quantile as text": (json.dumps(good() | {"quantiles": ["0.5"]}).encode(), "quantiles.0"),
    "a hundred quantiles": (json.dumps(good() | {"quantiles": [0.5] * 100}).encode(), "quantiles"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_is_refused_with_the_field_and_the_reason(client: Client, what: str) -> None:
    content, expected = BAD[what]
    answer = post(client, content)
    assert answer.status_code == 422
    assert expected in told(answer)


def test_a_name_that_looks_like_the_end_of_a_name_is_none(client: Client) -> None:
    body = good()
    body["series"][0]["name"] = 'a":b'
    assert post(client, body).json()["forecasts"][0]["name"] == 'a":b'


def test_names_are_counted_in_objects_however_they_are_nested() -> None:
    for twice in (b'{"series": 1, "series": 1}', b'{"series": [1, {"a": 1, "a": 2}]}', b'[[{"a":1,"a" :2}]]'):
        with pytest.raises(UnreadableError, match="there twice"):
            read(ForecastRequest, twice)


def test_any_quantile_between_the_policys_is_told(client: Client) -> None:
    found = post(client, good() | {"quantiles": [0.25, 0.1, 0.75]}).json()["forecasts"][0]["targets"]["load"]
    assert list(found["quantiles"]) == ["0.25", "0.1", "0.75"]
    low, quarter, middle = (
        np.array(v) for v in (found["quantiles"]["0.1"], found["quantiles"]["0.25"], found["median"])
    )
    assert ((low < quarter) & (quarter < middle)).all()
    changed = {"name": "x", "column": "load", "operation": "shift", "value": 1.0}
    asked = post(client, good() | {"quantiles": [0.25], "scenarios": [changed]}, "/v1/what-if").json()
    np.testing.assert_allclose(asked["base"][0]["targets"]["load"]["quantiles"]["0.25"], quarter, rtol=1e-5)


def test_the_mean_is_told_beside_the_median(client: Client) -> None:
    [expected] = POLICY.predict([serving.window()])
    found = post(client, good()).json()["forecasts"][0]["targets"]["load"]
    np.testing.assert_array_equal(found["mean"], expected.mean_HC[:, 0])
    assert found["mean"] != found["median"]


def test_a_policy_without_quantiles_tells_its_forecast_as_mean_and_median() -> None:
    from tests import made

    policy = made.random_policy(made.make_config(), made.segments_of())
    with Client(make_app(serving.service(policy))) as client:
        body = serving.body_of(made.series_input(made.segments_of(), 100, 12, 6))
        found = post(client, body).json()["forecasts"][0]["targets"]["load"]
        refused = post(client, body | {"quantiles": [0.9]})
    assert found["mean"] == found["median"]
    assert found["quantiles"] == {}
    assert "forecasts no quantiles" in told(refused)


def test_a_series_that_training_did_not_see_is_answered_and_told_of_where_units_are_each_its_own() -> None:
    policy = serving.forecaster()
    units = SeriesUnits(of={"one": [20.0, 5.0]}, scale="standard", steps=12)
    policy.scaler = policy.scaler.model_copy(update={"series": units})
    policy.requests = replace(policy.requests, scaler=policy.scaler)
    with Client(make_app(serving.service(policy))) as client:
        found = post(client, serving.body_of(serving.window(), serving.window(name="new"))).json()["forecasts"]
        body = copy.deepcopy(good())
        del body["series"][0]["name"]
        unnamed = post(client, body).json()["forecasts"][0]["warnings"]
    assert found[0]["warnings"] == []
    assert "series 'new' was not in the training part" in found[1]["warnings"][0]
    assert "the series has no name" in unnamed[0]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
def test_a_compressed_body_is_refused_with_words(client: Client, encoding: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    answer = client.post("/v1/forecast", content=b"\x1f\x8b", headers=headers)
    assert answer.status_code == 415
    assert "without the header 'Content-Encoding'" in told(answer)


def test_no_content_type_and_no_body_are_told_apart(client: Client) -> None:
    assert client.post("/v1/forecast", content=b"{}").status_code == 415
    empty = client.post("/v1/forecast")
    assert empty.status_code == 422
    assert "the body is empty" in told(empty)


def test_a_wrong_method_is_told_the_right_one(client: Client) -> None:
    answer = client.get("/v1/forecast")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert "use POST" in told(answer)


def test_a_policy_that_predicts_nothing_finite_says_so_and_does_not_answer() -> None:
    service = serving.service(POLICY)
    with Client(make_app(service)) as client:

        async def broken(asked: Any) -> Any:
            raise FloatingPointError("the prediction for series 'one' is not finite")

        service.predict = broken
        answer = post(client, good())
    assert answer.status_code == 500
    assert "is not finite" in told(answer)


def test_the_card_is_told_as_markdown_or_that_there_is_none(client: Client) -> None:
    assert client.get("/v1/card").status_code == 404
    with Client(make_app(serving.service(POLICY, card="# A card"))) as other:
        answer = other.get("/v1/card")
    assert answer.text == "# A card"
    assert answer.headers["content-type"].startswith("text/markdown")


def test_the_policy_tells_its_shortest_history_and_whether_it_is_calibrated(client: Client) -> None:
    found = client.get("/v1/policy").json()
    assert (found["min_history"], found["calibrated"]) == (12, False)
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert "at least 12" in schemas["Series"]["properties"]["times"]["description"]
    columns = next(kind for kind in schemas["Series"]["properties"]["columns"]["anyOf"] if kind["type"] == "object")
    assert columns["required"] == ["load", "wind", "price"]
    assert columns["properties"]["load"]["minItems"] == 12
