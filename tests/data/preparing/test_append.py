"""Files that are added are read alone, and what is made of them is what reading everything again would make."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.preparing import append, blocks
from lstm_ray.data.source.files import Piece
from lstm_ray.data.store import load_index, load_scaler, load_schema, read_segments
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.run_dir import RunDir
from tests import made

ORDER = ["series", "segment", "step"]


def run_again(config: Config, run: RunDir) -> dict[str, object]:
    return made.prepared_again(config, run).model_dump()


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


def write(file: Path, hours: Iterable[float], series: str = "a", **values: object) -> None:
    """Rows of one series at some hours, their load the hour's number."""
    frame = pl.DataFrame({"hour": list(hours)}, schema={"hour": pl.Float64}).select(
        site=pl.lit(series),
        when=pl.lit(made.START.astype("datetime64[us]")) + pl.duration(minutes=pl.col("hour") * 60),
        load="hour",
        wind=pl.lit(1.0),
        **{name: pl.lit(value) for name, value in values.items()},
    )
    frame.write_parquet(file)


def grown_and_whole(config: Config, folder: Path, later: Callable[[], object]) -> tuple[RunDir, RunDir, str]:
    """A run that was prepared before something was done to the source and after it, one that was only after, and the first
    one's last summary."""
    grown = made.prepared_run(config, folder / "grown")
    later()
    summary = str(run_again(config, grown)["summary"])
    whole = made.prepared_run(config, folder / "whole")
    assert segments_in(grown).select(segments_in(whole).columns).equals(segments_in(whole))
    assert load_schema(grown) == load_schema(whole)
    assert load_scaler(grown) == load_scaler(whole)
    return grown, whole, summary


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def test_rows_in_the_step_in_which_a_series_ended_make_everything_be_read_again(files: Path, tmp_path: Path) -> None:
    config = made.make_config(files, data__irregular="resample", data__frequency="1h")
    write(files / "1.parquet", [*range(60), 59.25])
    _, _, summary = grown_and_whole(config, tmp_path, lambda: write(files / "2.parquet", [59.75, *range(60, 80)]))
    assert "added" not in summary


def test_rows_that_make_another_step_the_commonest_make_everything_be_read_again(files: Path, tmp_path: Path) -> None:
    write(files / "1.parquet", range(0, 80, 2))
    config = made.make_config(files)
    grown, _, summary = grown_and_whole(config, tmp_path, lambda: write(files / "2.parquet", range(80, 180)))
    assert "added" not in summary
    assert load_schema(grown).step == made.HOUR


def test_one_row_a_series_is_enough_to_go_on(files: Path, tmp_path: Path) -> None:
    write(files / "1.parquet", range(60))
    _, _, summary = grown_and_whole(made.make_config(files), tmp_path, lambda: write(files / "2.parquet", [60]))
    assert "only the 1 added were read" in summary


def test_a_new_series_off_the_grid_is_refused_as_it_would_be_at_once(files: Path, tmp_path: Path) -> None:
    config = made.make_config(files)
    write(files / "1.parquet", range(60))
    run = made.prepared_run(config, tmp_path / "run")
    write(files / "2.parquet", np.arange(20.5, 60), "b")
    with pytest.raises(InputError, match="'b', lie between the grid's steps"):
        run_again(config, run)
    assert load_index(run).series == ["a"], "what was there stands"


def test_a_new_series_that_ends_before_the_parts_do_is_added(files: Path, tmp_path: Path) -> None:
    dates = {"split__validation_from": "2024-03-03", "split__test_from": "2024-03-04"}
    write(files / "1.parquet", range(120))
    config = made.make_config(files, **dates)
    _, _, summary = grown_and_whole(config, tmp_path, lambda: write(files / "2.parquet", range(20), "b"))
    assert "only the 1 added were read" in summary


