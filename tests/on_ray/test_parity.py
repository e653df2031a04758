"""Whatever a table is and however its files lie, Ray makes of it what this process makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import parse
from lstm_ray.data.preparing import blocks as data_blocks
from lstm_ray.data.source.files import resolved
from lstm_ray.on_ray import blocks
from tests import made

ORDER = ["series", "segment", "step"]
SERIES = ("a", "b", "c", "d", "e")
Files = Callable[[Path], None]


def long_table(hours: int = 120) -> pl.DataFrame:
    """Five hourly series, by time, with everything a role could ask for."""
    random = np.random.default_rng(4)
    step, name = np.divmod(np.arange(hours * len(SERIES)), len(SERIES))
    frame = pl.DataFrame(
        {
            "site": np.take(SERIES, name),
            "when": (made.START + step).astype("datetime64[us]"),
            "load": np.round(10 * name + random.normal(size=len(step)), 3),
            "wind": np.round(random.normal(size=len(step)), 3),
            "kind": np.take(("x", "y", "z", "x", "y"), name),
            "town": np.take(("p", "q", "p", "q", "r"), name),
            "weight": np.round(random.random(len(step)), 3),
            "state": np.take(("low", "high"), (step // 5) % 2),
        }
    )
    return frame.with_columns(load=pl.when(pl.Series(random.random(len(step)) > 0.1)).then("load"))


def by_time(frame: pl.DataFrame, folder: Path, number: int = 3, ending: str = "csv") -> None:
    height = -(-frame.height // number)
    for file in range(number):
        part = frame[file * height : (file + 1) * height]
        if ending == "csv":
            part.write_csv(folder / f"{file}.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
        else:
            part.write_parquet(folder / f"{file}.parquet")


def plain(folder: Path) -> None:
    by_time(long_table(), folder)


def with_repeats(folder: Path) -> None:
    """Rows that come again in a later file, with other values."""
    frame = long_table()
    by_time(pl.concat([frame, frame[100:300].with_columns(load=pl.lit(5.0))]), folder)


def off_the_grid(folder: Path) -> None:
    minutes = pl.Series(np.random.default_rng(5).integers(0, 55, long_table().height))
    by_time(long_table().with_columns(when=pl.col("when") + pl.duration(minutes=minutes)), folder)


def columns_of_series(folder: Path) -> None:
    wide = long_table().pivot("site", index="when", values="load")
    by_time(wide, folder, 4)


def sequences(folder: Path) -> None:
    """Short sequences one after the other, each of one class."""
    day = pl.col("when").dt.strftime("%Y-%m-%d")
    frame = long_table(24 * 12).filter(pl.col("site") == "a").with_columns(site=day, kind=pl.lit("x"))
    late = (pl.col("when").dt.day() % 2).cast(pl.String)
    by_time(frame.with_columns(kind=pl.lit("k") + late), folder, 3)


def an_hour_a_file(folder: Path) -> None:
    """Of each series one row in every file, so that none comes back in its own."""
    by_time(long_table(30), folder, 30, "parquet")


def half_empty(folder: Path) -> None:
    """A series for which nothing was measured, and a file that holds a header alone."""
    frame = long_table().with_columns(load=pl.when(pl.col("site") != "c").then("load"))
    by_time(frame, folder)
    (folder / "9.csv").write_text(",".join(frame.columns) + "\n")


TABLES: dict[str, tuple[Files, dict[str, Any]]] = {
    "by time": (plain, {"data": {"categorical": ["kind"], "weight": "weight"}}),
    "without times": (plain, {"data": {"time": None}}),
    "duplicates, the last": (with_repeats, {"data": {"duplicates": "last"}}),
    "duplicates, their mean": (with_repeats, {"data": {"duplicates": "mean"}}),
    "resampled": (off_the_grid, {"data": {"irregular": "resample", "frequency": "2h"}}),
    "time as an input": (off_the_grid, {"data": {"irregular": "time_delta"}}),
    "a column a series": (
        columns_of_series,
        {"data": {"layout": "columns", "series_id": [], "target": [], "past": []}},
    ),
    "labels of steps": (
        plain,
        {"task": "label", "data": {"target": [], "past": ["load", "wind"], "label": "state"}, "window": {"patch": 1}},
    ),
    "values of steps": (
        plain,
        {"task": "label", "data": {"target": [], "past": ["wind"], "label": "load"}, "window": {"patch": 1}},
    ),
    "sequences": (sequences, {"task": "classify", "data": {"target": [], "past": ["load"], "label": "kind"}}),
    "by group": (plain, {"split": {"by": "group", "group": "town", "train": 0.4, "validation": 0.3}, "seed": 3}),
    "series in their order": (
        with_repeats,
        {"split": {"by": "order", "train": 2, "validation": 1}, "data": {"time": None}},
    ),
    "a series its own scale": (plain, {"preprocess": {"scale_by": "series", "impute": "median", "causal": False}}),
    "an hour a file": (an_hour_a_file, {}),
    "nothing measured": (half_empty, {}),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_over_ray_is_what_it_is_in_this_process(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 60)
    monkeypatch.setattr(blocks, "cut_between_series", lambda runs: data_blocks.cut_between_series(runs, 60))
    write, changes = TABLES[table]
    (tmp_path / "table").mkdir()
    write(tmp_path / "table")
    runs = {}
    for engine in ("polars", "ray"):
        tree = made.config_tree(str(tmp_path / "table"))
        if "task" in changes:
            tree["model"] = {}
        for section, values in changes.items():
            tree[section] = {**tree.get(section, {}), **values} if isinstance(values, dict) else values
        tree["preprocess"]["engine"] = engine
        runs[engine] = made.prepared_run(resolved(parse(tree)), tmp_path / engine)
    here, there = (pl.read_parquet(tmp_path / e / "preprocess/segments/*.parquet").sort(ORDER) for e in runs)
    assert here.equals(there)
    assert len(list((tmp_path / "ray/preprocess/segments").iterdir())) > 1
    for file in ("schema.json", "scaler.json", "manifest.json"):
        assert runs["polars"].read_json(f"preprocess/{file}") == runs["ray"].read_json(f"preprocess/{file}")
    for file in ("dealt", "series", "tail"):
        one, other = (tmp_path / engine / f"preprocess/{file}.parquet" for engine in runs)
        assert one.exists() == other.exists()
        if one.exists():
            frames = [pl.read_parquet(found) for found in (one, other)]
            keys = [name for name in ("series", "time") if name in frames[0].columns]
            assert frames[0].sort(keys).equals(frames[1].sort(keys))
