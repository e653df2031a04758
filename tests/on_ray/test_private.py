"""A training with differential privacy as a stage: what it told is in the report, the policy and its card, and what would not
be private is refused before anything is trained."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.evaluate.choosing.candidates import find
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.report.card.facts import Facts
from lstm_ray.report.card.model_card import model_card
from lstm_ray.run_dir import RunDir
from lstm_ray.serving.api import describe
from tests import made

SERIES = [f"s{number}" for number in range(8)]
PRIVATE = {"epsilon": 6.0, "delta": 0.01}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("private")
    table = made.write_table(folder / "table.csv", series=SERIES)
    config = made.make_config(table, train__private=PRIVATE, train__batch=4, train__patience=1, train__max_epochs=4)
    run_stages(config, RunDir(folder / "run"), ["train"])
    return RunDir(folder / "run")


def test_what_was_spent_is_told_wherever_the_policy_is(run: RunDir) -> None:
    assert run.local is not None
    told = json.loads((run.local / "train/report.json").read_text())
    policy = Policy.load(run.local / "train/policy")
    privacy = told["privacy"]
    assert policy.facts["privacy"] == privacy == describe(policy, {})["privacy"]
    assert (privacy["unit"], privacy["units"], privacy["delta"]) == ("series", len(SERIES), 0.01)
    assert 0 < privacy["epsilon"] <= privacy["epsilon_asked"] == 6
    assert privacy["sampling_rate"] == 0.5
    assert privacy["steps"] % told["epochs"] == 0
    card = model_card(policy, Facts(metrics={}, environment={}, lineage={}, rows=None))  # type: ignore[call-arg]
    assert "## Privacy" in card
    assert f"epsilon {privacy['epsilon']:.3g}" in card
    assert "Privacy does not cover statistics that values are scaled by" in card
    texts = [finding["text"] for finding in told["findings"]]
    assert any(text.startswith("Whether any one of 8 series was trained on stays hidden") for text in texts)
    assert any("as long as the longest gradient" in text for text in texts)


def test_the_network_is_one_that_gradients_alone_make(run: RunDir) -> None:
    assert run.local is not None
    policy = Policy.load(run.local / "train/policy")
    assert not [name for name in policy.network.state_dict() if "ridge" in name or "weight_E" in name]
    assert policy.config.model.linear == "none"
    assert policy.config.plan.synthetic is None


def test_a_training_that_begins_from_one_without_privacy_says_so(run: RunDir, tmp_path: Path) -> None:
    assert run.local is not None
    table = str(run.local.parent / "table.csv")
    values = {"train__batch": 4, "train__max_epochs": 1, "model__normalisation": "mean_deviation"}
    run_stages(made.make_config(table, **values), RunDir(tmp_path / "open"), ["train"])
    for start, whole in ((tmp_path / "open", None), (run.local, "a number")):
        config = made.make_config(table, **values, train__private=PRIVATE, train__start_from=str(start))
        report = run_stages(config, RunDir(tmp_path / start.name / "next"), ["train"])["train"]
        privacy = (report.model_extra or {})["privacy"]
        assert (privacy["epsilon_in_all"] is None) is (whole is None)
        warned = [finding.text for finding in report.findings if finding.severity == "warning"]
        assert any("what that one was trained on is not hidden" in text for text in warned) is (whole is None)
    assert privacy["epsilon_in_all"] > privacy["epsilon"]


def test_a_policy_that_was_trained_without_privacy_is_no_candidate(run: RunDir, tmp_path: Path) -> None:
    assert run.local is not None
    table = str(run.local.parent / "table.csv")
    plain = made.make_config(table)
    other = RunDir(tmp_path / "plain")
    run_stages(plain, other, ["train"])
    assert other.local is not None
    policy = Policy.load(other.local / "train/policy")
    with pytest.raises(InputError, match="was trained without privacy"):
        find(made.make_config(table, train__private=PRIVATE), other, policy.scaler)


def test_a_search_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = made.make_config(tmp_path / "none.csv", train__private=PRIVATE)
    with pytest.raises(InputError, match=r"train\.private is set, and the trials of tune.*lstm-ray deploy CONFIG"):
        run_stages(config, RunDir(tmp_path / "run"), ["train", "tune"])
    assert not (tmp_path / "run/environment").exists()


def test_without_opacus_it_is_said_before_training(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.local is not None
    for name in [name for name in sys.modules if name.split(".")[0] == "opacus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)
    monkeypatch.setattr("lstm_ray.on_ray.train.planned", lambda *given: pytest.fail("training had begun"))
    config = made.make_config(run.local.parent / "table.csv", train__private=PRIVATE)
    with pytest.raises(InputError, match=r"pip install 'lstm-ray\[private\]'"):
        run_stages(config, RunDir(tmp_path / "run"), ["train"])
