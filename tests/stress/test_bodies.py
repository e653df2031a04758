"""What clients send, held against the routes themselves."""

from __future__ import annotations

import json

import pytest

from lstm_ray.model.policy import Policy
from lstm_ray.serving.api import make_app
from lstm_ray.serving.gate import digest
from lstm_ray.stress import bodies
from tests.serving import services as serving

TOKEN = "a secret that is long enough"
POLICIES = [serving.forecaster, serving.classifier, serving.labeller, serving.categorical]


@pytest.fixture(params=POLICIES, ids=lambda make: make.__name__)
def policy(request: pytest.FixtureRequest) -> Policy:
    return request.param()


def test_valid_requests_of_every_task_are_answered(policy: Policy) -> None:
    with serving.Client(make_app(serving.service(policy))) as client:
        for body in bodies.valid(policy, serving.MAX_BODY_BYTES, named=True)[:10]:
            answer = client.post(
                f"/v1/{policy.config.task}", content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 200, answer.text


def test_valid_requests_differ_and_some_are_batches_and_some_are_named() -> None:
    policy = serving.forecaster()
    found = bodies.valid(policy, serving.MAX_BODY_BYTES, named=True)
    assert len(set(found)) == len(found) == bodies.NUM_VALID
    series = [json.loads(body)["series"] for body in found]
    assert {len(one) for one in series} == {1, bodies.BATCH_SERIES}
    assert {bool(one[0].get("name")) for one in series} == {True, False}
    assert not any(
        "name" in one for body in bodies.valid(policy, 10**6, named=False) for one in json.loads(body)["series"]
    )


def test_the_truth_of_every_named_forecast_is_brought() -> None:
    policy = serving.forecaster()
    valid = bodies.valid(policy, serving.MAX_BODY_BYTES, named=True)
    sent, headers = bodies.truths(policy, valid, serving.MAX_BODY_BYTES), {"content-type": "application/json"}
    with serving.Client(make_app(serving.service(policy))) as client:
        named = [body for body in valid if json.loads(body)["series"][0].get("name")]
        for body in named:
            client.post("/v1/forecast", content=body, headers=headers)
        answer = client.post("/v1/observations", content=sent, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["scored"] == len(named) * policy.config.window.horizon * len(policy.schema.target)
    assert len(bodies.truths(policy, valid, 2_000)) <= 2_000
    assert bodies.truths(policy, bodies.valid(policy, 10**6, named=False), 10**6) == ""
    assert bodies.truths(serving.classifier(), bodies.valid(serving.classifier(), 10**6, named=True), 10**6) == ""


def test_batches_stay_within_what_the_server_takes() -> None:
    policy = serving.forecaster()
    assert max(map(len, bodies.valid(policy, 4_000, named=False))) <= 4_000


def test_every_hostile_request_that_has_a_body_gets_the_refusal_that_is_named(policy: Policy) -> None:
    cases = [one for one in bodies.hostile(policy, serving.MAX_BODY_BYTES, True) if one.then in ("answer", "chunks")]
    headers = {"content-type": "application/json"}
    tokens = {"right": {"authorization": f"Bearer {TOKEN}"}, "wrong": {"authorization": "Bearer wrong"}, "none": {}}
    app = make_app(serving.service(policy, tokens={"one": digest(TOKEN.encode())}))
    with serving.Client(app) as client:
        for one in cases:
            sent = {**headers, **tokens[one.token], **{name.lower(): value for name, value in one.headers.items()}}
            if "x-long" in sent:
                continue  # what stands before the application refuses it
            answer = client.request(one.method, one.path, content=one.body.encode("latin-1"), headers=sent)
            assert answer.status_code in one.right, (one.name, answer.status_code, answer.text[:200])


def test_token_cases_are_there_only_where_the_server_asks_for_one() -> None:
    names = {one.name for one in bodies.hostile(serving.forecaster(), 10**6, asks_token=False)}
    assert names == {one.name for one in bodies.hostile(serving.forecaster(), 10**6, asks_token=True)} - {
        "no token",
        "a wrong token",
    }
