"""The audit of a whole run, as a user asks for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from lstm_ray.cli import main
from lstm_ray.evaluate.audit import auditing, inputs, named
from lstm_ray.report.page import render
from lstm_ray.run_dir import RunDir, to_json
from tests import made

STEPS = 900


def _config(folder: Path, leak: bool) -> Path:
    """A small forecast of two series with an honest past input, and one that is the target six steps later."""
    random, frames = np.random.default_rng(4), []
    for name in ("a", "b"):
        slow = np.cumsum(random.normal(size=STEPS)) * 0.3
        load = 20 + 3 * np.sin(2 * np.pi * np.arange(STEPS) / 24) + slow + random.normal(size=STEPS)
        dated = np.append(load[6:], load[-6:]) * 0.5 + 1
        columns = {"load": load, "wind": random.normal(size=STEPS), "report": dated}
        when = (made.START + np.arange(STEPS)).astype("datetime64[us]")
        frames.append(pl.DataFrame({"site": [name] * STEPS, "when": when, **columns}))
    pl.concat(frames).write_parquet(folder / "t.parquet")
    tree = made.config_tree(str(folder / "t.parquet"))
    tree["data"]["past"] = ["wind", "report"] if leak else ["wind"]
    tree["train"] |= {"max_epochs": 4, "batch": 32, "origins": 20}
    tree["evaluate"] = {"damage": [], "explain": "none", "statistical_windows": 0}
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def _audited(folder: Path, leak: bool) -> tuple[int, dict]:
    """The command's exit code, and what it left."""
    run = folder / "run"
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(_config(folder, leak)), "--run-dir", str(run), "--audit"])
    return int(end.value.code or 0), json.loads((run / "evaluate" / "audit.json").read_text())


def test_a_run_whose_covariate_is_the_shifted_target_is_caught_and_the_covariate_named(tmp_path, capsys):
    code, found = _audited(tmp_path, leak=True)
    failed = {check["name"]: check for check in found["checks"] if check["verdict"] == "failed"}
    assert code == 1
    assert failed["inputs that know the future"]["details"]["caught"] == ["report"]
    assert "future scramble" not in failed, "the policy itself reads no future: the data does"
    assert "'report' takes away" in capsys.readouterr().out
    page = render(RunDir(tmp_path / "run"))
    assert "The audit" in page
    assert "takes away" in page


def test_an_honest_run_passes_and_says_what_was_looked_at(tmp_path, capsys):
    code, found = _audited(tmp_path, leak=False)
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert code == 0, found["checks"]
    assert set(verdicts.values()) <= {"passed", "left out"}
    assert list(verdicts)[:3] == ["future scramble", "inputs that know the future", "what the policy owes to one input"]
    assert len(verdicts) == 8
    assert {finding["severity"] for finding in found["findings"]} == {"info"}
    assert [row[0] for row in found["tables"][0]["rows"]] == ["wind"]
    assert "future scramble (passed)" in capsys.readouterr().out
    assert "Of 8 checks for leaks" in (tmp_path / "run" / "evaluate" / "model_card.md").read_text()


def test_what_each_task_checks_is_told_in_json():
    labelled, told = made.labelled_of([240]), made.segments_of([240])
    checks = [
        named.of_labels(labelled, made.PARTS, 1),
        inputs.that_know(told, made.PARTS, made.make_config().window, 1),
    ]
    found = auditing._told(checks)
    to_json(found)
    assert [one["name"] for one in found["checks"]] == [named.NAME, inputs.NAME]


def test_a_run_repeated_with_the_same_seed_gives_the_same_metrics(tmp_path):
    config = _config(tmp_path, leak=False)
    found = []
    for name in ("one", "two"):
        with pytest.raises(SystemExit):
            main(
                ["evaluate", str(config), "--run-dir", str(tmp_path / name), "--set", "evaluate.statistical_windows=3"]
            )
        found.append(json.loads((tmp_path / name / "evaluate" / "metrics.json").read_text()))
    assert found[0] == found[1]
    assert "statistical" in found[0]
