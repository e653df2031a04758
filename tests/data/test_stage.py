"""What the split stage writes and says of parts cut by time, by dates, in folds, and of dealt series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from lstm_ray.config import Config
from lstm_ray.config_file import load
from lstm_ray.data.parts import PARTS
from lstm_ray.data.split import position
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.run_dir import RunDir
from tests import made
from tests.data.staged import report, staged

HOUR = pl.duration(hours=1)


def table_of(names: list[str], steps: int = 100, **columns: Any) -> pl.DataFrame:
    """Hourly series in the order of the names, each of ``steps`` rows; columns hold one value a series."""
    random = np.random.default_rng(len(names))
    step = np.tile(np.arange(steps), len(names))
    frame = pl.DataFrame(
        {
            "site": np.repeat(names, steps),
            "when": made.START.astype("datetime64[us]") + step * np.timedelta64(1, "h"),
            "load": 20 + random.normal(size=len(step)),
            "wind": random.normal(size=len(step)),
        }
    )
    return frame.with_columns(pl.Series(name, np.repeat(values, steps)) for name, values in columns.items())


def written(run: RunDir) -> dict[str, Any]:
    found: dict[str, Any] = run.read_json("split/boundaries.json")
    return found


def told(run: RunDir) -> str:
    return "\n".join(f"{one.severity}: {one.text} [{one.advice}]" for one in report(run).findings)


def test_dates_cut_the_parts_on_the_clock_of_the_datas_zone(tmp_path: Path) -> None:
    """2024-03-03 begins in Berlin an hour before it does in Greenwich."""
    dates = {"validation_from": "2024-03-03", "test_from": "2024-03-04 06:00", "until": "2024-03-05"}
    for zone, before in ((None, 0), ("Europe/Berlin", 1)):
        config = made.make_config(split=dates, window__history=4, data__time_zone=zone)
        # Stamps without a zone are of data.time_zone themselves.
        table = table_of(["a", "b"]).with_columns(pl.col("when").dt.replace_time_zone("UTC"))
        run = staged(config, table, tmp_path / str(zone))
        expected = {
            "train": [0, 48 - before],
            "validation": [48 - before, 78 - before],
            "test": [78 - before, 96 - before],
        }
        assert written(run)["parts"] == expected
        assert f"The last {4 + before} of 100 steps" in told(run)


@pytest.mark.parametrize("date", ["2024-04-10", "2024-04-10T00:00:00+02:00"])
def test_days_of_a_zones_clock_are_cut_by_its_dates(date: str, tmp_path: Path) -> None:
    """Also where the clock has gone forward before, and whatever offset the date names."""
    dates = {"validation_from": date, "test_from": "2024-05-01"}
    zone = {"data__time_zone": "Europe/Berlin", "data__frequency": "1d"}
    days = pl.datetime_range(pl.datetime(2024, 3, 1), pl.datetime(2024, 6, 8), "1d", eager=True)
    table = table_of(["a"]).with_columns(when=days)
    run = staged(made.make_config(split=dates, window__history=4, **zone), table, tmp_path / "run")
    assert written(run)["parts"] == {"train": [0, 40], "validation": [40, 61], "test": [61, 100]}


def test_a_date_outside_the_data_names_the_datas_span(tmp_path: Path) -> None:
    dates = {"validation_from": "2024-03-03", "test_from": "2025-03-04"}
    with pytest.raises(
        InputError, match=r"test_from is 2025-03-04, but the data spans 2024-03-01 00:00:00 to 2024-03-05 03"
    ):
        staged(made.make_config(split=dates), table_of(["a"]), tmp_path / "run")


def test_every_fold_is_written_with_its_windows_and_one_is_trained_on(tmp_path: Path) -> None:
    for fold in (None, 0, 2):
        split = {"train": 0.6, "validation": 0.1, "folds": 3, "fold": fold}
        run = staged(made.make_config(split=split), table_of(["a", "b"], 200), tmp_path / str(fold))
        found = written(run)
        ends = [40 * 2, 50 * 2, 60 * 2]
        assert [each["parts"]["train"] for each in found["folds"]] == [[0, end] for end in ends]
        assert [each["parts"]["validation"] for each in found["folds"]] == [[end, end + 20] for end in ends]
        assert [each["windows"]["train"] for each in found["folds"]] == [2 * (end - 17) for end in ends]
        assert found["parts"] == found["folds"][2 if fold is None else fold]["parts"]
        assert f"(fold {2 if fold is None else fold} of 3, from 0)" in report(run).summary
        assert "fold 1: 166 windows to 2024-03-05 03:00:00 train, 30 from" in told(run)
        assert {"parts", "folds"} <= {figure["id"] for figure in run.read_json("split/figures.json")}


def test_a_fold_without_windows_is_told(tmp_path: Path) -> None:
    split = {"train": 0.6, "validation": 0.15, "folds": 4}
    run = staged(made.make_config(split=split), table_of(["a"]), tmp_path / "run")
    assert "warning: fold 0: 0 windows" in told(run)
    assert "[split.folds: 3]" in told(run)


def test_the_scaler_of_a_fold_is_of_what_that_fold_trains_on(tmp_path: Path) -> None:
    table = table_of(["a"], 200).with_columns(load=pl.int_range(200).cast(pl.Float64))
    mean = {}
    for fold in (0, 1):
        split = {"train": 0.6, "validation": 0.1, "folds": 2, "fold": fold}
        run = staged(made.make_config(split=split), table, tmp_path / str(fold))
        mean[fold] = run.read_json("preprocess/scaler.json")["target"]["mean"][0]
    assert mean == {0: pytest.approx(49.5), 1: pytest.approx(59.5)}


def test_another_fold_prepares_anew_and_the_same_one_is_kept(tmp_path: Path) -> None:
    """As ``lstm-ray split CONFIG --set split.fold=0`` does."""
    table_of(["a", "b"], 200).write_parquet(tmp_path / "table.parquet")
    file, run = tmp_path / "made.yaml", RunDir(tmp_path / "run")
    tree = made.config_tree(str(tmp_path / "table.parquet"))
    file.write_text(yaml.safe_dump(tree | {"split": {"train": 0.6, "validation": 0.1, "folds": 3}}))
    runs: list[list[str]] = []
    for override in ([], [], ["split.fold=0"], ["split.fold=0"], ["split.fold=2"]):
        runs.append([])
        run_stages(load(file, override), run, ["split"], on_start=runs[-1].append)
    anew = ["preprocess", "split"]
    assert [[name for name in started if name in anew] for started in runs] == [anew, [], anew, [], anew]
    assert written(run)["parts"]["train"] == [0, 120]


def test_another_seed_deals_groups_anew_and_leaves_other_splits_alone(tmp_path: Path) -> None:
    table_of([f"s{i}" for i in range(30)]).write_parquet(tmp_path / "table.parquet")
    for name, split, anew in (("group", {"by": "group"}, True), ("order", {"by": "order"}, False), ("time", {}, False)):
        run, found = RunDir(tmp_path / name), []
        for seed in (1, 2):
            config = made.make_config(tmp_path / "table.parquet", split=split, seed=seed)
            started: list[str] = []
            run_stages(config, run, ["split"], on_start=started.append)
            found.append(load_segments(run)[0].part_S)
        assert ("preprocess" in started) == anew, name
        assert np.array_equal(*found) != anew, name


def group_config(**split: Any) -> Config:
    return made.make_config(split={"by": "group", "train": 0.5, "validation": 0.25} | split)


def test_groups_lie_in_one_part_each_and_only_the_training_series_are_summed(tmp_path: Path) -> None:
    names = [f"s{i:02}" for i in range(40)]
    ward = [f"ward {i % 19}" for i in range(40)]
    config = group_config(group="ward")
    expected = {}
    for name, group in zip(names, ward, strict=True):
        at = position(group, config.seed)
        expected[name] = 0 if at < 0.5 else 1 if at < 0.75 else 2
    table = table_of(names, ward=ward)
    run = staged(config, table, tmp_path / "run")
    segments, bounds = load_segments(run)
    assert segments.part_S is not None
    assert dict(zip(segments.series, segments.part_S.tolist(), strict=True)) == expected
    for index, part in enumerate(PARTS):
        held = origins(segments, bounds, part, config.window)
        own = [name for name in names if expected[name] == index]
        assert written(run)["windows"][part] == len(held) == (100 - 17) * len(own)
        assert written(run)["series"][part] == len(own)
        assert {segments.series[s] for s in segments.series_of(held)} == set(own)
    train = table.filter(pl.col("site").is_in([name for name in names if expected[name] == 0]))
    assert run.read_json("preprocess/scaler.json")["target"]["mean"] == [pytest.approx(train["load"].mean())]
    assert "None of 19 values of 'ward' lies in two parts." in told(run)
    assert "Share of 40 series: train" in told(run)


def test_nothing_of_held_out_series_is_read_in_training(tmp_path: Path) -> None:
    """What the training series are for a network stays as it is whatever the others hold."""
    names = [f"s{i:02}" for i in range(30)]
    config, first = group_config(), table_of(names)
    runs = [staged(config, first, tmp_path / "first")]
    segments, _ = load_segments(runs[0])
    assert segments.part_S is not None
    held_out = [name for name, part in zip(segments.series, segments.part_S, strict=True) if part]
    other = first.with_columns(load=pl.when(pl.col("site").is_in(held_out)).then(1e6).otherwise("load"))
    runs.append(staged(config, other, tmp_path / "other"))
    scalers = [run.read_json("preprocess/scaler.json") for run in runs]
    assert scalers[0] == scalers[1]


def test_by_order_the_first_series_of_the_source_train(tmp_path: Path) -> None:
    names = ["m", "z", "a", "k", "b", "y", "c", "x", "d", "w"]
    config = made.make_config(split={"by": "order", "train": 6, "validation": 2})
    run = staged(config, table_of(names), tmp_path / "run")
    segments, bounds = load_segments(run)
    held = {
        part: {segments.series[s] for s in segments.series_of(origins(segments, bounds, part, config.window))}
        for part in PARTS
    }
    assert held == {"train": set(names[:6]), "validation": set(names[6:8]), "test": set(names[8:])}
    assert "All parts span the same times" in told(run)
    assert report(run).summary.startswith("Whole series, dealt by order, with")


def test_sequences_to_classify_are_dealt_whatever_their_times(tmp_path: Path) -> None:
    """All begin at the same time, where parts of the time axis could not tell them apart."""
    names, kinds = [f"d{i:02}" for i in range(40)], ["up", "down"] * 20
    table = table_of(names, 9, kind=kinds).rename({"site": "day"})
    config = made.classify_config(split={"by": "order", "train": 0.5, "validation": 0.25})
    run = staged(config, table, tmp_path / "run")
    segments, bounds = load_segments(run)
    found = {part: sorted(segments.series[s] for s in sequences(segments, bounds, part)) for part in PARTS}
    assert found == {"train": names[:20], "validation": names[20:30], "test": names[30:]}
    assert written(run)["sequences"] == {"train": 20, "validation": 10, "test": 10}


def test_labels_of_steps_are_counted_in_the_series_dealt_to_a_part(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(8)]
    table = table_of(names, 50, load2=range(8)).with_columns(
        state=pl.when(pl.int_range(400) % 3 == 0).then(pl.lit("up"))
    )
    table = table.with_columns(state=pl.when(pl.int_range(400) % 5 == 0).then(pl.lit("down")).otherwise("state"))
    config = made.label_config(split={"by": "order", "train": 4, "validation": 2})
    run = staged(config, table, tmp_path / "run")
    count = table.group_by("site").agg(pl.col("state").count()).sort("site")["state"].to_list()
    expected = {"train": sum(count[:4]), "validation": sum(count[4:6]), "test": sum(count[6:])}
    assert written(run)["labelled steps"] == expected


def test_series_in_no_part_are_told(tmp_path: Path) -> None:
    config = made.make_config(split={"by": "order", "train": 4, "validation": 2, "test": 3})
    run = staged(config, table_of([f"s{i}" for i in range(12)]), tmp_path / "run")
    assert "3 series are in no part" in told(run)


def test_parts_too_small_to_judge_by_are_told(tmp_path: Path) -> None:
    thin = staged(made.make_config(), table_of(["a"]), tmp_path / "thin")
    assert "advice: validation holds 2 windows without a common step" in told(thin)
    assert "[split.test: a larger part]" in told(thin)
    enough = staged(made.make_config(), table_of([f"s{i}" for i in range(20)]), tmp_path / "enough")
    assert "left to chance" not in told(enough)


def test_a_part_whose_series_are_all_too_short_is_refused(tmp_path: Path) -> None:
    table = pl.concat([table_of(["a", "b", "c"]), table_of(["d"], 10)])
    config = made.make_config(split={"by": "order", "train": 2, "validation": 1})
    with pytest.raises(
        InputError, match=r"split.test holds no window: its 1 segments have at most 10 steps, and a window"
    ):
        staged(config, table, tmp_path / "run")


def test_a_part_that_gaps_leave_no_window_in_is_refused_with_that_reason(tmp_path: Path) -> None:
    table = table_of(["a", "b"]).filter(~pl.int_range(pl.len()).mod(100).is_between(85, 96))
    with pytest.raises(InputError, match=r"holds no window, though it spans .*preprocess\.max_gap_steps, now \d+"):
        staged(made.make_config(preprocess={"max_gap_steps": 4}), table, tmp_path / "run")


def test_a_group_that_changes_inside_a_series_is_refused(tmp_path: Path) -> None:
    table = table_of(["a", "b"]).with_columns(ward=pl.int_range(200) // 150)
    with pytest.raises(InputError, match=r"split.group 'ward' changes inside 1 series, such as 'b' \('0' and '1'\)"):
        staged(group_config(group="ward"), table, tmp_path / "run")
