"""A line of JSON for each request."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from lstm_ray.serving.api import make_app
from lstm_ray.serving.gate import digest
from lstm_ray.serving.log import Passed, RequestLog, Which
from tests.serving import services as serving
from tests.serving.services import Client

POLICY = serving.forecaster()
KEYS = ["time", "request_id", "method", "route", "status", "ms", "bytes", "series", "policy"]


def lines_of(which: Which, *statuses: int) -> list[dict[str, Any]]:
    out = io.StringIO()
    log = RequestLog(which, "v1", out)
    for status in statuses:
        log(Passed("mine", "POST", "/v1/forecast", status, 0.0123456, 10, 1))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_holds_how_it_went() -> None:
    [line] = lines_of("all", 200)
    assert list(line) == KEYS
    assert (line["request_id"], line["status"], line["ms"], line["bytes"]) == ("mine", 200, 12.35, 10)
    assert line["time"].endswith("+00:00")


@pytest.mark.parametrize(("which", "told"), [("all", [200, 422, 504]), ("errors", [422, 504]), ("none", [])])
def test_those_asked_for_are_told(which: Which, told: list[int]) -> None:
    assert [line["status"] for line in lines_of(which, 200, 422, 504)] == told


def test_no_line_tells_what_was_sent(capsys: pytest.CaptureFixture[str]) -> None:
    service = serving.service(POLICY, request_log="all", token_digest=digest(b"a long secret"))
    headers = {"authorization": "Bearer a long secret", "x-request-id": "mine-1"}
    with Client(make_app(service)) as client:
        body = serving.body_of(serving.window(name="hidden"), serving.window(name="hidden2"))
        assert client.post("/v1/forecast?key=hidden", json=body, headers=headers).status_code == 200
        assert client.post("/v1/forecast", json=body).status_code == 401
        assert client.get("/hidden/path", headers=headers).status_code == 404
        assert client.post(
            "/v1/forecast", content=b"{", headers=headers | {"content-type": "application/json"}
        ).is_error
    written = capsys.readouterr().err
    found = [json.loads(line) for line in written.splitlines()]
    assert "hidden" not in written
    assert "secret" not in written
    assert [(line["route"], line["status"]) for line in found] == [
        ("/v1/forecast", 200),
        ("/v1/forecast", 401),
        ("other", 404),
        ("/v1/forecast", 422),
    ]
    assert (found[0]["request_id"], found[0]["series"], found[0]["policy"]) == ("mine-1", 2, POLICY.version)
    assert found[0]["bytes"] == len(json.dumps(body, separators=(",", ":")))


def test_a_request_has_an_id_in_every_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with Client(make_app(serving.service(POLICY, request_log="all", token_digest=digest(b"a long secret")))) as client:
        ids = [
            client.get(path, headers={"x-request-id": given.encode()} if given else {}).headers.get_list("x-request-id")
            for path in ("/healthz", "/v1/policy", "/nowhere")
            for given in ("A.b_c-1", "", "a b", "x" * 129, "é")
        ]
    logged = [json.loads(line)["request_id"] for line in capsys.readouterr().err.splitlines()]
    assert [one for [one] in ids] == logged
    for [same], *made_up in (ids[i : i + 5] for i in (0, 5, 10)):
        assert same == "A.b_c-1"
        assert len({one for [one] in made_up}) == 4
        assert all(len(one) == 16 for [one] in made_up)