def test_holidays_of_later_years_are_known(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("holidays")
    config = made.make_config(files, preprocess__holidays="DE")
    write(files / "1.parquet", range(60))
    later = range(60, 365 * 24, 1)
    grown, _, summary = grown_and_whole(config, tmp_path, lambda: write(files / "2.parquet", later))
    assert "only the 1 added were read" in summary
    assert load_schema(grown).holidays[-1].startswith("2035")


def test_a_series_that_moves_to_another_group_is_refused_as_it_would_be_at_once(files: Path, tmp_path: Path) -> None:
    parts = {"split__by": "group", "split__group": "town", "split__train": 0.4, "split__validation": 0.3}
    config = made.make_config(files, **parts)
    for number in range(9):
        write(files / f"{number}.parquet", range(60), f"s{number}", town=f"t{number}")
    run = made.prepared_run(config, tmp_path / "run")
    write(files / "9.parquet", range(60, 70), "s3", town="elsewhere")
    with pytest.raises(InputError, match="changes inside 1 series, such as 's3'"):
        run_again(config, run)


def test_a_second_table_that_changed_makes_everything_be_read_again(files: Path, tmp_path: Path) -> None:
    (tmp_path / "sites.csv").write_text("site,area\na,1\n")
    config = made.make_config(files, data__static=["area"], data__static_source=str(tmp_path / "sites.csv"))
    write(files / "1.parquet", range(60))

    def later() -> None:
        (tmp_path / "sites.csv").write_text("site,area\na,2.5\nb,3\n")
        write(files / "2.parquet", range(60, 80))

    grown, _, summary = grown_and_whole(config, tmp_path, later)
    assert "added" not in summary
    assert segments_in(grown)["area"].unique().to_list() == [2.5]


def test_an_added_file_without_rows_is_no_reason_to_stop(files: Path, tmp_path: Path) -> None:
    write(files / "1.parquet", range(60))
    rows = gzip.compress(b"site,when,load,wind\n")
    grown_and_whole(made.make_config(files), tmp_path, lambda: (files / "2.csv.gz").write_bytes(rows))


@pytest.mark.parametrize(
    "damage",
    [
        ("manifest.json", b"{}"),
        ("index.parquet", b"PAR1 no longer"),
        ("series.parquet", None),
        ("segments/part-00000.parquet", None),
        ("segments/part-00000.parquet", b"PAR1 no longer"),
        ("report.json", None),
    ],
    ids=str,
)
def test_what_is_damaged_is_made_anew(files: Path, tmp_path: Path, damage: tuple[str, bytes | None]) -> None:
    write(files / "1.parquet", range(60))
    name, content = damage

    def later() -> None:
        file = tmp_path / "grown/preprocess" / name
        file.unlink() if content is None else file.write_bytes(content)
        write(files / "2.parquet", range(60, 80))

    _, _, summary = grown_and_whole(made.make_config(files), tmp_path, later)
    assert "added" not in summary


def test_a_preparation_that_is_killed_between_two_is_as_if_it_had_never_begun(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made.make_config(files)
    write(files / "1.parquet", range(60))
    run = made.prepared_run(config, tmp_path / "grown")
    before = {file: file.read_bytes() for file in (tmp_path / "grown/preprocess").rglob("*") if file.is_file()}
    write(files / "2.parquet", range(60, 80))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(append, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            run_again(config, run)
    assert list((tmp_path / "grown/.work").glob("preprocess-*/segments/part-00001.parquet")), "killed too early"
    assert {file: file.read_bytes() for file in (tmp_path / "grown/preprocess").rglob("*") if file.is_file()} == before
    assert "only the 1 added were read" in str(run_again(config, run)["summary"])
    whole = made.prepared_run(config, tmp_path / "whole")
    assert segments_in(run).equals(segments_in(whole).select(segments_in(run).columns))


def test_a_run_directory_that_is_not_on_this_machine_goes_on_too(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    config, far = made.make_config(files), RunDir("mock:///there/run")
    write(files / "1.parquet", range(60))
    run_again(config, far)
    write(files / "2.parquet", range(60, 80))
    assert "only the 1 added were read" in str(run_again(config, far)["summary"])
    left = [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]
    assert all("lstm-ray-copy-" in str(path) for path in left), "what is downloaded is kept until the process ends"
    whole = made.prepared_run(config, tmp_path / "whole")
    frames = [read_segments(found).sort(ORDER) for found in (far, whole)]
    assert frames[0].select(frames[1].columns).equals(frames[1])
    # Its result is being replaced by another, and the report is gone first.
    far._fs.delete_file(far._at("preprocess/report.json"))
    write(files / "3.parquet", range(80, 90))
    assert "added" not in str(run_again(config, far)["summary"])
