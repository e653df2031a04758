"""A series that is forgotten is in no file of its run any more, and what stands hangs together."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.store import load_segments
from lstm_ray.errors import InputError
from lstm_ray.forget.files import Name, json_without
from lstm_ray.forget.forgetting import forget, told
from lstm_ray.lifecycle import only_one_at_a_time, run_stages
from lstm_ray.live.names import hashed, key_of
from lstm_ray.live.rows import FILE, RowStore
from lstm_ray.live.table import frame
from lstm_ray.model import stored
from lstm_ray.monitor.traffic import Rows
from lstm_ray.registry.flags import flags_of
from lstm_ray.registry.ledger import Ledger
from lstm_ray.report.page import write_report
from lstm_ray.run_dir import REPORT, RunDir
from lstm_ray.serving.streams.store import Store
from tests import made

SECRET, VALUE = "Erika Mustermann", 21.0 + 0.123456789012
STAGES = ["explore", "evaluate"]


def config_of(folder: Path) -> Config:
    return made.make_config(folder / "t.csv", train__max_epochs=1, train__learning_rate=0.01)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three series, one of them secret, with a value that no other has."""
    folder = tmp_path_factory.mktemp("forget")
    random, parts = np.random.default_rng(1), []
    for site in ("north", SECRET, "south"):
        load = 20 + 5 * np.sin(np.arange(500) / 3) + random.normal(size=500)
        if site == SECRET:
            load[460] = VALUE
        when = (np.datetime64("2024-01-01T00", "h") + np.arange(500)).astype("datetime64[us]")
        parts.append(pl.DataFrame({"site": [site] * 500, "when": when, "load": load, "wind": random.normal(size=500)}))
    pl.concat(parts).write_csv(folder / "t.csv")
    config, run = config_of(folder), RunDir(folder / "run")
    run_stages(config, run, STAGES)
    write_report(run)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The run with live rows, a stream, work that was killed, a run of retraining, and pages of its own."""
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    shutil.copytree(finished / "run", folder / "retrain" / "0001")
    store = RowStore(folder / "registry" / FILE, 1e9, 1_000)
    for name in (SECRET, "north"):
        store.add([Rows(name, np.arange(3), np.full((3, 1), VALUE if name == SECRET else 1.0))], ["load"], 10)
    store.close()
    streams = Store(folder / "streams" / "shard-0.sqlite")
    for stream, name in (("mine", SECRET), (SECRET, ""), ("other", "north")):
        streams.begin(stream, f'{{"name": {json.dumps(name)}}}'.encode(), 0.0)
        streams.append(stream, 1, np.array([[VALUE]]) if stream != "other" else np.ones((1, 1)), 0.0)
    streams.close()
    # Of a challenger that was killed before its config was written.
    (folder / "retrain" / "0002").mkdir()
    joined = pl.DataFrame({"site": ["north", SECRET], "load": [1.0, VALUE], "when": [1, 2]})
    joined.write_parquet(folder / "retrain" / "0002" / "joined.parquet")
    (folder / "retrain" / "state.json").write_text(json.dumps({"worst": [{"series": SECRET}, {"series": "north"}]}))
    (folder / ".work" / "tune-killed").mkdir(parents=True)
    (folder / ".work" / "tune-killed" / "notes.txt").write_text(SECRET)
    (folder / "unseen" / "new").mkdir(parents=True)
    (folder / "unseen" / "new" / "page.html").write_text(f"<p>{SECRET}")
    (folder / "forecasts.csv").write_text(f"site,load\nnorth,1.0\n{SECRET},{VALUE}\n")
    return folder


def holding(folder: Path, *needles: bytes) -> set[str]:
    """Files with any of these bytes."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)) for file in files if any(needle in file.read_bytes() for needle in needles)}


def in_policies(folder: Path, names: set[str]) -> set[str]:
    return {name for name in names if (folder / name).parent.joinpath("policy.json").exists()}


VALUES = (struct.pack("<d", VALUE), struct.pack("<f", VALUE), b"21.1234567")


def test_neither_its_name_nor_a_value_of_it_is_in_any_file(run: Path) -> None:
    before = holding(run, SECRET.encode())
    wanted = {
        "preprocess/segments",
        "registry/rows.sqlite",
        "streams/",
        "report.html",
        "retrain/0001/preprocess",
        ".work/",
    }
    assert all(any(name.startswith(part) for name in before) for part in wanted)
    assert {"evaluate/cases.parquet", "forecasts.csv", "explore/figures.json"} <= before
    assert holding(run, *VALUES) - in_policies(run, holding(run, *VALUES))
    found = forget(run, SECRET)
    named = holding(run, SECRET.encode())
    assert named == in_policies(run, named)
    assert holding(run, *VALUES) == set()
    assert found.left == []
    assert (found.live.rows, found.live.streams) == (3, 2)
    assert not (run / "explore").exists()
    assert (run / "forecasts.csv").read_text() == "site,load\nnorth,1.0\n"
    assert frame(run / "registry" / FILE)["series"].unique().to_list() == ["north"]


