"""Files of every format read as the same table, and what unreadable ones are told."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest

from lstm_ray.config import parse
from lstm_ray.data.source import files
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

TEXT = (
    "wind,site,when,load,spare\n"
    "1.5,a,2024-03-01T00:00:00Z,3,x\n"
    ",a,2024-03-01T01:00:00Z,NA,x\n"
    "2.5,b,2024-03-01T00:00:00Z,4.25,x\n"
)
ROWS: dict[str, list[Any]] = {
    "site": ["a", "a", "b"],
    "when": ["2024-03-01T00:00:00Z", "2024-03-01T01:00:00Z", "2024-03-01T00:00:00Z"],
    "load": [3.0, None, 4.25],
    "wind": [1.5, None, 2.5],
}


def columns_at(source: str | Path | list[str], **changes: Any) -> DataConfig:
    given = source if isinstance(source, list) else str(source)
    roles = {"series_id": ["site"], "time": "when", "target": ["load"], "past": ["wind"]}
    return DataConfig(source=given, **(roles | changes))


def write(folder: Path, name: str, text: str = TEXT) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def complaint(data: DataConfig, read: Callable[[DataConfig], object] = files.read) -> str:
    with pytest.raises(InputError) as caught:
        read(data)
    return str(caught.value)


def arrow(folder: Path) -> pa.Table:
    return pa_csv.read_csv(write(folder, "source.txt"), convert_options=pa_csv.ConvertOptions(null_values=["", "NA"]))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.pq", "t.arrow", "t.feather"])
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith("csv"):
        file.write_text(TEXT)
    elif name.endswith(("parquet", "pq")):
        pa_parquet.write_table(arrow(tmp_path), file)
    else:
        pa_feather.write_feather(arrow(tmp_path), str(file))
    found = grid.load(columns_at(file))
    assert found["series"].to_list() == ROWS["site"]
    assert [f"{time.isoformat()}Z" for time in found["time"]] == ROWS["when"]
    assert found.select("load", "wind").to_dict(as_series=False) == {"load": ROWS["load"], "wind": ROWS["wind"]}


@pytest.mark.parametrize("source", ["*.csv", "?.csv", "[ab].csv", "", "sub/../*.csv"])
def test_globs_and_folders_read_every_file_in_order(tmp_path: Path, source: str) -> None:
    (tmp_path / "sub").mkdir()
    head, *rows = TEXT.splitlines(keepends=True)
    write(tmp_path, "b.csv", head + rows[2])
    write(tmp_path, "a.csv", head + rows[0] + rows[1])
    write(tmp_path, "notes.txt", "no table")
    assert files.read(columns_at(f"{tmp_path}/{source}")).to_pydict() == ROWS


def test_a_list_keeps_its_own_order_and_may_mix_formats(tmp_path: Path) -> None:
    first, second = write(tmp_path, "z.csv"), tmp_path / "a.parquet"
    pa_parquet.write_table(arrow(tmp_path), second)
    found = files.read(columns_at([str(first), str(second)]))
    assert found["load"].to_pylist() == ROWS["load"] * 2
    assert found["when"].to_pylist() == [datetime.fromisoformat(time) for time in ROWS["when"]] * 2


@pytest.mark.parametrize("prefix", ["file://", ""])
def test_uris_relative_paths_and_home_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    file = write(tmp_path, "t.csv")
    assert files.read(columns_at(f"{prefix}{file}")).num_rows == 3
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.read(columns_at("t.csv")).num_rows == files.read(columns_at("~/t.csv")).num_rows == 3


def test_files_whose_columns_are_in_another_order_are_joined(tmp_path: Path) -> None:
    write(tmp_path, "a.csv")
    write(tmp_path, "b.csv", "load,when,wind,site\n9,2024-03-02T00:00:00Z,8,c\n")
    assert files.read(columns_at(tmp_path / "*.csv")).to_pylist()[-1] == {
        "site": "c",
        "when": "2024-03-02T00:00:00Z",
        "load": 9.0,
        "wind": 8.0,
    }


@pytest.mark.parametrize("bad", ["load", "wind"])
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_column_that_is_not_numeric_is_named(tmp_path: Path, bad: str, format: str) -> None:
    text = TEXT.replace("4.25", "high") if bad == "load" else TEXT.replace("2.5", "high")
    file = write(tmp_path, "t.csv", text)
    if format == "parquet":
        pa_parquet.write_table(pa_csv.read_csv(file), tmp_path / "t.parquet")
        file = tmp_path / "t.parquet"
    message = complaint(columns_at(file))
    assert f"column '{bad}'" in message
    assert "is not numeric" in message
    assert "'high'" in message


def test_a_missing_column_is_named_with_its_file_and_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "a.csv")
    other = write(tmp_path, "b.csv", TEXT.replace("load", "loads"))
    for read in (files.header, files.read):
        message = complaint(columns_at(tmp_path / "*.csv"), read)
        assert message == f"column 'load' is not in '{other}'; did you mean 'loads'?"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "", "is empty; name files that hold data"),
        ("t.csv", "site,when,load,wind\n", "has a header but no rows"),
        ("t.csv", "site,when,load,wind\na,b\n", "cannot be read: .*Expected 4 columns, got 2"),
        ("t.csv", "site,when,load,load,wind\na,b,1,2,3\n", "multiple columns named load"),
        ("t.parquet", "no parquet", "cannot be read"),
        ("t.arrow", "no arrow", "cannot be read"),
        ("t.xls", "", r"ends in '.xls', which is no known format; use one of .csv, .csv.gz, .parquet"),
        ("t.csv.gz", "", "is empty"),
        ("t.csv.bz2", "", r"ends in '.bz2', which is no known format"),
    ],
)
def test_a_file_that_holds_no_table_is_refused_by_name(tmp_path: Path, name: str, text: str, words: str) -> None:
    file = write(tmp_path, name, text)
    with pytest.raises(InputError, match=words) as caught:
        files.read(columns_at(file))
    assert str(file) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("source", ["none.csv", "none/*.csv", "*.parquet"])
def test_a_source_that_names_no_file_is_refused(tmp_path: Path, source: str) -> None:
    write(tmp_path, "t.csv")
    message = complaint(columns_at(tmp_path / source))
    assert source in message
    assert "names no file; check the path" in message


def test_an_unknown_filesystem_is_refused() -> None:
    assert "cannot be opened" in complaint(columns_at("gopher://there/t.csv"))


def test_the_stamp_changes_with_the_files_alone(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv")
    data = columns_at(tmp_path / "*.csv")
    before = files.stamp(data)
    assert files.stamp(data) == before
    os.utime(file, ns=(1, 1))
    touched = files.stamp(data)
    assert touched != before
    write(tmp_path, "b.csv")
    assert len(files.stamp(data)) == 2
    assert files.stamp(data)[0] == touched[0]


def test_the_header_is_that_of_the_file(tmp_path: Path) -> None:
    assert files.header(columns_at(write(tmp_path, "t.csv"))) == ["wind", "site", "when", "load", "spare"]


def test_categorical_columns_and_rows_without_time_are_read(tmp_path: Path) -> None:
    data = columns_at(write(tmp_path, "t.csv"), time=None, categorical=["spare"])
    found = files.read(data)
    assert found.column_names == ["site", "load", "wind", "spare"]
    assert found["spare"].to_pylist() == ["x", "x", "x"]


KINDS: list[tuple[list[Any], str]] = [
    (["idle", "run", None], "class"),
    (["true", "false", "true"], "class"),
    ([0, 1, None], "class"),
    (list(range(20)), "class"),
    (list(range(21)), "value"),
    ([0.5, 1.0, None], "value"),
    ([None, "1.0", "2.0"], "value"),
    ([1, "x", 3], "class"),
]


@pytest.mark.parametrize(("values", "kind"), KINDS, ids=lambda value: str(value)[:30])
def test_what_labels_are_follows_from_their_column_and_can_be_said(
    tmp_path: Path, values: list[Any], kind: str
) -> None:
    rows = "".join(f"{i},{'' if value is None else value}\n" for i, value in enumerate(values))
    source = write(tmp_path, "labels.csv", f"wind,state\n{rows}")
    tree = {
        "name": "made",
        "task": "label",
        "data": {"source": str(source), "past": ["wind"], "label": "state"},
    }
    assert files.resolved(parse(tree)).data.label_kind == kind
    other = "value" if kind == "class" else "class"
    tree["data"] = {**tree["data"], "label_kind": other}  # type: ignore[dict-item]
    assert files.resolved(parse(tree)).data.label_kind == other


def test_the_types_that_files_give_their_columns_tell_labels_too(tmp_path: Path) -> None:
    for index, (values, kind) in enumerate([([True, False], "class"), ([1, 0], "class"), ([1.0, 0.0], "value")]):
        file = tmp_path / f"{index}.parquet"
        pa_parquet.write_table(pa.table({"wind": [1.0, 2.0], "state": values}), file)
        data = DataConfig(source=str(file), past=["wind"], label="state")
        assert files.label_kind(data) == kind
        read = files.read(data.model_copy(update={"label_kind": kind}))["state"]
        assert read.type == (pa.float64() if kind == "value" else pa.string())


def test_a_column_of_labels_without_one_is_named(tmp_path: Path) -> None:
    data = columns_at(
        write(tmp_path, "a.csv", "wind,state\n1,\n2,\n"), series_id=[], time=None, target=[], label="state"
    )
    assert "label 'state' has no values at all" in complaint(data, files.label_kind)


def test_a_value_that_is_infinite_is_refused_as_a_label_too(tmp_path: Path) -> None:
    data = columns_at(
        write(tmp_path, "a.csv", "wind,state\n1,0.5\n2,inf\n"),
        series_id=[],
        time=None,
        target=[],
        label="state",
        label_kind="value",
    )
    assert "column 'state' holds inf in row 1" in complaint(data, grid.load)
