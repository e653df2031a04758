"""What a run directory keeps between commands: reports, the registry's account and ledger, rows of live requests."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ray.errors import InputError
from lstm_ray.live import reading
from lstm_ray.live.rows import FILE, RowStore
from lstm_ray.live.table import frame
from lstm_ray.model import stored
from lstm_ray.model.stored import POLICY
from lstm_ray.monitor.traffic import Rows
from lstm_ray.registry import account
from lstm_ray.registry.folder import ACCOUNT, REGISTRY
from lstm_ray.registry.ledger import HEAD, LEDGER, Ledger
from lstm_ray.registry.policies import Registry, lay
from lstm_ray.run_dir import RunDir
from lstm_ray.serving import bundle
from tests import made
from tests.fuzz.sandbox import held, spoilt

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["..", "../x", "/", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
DEEP = b"[" * 5_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a registry of two policies, a ledger and rows."""
    folder = tmp_path_factory.mktemp("around") / "run"
    folder.mkdir()
    segments = made.segments_of()
    versions = []
    for seed in (1, 2):
        policy = made.random_policy(made.make_config(seed=seed), segments)
        versions.append(policy.save(folder / "policy"))
    with Registry(folder / REGISTRY) as registry:
        registry.folder.mkdir(exist_ok=True)
        version = lay(registry.folder, stored.read(folder / "policy"))
        registry.begin(str(folder), version)
        registry.ledger.append("asked", {"by": "hand"})
    RunDir(folder).write_json("train/report.json", {"stage": "train", "summary": "s", "findings": []})
    RunDir(folder).write_json("train/figures.json", [])
    return folder


def look_at_registry(folder: Path) -> None:
    ledger = Ledger(folder / REGISTRY)
    for act in (
        lambda: account.read(folder / REGISTRY),
        lambda: bundle.find(folder),
        ledger.read,
        ledger.verify,
        ledger.count,
    ):
        with held(folder):
            act()


def look_at_copy(folder: Path) -> None:
    """What writes, in a copy."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / REGISTRY, copy / REGISTRY)
    with held(copy), Registry(copy / REGISTRY) as registry:
        version = json.loads((folder / "policy" / POLICY).read_text())["version"]
        found = registry.begin("again", version)
        for seed in range(12):
            policy = made.random_policy(made.make_config(seed=seed), SEGMENTS)
            registry.keep(found, policy.files(), "more")
            if seed > 2 and len(found.policies) < 10:
                break
        registry.ledger.append("asked", {})
    shutil.rmtree(copy, ignore_errors=True)


SEGMENTS = made.segments_of()


@SHARED
@given(data=st.data(), name=st.sampled_from([ACCOUNT, LEDGER, HEAD]))
def test_spoilt_files_of_a_registry_are_read_or_refused(folder: Path, data: st.DataObject, name: str) -> None:
    file = folder / REGISTRY / name
    kept = file.read_bytes()
    try:
        file.write_bytes(data.draw(spoilt(kept) | st.just(DEEP) | st.binary(max_size=50)))
        look_at_registry(folder)
        look_at_copy(folder)
    finally:
        file.write_bytes(kept)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@SHARED
@given(data=st.data(), value=PLAIN)
def test_any_value_in_the_account_is_read_or_refused(folder: Path, data: st.DataObject, value: Any) -> None:
    file = folder / REGISTRY / ACCOUNT
    kept = file.read_bytes()
    tree = json.loads(kept)
    *path, last = data.draw(st.sampled_from(places(tree)[1:]))
    inner = tree
    for key in path:
        inner = inner[key]
    inner[last] = value
    try:
        file.write_text(json.dumps(tree))
        look_at_registry(folder)
        look_at_copy(folder)
    finally:
        file.write_bytes(kept)


@pytest.mark.parametrize("version", ["../../precious", "..", "/tmp/x", "a/b", "", "a\0b"])
def test_versions_that_lead_elsewhere_are_none(folder: Path, version: str, tmp_path: Path) -> None:
    """What makes room for newer policies removes the folders of older ones: none of them may be anybody else's."""
    run = tmp_path / "a/run"
    shutil.copytree(folder, run)
    (tmp_path / "a/precious").mkdir()
    (tmp_path / "a/precious/photo").write_text("dear")
    shutil.copytree(run / "policy", tmp_path / "a/precious/policy")
    shutil.copy(run / "policy" / POLICY, tmp_path / "a/precious" / POLICY)
    told = json.loads((run / REGISTRY / ACCOUNT).read_text())
    more = [{**told["policies"][0], "version": version} for _ in range(12)]
    (run / REGISTRY / ACCOUNT).write_text(json.dumps({**told, "policies": [*more, *told["policies"]]}))
    with pytest.raises(InputError, match=r"served\.json' is damaged"):
        account.read(run / REGISTRY)
    with pytest.raises(InputError), Registry(run / REGISTRY) as registry:
        registry.begin("again", told["lineup"]["champion"])
    assert (tmp_path / "a/precious/photo").read_text() == "dear"
    assert (run / REGISTRY / told["lineup"]["champion"] / POLICY).exists()
    told["lineup"]["champion"] = version
    (run / REGISTRY / ACCOUNT).write_text(json.dumps(told))
    with pytest.raises(InputError):
        bundle.find(run)


