"""Blocks over Ray: the same segments as in this process, whichever way files lie; errors come back as they were raised."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import ray
from pyarrow import fs

from lstm_ray.benchmark import fresh, tables
from lstm_ray.benchmark.preparing import tree
from lstm_ray.config import Config, parse
from lstm_ray.data.preparing import blocks as data_blocks
from lstm_ray.data.source.files import Piece
from lstm_ray.data.source.places import File
from lstm_ray.errors import InputError
from lstm_ray.on_ray import blocks, cluster, resources
from lstm_ray.on_ray.ingest import blocks_of
from lstm_ray.sections.resources import ResourcesConfig
from tests import made

ORDER = ["series", "segment", "step"]
SERIES = ("a", "b", "c", "d", "e")
TASK = resources.process(ResourcesConfig(), "preprocess", 1.0)


@pytest.fixture(scope="module", params=["by series", "by time", "in no order"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of five series in three files."""
    place = tmp_path_factory.mktemp("table")
    made.write_table(place / "whole.csv", 240, SERIES)
    whole = pl.read_csv(place / "whole.csv")
    if request.param == "by time":
        whole = whole.sort("when", maintain_order=True)
    if request.param == "in no order":
        whole = whole.sample(fraction=1, shuffle=True, seed=5)
    (place / "files").mkdir()
    for number in range(3):
        whole[number * 400 : (number + 1) * 400].write_csv(place / "files" / f"{number}.csv")
    return place / "files"


def config_of(folder: Path, **changes: object) -> Config:
    return made.make_config(folder, **changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"split__by": "order", "split__train": 0.4, "split__validation": 0.2, "preprocess__scale": "robust"}],
    ids=str,
)
def test_blocks_over_ray_give_what_this_process_gives(
    local_ray: None, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 300)
    monkeypatch.setattr(blocks, "cut_between_series", lambda runs: data_blocks.cut_between_series(runs, 300))
    runs = [
        made.prepared_run(config_of(folder, preprocess__engine=engine, **changes), tmp_path / engine)
        for engine in ("polars", "ray")
    ]
    tables = [pl.read_parquet(tmp_path / engine / "preprocess/segments/*.parquet") for engine in ("polars", "ray")]
    assert tables[0].sort(ORDER).equals(tables[1].sort(ORDER))
    assert len(list((tmp_path / "ray/preprocess/segments").iterdir())) > 2
    for file in ("schema.json", "scaler.json"):
        assert runs[0].read_json(f"preprocess/{file}") == runs[1].read_json(f"preprocess/{file}")
    dealt = [tmp_path / engine / "preprocess/dealt.parquet" for engine in ("polars", "ray")]
    if changes:
        one, other = (pl.read_parquet(file).sort("series") for file in dealt)
        assert one.equals(other)


def test_files_by_series_are_cut_where_they_lie_and_others_are_dealt_by_a_hash(local_ray: None, folder: Path) -> None:
    config = config_of(folder, preprocess__engine="ray")
    found = blocks_of(config, data_blocks.pieces_of(config))
    first = pl.read_csv(folder / "0.csv")["site"]
    by_series = first.is_sorted() and first.n_unique() < 5
    assert isinstance(found, blocks.BySeries if by_series else blocks.ByHash)


def test_an_error_in_a_task_is_the_users_error_here(local_ray: None, tmp_path: Path) -> None:
    file = made.write_table(tmp_path / "t.csv")
    file.write_text(file.read_text() + "a,2024-03-01T05:00:00Z,1,1\n")
    with pytest.raises(InputError, match="twice") as caught:
        made.prepared_run(made.make_config(file, preprocess__engine="ray"), tmp_path / "run")
    assert "Traceback" not in str(caught.value)


def test_small_tables_never_wait_for_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = made.make_config(made.write_table(tmp_path / "t.csv"), preprocess__engine="auto")
    pieces = data_blocks.pieces_of(config)
    assert isinstance(blocks_of(config, pieces), data_blocks.Whole)


