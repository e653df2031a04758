"""The model card: what it says of runs of each task, and that it leaves out what a run does not know."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lstm_ray.model import stored
from lstm_ray.model.policy import Policy
from lstm_ray.model.smoke import smoke_of
from lstm_ray.report.card import model_card as cards
from lstm_ray.report.card.facts import Facts, facts_of
from lstm_ray.report.card.markdown import counted, listed, table
from lstm_ray.run_dir import Report, RunDir
from tests import made

MINIMAL = {
    "task": "forecast",
    "policy": "train",
    "split": "test",
    "num_windows": 100,
    "metrics": {"mae": 2.0, "mse": 9.0, "rmse": 3.0, "coverage": 0.7},
    "baselines": {"ridge": {"mae": 1.6, "rmse": 2.4}, "last_value": {"mae": 4.0, "rmse": None}},
}
FULL: dict[str, Any] = MINIMAL | {
    "skill_interval": [-0.4, -0.1],
    "skill_against": "ridge",
    "statistical": {
        "failed": {"AutoETS": 0},
        "history": 24,
        "num_windows": 10,
        "metrics": {"policy": {"mae": 2.0}, "AutoETS": {"mae": 2.5}, "ridge": {"mae": 1.6}},
        "skill": {"AutoETS": 0.2, "ridge": -0.25},
        "skill_interval": {"AutoETS": None},
    },
    "intervals": {
        "answered": "calibrated",
        "uncalibrated": {
            "intervals": {"80 %": {"coverage": 0.6, "chance": 0.05, "width": 4.0, "by_horizon": [0.5, 0.7]}}
        },
        "calibrated": {
            "intervals": {"80 %": {"coverage": 0.79, "chance": 0.05, "width": 6.0, "by_horizon": [0.8, None]}}
        },
    },
    "by_series": {"policy": {"a": 1.0, "b|c": 3.0, "d": None}, "ridge": {"a": 1.5, "b|c": 1.7, "d": None}},
    "by_hour": {"policy": [2.0] * 12 + [2.1] * 12, "ridge": [1.6] * 24},
    "explain": {
        "metric": "mean absolute error",
        "part": "validation",
        "things": "windows",
        "windows": 50,
        "by_input": {"load": {"increase": 0.9, "reach": 0.1}, "wind": {"increase": 0.01, "reach": 0.05}},
        "by_lag": {"newest 1d": {"increase": 0.5, "reach": 0.1}, "1d to 2d ago": {"increase": 0.1, "reach": 0.1}},
    },
    "robustness": [
        {
            "kind": "missing",
            "metric": "mae",
            "severity": [0.0, 0.1, 0.5],
            "harm": {"policy": [0.0, 0.25, 0.75]},
            "overtaken_at": {"ridge": 0.0, "seasonal_naive": 0.2345},
        },
        {
            "kind": "unseen",
            "metric": "mae",
            "severity": [0.0, 1.0],
            "harm": {"policy": [0.0, 0.125]},
            "overtaken_at": {"ridge": None},
        },
    ],
    "backtest": {
        "metric": "mae",
        "refit": True,
        "summary": {"score": {"mean": 2.2, "deviation": 0.3}, "skill": {"mean": 0.05, "deviation": None}},
        "policies": [
            {"stretch": 1, "from": "2024-01-01 00:00:00", "to": "2024-02-01", "seed": seed, "score": score}
            | {"baseline": "ridge", "baseline_score": 2.5}
            for seed, score in ((7, 2.0), (8, 2.4))
        ],
    },
}
CLASSES = {
    "task": "classify",
    "policy": "train",
    "split": "test",
    "num_windows": 40,
    "metrics": {"macro_f1": 0.8, "accuracy": 0.9},
    "baselines": {"majority": {"macro_f1": 0.4, "accuracy": 0.6}},
    "by_class": {
        "late": {"support": 10.0, "precision": None, "recall": 0.0, "f1": 0.0},
        "on time": {"support": 30.0, "precision": 0.75, "recall": 1.0, "f1": 0.857},
    },
    "confusion": {"classes": ["late", "on time"], "rows_are_truth": [[0, 10], [0, 30]]},
}
CHECKS = [
    {"name": "future scramble", "verdict": "passed", "text": "nothing changed"},
    {"name": "shuffled answers", "verdict": "failed", "text": "they were learned"},
    {"name": "scaler", "verdict": "left out", "text": "no scaler"},
]


def model_card(policy: Policy, facts: Facts, **values: Any) -> str:
    """The card, with spaces that break."""
    return cards.model_card(policy, facts, **values).replace("\N{NO-BREAK SPACE}", " ")


def headings(card: str) -> list[str]:
    return re.findall(r"^## (.*)$", card, re.MULTILINE)


@pytest.mark.parametrize("metrics", [MINIMAL, FULL, CLASSES], ids=["minimal", "full", "classes"])
def test_every_row_is_as_wide_as_its_table(policy: Policy, metrics: dict[str, Any]) -> None:
    card = model_card(policy, Facts(metrics, checks=CHECKS))
    for block in card.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1, block
    assert "None" not in card
    assert "nan" not in card.split()


def test_a_section_without_facts_is_left_out(policy: Policy) -> None:
    assert headings(model_card(policy, Facts(MINIMAL))) == [
        *("Intended use", "How good it is", "Groups", "Limits", "How steady its answers are", "Data", "Details"),
        *("How to reproduce it", "How to call it"),
    ]
    assert "not audited" in model_card(policy, Facts(MINIMAL))


def test_a_policy_that_loses_is_said_to_lose_with_its_interval(policy: Policy) -> None:
    card = model_card(policy, Facts(FULL))
    assert (
        "**Its MAE of 2 is behind the 1.6 of the best baseline (ridge): 25.0 % more error. The 95 % interval of that skill, "
        "\N{MINUS SIGN}40.0 % to \N{MINUS SIGN}10.0 %, lies below zero" in card
    )


def test_metrics_are_rows_and_forecasters_columns(policy: Policy) -> None:
    card = model_card(policy, Facts(MINIMAL))
    assert "|  | policy (train) | ridge | last value |" in card
    assert "| MAE ↓ | 2.0 | **1.6** | 4.0 |" in card
    assert "Of the policy alone: coverage 0.7" in card
    assert "MSE" not in card.replace("RMSE", ""), "it stands beside its root, which says the same"


def test_intervals_slices_and_inputs_are_told_in_short(policy: Policy) -> None:
    card = model_card(policy, Facts(FULL))
    assert "those of 80 % hold 79.0 %" in card
    assert "| share held by the 80 % interval | 60.0 % | 79.0 % |" in card
    assert "| series | a: 1 | b\\|c: 3 | 3.0 | 1.7 |" in card
    assert "Nearly even (1.2 times at most) by hour of the day." in card
    assert (
        "nothing is lost that could be told from chance: wind. Of the past, the stretch 'newest 1d' matters most"
        in card
    )


def test_damage_folds_and_the_audit_are_told_with_what_went_wrong(policy: Policy) -> None:
    card = model_card(policy, Facts(FULL, checks=CHECKS))
    assert "| +25.0 % at 10 % | +75.0 % at 50 % | seasonal naive from 23 % |" in card
    assert "The ridge is better undamaged already." in card
    assert "Known series read as unseen change its MAE by +12.5 %." in card
    assert "Over 1 stretch of time, trained anew before each, with 2 seeds: MAE 2.2 ± 0.3" in card
    assert "| 2024-01-01 00:00 to 2024-02-01 | 2 to 2.4 | 2.5 | ridge |" in card
    assert "Of 3 checks for leaks and mistakes, 1 passed and 1 failed; 1 did not apply." in card
    assert "- **shuffled answers failed**: they were learned" in card
    assert "| seed | 7; of the folds 7, 8 |" in card
    assert "not audited" not in card


def test_classes_are_told_the_worst_first_with_the_commonest_mistake() -> None:
    config = made.classify_config()
    segments = made.sequences_of([12] * 6)
    card = model_card(made.random_policy(config, segments), Facts(CLASSES))
    assert "ahead of the 0.4 of the best baseline (majority): 66.7 % less is lacking to a perfect macro F1.**" in card
    assert card.index("| late |") < card.index("| on time |")
    assert "The commonest mistake: 10 sequences of 'late' told as 'on time'." in card
    assert "in the data's own units" not in card


def test_what_made_the_policy_is_told_with_hash_machine_and_time(policy: Policy) -> None:
    facts = Facts(
        MINIMAL,
        times={"train": ["2024-01-01 00:00:00", "2024-02-01 05:30:00"]},
        windows={"train": 1234},
        environment={
            "versions": {"torch": "2.13.0", "statsmodels": "not installed"},
            "hardware": {"machine": "x86_64", "cpus": 2, "memory_bytes": 25e9, "system": "Linux"},
            "data": {"files": 1, "bytes": 2_000_000, "sha256": "ab12"},
        },
        rows=5000,
        seconds={"explore": 0.1, "train": 90.0},
    )
    card = model_card(policy, facts, folder="evaluate/policy", served="Plans tariff.")
    assert "Plans tariff." in card.split("\n\n")[1]
    assert "(5,000 rows, 1 file of 2 MB, SHA-256 `ab12`)" in card
    assert "| train | 2024-01-01 00:00 | 2024-02-01 05:30 | 1,234 |" in card
    assert "| machine | x86_64, 2 CPUs, 25 GB memory |" in card
    assert "statsmodels" not in card
    assert "| time | 1 min 30 s (train " in card
    assert "| energy | not measured |" in card
    assert 'Policy.load("evaluate/policy")' in card


def test_while_evaluating_what_an_earlier_evaluation_left_does_not_count(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with run.stage("evaluate", "0" * 64) as work:
        work.write_json("audit.json", {"checks": CHECKS})
        work.write_json("report.json", Report(stage="evaluate", summary="", wall_seconds=9.0))
    assert facts_of(run, MINIMAL) == replace(Facts(MINIMAL), seconds={"evaluate": 9.0}, checks=CHECKS)
    assert facts_of(run, MINIMAL, evaluating=4.0) == replace(Facts(MINIMAL), seconds={"evaluate": 4.0})


def deployed(folder: Path, policy: Policy) -> RunDir:
    """A run whose evaluated policy is bundled, with more facts and a card."""
    run = RunDir(folder)
    run.write_json("evaluate/metrics.json", MINIMAL)
    policy.save(folder / cards.EVALUATED)
    bundled = Policy(policy.config, policy.schema, policy.scaler, policy.network.state_dict(), {"bundled": True})
    bundled.smoke = smoke_of(bundled)
    stored.write(folder / cards.BUNDLE, stored.with_card(bundled.files(), "# Before the audit\n"))
    return run


def test_an_audits_words_reach_the_bundles_card_and_the_bundle_stays_valid(tmp_path: Path, policy: Policy) -> None:
    run = deployed(tmp_path, policy)
    before = Policy.load(tmp_path / "policy").version
    cards.write_card(run, lambda policy: "Plans tariff.")
    card = (tmp_path / "policy/model_card.md").read_text()
    assert "Plans tariff." in card
    assert 'Policy.load("policy")' in card
    assert 'Policy.load("evaluate/policy")' in (tmp_path / "evaluate/model_card.md").read_text()
    assert Policy.load(tmp_path / "policy").version == before
    assert f"| version | `{before}` |" in card


def test_a_kill_while_a_bundle_gets_its_card_leaves_a_valid_bundle(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = deployed(tmp_path, policy)
    write = RunDir.write_bytes

    def killed(self: RunDir, path: str, content: bytes) -> None:
        if path == "policy/policy.json":
            raise KeyboardInterrupt
        write(self, path, content)

    monkeypatch.setattr(RunDir, "write_bytes", killed)
    with suppress(KeyboardInterrupt):
        cards.write_card(run)
    Policy.load(tmp_path / "policy")


def test_a_bundle_of_other_weights_keeps_its_card(tmp_path: Path, policy: Policy) -> None:
    run = deployed(tmp_path, policy)
    made.random_policy(made.make_config(seed=9), made.segments_of()).save(tmp_path / cards.EVALUATED)
    cards.write_card(run)
    assert (tmp_path / "policy/model_card.md").read_text() == "# Before the audit\n"


def test_the_licence_of_the_data_is_told_or_that_it_was_not(policy: Policy) -> None:
    assert "Its licence was not told (`data.licence`)." in model_card(policy, Facts(MINIMAL))
    licensed = made.random_policy(made.make_config(data__licence="CC BY 4.0"), made.segments_of())
    assert "Its licence: CC BY 4.0." in model_card(licensed, Facts(MINIMAL))


def test_words_in_lists_and_cells() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert [counted(1, "epoch"), counted(2, "epoch"), counted(2, "stretch")] == ["1 epoch", "2 epochs", "2 stretches"]
    assert table(["a"], [["x|y\nz"]]).splitlines()[2] == "| x\\|y z |"
