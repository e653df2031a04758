"""Faults that pass are tried again, those that do not are told at once, and silence ends."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.run_dir import RunDir
from lstm_ray.storage import faults, places
from tests import s3

CONTENT = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
SLOW = b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(CONTENT), CONTENT)
METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")


@contextmanager
def before(server: s3.Server, faulty: list[str]) -> Iterator[int]:
    """A port that passes requests on, but for as many as ``faulty`` names: "slow" is a 503, "reset" a closed connection."""

    class Passing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", server.port)) as inner:
                back = threading.Thread(target=self.pass_back, args=(inner,))
                back.start()
                self.pass_on(inner)
                for end in (inner, self.request):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                back.join()

        def pass_on(self, inner: socket.socket) -> None:
            with suppress(OSError):
                while piece := self.request.recv(1 << 16):
                    if piece.startswith(METHODS) and faulty:
                        if faulty.pop(0) == "slow":
                            self.request.sendall(SLOW)
                        return
                    inner.sendall(piece)

        def pass_back(self, inner: socket.socket) -> None:
            with suppress(OSError):
                while piece := inner.recv(1 << 16):
                    self.request.sendall(piece)

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True

    proxy = Proxy(("127.0.0.1", 0), Passing)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield proxy.server_address[1]
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


def test_storage_that_is_slow_or_breaks_off_for_a_while_is_asked_again(
    storage: s3.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of one request pyarrow itself makes two: what is left is ours.
    faulty: list[str] = []
    waits: list[float] = []
    monkeypatch.setattr("lstm_ray.storage.faults.random.uniform", lambda low, high: waits.append(high) or 0.0)
    with before(storage, faulty) as port:
        run = RunDir(f"s3://{storage.bucket()}/run?endpoint_override=127.0.0.1:{port}&scheme=http")
        faulty += ["slow", "reset"] * 4
        run.write_bytes("a.json", b"1")
        assert not faulty
        assert len(waits) >= 3
        assert waits == sorted(waits), "each wait may be longer than the one before"
        faulty += ["reset"] * 6
        assert run.read_bytes("a.json") == b"1"
        assert not faulty
        faulty += ["slow"] * 4
        with run.opened("a.json") as stream:
            assert stream.read() == b"1"
        faulty += ["slow"] * 4
        assert abs(run.changed_at("a.json") - time.time()) < 600
        assert not faulty


def test_storage_that_stays_away_is_one_error(storage: s3.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "PATIENCE_SECONDS", 0.5)
    faulty: list[str] = []
    with before(storage, faulty) as port:
        run = RunDir(f"s3://{storage.bucket()}/run?endpoint_override=127.0.0.1:{port}&scheme=http")
        faulty += ["slow"] * 1000
        with pytest.raises(InputError, match=r"storage does not answer for 's3://.*slow down.*goes on from here"):
            run.write_bytes("a.json", b"1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AWS Error SLOW_DOWN during PutObject operation", True),
        ("AWS Error UNKNOWN (HTTP status 500) during PutObject operation", True),
        ("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 28, Timeout was reached", True),
        ("AWS Error INTERNAL_FAILURE during GetObject operation", True),
        ("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation", False),
        ("AWS Error ACCESS_DENIED during HeadObject operation", False),
        ("AWS Error NO_SUCH_KEY during CopyObject operation", False),
        ("No space left on device", False),
    ],
)
def test_what_passes_is_told_from_what_does_not(text: str, expected: bool) -> None:
    tries = 0

    def work() -> None:
        nonlocal tries
        tries += 1
        raise OSError(text)

    with pytest.raises((OSError, InputError)):
        faults.patiently(work, "'s3://b/run'", seconds=0.3)
    assert (tries > 1) == expected


def test_an_endpoint_that_keeps_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "OPEN_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme, more in (("s3", "&region=us-east-1"), ("gs", "")):
            began = time.monotonic()
            user = "anonymous@" if scheme == "gs" else "key:very-secret@"
            uri = f"{scheme}://{user}bucket/run?endpoint_override=127.0.0.1:{silent.getsockname()[1]}&scheme=http{more}"
            with pytest.raises(InputError, match=rf"storage does not answer for '{scheme}://bucket/run'") as raised:
                RunDir(uri)
            assert time.monotonic() - began < 20
            assert "very-secret" not in str(raised.value)


def test_an_endpoint_where_nobody_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(
        InputError, match=rf"does not answer for 's3://bucket/run' \(endpoint 127.0.0.1:{port}, region eu"
    ):
        RunDir(f"s3://key:secret@bucket/run?endpoint_override=127.0.0.1:{port}&scheme=http&region=eu-west-1")


def test_a_bucket_that_does_not_exist_is_named_with_endpoint_and_region(storage: s3.Server) -> None:
    with pytest.raises(InputError, match=rf"no bucket 'none-such' .*{storage.endpoint}, region us-east-1\); make it"):
        RunDir("s3://none-such/run")


def test_credentials_that_are_denied_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3.serving(tmp_path / "log", INITIAL_NO_AUTH_ACTION_COUNT="2") as strict:
        strict.filesystem.create_dir("made-strict")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        # Without any the server of these tests breaks (500), where a real one refuses.
        for user in ("AKIAWRONG:wrong-secret@",):
            with pytest.raises(
                InputError, match=r"storage refuses 's3://made-strict/run'.*AWS_ACCESS_KEY_ID"
            ) as raised:
                RunDir(f"s3://{user}made-strict/run{strict.query}")
            assert "wrong-secret" not in str(raised.value)


def test_unknown_schemes_and_options_are_told() -> None:
    with pytest.raises(InputError, match=r"nothing here opens 'gopher://'; name a folder, or one of file://, s3://"):
        RunDir("gopher://key:secret@there/run")
    with pytest.raises(InputError, match=r"option 'endpoint' of 's3://bucket/run'.*endpoint_override"):
        RunDir("s3://bucket/run?endpoint=127.0.0.1:1")
    with pytest.raises(InputError, match="%2F"):
        RunDir("s3://key:sec/ret@bucket/run")


def test_options_of_a_uri_hold_for_what_is_opened_below_it_and_are_shown_nowhere(
    object_server: s3.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in object_server.environment:
        monkeypatch.delenv(name, raising=False)
    bucket = object_server.bucket()
    run = RunDir(f"s3://{s3.ACCESS}:{s3.SECRET}@{bucket}/run/{object_server.query}")
    assert run.uri == f"s3://{bucket}/run"
    RunDir(f"{run.uri}/unseen").write_bytes("a.json", b"1")
    assert run.read_bytes("unseen/a.json") == b"1"
