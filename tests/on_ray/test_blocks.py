"""Blocks over Ray: the same segments as in this process, whichever way files lie; errors come back as they were raised."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.preparing import blocks as data_blocks
from lstm_ray.errors import InputError
from lstm_ray.on_ray import blocks
from lstm_ray.on_ray.ingest import blocks_of
from tests import made

ORDER = ["series", "segment", "step"]
SERIES = ("a", "b", "c", "d", "e")


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
