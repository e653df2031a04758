"""Addresses: what is odd is refused with its fix, what was said of one holds for what lies below it, and one bucket is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.run_dir import RunDir
from lstm_ray.storage import address, places
from tests import s3


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://", r"'s3://' names no bucket; write s3://BUCKET/FOLDER"),
        ("gs:///run", r"names no bucket; write gs://BUCKET/FOLDER"),
        ("s3://b//run", r"'s3://b//run' has a folder named ''.*leave it out"),
        ("s3://b/run/../up", r"has a folder named '\.\.'"),
        ("s3://b/run%2F%2Fx", r"has a folder named ''"),
        ("s3:/b/run", r"'s3:/b/run' is an address without its slashes; write s3://b/run, or ./s3:/b/run"),
        ("s3:b", r"write s3://b, or"),
        ("file:rel", r"write file:///WHOLE/PATH, or"),
        ("file://tmp/w", r"'file://tmp/w' is no local path; write file:///WHOLE/PATH"),
        ("s3://b/run#1", r"'s3://b/run#1' has a # in it; write .*%23"),
        ("file:///tmp/run#1", r"has a # in it"),
        ("s3://b/new\nline", r"'s3://b/new\?line' has a line break in it"),
        ("s3://b/x?y", r"has a '\?' after which no options"),
        ("~nosuch-user/x", r"'~nosuch-user/x' names a user that this machine does not know"),
    ],
)
def test_an_odd_address_is_one_error_with_its_fix(uri: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        RunDir(uri)
    assert len(str(raised.value).splitlines()) == 1


def test_no_odd_address_shows_its_secret() -> None:
    for end in ("b/run#1", "b//run", "b/a\nb", "b/x?y", "", "b/run?endpoint=1"):
        with pytest.raises(InputError) as raised:
            RunDir(f"s3://key:very-secret@{end}")
        assert "very-secret" not in str(raised.value)


def test_a_local_folder_may_be_called_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunDir("./s3:b").local == tmp_path / "s3:b"
    for uri in (f"file://{tmp_path}/a b", f"file://{tmp_path}/a%20b"):
        assert RunDir(uri).local == tmp_path / "a b"


def test_signs_that_are_written_out_are_signs_of_the_name(storage: s3.Server) -> None:
    bucket = storage.bucket()
    for number in "12":
        RunDir(f"s3://{bucket}/a b%23{number}").write_bytes("a.json", number.encode())
    assert storage.objects(bucket) == {"a b#1/a.json": b"1", "a b#2/a.json": b"2"}
    assert RunDir(RunDir(f"s3://{bucket}/a b%231/").uri).read_bytes("a.json") == b"1"


def test_a_second_server_for_a_bucket_is_refused_and_the_first_stays(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = storage.bucket()
    with s3.serving(tmp_path / "log") as other:
        other.filesystem.create_dir(bucket)
        first = RunDir(f"s3://{bucket}/run{storage.query}")
        with pytest.raises(InputError, match=rf"opened at {other.endpoint}, but 's3://{bucket}' .*{storage.endpoint}"):
            RunDir(f"s3://{bucket}/other{other.query}")
        first.write_bytes("a.json", b"1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{other.endpoint}")
        assert RunDir(first.uri).read_bytes("a.json") == b"1"
        assert RunDir(f"s3://{bucket}").read_bytes("run/a.json") == b"1", "what lies beside it is on the same server"


def test_places_of_one_name_on_two_servers_work_in_two_folders_here(storage: s3.Server, tmp_path: Path) -> None:
    bucket, found = storage.bucket(), []
    with s3.serving(tmp_path / "log") as other:
        other.filesystem.create_dir(bucket)
        for server in (storage, other):
            found.append(RunDir(f"s3://{bucket}/run{server.query}")._work())
            address._servers.pop(("s3", bucket))  # as another process has it
        environment = RunDir(f"s3://{bucket}/run?region=us-east-1")._work()
    assert found[0] != found[1]
    assert environment == found[0], "an endpoint of the environment is the same as one that is written out"


def test_of_options_those_of_the_nearest_place_above_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_given", {})
    for uri in ("s3://k1:s@b?region=r1", "s3://k2:s@b/run?region=r2", "s3://k3:s@b/running?region=r3"):
        assert places.shown_as(uri) == "s3://" + uri.partition("@")[2].partition("?")[0]
    for below, region in (
        ("s3://b/run/x", "r2"),
        ("s3://b/run", "r2"),
        ("s3://b/runs", "r1"),
        ("s3://b/running", "r3"),
    ):
        assert address.known(address.read(below, "it")).options == {"region": region}
    assert address.known(address.read("s3://c/run", "it")).options == {}


def test_a_container_of_azure_is_part_of_the_name_and_its_password_is_not() -> None:
    shown = {places.shown_as(f"abfs://{user}@account.dfs/run") for user in ("one", "two:very-secret")}
    assert shown == {"abfs://one@account.dfs/run", "abfs://two@account.dfs/run"}
    assert (
        address.known(address.read("abfs://two@account.dfs/run/x", "it")).full
        == "abfs://two:very-secret@account.dfs/run/x"
    )
