"""A sample of a table that is read piece by piece is what the whole table would have given."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lstm_ray.data.preparing import sample
from lstm_ray.data.preparing.sample import read_some
from tests import made


@pytest.fixture(params=["by series", "by time"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made.write_table(tmp_path / "whole.csv", 100, ("a", "b", "c", "d"))
    whole = pl.read_csv(tmp_path / "whole.csv")
    if request.param == "by time":
        whole = whole.sort("when", maintain_order=True)
    (tmp_path / "files").mkdir()
    for number in range(4):
        whole[number * 100 : (number + 1) * 100].write_csv(tmp_path / "files" / f"{number}.csv")
    return tmp_path / "files"


@pytest.mark.parametrize("changes", [{}, {"data__time": None}, {"split__by": "order", "split__train": 0.4}], ids=str)
def test_pieces_give_the_same_facts_and_rows_as_the_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    config = made.make_config(folder, **changes)
    asked: list[pl.DataFrame] = []

    def choose(lengths: pl.DataFrame) -> list[str]:
        asked.append(lengths.sort("series"))
        return ["b", "d"]

    whole, rows, left = read_some(config, choose)
    monkeypatch.setattr(sample, "WHOLE_BYTES", 0)
    facts, some, none_left = read_some(config, choose)
    assert facts.series.select(whole.series.columns).equals(whole.series.sort("series"))
    assert some.equals(rows)
    assert set(some["series"]) == {"b", "d"}
    assert asked[0].equals(asked[1])
    assert left == none_left == 0
    assert facts.is_time == whole.is_time


def test_of_one_series_that_does_not_fit_the_newest_rows_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.write_table(tmp_path / "whole.csv", 100, ("a",))
    frame = pl.read_csv(tmp_path / "whole.csv")
    for number in range(4):
        frame[number * 25 : number * 25 + 25].write_parquet(tmp_path / f"{number}.parquet")
    monkeypatch.setattr(sample, "WHOLE_BYTES", 1)
    config = made.make_config(str(tmp_path / "*.parquet"))
    facts, rows, left = read_some(config, lambda lengths: None)
    assert facts.num_rows == 100
    assert left == 75
    assert rows["load"].to_list() == frame["load"][75:].to_list()
