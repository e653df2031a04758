"""Explanations over HTTP: what a request asks for, and that it costs the others nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.model.policy import Policy
from lstm_ray.serving import explaining
from lstm_ray.serving.api import make_app
from lstm_ray.serving.explained import MAX_SERIES
from lstm_ray.serving.explaining import MAX_STEPS
from tests import made
from tests.serving import services as serving
from tests.serving.services import Client


def explains(policy: Policy, **values: Any) -> Client:
    async def explain(inputs: Any) -> Any:
        return explaining.explain(policy, inputs)

    return Client(make_app(serving.service(policy, explain=explain, **values)))


def test_a_forecast_is_explained_beside_the_answer_it_has_without() -> None:
    policy, body = serving.forecaster(), serving.body_of(serving.window())
    with explains(policy) as client:
        plain = client.post("/v1/forecast", json=body).json()["forecasts"][0]
        found = client.post("/v1/forecast", json={**body, "explain": True}).json()["forecasts"][0]
    assert plain["explanation"] is None
    why = found.pop("explanation")
    assert found == {name: value for name, value in plain.items() if name != "explanation"}
    load = why["answers"]["load"]
    assert load["answer"] == pytest.approx(np.mean(found["targets"]["load"]["median"]), rel=1e-5)
    assert sum(load["inputs"].values()) + load["gap"] == pytest.approx(load["answer"] - load["baseline"], rel=1e-4)
    assert len(why["stretches"]) == len(load["stretches"]["wind"]) == 4
    assert why["stretches"][0]["first"] == body["series"][0]["times"][0]
    assert why["stretches"][-1] == {"first": found["times"][0], "last": found["times"][-1], "ahead": True}


@pytest.mark.parametrize(
    ("make", "route", "kind"),
    [
        (serving.classifier, "/v1/classify", "classifications"),
        (serving.labeller, "/v1/label", "labellings"),
        (lambda: serving.labeller("value"), "/v1/label", "labellings"),
    ],
)
def test_classes_and_labels_are_explained_too(make: Any, route: str, kind: str) -> None:
    with explains(make()) as client:
        answer = client.post(route, json={**serving.sequence_body(), "explain": True})
    assert answer.status_code == 200, answer.text
    [moved] = answer.json()[kind][0]["explanation"]["answers"].values()
    assert sum(moved["inputs"].values()) + moved["gap"] == pytest.approx(
        moved["answer"] - moved["baseline"], rel=1e-3, abs=1e-5
    )


def test_more_series_than_are_explained_are_refused() -> None:
    windows = [serving.window(100 + n, f"s{n}") for n in range(MAX_SERIES + 1)]
    with explains(serving.forecaster()) as client:
        found = client.post("/v1/forecast", json=serving.body_of(*windows, explain=True))
    assert found.status_code == 422
    assert f"send at most {MAX_SERIES}" in found.json()["detail"][0]["msg"]


def test_a_server_that_explains_nothing_says_so() -> None:
    with Client(make_app(serving.service(serving.forecaster()))) as client:
        found = client.post("/v1/forecast", json=serving.body_of(serving.window(), explain=True))
    assert found.status_code == 422
    assert "leave out explain" in found.json()["detail"][0]["msg"]


def test_an_answer_that_fell_back_has_no_explanation_and_says_why() -> None:
    policy = serving.forecaster()
    with explains(policy) as client:
        with torch.no_grad():
            next(policy.network.parameters()).fill_(float("nan"))
        found = client.post("/v1/forecast", json=serving.body_of(serving.window(), explain=True)).json()
    [one] = found["forecasts"]
    assert one["fallback"] == "seasonal naive"
    assert one["explanation"] is None
    assert "nothing to explain" in one["warnings"][-1]


def test_an_explanation_that_takes_too_long_is_given_up() -> None:
    async def explain(inputs: Any) -> Any:
        await asyncio.sleep(5)

    began = time.monotonic()
    app = make_app(serving.service(serving.forecaster(), explain=explain, predict_seconds=0.2))
    with Client(app) as client:
        found = client.post("/v1/forecast", json=serving.body_of(serving.window(), explain=True))
    assert found.status_code == 504
    assert time.monotonic() - began < 4


def test_long_series_to_label_are_refused() -> None:
    times = [f"{made.START + step}:00:00Z" for step in range(MAX_STEPS + 1)]
    series = {"name": "one", "times": times, "columns": {"load": [20.0] * len(times)}}
    with explains(serving.labeller()) as client:
        found = client.post("/v1/label", json={"series": [series], "explain": True})
    assert found.status_code == 422
    assert f"its newest {MAX_STEPS}" in found.json()["detail"][0]["msg"]


def test_a_question_why_counts_as_no_live_input() -> None:
    with explains(serving.forecaster()) as client:
        client.post("/v1/forecast", json=serving.body_of(serving.window(), explain=True))
        assert client.get("/v1/monitor").json()["inputs"]["series"] == 0
        client.post("/v1/forecast", json=serving.body_of(serving.window()))
        assert client.get("/v1/monitor").json()["inputs"]["series"] == 1