def test_the_prepared_table_goes_on_without_it_and_later_stages_are_out_of_date(run: Path, finished: Path) -> None:
    untouched, _ = load_segments(RunDir(finished / "run"))
    forget(run, SECRET)
    segments, _ = load_segments(RunDir(run))
    assert segments.series == ["north", "south"]
    for s, name in enumerate(segments.series):
        was = untouched.series.index(name)
        now_R = segments.target_RC[segments.bounds[s] : segments.bounds[s + 1]]
        assert np.array_equal(now_R, untouched.target_RC[untouched.bounds[was] : untouched.bounds[was + 1]])
    ran: list[str] = []
    run_stages(config_of(finished), RunDir(run), ["evaluate"], on_start=ran.append)
    assert ran == ["split", "train", "evaluate"]
    again: list[str] = []
    run_stages(config_of(finished), RunDir(run), ["evaluate"], on_start=again.append)
    assert again == []
    named = holding(run, SECRET.encode())
    assert {name.split("/")[0] for name in named} <= {"retrain"}
    assert json.loads((run / "preprocess" / REPORT).read_bytes())["num_segments"] == 2


def test_policies_that_learned_from_it_are_flagged_and_the_ledger_tells_it_by_a_hash(run: Path) -> None:
    found = forget(run, SECRET)
    version = stored.version(stored.read(run / "evaluate" / "policy"))
    registry = run / "registry"
    [words] = flags_of(registry, version)
    assert words == found.policies[version]
    name = hashed(SECRET, key_of(registry))
    assert words.startswith("learned from a series that was forgotten on 2")
    assert f"({name}): train it again" in words
    [entry] = Ledger(registry).read()
    assert (entry.event, entry.evidence["series"], entry.evidence["rows"]) == ("forgotten", name, 3)
    assert set(entry.evidence["policies"]) == set(found.policies)
    said = "\n".join(told(found))
    assert "3 live rows and 2 streams deleted" in said
    assert "not reached: the source" in said
    assert "lstm-ray retrain" in said


def test_forgetting_again_finds_nothing_and_hints_at_what_is_there(run: Path) -> None:
    forget(run, SECRET)
    assert told(forget(run, SECRET))[0].startswith(f"nothing of '{SECRET}' is stored here")
    assert told(forget(run, "nroth")) == ["nothing of 'nroth' is stored here; did you mean 'north'?"]
    assert len(Ledger(run / "registry").read()) == 1


def test_killed_half_way_the_table_is_out_of_date_and_forgetting_goes_on(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, left = os.replace, [6]

    def killed(*paths: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        replace(*paths)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            forget(run, SECRET)
    assert json.loads((run / "preprocess" / REPORT).read_bytes())["fingerprint"] == "a series was forgotten"
    forget(run, SECRET)
    named = holding(run, SECRET.encode())
    assert named == in_policies(run, named)


def test_a_name_within_another_takes_nothing_with_it(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    before = {file: (folder / file).read_bytes() for file in holding(folder, b"")}
    assert not forget(folder, "Erika").anything
    changed = {file for file, content in before.items() if (folder / file).read_bytes() != content}
    assert {name for name in changed if "lock" not in name} == set()


def test_what_is_no_run_directory_or_at_work_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run directory"):
        forget(tmp_path, SECRET)
    with only_one_at_a_time(RunDir(run)), pytest.raises(InputError, match="another process is running"):
        forget(run, SECRET)


def test_a_series_called_like_a_column_takes_no_column_with_it(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    content: dict[str, Any] = {
        "metrics": {"load": 1.0},
        "by_series": {"policy": {"load": 2.0, "north": 3.0}},
        "columns": ["load", "wind"],
        "worst": [{"series": "load", "at": 1}, {"series": "north", "at": 2}],
    }
    file.write_text(json.dumps(content))
    assert json_without(file, Name("load", reserved=frozenset({"load"})))
    assert json.loads(file.read_bytes()) == {
        "metrics": {"load": 1.0},
        "by_series": {"policy": {"north": 3.0}},
        "columns": ["load", "wind"],
        "worst": [{"series": "north", "at": 2}],
    }
    file.write_text(json.dumps(content))
    assert json_without(file, Name("load"))
    assert json.loads(file.read_bytes())["metrics"] == {"load": 1.0}


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("7", "over 7 steps", False),
        ("7", "in '7', over 7 steps", True),
        ("pump", "in 'pump'", True),
        ("pump", "in pump-2", False),
        ("pump", "pumps", False),
        ("pump", "in 'pump old'", False),
        ("pump", "in 'big pump new' only", False),
        ("pump", "in 'big pump newer'", True),
    ],
)
def test_a_name_is_told_from_other_words(name: str, text: str, found: bool) -> None:
    word = Name(name, frozenset({"pump old", "big pump new", "north"})).word
    assert bool(word.search(text)) == found


def test_nobody_is_here_to_ask_so_it_must_be_said(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    command = [sys.executable, "-m", "lstm_ray", "forget", str(folder), "--series", SECRET]
    asked = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert asked.returncode == 2
    assert "add --yes" in asked.stderr
    done = subprocess.run([*command, "--yes"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is flagged: learned from a series" in done.stdout
    assert not [name for name in holding(folder, SECRET.encode()) if "policy" not in name]
