from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from lstm_ray.config import parse, with_values
from lstm_ray.config_file import load
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import rollouts
from lstm_ray.report.page import render
from lstm_ray.run_dir import RunDir
from tests.e2e.conftest import LSTM_RAY, end_group, group, wait_for

from .worlds import label_config, prepared, small_config, write_waves

SCENARIOS = [
    {"name": "higher", "column": "load", "operation": "shift", "value": 5.0},
    {"name": "calm", "column": "wind", "operation": "set", "value": 0.0, "steps": 12, "series": ["a"]},
]
DECISION = {
    "actions": [{"name": "order", "low": 0.0, "high": 40.0}],
    "objective": [{"kind": "newsvendor", "supply": "order", "over": 1.0, "under": 3.0}],
    "origins": 2,
    "candidates": 6,
    "elites": 0.5,
    "rounds": 2,
    "paths": 4,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A file with the whole config, and a run with a trained policy."""
    folder = tmp_path_factory.mktemp("trained")
    tree = small_config(write_waves(folder)).model_dump(mode="json")
    tree["plan"] |= {"scenarios": SCENARIOS, "decision": DECISION, "origins": 24}
    prepared(parse(tree), folder / "run", "train")
    (folder / "run.yaml").write_text(yaml.safe_dump(tree))
    return folder / "run.yaml", folder / "run"


def test_a_plan_that_does_not_fit_the_data_is_refused_before_training(tmp_path):
    tree = small_config(write_waves(tmp_path)).model_dump(mode="json")
    config, run = parse(tree), RunDir(tmp_path / "run")
    unknown = with_values(config, {"plan.scenarios": [SCENARIOS[1] | {"series": ["z"]}]})
    long = with_values(config, {"plan.steps": 5_000})
    far = with_values(config, {"plan.decision": DECISION | {"steps": 5_000}})
    for wrong, words in (
        (unknown, "series 'z' is not in the data"),
        (long, "set plan.steps lower"),
        (far, r"set plan\.decision\.steps lower"),
    ):
        with pytest.raises(InputError, match=words):
            run_stages(wrong, run, ["plan"])
    assert not run.exists("train/report.json")


def copy_of(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder)
    return folder


def timeless(text: str) -> str:
    """Without what was measured of time."""
    return re.sub(r'took [\d.]+ s|"(wall_)?seconds": ?[\d.]+', "", text)


@pytest.fixture(scope="module")
def planned(local_ray, trained, tmp_path_factory):
    """What the stage leaves where nothing disturbs it."""
    file, run = trained
    folder = RunDir(copy_of(run, tmp_path_factory.mktemp("planned") / "run"))
    return folder, run_stages(load(file, []), folder, ["plan"])["plan"]


def test_the_stage_tells_scenarios_then_the_decision_then_synthetic_experience(planned):
    run, report = planned
    frame = pl.read_parquet(run.local / "plan/rollouts.parquet")
    assert frame.height == 3 * 24 * 3 * 24
    titles = [table["title"] for table in report.tables]
    first, second, third = (
        next(i for i, t in enumerate(titles) if word in t) for word in ("What-if", "ecision", "ynthetic")
    )
    assert first < second < third, titles
    texts = [finding.text for finding in report.findings]
    what_if, calibration = (
        next(i for i, t in enumerate(texts) if t.startswith(w)) for w in ("If higher", "The middle 80 %")
    )
    assert what_if < calibration < len(texts) - 1
    assert "ynthetic" in texts[-1]
    assert report.summary.startswith("216 rollouts under the base and 2 scenarios; decisions at 2 moments; synthetic ")
    assert run.read_json("plan/scenarios.json")["effects"]["higher"]["load"]["mean"] > 0.5
    assert 0 < run.read_json("plan/scenarios.json")["calibration"]["each step"]["coverage"]["80%"] <= 1
    assert len(run.read_json("plan/decisions.json")["origins"]) == 2


def test_a_policy_is_left_only_where_the_verdict_is_to_keep_it(planned):
    run, report = planned
    kept = run.read_json("plan/verdict.json")["kept"]
    assert report.kept == kept == run.exists("plan/policy/policy.json")
    assert kept or report.validation == run.report("train").validation


def test_nothing_of_the_work_is_left(planned):
    run, _ = planned
    wanted = {"rollouts.parquet", "scenarios.json", "decisions.json", "synthetic.parquet", "verdict.json"}
    found = {file.name for file in (run.local / "plan").iterdir()} - {"policy"}
    assert found == wanted | {"report.json", "figures.json", "log.jsonl"}


def test_without_decision_and_synthetic_experience_the_base_goes_on_and_the_page_shows_it(local_ray, trained, tmp_path):
    file, run = trained
    folder = RunDir(copy_of(run, tmp_path / "run"))
    config = with_values(load(file, []), {"plan.decision": None, "plan.synthetic": None, "plan.scenarios": []})
    report = run_stages(config, folder, ["plan"])["plan"]
    assert report.summary == "72 rollouts under the base and 0 scenarios; no synthetic experience was asked for."
    assert report.kept is False
    assert report.validation == folder.report("train").validation
    files = {file.name for file in (folder.local / "plan").iterdir()}
    assert files == {"rollouts.parquet", "scenarios.json", "report.json", "figures.json", "log.jsonl"}
    assert "no synthetic experience was asked for" in render(folder)


def test_a_driver_killed_in_mid_work_goes_on_after_what_is_done_and_ends_as_if_undisturbed(
    local_ray, trained, planned, tmp_path, monkeypatch
):
    file, run = trained
    folder = copy_of(run, tmp_path / "run")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [LSTM_RAY, "plan", str(file), "--run-dir", str(folder)]
    with group(command, inherited, tmp_path / "log") as process:
        parts = lambda: list(folder.glob(".work/plan-*/rollouts/part-*.parquet"))  # noqa: E731
        wait_for(lambda: bool(parts()), 120, lambda: (tmp_path / "log").read_text())
        end_group(process, signal.SIGKILL)
    assert not (folder / "plan").exists()
    before = {part.name for part in parts()}
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setattr("lstm_ray.on_ray.rollouts.tell", _marking(marks))
    report = run_stages(load(file, []), RunDir(folder), ["plan"])["plan"]
    assert len(list(marks.iterdir())) == 8 - len(before)
    whole, undisturbed = planned
    assert (folder / "plan/rollouts.parquet").read_bytes() == (whole.local / "plan/rollouts.parquet").read_bytes()
    for name in ("scenarios.json", "decisions.json", "verdict.json", "figures.json"):
        assert timeless((folder / "plan" / name).read_text()) == timeless((whole.local / "plan" / name).read_text()), (
            name
        )
    assert timeless(report.model_dump_json()) == timeless(undisturbed.model_dump_json())


def _marking(marks: Path):
    """``tell`` that leaves a mark for each task."""
    tell = rollouts.tell

    def marked(policy, world, items, key):
        (marks / key).touch()
        return tell(policy, world, items, key)

    return marked


def test_what_was_finished_before_a_later_part_failed_is_not_done_again(
    local_ray, trained, planned, tmp_path, monkeypatch
):
    file, run = trained
    folder = RunDir(copy_of(run, tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr("lstm_ray.on_ray.plan.experience", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_stages(load(file, []), folder, ["plan"])
    for again in ("lstm_ray.on_ray.rollouts.tell", "lstm_ray.on_ray.decisions.decided_at"):
        monkeypatch.setattr(again, lambda *given: 1 / 0)
    report = run_stages(load(file, []), folder, ["plan"])["plan"]
    assert timeless(report.model_dump_json()) == timeless(planned[1].model_dump_json())


def test_planning_of_labels_ends_with_a_verdict(local_ray, tmp_path):
    config = label_config(write_waves(tmp_path))
    run = prepared(config, tmp_path / "run", "plan")
    report = run.report("plan")
    assert "steps labelled under the base and 1 scenario; synthetic experience" in report.summary
    table = pl.read_parquet(run.local / "plan/rollouts.parquet")
    np.testing.assert_allclose(table["up"] + table["down"], 1.0, rtol=1e-5)
    assert run.read_json("plan/verdict.json")["metric"] == "macro_f1"
    if report.kept:
        Policy.load(run.local / "plan/policy")
