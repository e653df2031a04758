"""A training that starts from a finished policy: its weights and units are taken over, and what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import start
from lstm_ray.run_dir import Report, RunDir
from tests import made

Make = Callable[..., Config]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a policy; not to be changed."""
    folder = tmp_path_factory.mktemp("start")
    table = made.write_table(folder / "table.csv")
    run_stages(made.make_config(table, model__linear="average", model__members=2), RunDir(folder / "run"), ["train"])
    return folder / "run"


@pytest.fixture
def later(tmp_path: Path, trained: Path) -> Make:
    """A config on other rows that starts from that policy, with changes."""
    table = made.write_table(tmp_path / "later.csv", 300)
    rows = table.read_text().replace(",2", ",4").splitlines()
    table.write_text("\n".join(rows) + "\n")

    def make(**values: object) -> Config:
        given = {"model__linear": "average", "model__members": 2, "train__start_from": str(trained), **values}
        return made.make_config(table, **given)

    return make


def trained_as(config: Config, folder: Path) -> Report:
    return run_stages(config, RunDir(folder), ["train"])["train"]


def told(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = (report.model_extra or {})["started_from"]
    return found


def test_the_policys_units_are_kept_and_the_report_says_what_was_copied(
    tmp_path: Path, trained: Path, later: Make
) -> None:
    report = trained_as(later(), tmp_path / "run")
    before, after = Policy.load(trained / "train/policy"), Policy.load(tmp_path / "run/train/policy")
    assert after.scaler == before.scaler
    assert told(report) == {"version": before.version, "share": 1.0}
    assert f"100% of the weights began as those of policy {before.version[:12]}" in report.findings[0].text
    anew = trained_as(later(train__start_from=None), tmp_path / "anew")
    assert Policy.load(tmp_path / "anew/train/policy").scaler != before.scaler
    assert "started_from" not in (anew.model_extra or {})


def test_before_the_first_step_it_answers_as_the_policy_but_for_what_is_solved_anew(
    trained: Path, later: Make, tmp_path: Path
) -> None:
    """A learning rate of next to nothing leaves the weights as they began."""
    config = later(train__learning_rate=1e-12, train__weight_decay=0.0, train__max_epochs=1)
    trained_as(config, tmp_path / "run")
    before, after = (Policy.load(run / "train/policy").network.state_dict() for run in (trained, tmp_path / "run"))
    solved = [name for name in before if "ridge" in name or "plain" in name]
    assert solved
    assert any(not torch.equal(before[name], after[name]) for name in solved)
    for name in set(before) - {*solved, "weight_E"}:
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-9)


def test_another_policy_in_the_same_place_trains_anew_and_the_same_one_does_not(
    trained: Path, later: Make, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    shutil.copytree(trained / "train/policy", place)
    config, ran = later(train__start_from=str(place), train__max_epochs=1), list[str]()

    def run() -> list[str]:
        ran.clear()
        run_stages(config, RunDir(tmp_path / "run"), ["train"], on_start=ran.append)
        return list(ran)

    assert run() == ["environment", "preprocess", "split", "train"]
    assert run() == []
    other = Policy.load(place)
    other.facts["told"] = "otherwise"
    other.save(place)
    assert run() == ["preprocess", "split", "train"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model__hidden": 4, "model__linear": "none", "model__members": 1}, "no weight of train.start_from"),
        ({"preprocess__scale": "robust"}, "preprocess.scale standard, and this run has robust"),
        ({"data__past": []}, r"data.past \['wind'\], and this run has \[\]"),
        ({"train__start_from": "nowhere"}, "'nowhere' holds no policy"),
    ],
)
def test_what_does_not_fit_is_refused(later: Make, tmp_path: Path, changed: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        trained_as(later(**changed), tmp_path / "run")


def test_categories_and_classes_keep_their_order(trained: Path, later: Make) -> None:
    policy = Policy.load(trained / "train/policy")
    known = {"categories": {"kind": ["b", "a"]}, "classes": ["up", "down"]}
    policy.schema = policy.schema.model_copy(update=known)
    found = {"categories": {"kind": ["a", "b", "c"]}, "classes": ["down", "up"]}
    schema, scaler = start.in_its_units(policy, later(), policy.schema.model_copy(update=found))
    assert schema.categories == known["categories"]
    assert schema.classes == known["classes"]
    assert scaler == policy.scaler
    new = policy.schema.model_copy(update={**found, "classes": ["down", "flat", "up"]})
    assert start.in_its_units(policy, later(), new)[0].classes == ["down", "flat", "up"]


def test_workers_start_where_one_process_does(local_ray: None, later: Make, tmp_path: Path) -> None:
    alone = trained_as(later(train__max_epochs=1), tmp_path / "alone")
    shared = trained_as(later(train__max_epochs=1, train__workers=2), tmp_path / "shared")
    assert told(alone) == told(shared)
    first, second = (
        json.loads((tmp_path / name / "train/metrics.jsonl").read_text().splitlines()[0])
        for name in ("alone", "shared")
    )
    assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-3)
    assert first["validation_loss"] == pytest.approx(second["validation_loss"], rel=1e-3)
