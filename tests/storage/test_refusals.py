"""What no waiting mends is told at once, in a sentence of its own: full stores, clocks, folders that cannot be."""

from __future__ import annotations

import errno
import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from lstm_ray.errors import InputError
from lstm_ray.lifecycle import only_one_at_a_time
from lstm_ray.run_dir import RunDir
from lstm_ray.storage import faults

QUERY = "scheme=http&region=us-east-1"
ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>for made-up-secret</Message></Error>"


@contextmanager
def refusing(status: int, code: str) -> Iterator[int]:
    """The port of a store with empty buckets that refuses every write."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(404 if "/" in self.path.strip("/") else 200, b"")

        def do_GET(self) -> None:
            self._answer(200, b"<?xml version='1.0'?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(status, ERROR.format(code).encode())

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (
            507,
            "XMinioStorageFull",
            r"no room left for 's3://xminiostoragefull/run'.*507, XMinioStorageFull.*free or raise",
        ),
        (403, "QuotaExceeded", r"no room left for 's3://quotaexceeded/run'.*403, QuotaExceeded"),
        (400, "XMinioAdminBucketQuotaExceeded", "no room left for"),
        (403, "RequestTimeTooSkewed", r"clock wrong for .*request time too skewed.*NTP"),
        (501, "NotImplemented", r"does not do what is asked for .*501, NotImplemented.*check that the endpoint"),
        (400, "InvalidArgument", r"does not do what is asked for .*400, InvalidArgument"),
        (409, "OperationAborted", r"does not do what is asked for .*409"),
        (405, "MethodNotAllowed", r"does not do what is asked for .*405"),
    ],
)
def test_what_does_not_pass_is_one_sentence_at_once(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(faults, "PATIENCE_SECONDS", 60.0)
    with refusing(status, code) as port:
        run = RunDir(f"s3://key:secret@{code.lower()}/run?endpoint_override=127.0.0.1:{port}&{QUERY}")
        began = time.monotonic()
        with pytest.raises(InputError, match=words) as raised:
            run.write_bytes("a.json", b"1")
        assert time.monotonic() - began < 30, "it was tried again until patience ended"
        assert "made-up-secret" not in str(raised.value)
        assert len(str(raised.value).splitlines()) == 1


def test_a_stream_that_storage_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with refusing(507, "XMinioStorageFull") as port:
        run = RunDir(f"s3://key:secret@full-stream/run?endpoint_override=127.0.0.1:{port}&{QUERY}")
        with (
            pytest.raises(InputError, match=r"no room left for 's3://full-stream/run'"),
            run.written("a.parquet") as stream,
        ):
            stream.write(b"1")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert faults.passes(OSError(f"AWS Error UNKNOWN (HTTP status {status}) during PutObject operation"))


@pytest.mark.parametrize("place", ["/proc/nope/run", "/sys/kernel/run", "{}/file/run"])
def test_a_local_folder_that_cannot_be_is_one_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    run = RunDir(place.format(tmp_path))
    with pytest.raises(InputError, match=rf"the folder '{run.uri}.*' cannot be made or written \(.*\); name another"):
        run.write_bytes("a.json", b"1")
    with (
        pytest.raises(InputError, match=rf"the folder '{run.uri}' cannot be made or written"),
        only_one_at_a_time(run),
    ):
        raise AssertionError("a run began where nothing can be written")


def test_a_folder_whose_files_cannot_be_locked_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with (
        pytest.raises(InputError, match=r"cannot lock files \(No locks available\).*--run-dir"),
        only_one_at_a_time(RunDir(tmp_path / "run")),
    ):
        raise AssertionError("two processes could run at once")


def test_what_azures_client_throws_is_told_as_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes out of pyarrow as no OSError; without a network the client itself would look for accounts for long."""

    def thrown(uri: str) -> None:
        raise pa.ArrowException(
            "Unknown error: Check for Hierarchical Namespace support: N5Azure4Core...AuthenticationException"
        )

    monkeypatch.setattr("lstm_ray.storage.places.fs.FileSystem", SimpleNamespace(from_uri=thrown))
    with pytest.raises(InputError, match=r"storage refuses 'abfs://c@account/run'.*AZURE_CLIENT_SECRET"):
        RunDir("abfs://c@account/run")
