"""Where files are: globs, folders with partitions, Delta tables, other filesystems, and places that do not answer."""

from __future__ import annotations

import gzip
import json
import pickle
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from pyarrow import fs

from lstm_ray.data.source import files, places
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig
from lstm_ray.storage import places as storage


def table_at(source: str | Path | list[str], **changes: Any) -> DataConfig:
    given = source if isinstance(source, list) else str(source)
    return DataConfig(source=given, **({"series_id": ["site"], "target": ["load"]} | changes))


def rows(data: DataConfig) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in files.read(data).to_pylist()]


def put(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize("source", ["t", "t/*/*.csv", "t/**/*.csv", "t/year=*/*.csv", "**/*.csv"])
def test_folders_named_key_and_value_become_columns_typed_by_role(tmp_path: Path, source: str) -> None:
    put(tmp_path / "t" / "year=2023" / "a.csv", "site,load\na,1\n")
    put(tmp_path / "t" / "year=2024" / "b.csv", "site,load\na,2\nb,3\n")
    put(tmp_path / "t" / "_SUCCESS", "")
    found = files.read(table_at(tmp_path / source, past=["year"]))
    assert found.to_pydict() == {"site": ["a", "a", "b"], "load": [1.0, 2.0, 3.0], "year": [2023.0, 2024.0, 2024.0]}
    assert "year" in files.header(table_at(tmp_path / source))


def test_a_partition_may_name_the_series_be_escaped_or_empty(tmp_path: Path) -> None:
    for folder, load in (("site=a%20b", 1), ("site=c", 2), ("site=__HIVE_DEFAULT_PARTITION__", 3)):
        (tmp_path / folder).mkdir()
        pa_parquet.write_table(pa.table({"load": [load]}), tmp_path / folder / "t.parquet")
    assert sorted(rows(table_at(tmp_path)), key=str) == [("a b", 1.0), ("c", 2.0), (None, 3.0)]
    assert files.read_piece(table_at(tmp_path), files.pieces(table_at(tmp_path))[1], ["site"]).to_pydict() == {
        "site": ["a b"]
    }


def test_a_partition_that_is_no_number_where_one_is_needed_is_named(tmp_path: Path) -> None:
    put(tmp_path / "year=none" / "a.csv", "site,load\na,1\n")
    with pytest.raises(InputError, match=r"column 'year' of '.*a.csv' is 'none' by its folder"):
        files.read(table_at(tmp_path, past=["year"]))


def test_a_column_in_file_and_folder_is_the_file_s(tmp_path: Path) -> None:
    put(tmp_path / "load=7" / "a.csv", "site,load\na,1\n")
    assert rows(table_at(tmp_path)) == [("a", 1.0)]


def test_a_bracket_in_a_name_is_no_glob_where_such_a_file_exists(tmp_path: Path) -> None:
    put(tmp_path / "t[1].csv", "site,load\na,1\n")
    put(tmp_path / "t1.csv", "site,load\na,2\n")
    assert rows(table_at(tmp_path / "t[1].csv")) == [("a", 1.0)]
    assert rows(table_at(tmp_path / "t[!2].csv")) == [("a", 2.0)]


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_gzip_is_known_by_its_content_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"site,load\na,1\na,2\n"))
    assert rows(table_at(tmp_path / name)) == rows(table_at(tmp_path)) == [("a", 1.0), ("a", 2.0)]


def test_a_file_that_is_no_gzip_under_such_a_name_is_read_as_text(tmp_path: Path) -> None:
    assert rows(table_at(put(tmp_path / "t.csv.gz", "site,load\na,1\n"))) == [("a", 1.0)]


