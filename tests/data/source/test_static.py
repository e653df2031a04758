"""A second table with a row for each series: joined to every piece, and refused where it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lstm_ray.data.source import files
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

TABLE = "site,plant,when,load,floor\na,1,0,1,x\nb,1,0,2,y\na,1,1,3,x\n,2,0,4,x\n"
SECOND = "plant,site,area,colour,town\n1,b,20,blue,q\n1,a,10,red,p\n2,,30,red,p\n9,z,0,x,x\n"


def source(folder: Path, table: str = TABLE, second: str = SECOND, **changes: Any) -> DataConfig:
    (folder / "t.csv").write_text(table)
    (folder / "second.csv").write_text(second)
    roles: dict[str, Any] = {"series_id": ["site", "plant"], "time": "when", "target": ["load"]}
    roles |= {"static": ["area"], "categorical": ["colour"], "static_source": str(folder / "second.csv")}
    return DataConfig(source=str(folder / "t.csv"), **(roles | changes))


def test_each_row_gets_the_values_of_its_series(tmp_path: Path) -> None:
    data = source(tmp_path)
    found = files.read(data, also=["town", "floor"])
    assert found.column_names == ["site", "plant", "when", "load", "area", "colour", "town", "floor"]
    assert found.select(["load", "area", "colour", "town", "floor"]).to_pydict() == {
        "load": [1.0, 2.0, 3.0, 4.0],
        "area": [10.0, 20.0, 10.0, 30.0],
        "colour": ["red", "blue", "red", "red"],
        "town": ["p", "q", "p", "p"],
        "floor": ["x", "y", "x", "x"],
    }


def test_pieces_are_joined_too_and_only_where_it_is_asked_for(tmp_path: Path) -> None:
    data = source(tmp_path)
    found = files.pieces(data, 20)
    assert len(found) > 1
    parts = [files.read_piece(data, piece, ["load", "colour"]).to_pydict() for piece in found]
    assert [colour for part in parts for colour in part["colour"]] == ["red", "blue", "red", "red"]
    assert files.read_piece(data, found[0], ["site"]).column_names == ["site"]
    assert "area" in files.header(data)


def test_static_columns_may_lie_in_either_table(tmp_path: Path) -> None:
    data = source(tmp_path, categorical=["colour", "floor"])
    assert files.read(data)["floor"].to_pylist() == ["x", "y", "x", "x"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"second": SECOND.replace("1,b", "1,c")}, "series 'b | 1' of the table has no row in data.static_source"),
        (
            {"second": SECOND + "1,a,11,red,p\n1,a,12,red,p\n"},
            "1 series have more than one row in data.static_source '",
        ),
        ({"second": SECOND.replace("20", "big")}, "column 'area' of '.*second.csv' is not numeric.*'big' in row 0"),
        (
            {"second": SECOND.replace("plant", "plan")},
            "column 'plant' is not in data.static_source '.*second.csv', to join it by; did you mean 'plan'",
        ),
        (
            {"static": ["aria"]},
            "column 'aria' is neither in data.source nor in data.static_source '.*did you mean 'area'",
        ),
        (
            {"table": TABLE.replace("floor", "area")},
            "column 'area' is in data.source and in data.static_source '.*drop it",
        ),
    ],
)
def test_a_second_table_that_does_not_fit_is_told_why(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    data = source(tmp_path, **changes)
    with pytest.raises(InputError, match=words.replace("|", r"\|")):
        files.read(data)
    if "series" not in words and "numeric" not in words:  # columns are looked at before any value is read
        with pytest.raises(InputError, match=words):
            files.header(data)


def test_the_stamp_covers_it(tmp_path: Path) -> None:
    data = source(tmp_path)
    before = files.stamp(data)
    assert before[-1][0] == data.static_source
    assert files.read(data)["area"].to_pylist()[0] == 10.0
    source(tmp_path, second=SECOND.replace("10", "11.5"))
    assert files.stamp(data) != before
    assert files.read(data)["area"].to_pylist()[0] == 11.5


def test_a_table_with_a_row_for_each_series_is_joined_by_its_names(tmp_path: Path) -> None:
    data = source(
        tmp_path, "V1,V2\nb,1\na,2\n", "M4id,area\na,5\nb,6\n", series_id=[], time=None, layout="wide", target=[]
    )
    data = files.roles(data.model_copy(update={"categorical": []}))
    assert files.read(data).to_pydict() == {"V1": ["b", "a"], "step": [0, 0], "value": [1.0, 2.0], "area": [6.0, 5.0]}
