"""Wide tables, a row per series: joined, aligned at their ends, and refused where they are none."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from lstm_ray.config import Config, parse
from lstm_ray.data.source import files
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig
from tests.made import config_tree

TRAIN = '"V1","V2","V3","V4","V5"\n"H1","1","2","3","4"\n"H2",10,,30,\n"H3",7,"","",\n'
TEST = "V1,V2,V3\nH2,40,50\nH1,5,6\nH3,8,9\n"


def write(folder: Path, *texts: str) -> list[str]:
    names = [folder / f"part{number}.csv" for number in range(len(texts))]
    for file, text in zip(names, texts, strict=True):
        file.write_text(text)
    return [str(file) for file in names]


def wide(source: str | list[str], **roles: Any) -> DataConfig:
    return files.roles(DataConfig(source=source, layout="wide", **roles))


def series(data: DataConfig) -> dict[str, list[tuple[int, float | None]]]:
    frame = grid.load(data)
    return {
        name: list(part.select("time", *data.target).iter_rows())
        for (name,), part in frame.partition_by("series", as_dict=True).items()
    }


def test_files_continue_one_another_by_name_and_every_series_ends_on_the_last_step(tmp_path: Path) -> None:
    found = series(wide(write(tmp_path, TRAIN, TEST)))
    assert found == {
        "H1": [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (4, 5.0), (5, 6.0)],
        # An empty cell before the row's last value is a missing value; those after it are none.
        "H2": [(1, 10.0), (2, None), (3, 30.0), (4, 40.0), (5, 50.0)],
        "H3": [(3, 7.0), (4, 8.0), (5, 9.0)],
    }


def test_roles_are_filled_in_and_a_made_up_target_is_kept(tmp_path: Path) -> None:
    source = write(tmp_path, TRAIN)
    filled = wide(source)
    assert (filled.series_id, filled.time, filled.target) == (["V1"], "step", ["value"])
    assert files.header(filled) == filled.columns == ["V1", "step", "value"]
    named = wide(source, target=["sold"], series_id=["V1"])
    assert named.target == ["sold"]
    assert grid.load(named).columns == ["series", "time", "sold"]
    assert files.roles(named) == named


@pytest.mark.parametrize(
    ("head", "name"), [("", "series_name"), ("step", "series_name"), ("value", "series_name"), ("shop", "shop")]
)
def test_a_column_of_names_without_a_usable_name_gets_one(tmp_path: Path, head: str, name: str) -> None:
    data = wide(write(tmp_path, f"{head},1,2\na,1,2\nb,3,4\n"))
    assert data.series_id == [name]
    assert series(data) == {"a": [(0, 1.0), (1, 2.0)], "b": [(0, 3.0), (1, 4.0)]}


def test_a_wide_parquet_file_is_read_too(tmp_path: Path) -> None:
    pl.DataFrame({"shop": ["a", "b"], "1": [1.0, 3.0], "2": [2.0, None]}).write_parquet(tmp_path / "t.parquet")
    assert series(wide(str(tmp_path / "t.parquet"))) == {"a": [(0, 1.0), (1, 2.0)], "b": [(1, 3.0)]}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (
            (TRAIN, "V1,V2\nH1,5\nH3,8\n"),
            ["1 series of", "not in", "part1.csv'", "'H2'", "each must hold every series"],
        ),
        ((TRAIN, TEST + "H9,1,2\n"), ["1 series of", "part1.csv'", "'H9'", "not in"]),
        (("n,1,2\na,1,2\na,3,4\n",), ["'a' has two rows", "keep one"]),
        (("n,1,2\na,1,high\n",), ["column '2'", "'high'", "series 'a'", "is no number"]),
        (("n,1,2\n,1,2\n",), ["row 0", "has no name"]),
        (("n\na\n",), ["one column alone"]),
        (("",), ["is empty"]),
        (("n,1,2\na,1,inf\n",), ["holds inf"]),
        (("n,1,2\na,,\nb,,\n",), ["no values at all"]),
    ],
)
def test_a_wide_table_that_cannot_be_read_is_told_why(tmp_path: Path, texts: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        grid.load(wide(write(tmp_path, *texts)))
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_another_name_for_the_series_than_the_file_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'shop' is not in"):
        grid.load(wide(write(tmp_path, TRAIN), series_id=["shop"]))


def test_a_row_may_end_early_and_the_file_may_be_compressed(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"n;1;2;3\na;1\nb;2;3;4\n"))
    assert series(wide(str(tmp_path))) == {"a": [(2, 1.0)], "b": [(0, 2.0), (1, 3.0), (2, 4.0)]}
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"n;1;2\na;1;2;3\n"))
    with pytest.raises(InputError, match=r"t.csv.gz' cannot be read"):
        files.read(wide(str(tmp_path)))


COLUMNS = "hour,north,south,wind\n2024-01-01T00:00Z,1,,5\n2024-01-01T01:00Z,2,20,6\n2024-01-01T02:00Z,,30,7\n"


def columns(folder: Path, text: str = COLUMNS, **roles: Any) -> DataConfig:
    return files.roles(DataConfig(source=write(folder, text), layout="columns", **({"time": "hour"} | roles)))


def test_a_column_for_each_series_becomes_rows_in_which_empty_cells_are_none(tmp_path: Path) -> None:
    data = columns(tmp_path)
    assert (data.series_id, data.target, files.roles(data)) == (["series_name"], ["value"], data)
    assert files.header(data) == ["series_name", "value", "hour"]
    found = {name: [value for _, value in rows] for name, rows in series(data).items()}
    assert found == {"north": [1.0, 2.0], "south": [20.0, 30.0], "wind": [5.0, 6.0, 7.0]}


def test_columns_with_a_role_are_shared_by_all_series_and_keep_their_rows(tmp_path: Path) -> None:
    data = columns(tmp_path, known=["wind"], target=["load"], series_id=["site"])
    found = files.read(data)
    assert found.select(["site", "load", "wind"]).to_pydict() == {
        "site": ["north", "south"] * 3,
        "load": [1.0, None, 2.0, 20.0, None, 30.0],
        "wind": [5.0, 5.0, 6.0, 6.0, 7.0, 7.0],
    }
    parts = [files.read_piece(data, piece) for piece in files.pieces(data, 20)]
    assert len(parts) > 1
    assert pa.concat_tables(parts) == found
    assert files.read_piece(data, files.pieces(data)[0], ["site"])["site"].to_pylist() == ["north", "south"] * 3


def test_how_many_rows_a_piece_becomes_is_not_known_before_it_is_read(tmp_path: Path) -> None:
    pl.DataFrame({"hour": [0, 1], "a": [1.0, None], "b": [2.0, 3.0]}).write_parquet(tmp_path / "t.parquet")
    data = files.roles(DataConfig(source=str(tmp_path), layout="columns", time="hour"))
    [piece] = files.pieces(data)
    assert piece.num_rows is None
    assert files.read_piece(data, piece).num_rows == 3


def test_a_series_that_only_some_files_hold_has_the_rows_of_those(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    pl.DataFrame({"east": [4, 5], "hour": ["2024-01-01T03:00Z", "2024-01-01T04:00Z"]}).write_parquet(
        tmp_path / "more" / "t.parquet"
    )
    data = columns(tmp_path)
    data = data.model_copy(update={"source": [*data.source, str(tmp_path / "more")]})
    assert sorted(series(data)) == ["east", "north", "south", "wind"]
    assert "it is a series of those alone" in files.findings(data)[0].text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hour\n0\n", "has no column beside those with a role"),
        ("hour,a,a\n0,1,2\n", "has columns without a name, or with the same"),
        ("hour,a,b\n0,1,2\n1,3,high\n", "column 'b' of '.*part0.csv' is not numeric.*'high' in row 1"),
        ("time,a\n0,1\n", "column 'hour' is not in '.*part0.csv'"),
    ],
)
def test_a_table_with_a_column_for_each_series_that_is_none_is_told_why(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        files.read(columns(tmp_path, text))


def config_of(source: list[str], **changes: Any) -> Config:
    tree = config_tree() | {"data": {"source": source, "layout": "wide"} | changes}
    return files.resolved(parse(tree))


def test_a_config_without_roles_is_complete_once_resolved(tmp_path: Path) -> None:
    config = config_of(write(tmp_path, TRAIN))
    assert config.data.target == ["value"]
    assert files.resolved(config) is config
    assert parse(config.model_dump(mode="json")) == config


def test_a_wide_table_as_large_as_the_m4_hourly_set_loads_in_about_a_second(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(10, 10_000, (414, 960)).astype(str)
    lines = [
        ",".join(f'"V{i}"' for i in range(961)),
        *(f'"H{i}",' + ",".join(f'"{v}"' for v in row) for i, row in enumerate(values)),
    ]
    data = wide(write(tmp_path, "\n".join(lines)))
    began = time.perf_counter()
    assert grid.load(data).height == 414 * 960
    assert time.perf_counter() - began < 3
