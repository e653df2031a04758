"""Requests made up from the OpenAPI, right and wrong ones: no fault of the server's, and every answer is as documented."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lstm_ray.model.policy import Policy
from lstm_ray.serving.api import make_app
from lstm_ray.serving.gate import digest
from lstm_ray.serving.service import Service
from tests.serving import services as serving
from tests.serving.services import Client

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.allow_header_conformance,
]
SETTINGS = settings(
    max_examples=20,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TOKEN = b"a secret that is long enough"
POLICIES: dict[str, Policy] = {
    "forecast": serving.forecaster(),
    "categorical": serving.categorical(),
    "classify": serving.classifier(),
    "label classes": serving.labeller("class"),
    "label values": serving.labeller("value"),
}


def service_of(policy: Policy, **values: Any) -> Service:
    return serving.service(policy, card="# A card", **values)


@pytest.mark.parametrize("mode", ["right", "wrong"])
@pytest.mark.parametrize("name", POLICIES)
def test_no_request_is_too_much_and_every_answer_is_as_documented(name: str, mode: str) -> None:
    app = make_app(service_of(POLICIES[name]))
    generation = schemathesis.GenerationMode.POSITIVE if mode == "right" else schemathesis.GenerationMode.NEGATIVE
    with Client(app):
        api = schemathesis.openapi.from_asgi("/openapi.json", app)
        met = 0
        for found in api.get_all_operations():
            operation = found.ok()
            if mode == "wrong" and operation.method == "get":
                continue  # there is nothing to get wrong

            @SETTINGS
            @given(case=operation.as_strategy(generation_mode=generation))
            def ask(case: Any) -> None:
                answer = case.call()
                # A body may be refused for its size before anybody looks for what else is wrong with it.
                skipped = [checks.negative_data_rejection] if answer.status_code == 413 else []
                case.validate_response(answer, checks=CHECKS, excluded_checks=skipped)

            ask()
            met += 1
    assert met >= 3


HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63), 10**400, 0]),
    st.floats(),
    st.text(max_size=50),
    st.sampled_from(
        ["2024-13-01", "2024-03-04T17:00:00+99:99", "0001-01-01", "9999-12-31T23:00:00Z", "NaT", "-1", "\ud800"]
    ),
    st.lists(st.none(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of every value within a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in places(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("name", POLICIES)
def test_a_good_request_with_anything_in_any_one_place_is_answered_or_refused(name: str) -> None:
    app = make_app(service_of(POLICIES[name]))
    with Client(app) as client:
        documents = client.get("/openapi.json").json()["paths"]
        posts = {path: methods["post"] for path, methods in documents.items() if "post" in methods}
        api = schemathesis.openapi.from_asgi("/openapi.json", app)
        for path, operation in posts.items():
            good = operation["requestBody"]["content"]["application/json"]["example"]

            hostile = st.tuples(st.just(path), st.just(good), st.sampled_from(places(good)), HOSTILE)

            @SETTINGS
            @given(asked=hostile)
            def ask(asked: tuple[str, Any, tuple[Any, ...], Any]) -> None:
                path, good, place, new = asked
                content = json.dumps(replaced(good, place, new)).encode()
                answer = client.post(path, content=content, headers={"content-type": "application/json"})
                assert answer.status_code in (200, 422), answer.text
                api[path]["POST"].validate_response(answer)

            ask()


def test_without_the_token_nothing_documented_as_guarded_is_told() -> None:
    app = make_app(service_of(POLICIES["forecast"], tokens={"token": digest(TOKEN)}))
    with Client(app) as client:
        told = client.get("/openapi.json", headers={"authorization": f"Bearer {TOKEN.decode()}"}).json()
        assert told["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
        guarded = 0
        for path, methods in told["paths"].items():
            for method, operation in methods.items():
                status = client.request(method.upper(), path, json={}).status_code
                assert (status == 401) == bool(operation.get("security")), path
                guarded += "security" in operation
        assert guarded >= 6


@pytest.mark.parametrize("name", POLICIES)
def test_every_route_is_documented_with_words_examples_and_refusals(name: str) -> None:
    with Client(make_app(service_of(POLICIES[name]))) as client:
        told = client.get("/openapi.json").json()
    assert told["servers"]
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            if method == "post":
                assert operation["description"], path
                assert {"401", "408", "413", "415", "422", "503", "504"} <= set(operation["responses"]), path
                assert operation["requestBody"]["content"]["application/json"]["example"], path
            for status, response in operation["responses"].items():
                assert response["description"], (path, status)