def test_a_process_that_is_killed_is_replaced_and_the_answer_is_the_same(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 40_000)
    tables.write(tmp_path / "table", 2000, 100, "time")
    over, killed = threading.Event(), list[int]()

    def kill_one() -> None:
        """The first process of this Ray that deals rows."""
        while not over.wait(0.002) and not killed:
            for pid in fresh.family(os.getpid()):
                with suppress(OSError):
                    if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::_dealt"):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
                        break

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    there = made.prepared_run(parse(tree(str(tmp_path / "table"), engine="ray")), tmp_path / "ray")
    over.set()
    killer.join()
    assert killed, "nothing was killed"
    here = made.prepared_run(parse(tree(str(tmp_path / "table"), engine="polars")), tmp_path / "polars")
    frames = [pl.read_parquet(f"{run.local}/preprocess/segments/*.parquet").sort(ORDER) for run in (here, there)]
    assert frames[0].equals(frames[1])
    assert here.read_json("preprocess/scaler.json") == there.read_json("preprocess/scaler.json")


def test_a_wrong_value_in_one_of_many_files_is_the_users_error_here(local_ray: None, tmp_path: Path) -> None:
    whole = pl.read_csv(made.write_table(tmp_path / "t.csv", 120, SERIES)).sort("when", maintain_order=True)
    (tmp_path / "files").mkdir()
    for number in range(4):
        whole[number * 150 : (number + 1) * 150].write_csv(tmp_path / f"files/{number}.csv")
    wrong = tmp_path / "files/2.csv"
    wrong.write_text(wrong.read_text() + "a,2025-03-01T05:00:00Z,much,1\n")
    with pytest.raises(InputError, match=r"2\.csv.*much"):
        made.prepared_run(config_of(tmp_path / "files", preprocess__engine="ray"), tmp_path / "run")
    assert not (tmp_path / "run/preprocess").exists()


def test_what_ray_gives_up_on_is_one_clear_error(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise ray.exceptions.OutOfDiskError("Local disk is full\n\nThe object cannot be created")

    config = made.make_config(made.write_table(tmp_path / "t.csv"), preprocess__engine="ray")
    monkeypatch.setattr(ray, "get", full)
    with pytest.raises(
        InputError, match=r"gave up a block while looking for series.*the object store is full.*RAY_TMPDIR"
    ):
        made.prepared_run(config, tmp_path / "run")


def test_names_of_series_are_no_longer_collected_once_one_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with one time in each file would send a name for each of its rows."""
    taken: list[int] = []

    def told(
        task: object, calls: Iterable[tuple[Any, ...]], num: int, words: str, asked: object
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        for number, _ in enumerate(calls):
            taken.append(number)
            yield 2, pl.DataFrame({"series": ["a", "b"], "rows": [1, 1]})

    monkeypatch.setattr(blocks, "_each", told)
    file = File(fs.LocalFileSystem(), "t", "t", 1, 1)
    counted, unknown = ([Piece(file, 0, 1, rows, 1)] * 50 for rows in (2, None))
    assert blocks._stretches(made.make_config(), counted, TASK) == ([2] * 50, None)
    assert len(taken) <= 4, "what the files tell themselves is not read"
    held: list[int] = []
    monkeypatch.setattr(blocks, "comes_back", lambda runs: held.append(len(runs)) or data_blocks.comes_back(runs))
    assert blocks._stretches(made.make_config(), unknown, TASK) == ([2] * 50, None)
    assert max(held) <= 4


def test_calls_are_asked_for_as_results_are_taken_so_that_what_they_hold_is_let_go(local_ray: None) -> None:
    asked = 0

    def calls() -> Iterator[tuple[int]]:
        nonlocal asked
        for number in range(100):
            asked += 1
            yield (number,)

    found = blocks._each(ray.remote(lambda number: number), calls(), 100, "counting", TASK)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert asked <= 5 + blocks.AHEAD * cluster.num_cpus()
    found.close()
