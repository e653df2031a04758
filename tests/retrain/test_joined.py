"""The joined table: each time once, the newest value of each column, and weights that say what is learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.source import files
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import cut_windows, origins
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.live.merging import MEASURED
from lstm_ray.live.rows import RowStore
from lstm_ray.model.closed_forms import window_sums
from lstm_ray.monitor.traffic import Rows
from lstm_ray.registry.folder import at
from lstm_ray.retrain import disk, rows, work
from lstm_ray.retrain.ground import Ground, of
from lstm_ray.retrain.joined import WEIGHT, Joined
from lstm_ray.retrain.state import CHAMPION, CONFIG, TABLE, State
from lstm_ray.run_dir import RunDir
from lstm_ray.serving.bundle import find
from tests import made
from tests.retrain import worlds

START = int(made.START.astype("datetime64[us]").astype(np.int64))
HELD_OUT = 0.3


def stands(run: Path, *overrides: str) -> Ground:
    return of(run, find(run), overrides)


def join(run: Path, data: list[str], *overrides: str) -> tuple[Joined, pl.DataFrame, Path]:
    """The joined table with its rows in the order of series and time, and its folder."""
    ground, folder = stands(run, *overrides), run / "retrain" / "0001"
    folder.mkdir(parents=True)
    state = State(number=1, reasons=["by hand"], data=data, champion=ground.champion.version, pace=ground.pace)
    found = work.join(ground, folder, state)
    table = pl.read_parquet(folder / TABLE / "*.parquet").sort("site", "when")
    return found, table, folder


def kept_by_a_server(run: Path, name: str, first: int, load: list[float], source: int = MEASURED) -> None:
    """Rows of a series that a server was told."""
    store = RowStore(at(run) / "rows.sqlite", 1e9, 10_000)
    tick_T = START + made.HOUR * (first + np.arange(len(load)))
    store.add(
        [Rows(name, tick_T, np.column_stack([load, np.full(len(load), np.nan)]))], ["load", "wind"], 10**12, source
    )
    store.close()


def test_old_and_new_rows_are_there_once_and_new_ones_have_their_share_of_what_is_learned(
    run: Path, new_rows: Callable[..., str]
) -> None:
    joined, table, folder = join(run, [new_rows()], "retrain.new_share=0.6")
    assert table.height == 2 * (worlds.OLD + worlds.NEW)
    assert table.select("site", "when").is_unique().all()
    assert (joined.old, joined.new, joined.late, joined.changed) == (2 * worlds.OLD, 2 * worlds.NEW, 0, 0)
    step = (table["when"].to_physical() - START) // made.HOUR
    weight, test = table[WEIGHT], worlds.NEW * HELD_OUT
    teaching = (step >= worlds.OLD) & (step < worlds.OLD + worlds.NEW - 1.5 * test)
    new, old = float(weight.filter(teaching).sum()), float(weight.filter(step < worlds.OLD).sum())
    assert new / (new + old) == pytest.approx(0.6)
    assert set(weight.filter(step < worlds.OLD)) == {0.0, 1.0}
    config = disk.read(folder / CONFIG, Config)
    assert config.split.test_from == str(made.START + int(worlds.OLD + worlds.NEW - test)) + ":00:00+00:00"
    assert config.train.start_from == str(folder / CHAMPION)
    assert config.train.learning_rate == pytest.approx(0.3 * 0.01)


def test_the_reference_slice_is_the_newest_of_the_first_test_part_and_stays(
    run: Path, new_rows: Callable[..., str]
) -> None:
    joined, table, _ = join(run, [new_rows()])
    first, end = 408, worlds.OLD  # 0.7 and 0.15 of 480 steps lie before the test part
    quiet = table.filter(pl.col(WEIGHT) == 0)["when"].unique().sort()
    assert quiet.len() == (end - first) // 2
    assert (quiet[0], quiet[-1]) == tuple(
        (made.START + step).astype("datetime64[us]").item() for step in (end - 36, end - 1)
    )
    assert joined.reference == 2 * quiet.len()
    slice_ = work.slice_of(stands(run))
    assert work.slice_of(stands(run, "retrain.reference=0.1")) == slice_, "once and for all"


def test_no_window_whose_horizon_lies_in_the_slice_teaches_anything(run: Path, new_rows: Callable[..., str]) -> None:
    _, _, folder = join(run, [new_rows()])
    config, challenger = disk.read(folder / CONFIG, Config), RunDir(folder)
    (folder / CHAMPION).mkdir()
    for name, content in find(run).items():
        (folder / CHAMPION / name).write_bytes(content)
    run_stages(config, challenger, ["split"])
    segments, bounds = load_segments(challenger)
    slice_ = work.slice_of(stands(run))
    steps = ((slice_.first - START) // made.HOUR, (slice_.end - START) // made.HOUR)
    inside: Boundaries = dict.fromkeys(bounds, steps)
    origins_M = origins(segments, inside, "test", config.window)
    assert len(origins_M) == 2 * (steps[1] - steps[0] - config.window.horizon + 1)
    assert steps[1] <= bounds["train"][1], "they are windows of the training part"
    ahead = slice(config.window.history, None)
    assert not cut_windows(segments, origins_M, config.window).weight_BT[:, ahead].any()
    assert window_sums(config, segments, origins_M).weight == 0
    reaching_M = origins_M[: len(origins_M) // 2] - config.window.horizon + 1
    assert window_sums(config, segments, reaching_M[:4]).weight == 0, "nor one whose horizon ends in it"
    # A canary: were any loss taken on the slice, other truth there would be learned from.
    outside_M = np.setdiff1d(origins(segments, bounds, "train", config.window), origins_M)
    before = cut_windows(segments, outside_M, config.window)
    within = (segments.steps(np.arange(len(segments.target_RC))) >= steps[0]) & (
        segments.steps(np.arange(len(segments.target_RC))) < steps[1]
    )
    segments.target_RC[within] += 1_000
    after = cut_windows(segments, outside_M, config.window)
    taught = before.weight_BT[:, ahead] > 0
    assert np.array_equal(before.target_BTC[:, ahead][taught], after.target_BTC[:, ahead][taught])


def test_the_slice_teaches_no_scaler_either(run: Path, new_rows: Callable[..., str], tmp_path: Path) -> None:
    table = Path(str(stands(run).config.data.source))
    found = []
    for extra in (0, 1_000):
        lines = table.read_text().splitlines()
        edited = [
            f"{site},{when},{float(load) + extra * (when >= str(made.START + worlds.OLD - 36))},{wind}"
            for site, when, load, wind in (line.split(",") for line in lines[1:])
        ]
        source = tmp_path / f"edited-{extra}.csv"
        source.write_text("\n".join([lines[0], *edited]) + "\n")
        one = tmp_path / f"run-{extra}"
        run_stages(worlds.config_of(source), RunDir(one), ["train"])
        _, _, folder = join(one, [new_rows()], "retrain.start=anew")
        run_stages(disk.read(folder / CONFIG, Config), RunDir(folder), ["preprocess"])
        found.append((folder / "preprocess" / "scaler.json").read_text())
    assert found[0] == found[1]


def test_rows_told_again_late_or_otherwise_are_joined_by_column_the_newest_winning(
    run: Path, new_rows: Callable[..., str]
) -> None:
    kept_by_a_server(run, "a", worlds.OLD - 2, [101.0, 102.0, 103.0])
    kept_by_a_server(run, "a", worlds.OLD - 1, [112.0])
    kept_by_a_server(run, "c", worlds.OLD - 3, [7.0])
    before = pl.read_csv(stands(run).config.data.source).filter(pl.col("site") == "a")["wind"]
    joined, table, _ = join(run, [new_rows()])
    own = table.filter(pl.col("site") == "a")
    assert own["load"][worlds.OLD - 2 : worlds.OLD].to_list() == [101.0, 112.0]
    assert own["wind"][worlds.OLD - 2 : worlds.OLD].to_list() == before[-2:].to_list(), "what nobody told anew stays"
    named = pl.read_csv(new_rows()).filter(pl.col("site") == "a")
    assert own["load"][worlds.OLD] == named["load"][0], "a file that is named has the last word"
    assert table.filter(pl.col("site") == "c")["load"].to_list() == [7.0]
    assert (joined.changed, joined.late, joined.new) == (2, 1, 2 * worlds.NEW)
    assert table.filter(pl.col("site") == "c")[WEIGHT].to_list() == [0.0], "late rows of the slice teach nothing"


def test_a_clock_that_jumped_puts_no_row_into_the_table(run: Path, new_rows: Callable[..., str]) -> None:
    kept_by_a_server(run, "a", worlds.OLD + 10**6, [55.0])
    joined, table, _ = join(run, [new_rows()])
    assert table["load"].max() < 55  # type: ignore[operator]
    assert joined.cut.end == START + (worlds.OLD + worlds.NEW) * made.HOUR


def test_too_few_new_steps_are_refused_with_how_many_it_takes(run: Path, new_rows: Callable[..., str]) -> None:
    with pytest.raises(InputError, match="span 20 steps; a challenger needs 24"):
        join(run, [new_rows(steps=20)])
    with pytest.raises(InputError, match="none is after the champion's table, which ends before 2024-03-21T00"):
        stands(run).new([new_rows(first=worlds.OLD - 40, steps=30)])


def test_without_any_rows_it_says_where_they_would_come_from(run: Path) -> None:
    with pytest.raises(InputError, match="no file is named; name some with --data"):
        stands(run).new([])


def test_the_old_table_is_read_piece_by_piece(
    run: Path, new_rows: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files.pieces
    monkeypatch.setattr(files, "pieces", lambda data, **more: whole(data, 4_000, **more))
    seen = []
    form = rows.in_one_form

    def watched(*given: object) -> pl.DataFrame:
        seen.append(form(*given))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(rows, "in_one_form", watched)
    _, table, folder = join(run, [new_rows()])
    assert max(frame.height for frame in seen) < worlds.OLD / 2
    assert len(list((folder / TABLE).glob("*.parquet"))) > 5
    assert table.select("site", "when").is_unique().all()
    assert table.height == 2 * (worlds.OLD + worlds.NEW)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"split__by": "group"}, "split.by is group"),
        ({"data__time": None}, "data.time is none"),
        ({"data__irregular": "time_delta"}, "irregular is time_delta"),
    ],
)
def test_what_cannot_be_told_to_be_new_is_refused(changed: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        rows.require_joinable(worlds.config_of(Path("t.csv"), **changed))


def test_sequences_to_classify_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"train\.start_from"):
        rows.require_joinable(made.classify_config())
