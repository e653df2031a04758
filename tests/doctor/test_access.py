"""Tokens, dashboards, ports and notes of dead clusters: each fault is planted for real."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import create_server

import pytest

from lstm_ray.doctor import access, ports

SECRET = "0123456789abcdef"


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server on loopback that answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_token_is_found_and_never_told(tmp_path: Path) -> None:
    found = access.token({access.TOKEN: SECRET, access.MODE: "token"}, tmp_path)
    assert (found.verdict, found.text) == ("well", "from RAY_AUTH_TOKEN")
    file = tmp_path / "token"
    file.write_text(SECRET)
    file.chmod(0o600)
    found = access.token({access.TOKEN_PATH: str(file), access.MODE: "token"}, tmp_path)
    assert found.verdict == "well"
    for shown in ({access.TOKEN_PATH: str(file)}, {access.TOKEN: SECRET}):
        found = access.token(shown, tmp_path)
        assert (found.verdict, found.advice[:28]) == ("warning", "export RAY_AUTH_MODE=token: ")
        assert SECRET not in found.line
    file.chmod(0o644)
    found = access.token({access.TOKEN_PATH: str(file)}, tmp_path)
    assert (found.verdict, found.advice) == ("warning", f"chmod 600 '{file}'")
    assert SECRET not in found.line


@pytest.mark.parametrize(
    ("environment", "verdict"),
    [
        ({}, "well"),
        ({access.MODE: "token"}, "wrong"),
        ({access.TOKEN_PATH: "/nowhere/token"}, "wrong"),
        ({access.MODE: "disabled"}, "warning"),
    ],
)
def test_a_missing_token_is_wrong_where_one_is_asked_for(
    environment: dict[str, str], verdict: str, tmp_path: Path
) -> None:
    found = access.token(environment, tmp_path)
    assert found.verdict == verdict
    assert bool(found.advice) == (verdict != "well")


def test_a_dashboard_is_well_that_asks_for_a_token_and_wrong_that_all_the_world_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(401) as url:
        assert access.dashboard(url)[0].verdict == "well"
    with answering(200) as url:
        assert access.dashboard(url)[0].verdict == "warning", "others cannot reach loopback"
        monkeypatch.setattr(access, "_is_loopback", lambda host: False)
        [found] = access.dashboard(url)
        assert found.verdict == "wrong"
        assert "RAY_AUTH_MODE=token" in found.advice
    with answering(500) as url:
        assert "500" in access.dashboard(url)[0].text
    assert access.dashboard("")[0].verdict == "warning"


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.2", True), ("localhost", True), ("[::1]", True), ("0.0.0.0", False), ("10.0.0.1", False)],
)
def test_loopback_is_known(host: str, inside: bool) -> None:
    assert access._is_loopback(host) is inside


def test_a_note_of_a_cluster_that_is_gone_is_found(tmp_path: Path) -> None:
    assert access.last_cluster(tmp_path).verdict == "well"
    note = tmp_path / "ray_current_cluster"
    with closing(create_server(("127.0.0.1", 0))) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        note.write_text(address)
        assert access.last_cluster(tmp_path).verdict == "well"
    found = access.last_cluster(tmp_path)
    assert (found.verdict, found.advice) == ("warning", f"rm '{note}'")
    assert address in found.text


def test_a_port_is_told_with_the_process_that_holds_it() -> None:
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        [taken] = ports.ports({port: "a policy's server"})
        process.communicate("\n")
    assert (taken.verdict, f"process {process.pid} " in taken.text) == ("warning", True)
    assert "deploy.port" in taken.advice
    [free] = ports.ports({port: "a policy's server"})
    assert (free.verdict, free.text) == ("well", "free for a policy's server")
