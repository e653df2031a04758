"""The policy that goes on is the best on validation, and only a policy of this run's windows and data may compete."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lstm_ray.config import Config, parse
from lstm_ray.errors import InputError
from lstm_ray.evaluate.choosing import candidates
from lstm_ray.evaluate.choosing.candidates import Candidate
from lstm_ray.run_dir import RunDir

CONFIG = parse({"name": "t", "data": {"source": "x.csv", "time": "t", "target": ["y"]}})
SCALER = "this run's scaler"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run whose policies say of themselves what the test puts in ``policies``."""
    run = RunDir(tmp_path)
    run.policies = {}
    monkeypatch.setattr(candidates.Policy, "load", lambda path: run.policies[Path(path).parent.name])
    return run


def _leave(
    run: RunDir,
    stage: str,
    validation,
    config: Config = CONFIG,
    scaler=SCALER,
    policy: bool = True,
    tuned=None,
    **facts,
) -> None:
    report = {"stage": stage, "summary": "", "validation": validation, "best_config": tuned}
    run.write_json(f"{stage}/report.json", report)
    if policy:
        run.write_json(f"{stage}/policy/policy.json", {})
        run.policies[stage] = SimpleNamespace(config=config, scaler=scaler, facts=facts, version=f"version of {stage}")


def candidate(stage: str, validation, **more) -> Candidate:
    return Candidate(stage, validation, CONFIG.window, f"version of {stage}", **more)


def test_the_smallest_validation_mae_goes_on(run):
    for stage, mae in {"train": 2.0, "plan": 1.9, "tune": 1.5}.items():
        _leave(run, stage, {"mae": mae})
    found, left_out = candidates.find(CONFIG, run, SCALER)
    assert [candidate.stage for candidate in found] == ["train", "plan", "tune"]
    assert not left_out
    chosen = candidates.choose(found, "values")
    assert chosen == candidate("tune", {"mae": 1.5})
    text = candidates.compared(found, chosen, "values").text
    assert "'tune' goes on" in text
    assert "'train' has 2 (+33.3 %)" in text
    assert "'plan' has 1.9 (+26.7 %)" in text


def test_the_largest_macro_f1_goes_on_when_classifying():
    found = [candidate("train", {"macro_f1": 0.7, "mae": 0.0}), candidate("tune", {"macro_f1": 0.8, "mae": 9.0})]
    assert candidates.choose(found, "classes").stage == "tune"


def test_a_tie_goes_to_the_simpler_and_is_called_one():
    found = [candidate("train", {"mae": 2.0}), candidate("plan", {"mae": 2.0}), candidate("tune", {"mae": 2.5})]
    chosen = candidates.choose(found, "values")
    assert chosen.stage == "train"
    assert "a tie" in candidates.compared(found, chosen, "values").text


def test_the_table_marks_the_chosen_and_leads_with_the_metric_that_decides():
    found = [candidate("train", {"bias": 0.1, "mae": 2.0}), candidate("tune", {"mae": 1.0})]
    table = candidates.table(found, found[1], "values")
    assert table["columns"] == ["policy of", "MAE", "bias"]
    assert table["rows"] == [["train", 2.0, 0.1], ["tune", 1.0, None]]
    assert table["best"] == 1


def test_a_stage_that_kept_no_policy_is_no_candidate(run):
    _leave(run, "train", {"mae": 2.0})
    _leave(run, "plan", {"mae": 1.0}, policy=False)
    found, left_out = candidates.find(CONFIG, run, SCALER)
    assert [candidate.stage for candidate in found] == ["train"]
    assert not left_out
    assert "only candidate" in candidates.compared(found, found[0], "values").text


def test_a_run_without_a_trained_policy_is_told_to_train(run):
    with pytest.raises(InputError, match="run the stage 'train' first"):
        candidates.find(CONFIG, run, SCALER)
    _leave(run, "train", {"mae": 1.0}, policy=False)
    with pytest.raises(InputError, match="run the stage 'train' first"):
        candidates.find(CONFIG, run, SCALER)


def test_a_policy_left_over_from_other_windows_is_left_out_with_a_warning(run):
    other = parse({**CONFIG.model_dump(), "window": {"horizon": 48}})
    _leave(run, "train", {"mae": 2.0})
    _leave(run, "tune", {"mae": 0.1}, config=other)
    _leave(run, "plan", {"mae": 0.1}, scaler="another")
    found, left_out = candidates.find(CONFIG, run, SCALER)
    assert [candidate.stage for candidate in found] == ["train"]
    assert [finding.severity for finding in left_out] == ["warning", "warning"]
    assert "another training part" in left_out[0].text
    assert "horizon 48" in left_out[1].text


def test_a_tuned_policy_may_have_the_window_that_its_search_chose_and_no_other(run):
    longer = parse({**CONFIG.model_dump(), "window": {"history": 336, "patch": 12}})
    _leave(run, "train", {"mae": 2.0})
    _leave(run, "tune", {"mae": 0.1}, config=longer, tuned={"window.history": 336, "window.patch": 12})
    found, left_out = candidates.find(CONFIG, run, SCALER)
    assert [one.window.history for one in found] == [168, 336]
    assert not left_out
    _leave(run, "tune", {"mae": 0.1}, config=longer, tuned={"window.history": 336})
    found, (warning,) = candidates.find(CONFIG, run, SCALER)
    assert len(found) == 1
    assert "history 336, horizon 24, patch 12" in warning.text


def test_a_trained_policy_that_tune_set_aside_for_a_simpler_one_is_not_asked_again(run):
    _leave(run, "train", {"mae": 2.0})
    _leave(run, "tune", {"mae": 2.1}, preferred_to="version of train")
    found, _ = candidates.find(CONFIG, run, SCALER)
    chosen = candidates.choose(found, "values")
    assert chosen.stage == "tune"
    assert candidates.compared(found, chosen, "values").text == (
        "'tune' goes on, best of those left on validation with MAE 2.1. 'train' (2) was set aside before: 'tune' compared its "
        "own with it case by case and took the simplest that lies within one standard error of the best."
    )
    _leave(run, "tune", {"mae": 2.1}, preferred_to="version of an older one")
    assert candidates.choose(candidates.find(CONFIG, run, SCALER)[0], "values").stage == "train"


def test_a_trained_policy_that_does_not_fit_is_refused(run):
    _leave(run, "train", {"mae": 2.0}, scaler="another")
    with pytest.raises(InputError, match="'train' was trained on another training part"):
        candidates.find(CONFIG, run, SCALER)


def test_a_report_without_the_deciding_metric_is_refused_with_what_it_has(run):
    _leave(run, "train", {"rmse": 2.0})
    with pytest.raises(InputError, match=r"no validation.mae, found \['rmse'\]; run the stage 'train' again"):
        candidates.find(CONFIG, run, SCALER)