def test_a_delta_table_gives_the_live_files_of_its_newest_version(tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    where = str(tmp_path / "table")
    first = pa.table({"site": ["a b", "c/d", None], "load": [1.0, 2.0, 3.0]})
    deltalake.write_deltalake(where, first, partition_by=["site"])
    deltalake.write_deltalake(
        where, pa.table({"site": ["a b"], "load": [5.0]}), mode="overwrite", predicate="site = 'a b'"
    )
    before = files.stamp(table_at(where))
    assert len(before) == 3
    assert sorted(rows(table_at(where)), key=str) == [("a b", 5.0), ("c/d", 2.0), (None, 3.0)]
    more = pa.table({"site": ["e"], "load": [6.0], "wind": [7.0]})
    deltalake.write_deltalake(where, more, mode="append", schema_mode="merge")
    assert [item for item in files.stamp(table_at(where)) if item not in before] == files.stamp(table_at(where))[-1:]
    # Files from before the column came are read as empty there, as Delta says.
    assert sorted(rows(table_at(where, past=["wind"])), key=str)[-1] == (None, 3.0, None)
    assert ("e", 6.0, 7.0) in rows(table_at(where, past=["wind"]))


@pytest.mark.parametrize(
    ("feature", "settings", "words"),
    [
        ("columnMapping", {"delta.columnMapping.mode": "name"}, "other names for its columns (column mapping)"),
        ("deletionVectors", {}, "rows deleted beside its files (deletion vectors)"),
        ("deletionVectors", {}, None),
    ],
)
def test_a_delta_table_whose_files_do_not_tell_all_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, feature: str, settings: dict[str, str], words: str | None
) -> None:
    deltalake = pytest.importorskip("deltalake")
    deltalake.write_deltalake(str(tmp_path), pa.table({"site": ["a"], "load": [1.0]}))
    log = next((tmp_path / "_delta_log").glob("*.json"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "protocol" in line:
            features = {"readerFeatures": [feature], "writerFeatures": [feature]}
            line["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7} | features
        if "metaData" in line:
            line["metaData"]["configuration"] = settings
            schema = json.loads(line["metaData"]["schemaString"])
            for number, column in enumerate(schema["fields"]):
                ids = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": column["name"]}
                column["metadata"] = ids if settings else {}
            line["metaData"]["schemaString"] = json.dumps(schema)
    log.write_text("\n".join(map(json.dumps, lines)))
    if words is None:  # the feature is on, and no row was ever deleted
        assert rows(table_at(tmp_path)) == [("a", 1.0)]
        return
    if not settings:
        monkeypatch.setattr(places, "_has_deleted_rows", lambda table: True)
    with pytest.raises(InputError, match=f"Delta table '.*' has {re.escape(words)}.*write it anew"):
        files.read(table_at(tmp_path))


def test_a_delta_table_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "_delta_log" / "0.json", "{}")
    monkeypatch.setattr(places, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"is a Delta table.*pip install 'lstm-ray\[delta\]'"):
        files.read(table_at(tmp_path))


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/", recursive=True)


@pytest.mark.parametrize("source", ["memory://t/year=2024/a.csv", "memory://t", "memory://t/*/*.csv"])
def test_other_schemes_are_opened_by_fsspec(memory: Any, source: str) -> None:
    memory.pipe("/t/year=2024/a.csv", b"site,load\na,1\n")
    data = table_at(source, past=["year"])
    assert rows(data) == [("a", 1.0, 2024.0)]
    before = files.stamp(data)
    assert files.stamp(data) == before
    memory.pipe("/t/year=2024/a.csv", b"site,load\na,2\n")
    assert files.stamp(data) != before
    assert pickle.loads(pickle.dumps(files.pieces(data)[0])).file.name == "/t/year=2024/a.csv"


def test_fsspec_and_its_packages_are_named_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(InputError, match=r"'az://' needs a package.*pip install 'lstm-ray\[cloud\]'"):
        files.read(table_at("az://container/t.csv"))
    monkeypatch.setattr(places, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"opened by fsspec, which is not installed; pip install 'lstm-ray\[cloud\]'"):
        files.read(table_at("memory://t.csv"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store that refuses everything, as one does without the right credentials."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")

    class Refuses(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("path", ["bucket/t.csv", "bucket/*.csv", "bucket/folder"])
def test_a_bucket_that_may_not_be_read_is_one_clear_error(bucket: str, path: str) -> None:
    began = time.perf_counter()
    for call in (files.stamp, files.read):
        with pytest.raises(InputError) as caught:
            call(table_at(f"s3://{path}?{bucket}"))
        words = str(caught.value)
        assert re.search(rf"storage refuses data.source 's3://{re.escape(path)}' \(endpoint .*access denied", words), (
            words
        )
        assert "credentials" in words
        assert len(words.splitlines()) == 1
    assert time.perf_counter() - began < 20


def test_a_bucket_whose_host_is_not_there_is_one_clear_error(bucket: str) -> None:
    source = "s3://bucket/t.csv?region=us-east-1&scheme=http&endpoint_override=127.0.0.1:9"
    with pytest.raises(
        InputError, match=r"storage does not answer for data.source 's3://bucket/t.csv' \(endpoint 127.0.0.1:9"
    ):
        files.read(table_at(source))


def test_an_unknown_option_of_a_bucket_is_named() -> None:
    with pytest.raises(InputError, match=r"option 'regio' of 's3://b/t.csv' is none of S3's; did you mean 'region'"):
        files.read(table_at("s3://b/t.csv?regio=us-east-1"))


def test_a_place_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(storage, "OPEN_SECONDS", 0.1)
    monkeypatch.setattr(storage, "to_read", lambda said, base: release.wait(10))
    with pytest.raises(InputError, match=r"does not answer for data.source 'gs://bucket/t.csv' \(nothing in 0.1 s\)"):
        files.read(table_at("gs://bucket/t.csv"))
    release.set()


def test_a_file_that_vanished_or_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path / "a.csv", "site,load\na,1\n")
    [piece] = files.pieces(table_at(file))
    file.unlink()
    with pytest.raises(InputError, match=f"'{file}' was listed and is gone"):
        files.read_piece(table_at(file), piece)

    with (
        pytest.raises(InputError, match="may not be read: Permission denied; ask for the right"),
        places.refused_by_name(piece.file),
    ):
        raise PermissionError("Permission denied")


def test_the_region_of_a_bucket_is_asked_for_where_nobody_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    # As pyarrow has it: of the bucket, and of nothing else.
    def resolve(bucket: str) -> str:
        asked.append(bucket)
        raise OSError("Bucket 'sales-2024' not found")

    monkeypatch.setattr(fs, "resolve_s3_region", resolve)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        InputError, match=r"storage has no bucket for data.source 's3://sales-2024/x/\*.parquet' \(endpoint of AWS"
    ):
        files.read(table_at("s3://sales-2024/x/*.parquet"))
    assert asked == ["sales-2024"]
