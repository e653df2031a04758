"""A line of JSON for each request."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lstm_ray.errors import InputError
from lstm_ray.live.names import FILE, hashed, key_of
from lstm_ray.serving.api import make_app
from lstm_ray.serving.gate import digest
from lstm_ray.serving.log import Passed, RequestLog, Which
from tests.serving import services as serving
from tests.serving.services import Client

POLICY = serving.forecaster()
KEYS = ["time", "request_id", "method", "route", "status", "ms", "bytes", "series", "policy", "token", "named"]


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
    service = serving.service(POLICY, request_log="all", tokens={"token": digest(b"a long secret")})
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


KEY = "0123456789abcdef" * 4


def test_series_are_told_by_a_hash_that_only_the_key_finds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    service = serving.service(POLICY, request_log="all", name_key=KEY)
    with Client(make_app(service)) as client:
        series = [serving.window(name=name) for name in ("pump 7", "pump 8", "", "pump 9", "pump 10")]
        assert client.post("/v1/forecast", json=serving.body_of(*series)).status_code == 200
    written = capsys.readouterr().err
    [line] = map(json.loads, written.splitlines())
    assert "pump" not in written
    assert line["named"] == [hashed(name, KEY) for name in ("pump 7", "pump 8")]
    assert hashed("pump 7", KEY) != hashed("pump 7", KEY[::-1])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_any_tool_that_has_the_key_finds_a_series_lines(tmp_path: Path) -> None:
    key = key_of(tmp_path)
    assert key_of(tmp_path) == key
    assert (tmp_path / FILE).stat().st_mode & 0o77 == 0
    shell = f"""printf %s 'pump 7' | openssl dgst -sha256 -hmac "$(cat {tmp_path / FILE})" | tail -c 65 | head -c 16"""
    found = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert found == hashed("pump 7", key)


def test_a_key_that_hides_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("short\n")
    with pytest.raises(InputError, match="5 characters, too few"):
        key_of(tmp_path)


def test_a_token_is_told_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    tokens = {"ada": digest(b"a long secret of hers"), "bob": digest(b"a long secret of his")}
    with Client(make_app(serving.service(POLICY, request_log="all", tokens=tokens))) as client:
        for secret in ("a long secret of hers", "a long secret of his", "nobody's"):
            client.get("/v1/policy", headers={"authorization": f"Bearer {secret}"})
        client.get("/healthz")
    written = capsys.readouterr().err
    assert [json.loads(line)["token"] for line in written.splitlines()] == ["ada", "bob", None, None]
    assert "secret" not in written


def test_a_request_has_an_id_in_every_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with Client(
        make_app(serving.service(POLICY, request_log="all", tokens={"token": digest(b"a long secret")}))
    ) as client:
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
