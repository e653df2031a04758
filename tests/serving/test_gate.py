"""What stands before every route."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lstm_ray.serving.gate import ARRIVED, RETRY_SECONDS, Gate, arrived, digest, waited

Message = dict[str, Any]
LIMIT = 100


async def echo(
    scope: Any, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """An application that answers with what it was sent."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def call(
    parts: list[bytes],
    headers: dict[str, str] | None = None,
    token: bytes | None = None,
    path: str = "/v1/forecast",
    root: str = "",
    method: str = "POST",
) -> tuple[int, bytes, list[tuple[str, int]]]:
    """Status, body, and what was recorded. A body without its last part never ends."""
    recorded: list[tuple[str, int]] = []
    sent: list[Message] = []
    waiting = list(parts)

    async def receive() -> Message:
        if not waiting:
            await asyncio.sleep(60)
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": part != b"" and bool(waiting or parts[-1] != b"")}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"content-type": "application/json", **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": root + path, "root_path": root, "headers": raw}
    digests = {} if token is None else {"token": digest(token)}
    gate = Gate(echo, LIMIT, digests, lambda passed: recorded.append((passed.route, passed.status)), body_seconds=0.05)
    asyncio.run(gate(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent), recorded


def test_a_whole_body_reaches_the_application_however_it_was_cut() -> None:
    assert call([b"ab", b"cd", b""]) == (200, b"abcd", [("/v1/forecast", 200)])
    assert call([b""]) == (200, b"", [("/v1/forecast", 200)])


def test_a_body_that_does_not_arrive_gets_408() -> None:
    status, body, recorded = call([b"ab"])
    assert (status, recorded) == (408, [("/v1/forecast", 408)])
    assert "did not arrive" in json.loads(body)["detail"][0]["msg"]


@pytest.mark.parametrize("declared", [False, True])
def test_a_body_over_the_limit_is_refused_as_soon_as_that_is_known(declared: bool) -> None:
    headers = {"content-length": str(LIMIT + 1)} if declared else {}
    parts = [b"never read"] if declared else [b"x" * LIMIT, b"x", b"never read"]
    status, body, _ = call(parts, headers)
    assert status == 413
    assert json.loads(body)["detail"][0]["loc"] == ["body"]
    assert call([b"x" * LIMIT, b""])[0] == 200


def test_the_path_is_recorded_without_the_prefix_it_is_served_under() -> None:
    assert call([b""], root="/policies")[2] == [("/v1/forecast", 200)]


def test_a_token_opens_everything_and_nothing_else_does() -> None:
    for header in (None, "Bearer", "Bearer ", "Bearer nearly", "bearer", "Basic secret", "secret"):
        given = {} if header is None else {"authorization": header}
        assert call([b""], given, b"secret")[0] == 401
    assert call([b""], {"authorization": "Bearer secret"}, b"secret")[0] == 200
    assert call([b""], token=b"secret", path="/healthz")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("headers", [{"content-type": "text/plain"}, {"content-encoding": "gzip"}])
def test_a_body_that_is_no_plain_json_is_refused_whatever_brings_it(method: str, headers: dict[str, str]) -> None:
    status, answer, _ = call([b"{}", b""], {"transfer-encoding": "chunked", **headers}, method=method)
    assert status == 415
    assert json.loads(answer)["detail"][0]["loc"] == ["header", next(iter(headers))]


def late(path: str, seconds: float, process: int | None = None) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    """Status, headers and scope of a request that waited."""
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": []}
    arrived(scope)
    found, when = scope[ARRIVED]
    scope[ARRIVED] = (found if process is None else process, when - seconds)
    sent: list[Any] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Gate(echo, LIMIT, {}, lambda passed: None)(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], dict(sent[0]["headers"]), scope


def test_a_request_that_waited_longer_than_it_would_be_sent_away_for_is_sent_away() -> None:
    status, headers, _ = late("/v1/forecast", RETRY_SECONDS + 0.1)
    assert (status, headers[b"retry-after"]) == (503, b"1")
    assert late("/v1/forecast", RETRY_SECONDS / 2)[0] == 200


def test_a_probe_is_answered_however_late() -> None:
    assert late("/healthz", 60.0)[0] == 200


def test_a_wait_that_another_process_noted_is_not_told_by_this_clock() -> None:
    assert late("/v1/forecast", 60.0, process=-1)[0] == 200


def test_a_copy_of_a_request_that_was_taken_has_not_waited() -> None:
    scope = late("/v1/forecast", RETRY_SECONDS / 2)[2]
    assert ARRIVED not in scope
    assert waited(scope) == 0.0
