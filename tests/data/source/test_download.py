"""Sources behind http addresses, on a loopback server: fetched once, told apart by version, refused clearly."""

from __future__ import annotations

import errno
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lstm_ray.data.source import download, files
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

TABLE = b"when,load\n1,2.5\n2,3.5\n"


class Server:
    """Files by path, what was asked, and how the server behaves."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/data/table.csv": TABLE}
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.refuses_head = False
        self.address = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(405 if state.refuses_head else 200, b"")

        def do_GET(self) -> None:
            self._answer(200, state.files.get(self.path.partition("?")[0], b""))

        def _answer(self, status: int, content: bytes) -> None:
            state.asked.append((self.command, self.path))
            if self.path == "/moved.csv":
                self.send_response(302)
                self.send_header("Location", "/data/table.csv")
            else:
                self.send_response(status if self.path.partition("?")[0] in state.files else 404)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{http.server_port}"
    download.fetch.cache_clear()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()
    download.fetch.cache_clear()


def at(server: Server, path: str = "/data/table.csv") -> DataConfig:
    return DataConfig(source=server.address + path, time="when", target=["load"])


@pytest.mark.parametrize("path", ["/data/table.csv", "/data/table.csv?raw=1", "/moved.csv"])
def test_a_table_is_read_from_its_address_with_one_download(server: Server, path: str) -> None:
    data = at(server, path)
    assert files.header(data) == ["when", "load"]
    assert grid.load(data)["load"].to_list() == [2.5, 3.5]
    (file,) = files.locate(data)
    assert (file.name, file.size) == (server.address + path, len(TABLE))
    assert sum(asked == ("GET", path) for asked in server.asked) == 1


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_the_stamp_follows_what_the_server_says_without_a_download(server: Server, header: str) -> None:
    stamps = []
    for version in ("one", "one", "two"):
        server.headers = {header: version}
        stamps.append(files.stamp(at(server)))
    assert stamps[0] == stamps[1] != stamps[2]
    assert {method for method, _ in server.asked} == {"HEAD"}


@pytest.mark.parametrize("refuses_head", [False, True])
def test_where_the_server_tells_no_version_the_content_does(server: Server, refuses_head: bool) -> None:
    server.refuses_head = refuses_head
    stamps = []
    for content in (TABLE, TABLE, TABLE.replace(b"3.5", b"4.5")):
        download.fetch.cache_clear()
        server.files["/data/table.csv"] = content
        stamps.append(files.stamp(at(server)))
    assert stamps[0] == stamps[1] != stamps[2]


def test_a_refusal_names_the_address_the_answer_and_the_way_out(server: Server) -> None:
    for call in (files.stamp, files.header, files.read):
        with pytest.raises(InputError) as caught:
            call(at(server, "/gone.csv"))
        words = str(caught.value)
        assert f"'{server.address}/gone.csv' cannot be downloaded" in words
        assert "404" in words
        assert "--set data.source=FILE" in words


def test_a_server_that_is_not_there_is_named(server: Server) -> None:
    address = "http://127.0.0.1:9/table.csv"
    for call in (files.stamp, files.read):
        with pytest.raises(InputError, match=f"'{address}' cannot be downloaded.*--set data.source=FILE"):
            call(DataConfig(source=address, time="when", target=["load"]))


def test_an_error_inside_the_file_names_the_address(server: Server) -> None:
    server.files["/data/table.csv"] = b"when,load\n1,high\n"
    with pytest.raises(InputError, match=f"column 'load' of '{server.address}/data/table.csv' is not numeric"):
        files.read(at(server))


def test_a_compressed_table_is_read_however_its_server_calls_it(server: Server) -> None:
    server.files["/data/table.csv.gz"] = gzip.compress(TABLE)
    assert files.read(at(server, "/data/table.csv.gz"))["load"].to_pylist() == [2.5, 3.5]
    download.fetch.cache_clear()
    server.headers = {"Content-Encoding": "gzip"}  # then it arrives decompressed, under the same name
    assert files.read(at(server, "/data/table.csv.gz"))["load"].to_pylist() == [2.5, 3.5]


def test_a_disk_that_is_full_says_where_room_is_needed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(
        InputError, match=r"cannot be kept in .*: No space left on device; make room there, or set TMPDIR"
    ):
        files.read(at(server))


def test_a_second_table_may_lie_behind_an_address(server: Server, tmp_path: Path) -> None:
    server.files["/second.csv"] = b"site,area\na,5\n"
    (tmp_path / "t.csv").write_text("site,load\na,1\n")
    second = f"{server.address}/second.csv"
    data = DataConfig(
        source=str(tmp_path / "t.csv"), series_id=["site"], target=["load"], static=["area"], static_source=second
    )
    assert files.read(data)["area"].to_pylist() == [5.0]
    assert files.stamp(data)[-1][0] == second
