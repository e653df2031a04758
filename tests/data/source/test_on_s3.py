"""Tables in storage are found as run directories are: by the same environment, names, limits of time and errors."""

from __future__ import annotations

import socket
import time

import pytest

from lstm_ray.config import parse
from lstm_ray.data.source import files, places
from lstm_ray.errors import InputError
from lstm_ray.run_dir import RunDir
from lstm_ray.sections.data import DataConfig
from lstm_ray.storage import places as storage_places
from tests import s3

TABLE = b"site,load\na,1\n"


def table_at(source: str) -> DataConfig:
    return DataConfig(source=source, series_id=["site"], target=["load"])


@pytest.fixture
def bucket(storage: s3.Server) -> str:
    """With tables, on the server that the environment names."""
    bucket = storage.bucket()
    for name in ("t.csv", "my table.csv", "100%.csv", "a#b.csv", "my folder/x.csv"):
        with storage.filesystem.open_output_stream(f"{bucket}/{name}") as file:
            file.write(TABLE)
    return bucket


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("t.csv", ["t.csv"]),
        ("my%20table.csv", ["my table.csv"]),
        ("my table.csv", ["my table.csv"]),
        ("100%25.csv", ["100%.csv"]),
        ("a%23b.csv", ["a#b.csv"]),
        ("my%20*.csv", ["my table.csv"]),
        ("my%20folder/?.csv", ["my folder/x.csv"]),
        ("my folder", ["my folder/x.csv"]),
        ("none.csv", []),
        ("t?.csv", []),
    ],
)
def test_the_environment_names_the_server_and_names_may_be_written_out(
    bucket: str, path: str, found: list[str]
) -> None:
    assert [file.path for file in places.find(f"s3://{bucket}/{path}")] == [f"{bucket}/{name}" for name in found]


def test_a_table_is_read_where_the_run_lies(bucket: str) -> None:
    RunDir(f"s3://{bucket}/run").write_bytes("t.csv", TABLE)
    for source in (f"s3://{bucket}/run/t.csv", f"s3://{bucket}/run/*.csv"):
        assert files.read(table_at(source)).to_pydict() == {"site": ["a"], "load": [1.0]}


def test_a_bucket_that_is_not_there_is_no_missing_file(storage: s3.Server) -> None:
    with pytest.raises(
        InputError, match=rf"no bucket 'none-such' for data.source .*{storage.endpoint}, region us-east-1"
    ):
        files.read(table_at("s3://none-such/t.csv"))


def test_a_server_that_keeps_silent_is_given_up_as_that_of_a_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_places, "OPEN_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        query = f"?endpoint_override=127.0.0.1:{silent.getsockname()[1]}&scheme=http&region=us-east-1"
        with pytest.raises(InputError, match=r"does not answer for data.source 's3://b/t.csv' .*nothing in 1 s"):
            places.find(f"s3://b/t.csv{query}")
        assert time.monotonic() - began < 20


def test_an_odd_address_is_told_as_data_s_own() -> None:
    for source, words in (
        ("s3://", "data.source 's3://' names no bucket"),
        ("s3:b/t.csv", "data.source 's3:b/t.csv' is an address without its slashes"),
        ("~nosuch-user/t.csv", "data.source '~nosuch-user/t.csv' names a user"),
        ("s3://b/t.csv#1", "data.source 's3://b/t.csv#1' has a # in it"),
    ):
        with pytest.raises(InputError, match=words):
            places.find(source)


@pytest.mark.parametrize(
    "source",
    [
        "s3://AKIAUSER:very-secret@b/none.csv",
        "s3://AKIAUSER:very/secret@b/none.csv",
        "abfs://c/x.csv?account_name=a&account_key=very-secret",
        "az://c/x.csv?sas_token=very-secret",
        "https://there/x.csv?X-Amz-Signature=very-secret",
    ],
)
def test_a_secret_in_the_address_is_refused_and_not_shown(source: str) -> None:
    for given in (
        lambda: parse({"name": "x", "data": {"source": [source], "target": ["y"]}}),
        lambda: places.find(source),
    ):
        with pytest.raises(InputError, match=r"holds a secret .*AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") as raised:
            given()
        assert "very" not in str(raised.value)
        assert len(str(raised.value).splitlines()) == 1
