"""Files that are added are read alone, and what is made of them is what reading everything again would make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.preparing import blocks
from lstm_ray.data.source.files import Piece
from lstm_ray.data.store import load_index, load_scaler, load_schema
from lstm_ray.data.windows import Segments
from lstm_ray.on_ray.ingest import preprocess
from lstm_ray.run_dir import REPORT, RunDir
from tests import made

ORDER = ["series", "segment", "step"]


def run_again(config: Config, run: RunDir) -> dict[str, object]:
    with run.stage("preprocess", "1" * 64) as work:
        report = preprocess(config, run, work)
        work.write_json(REPORT, report)
    return report.model_dump()


def _pieces(segments: Segments) -> list[tuple[str, int, int]]:
    return list(zip(segments.series, segments.first_step.tolist(), np.diff(segments.bounds).tolist(), strict=True))


def segments_in(run: RunDir) -> pl.DataFrame:
    assert run.local is not None
    return pl.read_parquet(run.local / "preprocess/segments/*.parquet").sort(ORDER)


@pytest.fixture
def months(tmp_path: Path) -> Path:
    """A folder with the first part of a table of four series; the second is kept beside it."""
    made.write_table(tmp_path / "whole.csv", 240, ("a", "b", "c", "d"))
    whole = pl.read_csv(tmp_path / "whole.csv")
    hour = pl.int_range(pl.len()).over("site")
    folder = tmp_path / "months"
    folder.mkdir()
    early = pl.when(pl.col("site") == "c").then(0).otherwise(108)  # b's ten missing hours lie across; c begins later
    whole.filter(hour < early).write_csv(folder / "1.csv")
    whole.filter(hour >= early).write_csv(tmp_path / "2.csv")
    return folder


@pytest.mark.parametrize("impute", ["forward", "zero", "constant"])
@pytest.mark.parametrize("gap", [6, 12])
def test_added_files_alone_are_read_and_nothing_is_lost(
    months: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impute: str, gap: int
) -> None:
    changes = {"preprocess__impute": impute, "preprocess__max_gap_steps": gap}
    config = made.make_config(months, **changes)
    run = made.prepared_run(config, tmp_path / "run")
    (tmp_path / "2.csv").rename(months / "2.csv")
    seen: list[str] = []
    read = blocks.read

    def watched(config: Config, piece: Piece, *others: object) -> object:
        seen.append(Path(piece.file.path).name)
        return read(config, piece, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(blocks, "read", watched)
    report = run_again(config, run)
    assert seen == ["2.csv"]
    assert "of 2 files, only the 1 added were read" in str(report["summary"])
    whole = made.prepared_run(config, tmp_path / "whole")
    columns = segments_in(whole).columns
    assert segments_in(run).select(columns).equals(segments_in(whole))
    assert load_scaler(run) == load_scaler(whole)
    assert load_schema(run) == load_schema(whole)
    one, other = (sorted(_pieces(load_index(found))) for found in (run, whole))
    assert one == other, "a segment that goes on in another file is one segment"
    told = [RunDir(tmp_path / name).read_json("preprocess/manifest.json") for name in ("run", "whole")]
    for name in ("rows", "missing", "present"):
        assert told[0][name] == told[1][name]


def test_the_scaler_stays_where_it_is_not_to_be_fitted_anew(months: Path, tmp_path: Path) -> None:
    config = made.make_config(months, preprocess__refit=False)
    run = made.prepared_run(config, tmp_path / "run")
    before = load_scaler(run)
    (tmp_path / "2.csv").rename(months / "2.csv")
    run_again(config, run)
    assert load_scaler(run) == before
    assert load_scaler(made.prepared_run(config, tmp_path / "whole")) != before
    assert segments_in(run).height > 600


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocess__impute": "mean"},
        {"split__by": "order", "split__train": 0.4, "split__validation": 0.3},
        {"preprocess__max_gap_steps": 3},
    ],
    ids=str,
)
def test_everything_is_read_again_where_old_rows_take_part(
    months: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    first = made.make_config(months, **{name: value for name, value in changes.items() if "gap" not in name})
    run = made.prepared_run(first, tmp_path / "run")
    (tmp_path / "2.csv").rename(months / "2.csv")
    report = run_again(made.make_config(months, **changes), run)
    assert "added" not in str(report["summary"])
    whole = made.prepared_run(made.make_config(months, **changes), tmp_path / "whole")
    assert segments_in(run).equals(segments_in(whole))


def test_rows_before_the_end_of_their_series_make_everything_be_read_again(months: Path, tmp_path: Path) -> None:
    config = made.make_config(months, data__duplicates="last")
    run = made.prepared_run(config, tmp_path / "run")
    (months / "2.csv").write_text("site,when,load,wind\na,2024-03-01T05:00:00Z,77,1\na,2024-03-20T05:00:00Z,78,1\n")
    report = run_again(config, run)
    assert "added" not in str(report["summary"])
    assert 77.0 in segments_in(run)["load"].to_list()


def test_a_file_that_changed_makes_everything_be_read_again(months: Path, tmp_path: Path) -> None:
    config = made.make_config(months)
    run = made.prepared_run(config, tmp_path / "run")
    (tmp_path / "2.csv").rename(months / "2.csv")
    (months / "1.csv").write_text((months / "1.csv").read_text().rpartition("a,")[0])
    assert "added" not in str(run_again(config, run)["summary"])
