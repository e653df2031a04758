"""New data prepared by a policy's schema and scaler, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.preparing.unseen import after_training, alone, prepared
from lstm_ray.data.stage import split
from lstm_ray.data.store import load_scaler, load_schema, load_segments
from lstm_ray.data.windows import origins
from lstm_ray.errors import InputError
from lstm_ray.run_dir import REPORT, RunDir
from tests import made


@pytest.fixture
def run(config: Config, tmp_path: Path) -> RunDir:
    found = made.prepared_run(config, tmp_path / "run")
    with found.stage("split", "0" * 64) as work:
        work.write_json(REPORT, split(config, found, work))
    return found


def _prepared(config: Config, run: RunDir, source: Path):
    return prepared(config, load_schema(run), load_scaler(run), str(source))


def test_the_run_s_own_table_becomes_the_run_s_own_segments(config: Config, run: RunDir, table: Path) -> None:
    found, (theirs, _) = _prepared(config, run, table), load_segments(run)
    assert found.segments.series == theirs.series
    np.testing.assert_array_equal(found.segments.first_step, theirs.first_step)
    for name in ("target_RC", "observed_RC", "past_RP", "known_RK", "bounds"):
        np.testing.assert_array_equal(getattr(found.segments, name), getattr(theirs, name), err_msg=name)


def test_beside_the_run_every_part_has_the_windows_it_had(config: Config, run: RunDir, table: Path) -> None:
    new, (theirs, parts) = _prepared(config, run, table).segments, load_segments(run)
    both, every = after_training(theirs, parts, new, config.window.history, False)
    for part in ("train", "validation"):
        own, other = origins(both, every, part, config.window), origins(theirs, parts, part, config.window)
        np.testing.assert_array_equal(both.times(own), theirs.times(other))
        np.testing.assert_array_equal(both.target_RC[own], theirs.target_RC[other])
    whole, all_parts = alone(new)
    assert len(origins(both, every, "test", config.window)) == len(origins(whole, all_parts, "test", config.window))
    assert not len(origins(whole, all_parts, "train", config.window))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.head(10), "longest stretch without a gap has 10 steps, and a window needs 18"),
        (lambda t: t.head(0), "no rows"),
        (lambda t: t.drop("wind"), "wind"),
        (lambda t: t.with_columns(load=pl.lit(None, pl.Float64)), "target 'load' has no value"),
        (
            lambda t: t.with_columns(pl.col("when").str.replace(":00:00Z", ":20:00Z")),
            "lie between the policy's steps of 1h",
        ),
        (lambda t: t.gather_every(2), "are 2h apart and the policy's step is 1h"),
        (lambda t: t.with_columns(when=pl.int_range(pl.len())), "the policy was trained on time stamps"),
    ],
)
def test_data_that_a_policy_cannot_be_judged_on_is_refused_in_words(
    config: Config, run: RunDir, table: Path, tmp_path: Path, change, words: str
) -> None:
    change(pl.read_csv(table).filter(pl.col("site") == "a")).write_csv(tmp_path / "new.csv")
    with pytest.raises(InputError) as caught:
        _prepared(config, run, tmp_path / "new.csv")
    assert words in str(caught.value)


def test_a_class_that_the_policy_does_not_know_is_refused(tmp_path: Path) -> None:
    times = [f"{made.START + t}:00Z" for t in range(60)]
    states = ["on", "off"] * 30
    frame = pl.DataFrame({"site": "a", "when": times, "load": np.arange(60.0), "state": states})
    frame.write_csv(tmp_path / "old.csv")
    frame.with_columns(state=pl.lit("broken")).write_csv(tmp_path / "new.csv")
    config = made.label_config(data__source=str(tmp_path / "old.csv"), preprocess__engine="polars")
    run = made.prepared_run(config, tmp_path / "run")
    with pytest.raises(InputError, match="'broken' in some rows"):
        _prepared(config, run, tmp_path / "new.csv")
