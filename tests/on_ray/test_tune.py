from __future__ import annotations

import pytest
import ray
import torch

from lstm_ray.data.store import load_segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.validation import validation_metrics
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.model.trial import draw, run_trial, trial_config
from lstm_ray.on_ray import cluster
from lstm_ray.on_ray import tune as stage
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import StageDir
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


def alone(config, settings, world):
    """The trial's losses, trained in this process."""
    _, scaled, bounds, base = world
    torch.set_num_threads(1)
    training = run_trial(trial_config(config, settings), scaled, bounds, base.network.state_dict())
    return [record.validation_loss for record in training.records]


def test_tuning_leaves_the_best_policy_and_nothing_of_the_search(tuned, trained, world):
    _, run = trained
    segments, _, bounds, base = world
    policy = Policy.load(run.local / "tune/policy")
    assert validation_metrics(policy, segments, bounds) == pytest.approx(tuned.validation)
    assert tuned.validation["mae"] < base.facts["validation"]["mae"], "one epoch of training is easy to improve on"
    assert tuned.best_config == tuned.trials[tuned.best_trial - 1]["settings"]
    assert policy.config.train.learning_rate == tuned.best_config["train.learning_rate"]
    assert {p.name for p in (run.local / "tune").iterdir()} == {"policy", "figures.json", "report.json"}
    assert "lower than the trained policy's" in tuned.summary


def test_a_trial_in_a_ray_process_equals_one_in_this_process(tuned, trained, world):
    config, _ = trained
    for trial in tuned.trials:
        if not trial["failure"]:
            assert trial["losses"] == pytest.approx(alone(config, trial["settings"], world), rel=1e-3)


def test_a_trial_that_diverges_is_reported_and_the_others_finish(tuned):
    (failed,) = [trial for trial in tuned.trials if trial["failure"]]
    assert failed["settings"] == {"train.learning_rate": 1e6}
    assert "diverged" in failed["failure"]
    assert [len(trial["losses"]) for trial in tuned.trials if trial is not failed] == [2, 2, 2]
    (warning,) = [finding for finding in tuned.findings if finding.severity == "warning"]
    assert "1 of 4 trials failed" in warning.text
    (table,) = tuned.tables
    assert "failed" in TableData.model_validate(table).rows[failed["number"]]


def test_an_interrupted_search_keeps_whole_trials_and_ends_with_all_of_them(local_ray, trained, world, tmp_path):
    """As a killed driver leaves it: trial 1 whole, trial 2 after its first epoch, trial 3 not begun."""
    config, _ = trained
    _, scaled, bounds, base = world
    settings = [{"train.learning_rate": rate} for rate in (0.002, 0.004, 0.006)]
    first, second = (stage.folder_of(tmp_path, n, settings[n - 1]) for n in (1, 2))
    weights = base.network.state_dict()
    run_trial(trial_config(config, settings[0]), scaled, bounds, weights, first)
    (first / stage.WHOLE).touch()
    run_trial(trial_config(config, settings[1]), scaled, bounds, weights, second, lambda record, loss: False)
    (tmp_path / stage.RAY_TUNE).mkdir()
    (tmp_path / stage.RAY_TUNE / "tuner.pkl").write_bytes(b"half a file")
    kept = [file for folder in (first, second) for file in folder.rglob("epoch-*/*")]
    before = {file: file.stat().st_mtime_ns for file in kept}
    assert len(kept) == 6
    ended = stage.search(config, settings, scaled, bounds, base, tmp_path)
    assert [one["epoch"] for one in ended] == [2, 2, 2]
    assert {file: file.stat().st_mtime_ns for file in kept} == before, "what was trained is not trained again"
    expected = [alone(config, one, world)[-1] for one in settings]
    assert [one["validation_loss"] for one in ended] == pytest.approx(expected, rel=1e-3)


def test_a_search_goes_on_where_others_hold_every_cpu(local_ray, trained, world, tmp_path):
    config, _ = trained
    _, scaled, bounds, base = world

    @ray.remote(num_cpus=cluster.num_cpus())
    class Holder:
        def ready(self) -> bool:
            return True

    holder = Holder.remote()
    assert ray.get(holder.ready.remote())
    (ended,) = stage.search(config, draw(config)[:1], scaled, bounds, base, tmp_path)
    assert ended["epoch"] == 2
    ray.kill(holder)


def test_poor_trials_are_stopped_early_and_never_the_only_one(local_ray, trained, world, tmp_path):
    config, _ = trained
    patient = trial_config(config, {}).model_copy(
        update={"tune": config.tune.model_copy(update={"max_epochs": 4, "grace_epochs": 1, "concurrency": 1})}
    )
    _, scaled, bounds, base = world
    settings = [{"train.learning_rate": rate} for rate in (0.01, 1e-6, 2e-6)]
    ended = stage.search(patient, settings, scaled, bounds, base, tmp_path)
    assert [one["epoch"] for one in ended] == [4, 1, 1]


def test_where_every_trial_fails_the_stage_says_why(trained, tmp_path, monkeypatch):
    config, run = trained
    monkeypatch.setattr(stage, "search", lambda config, settings, *rest: [{"failure": "out of luck"} for _ in settings])
    with pytest.raises(InputError, match="all 4 trials of tune failed; the first: out of luck"):
        stage.tune(config, run, StageDir(tmp_path))


def test_where_no_trial_is_better_the_trained_policy_stays(trained, world, tmp_path, monkeypatch):
    config, run = trained
    _, _, _, base = world
    monkeypatch.setattr(stage, "validation_metrics", lambda policy, segments, bounds: {"mae": 1e3})

    def trains_a_little(config, settings, scaled, bounds, base, folder):
        for number, one in enumerate(settings, start=1):
            own = stage.folder_of(folder, number, one)
            if number == 1:
                run_trial(trial_config(config, one), scaled, bounds, base.network.state_dict(), own)
        (folder / stage.RAY_TUNE).mkdir()
        return [{"start_loss": 0.5} for _ in settings]

    monkeypatch.setattr(stage, "search", trains_a_little)
    report = stage.tune(config, run, StageDir(tmp_path))
    assert report.best_config == {}
    assert report.validation == base.facts["validation"]
    assert "none better than the trained policy" in report.summary
    kept = Policy.load(tmp_path / "policy")
    for name, value in base.network.state_dict().items():
        assert torch.equal(kept.network.state_dict()[name], value)
    assert [bool(trial["failure"]) for trial in report.trials] == [False, True, True, True], "no checkpoint, no result"
