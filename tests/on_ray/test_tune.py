from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lstm_ray.data.store import load_segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.choosing.validation import validation_metrics
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.model.trial import run_trial
from lstm_ray.on_ray import tune as stage
from lstm_ray.on_ray.tuning.legs import Ended, Leg, ended, mark_whole
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import StageDir
from lstm_ray.space import draw, trial_config
from tests.on_ray.worlds import prepared, small_config, write_waves

RATES = {"train.learning_rate": {"choice": [0.002, 0.004, 1e6]}}
TUNE = {"tune__trials": 4, "tune__max_epochs": 2, "tune__grace_epochs": 2, "train__max_epochs": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A config whose space holds four settings, of which one diverges, and a run with a barely trained policy."""
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(write_waves(folder), tune__space=RATES, model__dropout=0.2, **TUNE)
    return config, prepared(config, folder / "run", "train")


@pytest.fixture(scope="module")
def world(trained):
    _, run = trained
    segments, bounds = load_segments(run)
    base = Policy.load(run.local / "train/policy")
    return segments, segments.scaled(base.scaler), bounds, base


@pytest.fixture(scope="module")
def tuned(local_ray, trained):
    config, run = trained
    return run_stages(config, run, ["tune"])["tune"]


def test_tuning_leaves_the_chosen_policy_and_nothing_of_the_search(tuned, trained, world):
    _, run = trained
    segments, _, bounds, base = world
    policy = Policy.load(run.local / "tune/policy")
    assert validation_metrics(policy, segments, bounds) == pytest.approx(tuned.validation)
    assert tuned.validation["mae"] < base.facts["validation"]["mae"], "one epoch of training is easy to improve on"
    assert tuned.best_config == tuned.trials[tuned.best_trial - 1]["settings"]
    assert policy.config.train.learning_rate == tuned.best_config["train.learning_rate"]
    assert {p.name for p in (run.local / "tune").iterdir()} == {"policy", "figures.json", "report.json", "log.jsonl"}
    assert "lower than the trained policy's" in tuned.summary


def test_a_trial_that_diverges_is_reported_and_the_others_finish(tuned):
    (failed,) = [trial for trial in tuned.trials if trial["failure"]]
    assert failed["settings"] == {"train.learning_rate": 1e6}
    assert "diverged" in failed["failure"]
    assert [len(trial["losses"]) for trial in tuned.trials if trial is not failed] == [2, 2, 2]
    (warning,) = [finding for finding in tuned.findings if finding.severity == "warning"]
    assert "1 of 4 trials failed" in warning.text
    cells = [cell for table in tuned.tables for row in TableData.model_validate(table).rows for cell in row]
    assert any(str(cell).startswith("failed: training diverged") for cell in cells)


def test_a_trial_s_record_says_how_it_began_what_it_kept_and_what_it_took(tuned):
    for trial in tuned.trials:
        assert trial["warm_share"] == 1.0
        assert trial["start_loss"] > 0
        assert trial["seconds"] > 0 or trial["failure"]
        assert trial["lineage"] == []
        if not trial["failure"]:
            # Of two networks that were best after different epochs, and so not quite the least of the epochs.
            assert trial["kept_loss"] == pytest.approx(min(trial["losses"]), rel=0.1)


def found_by(config, world, folder, trains):
    """What a search would leave in which these trials trained, and the others failed."""
    _, scaled, bounds, base = world
    found = []
    for number, settings in enumerate(draw(config), 1):
        leg = Leg(number, settings)
        leg.begin(folder)
        if number in trains:
            own = leg.place(folder)
            run_trial(
                trial_config(config, settings), scaled, bounds, base.network.state_dict(), own, scaler=base.scaler
            )
            mark_whole(own)
        found.append(ended(folder, [leg], {} if number in trains else {0: "out of luck"}))
    return found


def test_of_trials_that_keep_the_same_weights_the_one_that_found_them_is_a_candidate(trained, world, tmp_path):
    config, _ = trained
    segments, _, _, base = world
    first, _, third, _ = found_by(config, world, tmp_path, [1, 3])
    heir = replace(third, number=9, settings=first.settings, lineage=["took over trial 3 at epoch 2"])
    assert set(stage._best(config, [heir, first, third], base, segments.schema)) == {1, 3}


def test_a_trial_that_never_began_is_told_without_building_its_network(trained, world, tmp_path):
    config, _ = trained
    segments, _, bounds, base = world
    one = Ended(2, {"model.hidden": 10_000_000}, tmp_path, 0.0, None, None, [], 0.0, "no memory was left", [])
    told = stage._trial(config, one, base, segments, bounds)
    assert (told.failure, told.unchanged) == ("no memory was left", False)


def test_where_every_trial_fails_the_stage_says_why(trained, world, tmp_path, monkeypatch):
    config, run = trained
    monkeypatch.setattr(
        stage, "search", lambda config, scaled, bounds, base, folder: found_by(config, world, folder, [])
    )
    with pytest.raises(InputError, match="all 4 trials of tune failed; the first: out of luck"):
        stage.tune(config, run, StageDir(tmp_path))


def test_a_space_that_cannot_be_searched_is_refused_before_anything_is_read(trained, tmp_path):
    config, _ = trained
    dead = small_config(config.data.source, tune__space={"model.pooling": {"choice": ["mean", "max"]}})
    with pytest.raises(InputError, match=r"'model\.pooling' has no effect here"):
        stage.tune(dead, None, StageDir(tmp_path))


def test_the_policy_that_goes_on_is_the_chosen_one_s(trained, world, tmp_path, monkeypatch):
    """Trials 1 and 3 alone end; the choice itself is told of by its own tests."""
    config, run = trained
    segments, _, bounds, base = world
    monkeypatch.setattr(
        stage, "search", lambda config, scaled, bounds, base, folder: found_by(config, world, folder, [1, 3])
    )
    report = stage.tune(config, run, StageDir(tmp_path))
    failures = [bool(trial["failure"]) for trial in report.trials]
    assert failures == [False, True, False, True]
    kept = Policy.load(tmp_path / "policy")
    assert validation_metrics(kept, segments, bounds) == pytest.approx(report.validation)
    if report.best_trial is None:
        for name, value in base.network.state_dict().items():
            assert torch.equal(kept.network.state_dict()[name], value)
    else:
        assert report.best_trial in (1, 3)
        assert kept.config.train.learning_rate == report.best_config["train.learning_rate"]
    assert all(math.isfinite(value) for value in report.validation.values())