# Rows of live requests


def store_at(file: Path) -> RowStore:
    return RowStore(file, 86_400.0, 1_000)


@pytest.fixture(scope="module")
def rows(folder: Path) -> Path:
    """A store's file, as it was written."""
    file = folder / "live" / FILE
    store = store_at(file)
    told = [Rows(name, np.arange(20), np.random.default_rng(1).normal(size=(20, 2))) for name in ("a", "b")]
    assert store.add(told, ["load", "wind"], 10**9).lost == 0
    store.close()
    return file.rename(folder / "rows.sqlite")


def look_at_rows(folder: Path, content: bytes) -> None:
    shutil.rmtree(folder / "live", ignore_errors=True)
    (folder / "live").mkdir()
    file = folder / "live" / FILE
    file.write_bytes(content)
    for act in (frame, reading.count, reading.newest):
        with held(folder):
            act(file)
    with held(folder):
        store = store_at(file)
        store.add([Rows("a", np.arange(20), np.ones((20, 2)))], ["load", "wind"], 10**9)
        store.sweep(now=True)
        assert store.summary()["state"]
        store.close()


@SHARED
@given(data=st.data())
def test_a_store_of_rows_that_is_garbage_is_read_or_refused(folder: Path, rows: Path, data: st.DataObject) -> None:
    look_at_rows(
        folder,
        data.draw(spoilt(rows.read_bytes()) | st.binary(max_size=200) | st.just(b"SQLite format 3\0" + b"\xff" * 200)),
    )


ODD = ["'text'", "NULL", "x'00'", "1e300", "-1", "9223372036854775807", "x''", "'\u00e9'", "1.5"]


@SHARED
@given(
    where=st.sampled_from([
        "meta SET value", "rows SET cells", "rows SET told", "rows SET tick", "rows SET sequence", "rows SET arrived",
        "series SET name", "columns SET name", "rows SET series", "series SET id", "columns SET position",
    ]),
    value=st.sampled_from(ODD),
)  # fmt: skip
def test_a_store_of_rows_with_anything_in_a_cell_is_read_or_refused(
    folder: Path, rows: Path, where: str, value: str
) -> None:
    file = folder / "changed.sqlite"
    file.write_bytes(rows.read_bytes())
    try:
        with closing(sqlite3.connect(file)) as db, db:
            db.execute(f"UPDATE OR IGNORE {where} = {value}")
    except sqlite3.Error:
        return
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    content = file.read_bytes()
    for left in folder.glob("changed.sqlite*"):
        left.unlink()
    look_at_rows(folder, content)


# Reports and figures


@SHARED
@given(content=st.binary(max_size=60) | PLAIN.map(lambda value: json.dumps(value).encode()) | st.just(DEEP))
def test_any_bytes_in_a_stages_files_are_read_or_refused(folder: Path, content: bytes) -> None:
    run = RunDir(folder)
    for name in ("report.json", "figures.json", "metrics.json"):
        (folder / "train" / name).write_bytes(content)
    for act in (lambda: run.report("train"), lambda: run.figures("train"), lambda: run.read_json("train/metrics.json")):
        with held(folder):
            act()


def test_a_folder_in_a_files_place_is_refused(folder: Path) -> None:
    (folder / "evaluate/metrics.json").mkdir(parents=True)
    with pytest.raises(InputError, match=r"metrics\.json"):
        RunDir(folder).read_json("evaluate/metrics.json")
