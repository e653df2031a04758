"""Windows shared by actors: the same sums, files and report as in one process, whoever answers and whoever is lost."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import with_values
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.baselines import fit_baselines
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.stage import evaluate as evaluate_here
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import evaluate as module
from lstm_ray.run_dir import RunDir

from .worlds import prepared, small_config, write_waves

FEW = {
    "evaluate.batch": 8,
    "evaluate.damage": ["noise"],
    "evaluate.robustness_windows": 8,
    "evaluate.explain": "none",
    "evaluate.statistical_windows": 0,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = with_values(small_config(write_waves(folder), train__max_epochs=1), FEW)
    return config, prepared(config, folder / "run", "train")


@pytest.fixture(scope="module")
def given(trained):
    """What ``score`` is called with."""
    config, run = trained
    segments, parts = load_segments(run)
    policy = Policy.load(run.local / "train/policy")
    forecasters = {"policy": policy, **fit_baselines(segments, parts, config.window, policy.scaler)}
    test_M = origins(segments, parts, "test", config.window)
    return forecasters, segments, test_M, Yardstick.of(segments, parts, config.window, policy.scaler, 8)


def copy_of(run: RunDir, folder: Path) -> RunDir:
    shutil.copytree(run.local, folder)
    return RunDir(folder)


def test_the_stage_leaves_the_same_with_two_workers_as_with_none_and_is_not_stale_for_it(local_ray, trained, tmp_path):
    config, run = trained
    shared = with_values(config, {"evaluate.workers": 2})
    runs = [copy_of(run, tmp_path / name) for name in ("alone", "shared")]
    for one, how in zip(runs, (config, shared), strict=True):
        run_stages(how, one, ["evaluate"])
    found = [one.read_json("evaluate/metrics.json") for one in runs]
    alike(*found)
    assert found[0]["metrics"] == pytest.approx(found[1]["metrics"], rel=1e-12)
    files = [sorted((one.local / "evaluate/predictions").iterdir()) for one in runs]
    assert [file.name for file in files[1]] == [f"part-{number:05d}.parquet" for number in range(len(files[1]))]
    assert len(files[0]) == 1 < len(files[1])
    rows = [pl.concat([pl.read_parquet(file) for file in part]) for part in files]
    assert rows[0].equals(rows[1])
    cases = [pl.read_parquet(one.local / "evaluate/cases.parquet") for one in runs]
    cards = [(one.local / "evaluate/model_card.md").read_text().splitlines() for one in runs]
    assert [line for line in cards[0] if not line.startswith("| time")] == [
        line for line in cards[1] if not line.startswith("| time")
    ]
    assert cases[0].equals(cases[1])
    skipped: list[tuple[str, bool]] = []
    run_stages(config, runs[1], ["evaluate"], on_end=lambda name, report, was: skipped.append((name, was)))
    assert ("evaluate", True) in skipped


def alike(mine, other, rel=1e-9, where="metrics"):
    """The same but for how numbers were rounded on the way."""
    assert type(mine) is type(other), where
    if isinstance(mine, dict):
        assert mine.keys() == other.keys(), where
        for key in mine:
            alike(mine[key], other[key], rel, f"{where}.{key}")
    elif isinstance(mine, list):
        assert len(mine) == len(other), where
        for number, (one, its) in enumerate(zip(mine, other, strict=True)):
            alike(one, its, rel, f"{where}.{number}")
    elif isinstance(mine, float):
        assert mine == pytest.approx(other, rel=rel, abs=1e-12), where
    else:
        assert mine == other, where


def test_one_worker_and_two_have_the_very_same_sums(local_ray, given, monkeypatch):
    monkeypatch.setattr(module, "FEWEST_PIECES", 4)
    forecasters, segments, test_M, yardstick = given
    pieces = module._pieces(test_M, 8)
    assert len(pieces) > 2
    assert {len(piece) for piece in pieces[:-1]} == {len(pieces[0])}
    assert len(pieces[0]) % 8 == 0
    told: list[str] = []
    here = score(forecasters, segments, test_M, yardstick)
    one = module.shared(1)(forecasters, segments, test_M, yardstick)
    two = module.shared(2)(forecasters, segments, test_M, yardstick, told.append)
    assert len(told) == -(-len(test_M) // 8), "the bar moves once for every batch"
    for name, alone in here.items():
        assert one[name].total.metrics() == two[name].total.metrics()
        assert alone.total.metrics() == pytest.approx(two[name].total.metrics(), rel=1e-12)
        np.testing.assert_array_equal(alone.absolute_M, two[name].absolute_M)
        assert alone.by.keys() == two[name].by.keys()


def test_pieces_are_joined_in_their_own_order_in_whatever_order_they_come(given):
    forecasters, segments, test_M, yardstick = given
    test_M = test_M[: 8 * 11]
    here = score(forecasters, segments, test_M, yardstick)
    pieces = np.split(test_M, range(16, len(test_M), 16))
    found = []
    for order in (np.arange(len(pieces)), np.random.default_rng(1).permutation(len(pieces))):
        scores = module._Joined()
        for number in order:
            scores.add(int(number), score(forecasters, segments, pieces[number], yardstick))
        found.append(scores.whole())
    for name, alone in here.items():
        straight, mixed = (one[name] for one in found)
        np.testing.assert_array_equal(mixed.absolute_M, alone.absolute_M)
        for group, sums in alone.by.items():
            for key, value in sums.sums.items():
                np.testing.assert_array_equal(mixed.by[group].sums[key], straight.by[group].sums[key])
                np.testing.assert_allclose(mixed.by[group].sums[key], value, rtol=1e-12, atol=1e-12)


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost_or_counted_twice(
    local_ray, given, tmp_path, monkeypatch
):
    forecasters, segments, test_M, yardstick = given
    mark, real = tmp_path / "killed", module.scored

    def deadly(policy, world, origins_M):
        if origins_M[0] > test_M[len(test_M) // 2] and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(policy, world, origins_M)

    monkeypatch.setattr(module, "scored", deadly)
    out = tmp_path / "predictions" / "part-00000.parquet"
    found = module.shared(2)(forecasters, segments, test_M, yardstick, out=out)
    assert mark.exists()
    here = score(forecasters, segments, test_M, yardstick)
    assert found["policy"].total.metrics() == pytest.approx(here["policy"].total.metrics(), rel=1e-12)
    rows = pl.concat([pl.read_parquet(file) for file in sorted(out.parent.iterdir())])
    assert rows.height == len(test_M)
    assert not rows.is_duplicated().any()


def test_what_a_worker_finds_wrong_reaches_the_user_as_it_was_said(local_ray, given, monkeypatch):
    forecasters, segments, test_M, yardstick = given
    policy = forecasters["policy"]
    broken = Policy(
        policy.config,
        policy.schema,
        policy.scaler,
        {name: value * float("nan") for name, value in policy.network.state_dict().items()},
    )
    with pytest.raises(InputError, match="'policy' forecasts values that are not finite in 8 windows"):
        module.shared(2)({"policy": broken}, segments, test_M, yardstick)


def test_without_workers_no_actor_is_started(trained, tmp_path, monkeypatch):
    config, run = trained
    asked = []

    def watched(config, run, work, score_with, further):
        asked.append(score_with)
        return evaluate_here(config, run, work, score_with, further)

    monkeypatch.setattr(module, "evaluate_here", watched)
    run_stages(config, copy_of(run, tmp_path / "run"), ["evaluate"])
    assert asked == [score]
