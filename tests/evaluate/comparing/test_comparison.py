"""Runs side by side: cases that all answered, verdicts, tables, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.data.schema import ColumnScale, Scaler
from lstm_ray.errors import InputError
from lstm_ray.evaluate.comparing import apart
from lstm_ray.evaluate.comparing.comparison import compare
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import RunDir, to_json
from tests.evaluate.comparing.finished import leave, noise


def test_a_run_that_is_truly_better_is_found(tmp_path: Path) -> None:
    error = noise()
    better = leave(tmp_path / "better", 0.9 * error, config={"train": {"batch": 32}})
    worse = leave(tmp_path / "worse", error)
    found = compare([worse, better])
    assert found.summary.startswith("On 2,400 windows that both runs answered, better has the least")
    assert "better than worse" in found.summary
    assert "not by luck" in found.summary
    pair = found.pairs[0]
    assert (pair.better, pair.other, pair.is_clear) == ("better", "worse", True)
    assert pair.share == pytest.approx(0.1)
    assert pair.interval is not None
    assert pair.interval[0] < pair.difference < pair.interval[1]
    assert found.ranking is not None
    assert found.ranking.names[0] == "better"
    assert found.as_dict()["differences"] == {"train.batch": [8, 32]}


def test_cases_of_too_short_a_time_are_not_called_luck(tmp_path: Path) -> None:
    found = compare([leave(tmp_path / "one", noise(6)), leave(tmp_path / "other", noise(6, seed=1))])
    assert found.pairs[0].interval is None
    assert "cannot be told: the windows span too short a time" in found.summary
    assert "may be luck" not in found.summary
    assert "p =" not in found.summary


def test_identical_runs_do_not_differ_and_share_their_rank(tmp_path: Path) -> None:
    one, other = leave(tmp_path / "one", noise()), leave(tmp_path / "other", noise())
    found = compare([one, other], baselines=False)
    pair = found.pairs[0]
    assert (pair.difference, pair.interval, pair.p, pair.adjusted) == (0.0, (0.0, 0.0), 1.0, 1.0)
    assert found.ranking is not None
    assert found.ranking.ranks == [1.5, 1.5]
    assert found.ranking.groups == [["one", "other"]]
    assert "equally good" in found.summary
    assert found.tables[-1]["rows"] == [["none", "", ""]]


def test_only_cases_that_all_runs_answered_count_and_the_others_are_told(tmp_path: Path) -> None:
    long, short = noise(300), noise(200, seed=1)
    found = compare([leave(tmp_path / "long", long), leave(tmp_path / "short", short, first=60)])
    assert len(found.found.step_M) == 200 * 8
    assert found.found.left_out == {"long": 100 * 8, "short": 0}
    assert found.errors["long"] == pytest.approx(long[60:260].mean())
    assert any("800 of 2,400 windows of 'long' were left out" in finding.text for finding in found.findings)


def test_everything_told_is_plain_and_can_be_shown(tmp_path: Path) -> None:
    found = compare([leave(tmp_path / name, noise(seed=seed)) for seed, name in enumerate("abc")])
    to_json(found.as_dict())
    to_json(found.figures)
    for table in found.tables:
        TableData.model_validate(table)
    assert [figure.id for figure in found.figures] == ["critical-difference", "differences", "over-time", "by-series"]
    assert [row[0] for row in found.rows()[1:]] == list(found.errors)


def test_baselines_of_the_first_run_join_where_they_are_wanted(tmp_path: Path) -> None:
    places = [leave(tmp_path / name, noise(seed=seed)) for seed, name in enumerate("ab")]
    assert compare(places).found.names == ["a", "b", "last value"]
    assert compare(places, baselines=False).found.names == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"target": "wind"}, "data.target is ['load'] in 'a' and ['wind'] in 'b'"),
        ({"horizon": 12}, "window.horizon is 6 in 'a' and 12 in 'b'"),
        ({"task": "label"}, "task is forecast in 'a' and label in 'b'"),
        ({"last_value": np.full((300, 8), 1.8)}, "by a factor of 1.8"),
        ({"first": 1000}, "no test case in common"),
        ({"series": [f"t{n}" for n in range(8)]}, "no test case in common"),
    ],
)
def test_runs_whose_errors_are_not_of_one_kind_are_refused(tmp_path: Path, values: dict, words: str) -> None:
    one = leave(tmp_path / "a", noise())
    other = leave(tmp_path / "b", noise(), **values)
    with pytest.raises(InputError) as caught:
        compare([one, other])
    assert words in str(caught.value)


def test_what_is_no_evaluated_run_and_a_run_named_twice_are_refused(tmp_path: Path) -> None:
    one = leave(tmp_path / "a", noise())
    with pytest.raises(InputError, match="holds no evaluated run"):
        compare([one, str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match="named twice"):
        compare([one, one])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="named twice"):
        compare([one, str(tmp_path / "link")])
    with pytest.raises(InputError, match="named twice"):
        compare([one, f"{tmp_path}/b/../a"])
    with pytest.raises(InputError, match="at least two"):
        compare([one])


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    places = [leave(tmp_path / folder / "run", noise(seed=seed)) for seed, folder in enumerate("xy")]
    assert compare(places, baselines=False).found.names == ["x/run", "y/run"]


def test_classes_are_compared_by_mcnemar_and_ranked_over_blocks(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wrong = (random.random((400, 1)) < 0.4).astype(float)
    mended = np.where(random.random((400, 1)) < 0.3, 0.0, wrong)
    places = [leave(tmp_path / name, e, task="classify") for name, e in (("plain", wrong), ("mended", mended))]
    found = compare(places, baselines=False)
    assert found.pairs[0].test == "exact McNemar"
    assert (found.pairs[0].better, found.pairs[0].is_clear) == ("mended", True)
    assert found.ranking is not None
    assert found.ranking.over == "40 blocks of sequences in their order"


def test_a_short_test_part_gives_neither_intervals_nor_ranks_and_says_so(tmp_path: Path) -> None:
    places = [leave(tmp_path / name, noise(20, 2, seed)) for seed, name in enumerate("ab")]
    found = compare(places, baselines=False)
    assert found.pairs[0].interval is None
    assert found.ranking is None
    texts = " ".join(finding.text for finding in found.findings)
    assert "too short for intervals" in texts
    assert "No ranks" in texts


def with_forecasts(run: str, value: float, origins: tuple[int, ...] = (0, 1, 2)) -> str:
    """The run with the same forecast from every origin, and a training deviation of 2."""
    own = ColumnScale(mean=[0.0], deviation=[2.0])
    RunDir(run).write_json("preprocess/scaler.json", Scaler(target=own, past=own, known=own))
    folder = Path(run) / "evaluate" / "predictions"
    folder.mkdir()
    columns = {"series_id": ["s0"] * len(origins), "origin": origins, "target": ["load"] * len(origins)}
    told = pl.Series("q0.5", np.full((len(origins), 4), value, dtype=np.float32))
    pl.DataFrame(columns).with_columns(told).write_parquet(folder / "part-00000.parquet")
    return run


def test_forecasts_of_the_same_windows_are_held_apart_in_training_deviations(tmp_path: Path) -> None:
    runs = [leave(tmp_path / name, noise(40)) for name in ("one", "other", "silent")]
    with_forecasts(runs[0], 10.0)
    with_forecasts(runs[1], 13.0, origins=(1, 2, 3))
    found = compare(runs)
    [table] = [table for table in found.tables if table["topic"] == apart.TOPIC]
    assert table["rows"] == [["one", "other", "load", 1.5, 2]]
    TableData.model_validate(table)
    [finding] = [finding for finding in found.findings if finding.topic == apart.TOPIC]
    assert "1.5 training deviations apart" in finding.text


def test_runs_that_keep_no_forecasts_have_no_distance(tmp_path: Path) -> None:
    runs = [leave(tmp_path / "one", noise(40)), with_forecasts(leave(tmp_path / "other", noise(40)), 1.0)]
    assert apart.TOPIC not in {table["topic"] for table in compare(runs).tables}
