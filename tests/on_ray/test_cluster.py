from __future__ import annotations

import contextlib
import socket
import socketserver
import threading

import pytest
import ray

from lstm_ray.errors import InputError
from lstm_ray.on_ray import cluster


def test_an_address_where_nothing_answers_is_refused_at_once(monkeypatch):
    if ray.is_initialized():
        ray.shutdown()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"no Ray cluster answers at '{address}'"):
        cluster.ensure()
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "RAY_TMPDIR",
            "/proc/nothing",
            "Ray cannot be started on this machine: .*/proc/nothing.*preprocess.engine: polars",
        ),
        ("RAY_ADDRESS", "nonsense", "cluster at 'nonsense' cannot be joined: .*check --address or RAY_ADDRESS"),
    ],
)
def test_what_keeps_ray_from_starting_is_one_clear_error(monkeypatch, name, value, words):
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=words) as caught:
        cluster.ensure()
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


@pytest.mark.parametrize("answers", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"220 hello\r\n", b""])
def test_what_is_no_cluster_at_an_address_is_one_clear_error_within_seconds(monkeypatch, answers):
    if ray.is_initialized():
        ray.shutdown()

    class Answer(socketserver.BaseRequestHandler):
        def handle(self):
            if answers:
                self.request.sendall(answers)
            self.request.settimeout(2)
            with contextlib.suppress(OSError):
                while self.request.recv(4096):
                    pass

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "only-for-this-test-of-an-address")
    monkeypatch.setattr("lstm_ray.on_ray.addresses.SECONDS", 1.0)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.server_address[1]}")
            with pytest.raises(InputError, match="is no Ray cluster"):
                cluster.ensure()
        finally:
            server.shutdown()
            thread.join()
    assert not ray.is_initialized()
