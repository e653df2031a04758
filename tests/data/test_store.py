"""Segments in files and in arrays are the same segments; damaged files are refused by name."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lstm_ray.config import Config, with_values
from lstm_ray.data import room
from lstm_ray.data.parts import PARTS
from lstm_ray.data.stage import split
from lstm_ray.data.store import Cycles, load_scaler, load_segments, to_segments
from lstm_ray.errors import InputError
from lstm_ray.run_dir import REPORT, RunDir, StageDir
from tests import made


def split_run(config: Config, folder: Path) -> RunDir:
    run = made.prepared_run(config, folder)
    with run.stage("split", "0" * 64) as work:
        work.write_json(REPORT, split(config, run, work))
    return run


def test_arrays_hold_what_the_table_does(config: Config, tmp_path: Path) -> None:
    run = made.prepared_run(config, tmp_path / "run")
    frame = pl.read_parquet(tmp_path / "run" / "preprocess" / "segments" / "*.parquet")
    segments, bounds = load_segments(split_run(config, tmp_path / "run"))
    assert run.exists("split/boundaries.json")
    assert segments.series == ["a", "b", "b"]
    assert segments.first_step.tolist() == [0, 0, 110]
    assert np.diff(segments.bounds).tolist() == [240, 100, 130]
    for name, values in (
        ("load", segments.target_RC),
        ("observed:load", segments.observed_RC),
        ("wind", segments.past_RP),
    ):
        np.testing.assert_allclose(values[:, 0], frame[name].cast(pl.Float64).to_numpy(), rtol=1e-6)
    np.testing.assert_array_equal(segments.steps(np.arange(len(frame))), frame["step"].to_numpy())
    expected = segments.schema.calendar_features(segments.times(np.arange(len(frame))))
    np.testing.assert_array_equal(segments.known_RK, expected)
    assert set(bounds) == set(PARTS)
    assert bounds["train"] == (0, 168)
    assert bounds["test"] == (204, 240)


def test_rows_of_files_may_come_in_any_order(config: Config, tmp_path: Path) -> None:
    made.prepared_run(config, tmp_path / "run")
    frame = pl.read_parquet(tmp_path / "run" / "preprocess" / "segments" / "*.parquet")
    schema = made.schema_of(calendar=["hour", "weekday"])
    first, second = to_segments(frame, schema), to_segments(frame.sample(fraction=1, shuffle=True, seed=1), schema)
    np.testing.assert_array_equal(first.target_RC, second.target_RC)
    np.testing.assert_array_equal(first.bounds, second.bounds)


def test_what_precedes_a_first_value_is_the_training_mean(tmp_path: Path) -> None:
    table = made.write_table(tmp_path / "t.csv")
    lines = table.read_text().splitlines()
    # The first two hours of series a have no wind.
    lines[1:3] = [line.rpartition(",")[0] + "," for line in lines[1:3]]
    table.write_text("\n".join(lines) + "\n")
    run = split_run(made.make_config(table), tmp_path / "run")
    segments, _ = load_segments(run)
    scaler = load_scaler(run)
    np.testing.assert_array_equal(segments.past_RP[:2, 0], np.full(2, scaler.past.mean[0], np.float32))
    assert segments.scaled(scaler).past_RP[0, 0] == 0


def test_what_precedes_a_first_value_is_the_mean_of_its_own_series_where_each_has_its_own(tmp_path: Path) -> None:
    step = np.arange(240)
    when = pl.Series(made.START.astype("datetime64[us]") + step.astype("timedelta64[h]"))
    rows = []
    for name, size in (("a", 1.0), ("b", 1000.0)):
        load = size * (10 + np.sin(step))
        heat = pl.Series(2 * load).scatter(range(20), None)
        rows.append(pl.DataFrame({"site": name, "when": when, "load": load, "heat": heat, "wind": load}))
    pl.concat(rows).write_parquet(tmp_path / "t.parquet")
    config = made.make_config(
        tmp_path / "t.parquet",
        data__target=["load", "heat"],
        preprocess__scale_by="series",
        preprocess__impute="forward",
    )
    run = split_run(config, tmp_path / "run")
    segments, _ = load_segments(run)
    np.testing.assert_allclose(segments.target_RC[[0, 240], 1], [20, 20_000], rtol=0.02)
    np.testing.assert_allclose(segments.scaled(load_scaler(run)).target_RC[[0, 240], 1], 0, atol=1e-4)


def test_classified_sequences_are_in_order_of_time_with_their_class() -> None:
    frame = pl.DataFrame(
        {
            "series": ["z", "z", "a", "a", "m"],
            "segment": [0] * 5,
            "step": [0, 1, 4, 5, 2],
            "load": [1.0, 2.0, 3.0, 4.0, 5.0],
            "kind": ["up", "up", "down", "down", "up"],
        }
    )
    segments = to_segments(frame, made.schema_of(target=(), past=("load",), classes=("down", "up")))
    assert segments.series == ["z", "m", "a"]
    assert segments.label is not None
    assert segments.label.tolist() == [1, 1, 0]
    assert segments.past_RP[:, 0].tolist() == [1, 2, 5, 3, 4]
    assert segments.target_RC.shape == (5, 0)


@given(st.lists(st.lists(st.integers(0, 60), max_size=30), max_size=6))
def test_calendar_features_are_those_of_their_steps_whatever_was_asked_before(asked: list[list[int]]) -> None:
    schema = made.schema_of(calendar=["hour", "weekday"])
    cycles = Cycles(schema)
    for steps in asked:
        own = np.array(steps, dtype=np.int64)
        np.testing.assert_array_equal(cycles.of(own), schema.calendar_features(schema.times(own)))


@example([0, 3, 2, 1, 4, 5], [2, 1, 2, 3, 1, 2])  # only the middle is out of order
@given(st.permutations(range(6)), st.lists(st.integers(1, 4), min_size=6, max_size=6))
def test_every_sequence_keeps_its_own_values_and_class_whatever_its_place_in_time(
    places: list[int], lengths: list[int]
) -> None:
    rows = [
        {"series": name, "segment": 0, "step": 10 * place + step, "load": 100.0 * place + step, "kind": "ud"[place % 2]}
        for name, place, length in zip("abcdef", places, lengths, strict=True)
        for step in range(length)
    ]
    segments = to_segments(pl.DataFrame(rows), made.schema_of(target=(), past=("load",), classes=("d", "u")))
    assert segments.label is not None
    for number, (first, end) in enumerate(pairwise(segments.bounds.tolist())):
        name = segments.series[number]
        own = [row for row in rows if row["series"] == name]
        assert segments.first_step[number] == own[0]["step"]
        assert segments.past_RP[first:end, 0].tolist() == [row["load"] for row in own]
        assert "du"[segments.label[number]] == own[0]["kind"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("preprocess/schema.json", b"{}"),
        ("preprocess/schema.json", b'{"a": "\xff"}'),
        ("preprocess/scaler.json", b"[1"),
        ("preprocess/segments/part-00000.parquet", b"PAR1 no longer"),
        ("split/boundaries.json", b'{"parts": {"train": [0]}}'),
        ("split/boundaries.json", b"{}"),
    ],
)
def test_a_damaged_file_is_named_with_the_stage_that_mends_it(
    config: Config, tmp_path: Path, path: str, content: bytes
) -> None:
    run = split_run(config, tmp_path / "run")
    (tmp_path / "run" / path).write_bytes(content)
    stage, _, file = path.partition("/")
    with pytest.raises(InputError) as caught:
        load_segments(run)
    assert f"{stage}/{file.partition('/')[0]}" in str(caught.value)
    assert f"run the stage '{stage}' again with --force" in str(caught.value)


@pytest.mark.parametrize("stage", ["preprocess", "split"])
def test_a_stage_that_has_not_run_is_named(config: Config, tmp_path: Path, stage: str) -> None:
    run = made.prepared_run(config, tmp_path / "run") if stage == "split" else RunDir(tmp_path / "run")
    with pytest.raises(InputError, match=f"run the stage '{stage}' first"):
        load_segments(run)


def test_the_split_stage_counts_windows_and_draws_them(config: Config, tmp_path: Path) -> None:
    run = made.prepared_run(config, tmp_path / "run")
    (tmp_path / "work").mkdir()
    work = StageDir(tmp_path / "work")
    report = split(config, run, work)
    segments, _ = load_segments(split_run(config, tmp_path / "run"))
    lengths = {"a": 168, "b": 100 + 168 - 110}
    train = sum(max(0, length - 17) for length in (lengths["a"], 100, 168 - 110))
    assert report.model_extra is not None
    assert report.model_extra["num_windows"]["train"] == train
    # The 36 validation steps hold 31 horizons of 6 in each of the two series.
    assert report.model_extra["num_windows"]["validation"] == 62
    assert f"{train:,} / 62 / 62 windows" in report.summary
    assert (tmp_path / "work" / "figures.json").exists()
    assert segments.bounds[-1] == 470


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"window__horizon": 300}, r"window.history 12 \+ window.horizon 300 exceeds the longest series, 240 steps"),
        ({"window__history": 236}, r"window.history 236 \+ window.horizon 6 exceeds the longest series"),
        ({"split__validation": 0.02}, "split.validation holds no window: it spans steps 168 to 173 of 240"),
        ({"split__train": 10, "split__validation": 50}, "split.train holds no window: it spans steps 0 to 10"),
        ({"split__train": 200, "split__validation": 60}, "the validation part would span steps 200 to 260 of 240"),
    ],
)
def test_a_split_that_leaves_a_part_without_windows_is_refused(
    config: Config, tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    run = made.prepared_run(config, tmp_path / "run")
    with pytest.raises(InputError, match=words):
        split(made.make_config(**values), run, StageDir(tmp_path))


def test_the_split_stage_counts_labelled_steps_of_whatever_a_label_is(tmp_path: Path) -> None:
    lines = ["site,when,load,state"]
    for step in range(200):
        state = "" if step % 10 == 3 else ("up" if step % 7 < 3 else "down")
        lines.append(f"a,{made.START + step}:00:00Z,{step % 7},{state}")
    file = tmp_path / "states.csv"
    file.write_text("\n".join(lines) + "\n")
    config = made.label_config(data__source=str(file))
    run = split_run(config, tmp_path / "run")
    segments, parts = load_segments(run)
    assert run.read_json("split/boundaries.json")["labelled steps"] == {"train": 126, "validation": 27, "test": 27}
    assert segments.schema.classes == ["down", "up"]
    assert segments.label_R is not None
    expected = [np.nan if step % 10 == 3 else float(step % 7 < 3) for step in range(200)]
    np.testing.assert_array_equal(segments.label_R, np.array(expected, np.float32))
    assert parts["train"] == (0, 140)
    empty = with_values(config, {"split.test": 2, "split.train": 140, "split.validation": 56})
    file.write_text("\n".join([*lines[:197], *(",".join([*line.split(",")[:3], ""]) for line in lines[197:])]) + "\n")
    with pytest.raises(InputError, match=r"split\.test holds no labelled step"):
        split_run(empty, tmp_path / "empty")


def test_arrays_that_are_mapped_from_disk_hold_what_those_in_memory_do(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = split_run(config, tmp_path / "run")
    there, mapped = [load_segments(run)[0]], []
    monkeypatch.setattr(room, "CHUNK_ROWS", 50)
    monkeypatch.setattr(room, "MAPPED_FROM_BYTES", 8)
    mapped.append(load_segments(run)[0])
    mapped.append(mapped[0].scaled(load_scaler(run)))
    monkeypatch.undo()
    there.append(there[0].scaled(load_scaler(run)))
    assert all(room.mapping(found.past_RP) is not None for found in mapped)
    for ours, theirs in zip(mapped, there, strict=True):
        for name in ("target_RC", "observed_RC", "past_RP", "known_RK", "bounds"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
