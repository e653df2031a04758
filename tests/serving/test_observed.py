"""What callers bring of the truth, and what a replica hands on of it and of histories."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lstm_ray.monitor.traffic import MAX_STEPS, Observed, Rows, Tally
from lstm_ray.serving.api import make_app
from lstm_ray.serving.service import MonitorLostError
from tests.serving import services as serving
from tests.serving.services import Client

POLICY, LABELLER = serving.forecaster(), serving.labeller()
COLUMNS = ["load", "wind", "price"]


class Told:
    """A monitor that keeps what it is told."""

    def __init__(self) -> None:
        self.observed: list[Rows] = []
        self.met: list[Rows] = []
        self.lost = False

    async def merge(self, tally: Tally) -> None:
        if self.lost:
            raise MonitorLostError("gone")
        self.met += tally.rows

    async def observe(self, rows: Sequence[Rows]) -> Observed:
        self.observed += rows
        return Observed(0, new=len(rows), duplicates=0, completed=0, contradictory=0, late=0, lost=0)

    async def summary(self) -> dict[str, Any]:
        return {}


def served(policy: Any = POLICY) -> tuple[Client, Told]:
    told = Told()
    return Client(make_app(serving.service(policy, monitor=told))), told


def hour(step: int) -> str:
    return f"2024-03-01T{step:02}:00:00Z"


def test_any_column_of_the_policy_is_observed_and_the_answer_tells_what_came_of_it() -> None:
    client, told = served()
    with client:
        sent = {"name": "one", "times": [hour(0), hour(1)], "columns": {"price": [2.0, None], "wind": [3.0, 4.0]}}
        answer = client.post("/v1/observations", json={"series": [sent]})
    assert answer.json() == {
        "scored": 0,
        "new": 1,
        "duplicates": 0,
        "completed": 0,
        "contradictory": 0,
        "late": 0,
        "lost": 0,
    }
    [rows] = told.observed
    wanted = [[np.nan, 3.0, 2.0], [np.nan, 4.0, np.nan]]
    assert np.array_equal(rows.values_TF, wanted, equal_nan=True)
    assert np.diff(rows.tick_T).tolist() == [POLICY.schema.step]


def test_of_a_labelled_series_labels_and_inputs_are_observed_each_or_both() -> None:
    client, told = served(LABELLER)
    schema = LABELLER.schema
    [name] = schema.past
    label = {"labels": [schema.classes[1], None]}
    columns = {"columns": {name: [5.0, 6.0]}}
    with client:
        for part in (label, columns, label | columns):
            sent = {"name": "one", "times": [hour(0), hour(1)], **part}
            assert client.post("/v1/observations", json={"series": [sent]}).status_code == 200
        nothing = client.post("/v1/observations", json={"series": [{"name": "one", "times": [hour(0)]}]})
        twice = {"name": "one", "times": [hour(0)], "columns": {schema.label: [1.0]}}
        wrong = client.post("/v1/observations", json={"series": [twice]})
    nan = np.nan
    wanted = ([[1, nan], [nan, nan]], [[nan, 5], [nan, 6]], [[1, 5], [nan, 6]])
    for rows, expected in zip(told.observed, wanted, strict=True):
        assert np.array_equal(rows.values_TF, expected, equal_nan=True)
    assert nothing.status_code == wrong.status_code == 422
    assert "send labels, or columns" in nothing.text


def test_a_value_that_single_precision_does_not_hold_is_refused_and_not_counted() -> None:
    """Sums of such would be infinite, which no answer may hold."""
    client, told = served()
    with client:
        sent = {"name": "one", "times": [hour(0), hour(1)], "columns": {"wind": [3.0, -1.7e308]}}
        answer = client.post("/v1/observations", json={"series": [sent]})
    assert answer.status_code == 422
    assert "column 'wind' holds -1.7e+308; send finite numbers or null" in answer.text
    assert not told.observed


def test_each_step_of_a_named_live_series_is_handed_on_once() -> None:
    client, told = served()
    with client:
        for origin in (100, 100, 102):
            client.post("/v1/forecast", json=serving.body_of(serving.window(origin)))
        client.post("/v1/forecast", json=serving.body_of(serving.window(110, name="")))
        scenario = {"name": "dear", "changes": [{"column": "price", "add": 1.0}]}
        what_if = client.post("/v1/what-if", json=serving.body_of(serving.window(120), scenarios=[scenario]))
        assert what_if.status_code in (200, 422)
        client.get("/v1/monitor")
    assert [len(rows.tick_T) for rows in told.met] == [12, 2]
    segments, first = serving.segments(), told.met[0]
    wanted = POLICY.schema.ticks(POLICY.schema.times(np.arange(89, 101)))
    assert first.tick_T.tolist() == wanted.tolist()
    assert np.allclose(first.values_TF[:, 0], segments.target_RC[89:101, 0])
    assert np.isfinite(first.values_TF).all()
    assert first.values_TF.shape[1] == len(COLUMNS)


def test_of_a_labelling_the_steps_that_were_sent_are_handed_on() -> None:
    client, told = served(LABELLER)
    [name] = LABELLER.schema.past
    sent = {"name": "one", "times": [hour(step) for step in range(5)], "columns": {name: [1.0, 2.0, None, 4.0, 5.0]}}
    with client:
        assert client.post("/v1/label", json={"series": [sent]}).status_code == 200
        client.get("/v1/monitor")
    [rows] = told.met
    assert rows.tick_T[0] == LABELLER.schema.ticks(np.array(["2024-03-01T00"], "datetime64[us]"))[0]
    assert np.array_equal(rows.values_TF[:, 1], [1.0, 2.0, np.nan, 4.0, 5.0], equal_nan=True)
    assert np.isnan(rows.values_TF[:, 0]).all()


def test_what_a_lost_monitor_was_told_is_handed_on_again() -> None:
    service = serving.service(POLICY, monitor=(told := Told()))
    asked = serving.Asked([serving.window(100)])
    told.lost = True
    asyncio.run(_asked_and_flushed(service, asked, lost=True))
    told.lost = False
    asyncio.run(_asked_and_flushed(service, asked, lost=False))
    assert [len(rows.tick_T) for rows in told.met] == [12]


def test_a_lost_monitor_is_told_by_readiness_and_the_answers_go_on() -> None:
    client, told = served()
    with client:
        assert "warning" not in client.get("/readyz").json()
        told.lost = True
        assert client.get("/v1/monitor").status_code == 503
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert "no request is counted, no row is kept" in ready.json()["warning"]
        assert client.post("/v1/forecast", json=serving.body_of(serving.window())).status_code == 200
        told.lost = False
        assert client.get("/v1/monitor").status_code == 200
        assert "warning" not in client.get("/readyz").json()


async def _asked_and_flushed(service: Any, asked: Any, lost: bool) -> None:
    await service.predict(asked)
    if not lost:
        await service.flush()
        return
    with pytest.raises(MonitorLostError):
        await service.flush()


def test_rows_that_wait_to_be_handed_on_are_bounded_and_those_lost_are_counted() -> None:
    rows = Rows("one", np.arange(10), np.zeros((10, 1)))
    tally = Tally(num_steps=MAX_STEPS - 15)
    for _ in range(3):
        tally.add(Tally(rows=[rows], num_steps=10))
    assert (len(tally.rows), tally.num_steps, tally.lost_steps) == (1, MAX_STEPS - 5, 20)
