"""What reads or adds to a folder while another replaces it finds the whole old one or the whole new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lstm_ray.model import stored
from lstm_ray.run_dir import RunDir
from lstm_ray.serving import bundle
from lstm_ray.storage.objects import Objects
from tests import s3


def put(run: RunDir, text: str, folder: Path) -> None:
    """Publish a policy whose files all say the same."""
    folder.mkdir()
    files = {name: text.encode() for name in ("weights.safetensors", "residuals.safetensors")}
    for name, content in stored.sealed({"x": text}, files).items():
        (folder / name).write_bytes(content)
    run.publish(folder, "policy")


def test_a_policy_that_is_replaced_while_it_is_read_is_read_whole(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"s3://{storage.bucket()}/run"
    put(RunDir(uri), "one", tmp_path / "first")
    once: list[str] = []

    def replacing(inner: Callable[..., Any]) -> Callable[..., Any]:
        def work(self: Any, path: str, *more: Any) -> Any:
            found = inner(self, path, *more)
            if path.endswith("policy.json") and not once:
                once.append(path)
                put(RunDir(uri), "two", tmp_path / "second")
            return found

        return work

    monkeypatch.setattr(RunDir, "read_bytes", replacing(RunDir.read_bytes))
    monkeypatch.setattr("lstm_ray.storage.objects.Objects.download", replacing(Objects.download))
    found = bundle.find(uri)
    assert once
    assert len(set(found.values()) - {found["policy.json"]}) == 1, "all files are of one policy"


def test_a_written_file_gets_its_name_though_storage_asks_for_patience(
    storage: s3.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, refused = RunDir(f"s3://{storage.bucket()}/run"), list[str]()

    class Busy:
        """The filesystem, which puts nothing in place at the first request."""

        def __getattr__(self, name: str) -> Any:
            return self._refusing(name) if name in ("move", "copy_file") else getattr(filesystem, name)

        def _refusing(self, name: str) -> Callable[..., None]:
            def work(source: str, target: str) -> None:
                if len(refused) < 2:
                    refused.append(name)
                    raise OSError(f"AWS Error SLOW_DOWN during {name} operation: Please reduce your request rate.")
                getattr(filesystem, name)(source, target)

            return work

    filesystem = run._fs
    busy: Any = Busy()
    run._fs = run._objects.filesystem = busy
    with run.written("forecast.parquet") as stream:
        stream.write(b"all of it")
    assert len(refused) == 2
    assert run.read_bytes("forecast.parquet") == b"all of it"
    assert run.files("") == ["forecast.parquet"]
