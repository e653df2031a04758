"""The load's clients against small servers of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lstm_ray.errors import InputError
from lstm_ray.serving import stress
from lstm_ray.serving.stress import closed_loop

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Keeps what it was sent and lets the test answer."""

    protocol_version = "HTTP/1.1"
    answer: Answer
    seen: list[tuple[str, str, bytes, dict[str, str]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.seen.append((self.command, self.path, body, {k.lower(): v for k, v in self.headers.items()}))
        self.answer()

    do_GET = do_POST

    def say(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[tuple[str, str, bytes, dict[str, str]]]]]:
    """Its address, and what it has seen."""
    kind = type("Own", (Handler,), {"answer": answer, "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as here:
        thread = threading.Thread(target=here.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{here.server_port}/v1/forecast", kind.seen
        finally:
            here.shutdown()
            thread.join()


def test_clients_send_the_bodies_in_turn_and_every_answer_is_timed() -> None:
    with server(lambda handler: handler.say(200)) as (url, seen):
        load = closed_loop(url, [b"one", b"two"], 3, 0.2, token="secret")
    assert load.num_errors == 0
    assert len(load.latency_M) == len(seen) > 6
    assert {body for _, _, body, _ in seen} == {b"one", b"two"}
    method, path, _, headers = seen[0]
    assert (method, path, headers["authorization"]) == ("POST", "/v1/forecast", "Bearer secret")
    assert headers["content-type"] == "application/json"
    told = load.as_dict()
    assert 0 < told["p50_ms"] <= told["p95_ms"] <= told["p99_ms"]  # type: ignore[operator]
    assert 0.2 <= load.seconds < 5
    assert 0 < load.cpu_seconds < load.seconds


def test_without_bodies_it_gets() -> None:
    with server(lambda handler: handler.say(200)) as (url, seen):
        assert closed_loop(f"{url}?a=1", [], 1, 0.05).num_errors == 0
    assert seen[0][:3] == ("GET", "/v1/forecast?a=1", b"")


def test_other_answers_are_counted_by_their_status() -> None:
    with server(lambda handler: handler.say(503 if len(handler.seen) % 2 else 200)) as (url, seen):
        load = closed_loop(url, [b"{}"], 2, 0.2)
    assert load.errors == {"503": load.num_errors}
    assert load.num_errors + len(load.latency_M) == len(seen)
    assert load.num_errors > 0


def test_an_expected_refusal_is_no_error() -> None:
    with server(lambda handler: handler.say(405)) as (url, _):
        assert closed_loop(url, [b"{}"], 1, 0.05, expected=405).num_errors == 0


def test_large_bodies_and_answers_come_whole() -> None:
    def check(handler: Handler) -> None:
        handler.say(200 if handler.seen[-1][2] == body else 400, b"y" * 3_000_000)

    body = bytes(range(256)) * 30_000
    with server(check) as (url, _):
        load = closed_loop(url, [body], 2, 0.3)
    assert load.num_errors == 0
    assert len(load.latency_M) >= 2


def test_an_answer_in_chunks_is_read_to_its_end() -> None:
    def chunks(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in (b"5\r\nhello\r\n", b"0\r\n\r\n"):
            handler.wfile.write(part)
            handler.wfile.flush()

    with server(chunks) as (url, seen):
        load = closed_loop(url, [b"{}"], 1, 0.1)
    assert load.num_errors == 0
    assert len(load.latency_M) == len(seen) > 1


def test_a_server_that_closes_politely_is_asked_again_without_an_error() -> None:
    with server(lambda handler: handler.say(200, Connection="close")) as (url, seen):
        load = closed_loop(url, [b"{}"], 1, 0.35)
    assert load.num_errors == 0
    assert len(seen) > 1


def test_a_connection_that_breaks_is_an_error_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang_up(handler: Handler) -> None:
        handler.close_connection = True
        if len(handler.seen) > 2:
            handler.say(200)

    monkeypatch.setattr(stress, "AGAIN_SECONDS", 0.01)
    with server(hang_up) as (url, _):
        load = closed_loop(url, [b"{}"], 1, 0.3)
    assert load.num_errors >= 2
    assert len(load.latency_M) > 0


def test_where_nobody_listens_every_try_is_an_error_and_it_ends_in_time() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        load = closed_loop(url, [b"{}"], 2, 0.3)
    assert load.errors == {"ConnectionRefusedError": load.num_errors}
    assert 2 <= load.num_errors < 20
    assert load.as_dict()["p50_ms"] is None


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stress, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(stress, "LOOK_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        load = closed_loop(f"http://127.0.0.1:{silent.getsockname()[1]}/", [b"{}"], 1, 0.1)
    assert load.errors == {"no answer in 0.2 s": 1}
    assert load.seconds < 5


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "127.0.0.1:80", "http:///v1"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="must begin with http://"):
        closed_loop(url, [b"{}"], 1, 0.1)
