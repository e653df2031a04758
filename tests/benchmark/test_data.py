"""The suite data: its tables are what they are said to be, and small ones go all the way."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lstm_ray.benchmark import data, preparing, tables
from lstm_ray.benchmark.options import Options
from lstm_ray.data.store import load_scaler
from lstm_ray.run_dir import RunDir


@pytest.mark.parametrize("order", ["series", "time"])
def test_generated_files_hold_every_series_and_step_once_in_the_order_asked(tmp_path: Path, order: str) -> None:
    tables.write(tmp_path / "t", 6, 20, order)  # type: ignore[arg-type]
    frames = [pl.read_parquet(file) for file in sorted((tmp_path / "t").iterdir())]
    whole = pl.concat(frames)
    assert len(frames) >= 4
    assert whole.select(tables.SERIES_ID, tables.TIME).is_unique().all()
    assert whole.height == 120
    assert whole[tables.SERIES_ID].n_unique() == 6
    lead = tables.SERIES_ID if order == "series" else tables.TIME
    assert whole[lead].is_sorted()


def test_the_bare_script_finds_the_statistics_that_the_stage_finds(tmp_path: Path) -> None:
    tables.write(tmp_path / "t", 8, 100, "time")
    seconds = preparing.ours(str(tmp_path / "t"), str(tmp_path / "ours"), transform="none")
    assert set(seconds) == {"preprocess", "split", "first_batch"}
    preparing.bare_polars(str(tmp_path / "t"), str(tmp_path / "bare"))
    found = pl.read_parquet(tmp_path / "bare" / "statistics.parquet")
    scaler = load_scaler(RunDir(tmp_path / "ours"))
    assert found["mean"].item() == pytest.approx(scaler.target.mean[0], rel=1e-6)
    assert found["deviation"].item() == pytest.approx(scaler.target.deviation[0], rel=2e-3)
    segments = pl.read_parquet(tmp_path / "bare" / "segments.parquet")
    own = pl.read_parquet(tmp_path / "ours" / "preprocess" / "segments" / "*.parquet")
    assert segments["value"].to_list() == own["value"].to_list()


def test_the_suite_prints_every_figure_of_both_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "QUICK_SIZES", (10_000, 20_000))
    results = data.data(Options(quick=True))
    names = [figure.name for figure in results.figures]
    for shape in data.SHAPES:
        own = [figure for figure in results.figures if figure.name.startswith(shape)]
        assert len(own) >= 6
        memory = next(figure for figure in own if "memory" in figure.name)
        assert 0.05 < memory.value < 3
        assert memory.holds
    assert len(set(names)) == len(names)
    assert len(results.sheets) == 4
