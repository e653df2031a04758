"""Files of one source that differ: what is refused before any value is read, and what is told and read all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from lstm_ray.data.source import files, formats
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig


def source(folder: Path, *tables: dict[str, Any] | str, **roles: Any) -> DataConfig:
    for number, table in enumerate(tables):
        if isinstance(table, str):
            (folder / f"{number}.csv").write_text(table)
        else:
            pa_parquet.write_table(pa.table(table), folder / f"{number}.parquet")
    return DataConfig(source=str(folder), **({"time": "when", "target": ["load"]} | roles))


def complaint(data: DataConfig) -> str:
    with pytest.raises(InputError) as caught:
        files.read(data)
    return str(caught.value)


def test_every_column_that_is_missing_somewhere_is_named_with_the_files_that_lack_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "read", None)  # no value is read
    lacking = {"when": [0], "lod": [1.0]}
    data = source(tmp_path, "when,load,wind\n0,1,2\n", *[lacking] * 5, past=["wind"])
    lines = complaint(data).splitlines()
    assert lines[0].startswith(f"column 'load' is not in 5 of 6 files: '{tmp_path / '1.parquet'}', ")
    assert lines[0].endswith("3.parquet' and 2 more; did you mean 'lod'?")
    assert lines[1].startswith("column 'wind' is not in 5 of 6 files")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pa.array([[1.0]]), "holds list<.*>, but its role needs numbers"),
        (pa.array([0], pa.timestamp("s")), "holds time stamps, but its role needs numbers"),
        (pa.array([b"x"]), "holds binary, but its role needs numbers"),
    ],
)
def test_a_column_that_cannot_be_what_its_role_needs_is_refused_by_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: pa.Array, words: str
) -> None:
    monkeypatch.setattr(formats, "read", None)
    data = source(tmp_path, {"when": [0], "load": [1.0]}, {"when": [1], "load": values})
    with pytest.raises(InputError, match=f"column 'load' of '.*1.parquet' {words}; convert it"):
        files.read(data)


def test_numbers_written_as_text_in_one_file_are_read_and_told(tmp_path: Path) -> None:
    data = source(tmp_path, {"when": [0], "load": [1.0]}, {"when": [1], "load": ["2.5"]}, {"when": [2], "load": [3]})
    assert files.read(data)["load"].to_pylist() == [1.0, 2.5, 3.0]
    [found] = files.findings(data)
    assert found.severity == "warning"
    assert found.text.startswith("Column 'load' holds numbers in 2 of 3 files, such as ")
    assert found.text.endswith(
        f"text in 1 of 3 files, such as '{tmp_path / '1.parquet'}'; numbers are read where they can be."
    )
    assert "same way in all files" in found.advice


@pytest.mark.parametrize("csv", [False, True])
def test_text_among_numbers_is_refused_with_the_first_value_that_is_none(tmp_path: Path, csv: bool) -> None:
    bad: dict[str, Any] | str = (
        "when,load\n0,1\n1,\n2,high\n" if csv else {"when": [0, 1, 2], "load": ["1", "", "high"]}
    )
    data = source(tmp_path, {"when": [0], "load": [1.0]}, bad)
    file = tmp_path / f"1.{'csv' if csv else 'parquet'}"
    assert f"column 'load' of '{file}' is not numeric as its role needs: 'high' in row 2" in complaint(data)


def test_columns_that_only_some_files_hold_are_told_and_left_out(tmp_path: Path) -> None:
    data = source(tmp_path, "when,load\n0,1\n", "when,load,wind\n1,2,x\n")
    assert files.read(data).num_rows == 2
    assert files.header(data) == ["when", "load", "wind"]
    [found] = files.findings(data)
    assert (found.severity, found.text) == (
        "info",
        "Columns that only some files hold (without a role it is not read): 'wind' in 1 of 2 files, such as "
        f"'{tmp_path / '1.csv'}'.",
    )


def test_files_that_agree_have_nothing_to_tell(tmp_path: Path) -> None:
    data = source(tmp_path, "when,load,x\n0,1,a\n", "x,when,load\n,1,\n", {"when": ["1"], "load": [2.0], "x": [None]})
    assert files.findings(data) == []


STAMPS = {
    "text": ["2024-03-01T00:00:00Z"],
    "zoned": pa.array([0], pa.timestamp("s", "UTC")),
    "berlin": pa.array([0], pa.timestamp("ns", "Europe/Berlin")),
    "naive": pa.array([0], pa.timestamp("ms")),
    "naive text": ["2024-03-01T00:00"],
    "date": pa.array([0], pa.date32()),
    "number": [0],
    "float": [0.0],
    "nothing": pa.nulls(1),
}


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("text", "naive text", pa.string()),
        ("zoned", "berlin", pa.timestamp("us", "UTC")),
        ("zoned", "text", pa.timestamp("us", "UTC")),
        ("naive", "date", pa.timestamp("us")),
        ("naive", "naive text", pa.timestamp("us")),
        ("naive", "nothing", pa.timestamp("ms")),
        ("number", "float", pa.int64()),
        ("date", "date", pa.date32()),
    ],
)
def test_time_is_one_type_in_all_files_and_pieces(tmp_path: Path, one: str, other: str, kind: pa.DataType) -> None:
    data = source(tmp_path, {"when": STAMPS[one], "load": [1]}, {"when": STAMPS[other], "load": [2]})
    assert {files.read_piece(data, piece)["when"].type for piece in files.pieces(data)} == {kind}
    assert files.read(data)["when"].type == kind


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("zoned", "naive", "holds time stamps with a zone in '.*0.parquet' and time stamps in '.*1.parquet'; write"),
        ("number", "naive", "holds numbers in '.*0.parquet' and time stamps in '.*1.parquet'"),
        ("naive", "number", "holds time stamps in '.*0.parquet' and numbers in '.*1.parquet'"),
    ],
)
def test_times_that_mean_different_things_are_refused(tmp_path: Path, one: str, other: str, words: str) -> None:
    data = source(tmp_path, {"when": STAMPS[one], "load": [1]}, {"when": STAMPS[other], "load": [2]})
    with pytest.raises(InputError, match=f"column 'when' {words}"):
        files.read(data)


def test_text_that_is_no_time_stamp_beside_files_of_time_stamps_is_named(tmp_path: Path) -> None:
    data = source(tmp_path, {"when": STAMPS["naive"], "load": [1]}, "when,load\n2024-03-01,2\nnoon,3\n")
    assert f"column 'when' of '{tmp_path / '1.csv'}' holds 'noon' in row 1, and elsewhere time stamps" in complaint(
        data
    )


def test_one_faulty_file_among_many_is_named_however_they_are_read(tmp_path: Path) -> None:
    good = [{"when": [i], "load": [1.0]} for i in range(12)]
    data = source(tmp_path, *good)
    (tmp_path / "7.parquet").write_bytes(b"PAR1")
    assert complaint(data).startswith(f"'{tmp_path / '7.parquet'}' cannot be read")
