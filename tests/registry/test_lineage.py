"""From a version back to data, configuration and code, through its parents; files held against their hashes."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lstm_ray import __version__
from lstm_ray.errors import InputError
from lstm_ray.finding import Report
from lstm_ray.registry.lineage import LINEAGE, ancestry, lines
from lstm_ray.report.card.facts import Facts
from lstm_ray.report.card.lineage import KEPT, lineage_of
from lstm_ray.report.card.model_card import model_card
from lstm_ray.run_dir import RunDir
from tests import made
from tests.registry.test_policies import begun, run_with
from tests.serving import services as serving
from tests.serving.switching.test_register import version

PARENT = "c" * 64


def trained(folder: Path, **report: Any) -> RunDir:
    """A run directory as training leaves it, with its data beside."""
    table = folder / "table.csv"
    folder.mkdir(parents=True)
    table.write_text("name,time,load\na,2024-01-01,1\n")
    run = RunDir(folder / "run")
    config = made.make_config().model_dump(mode="json")
    config["data"]["source"] = str(table)
    run.write_bytes("config.yaml", yaml.safe_dump(config).encode())
    told = Report(stage="train", summary="Trained.", fingerprint="f", **report)
    run.write_bytes("train/report.json", told.model_dump_json().encode())
    return run


def test_a_run_tells_data_config_code_seed_time_and_parents(tmp_path: Path) -> None:
    run = trained(tmp_path / "one", started_from={"version": PARENT, "share": 1.0})
    found, table = lineage_of(run), tmp_path / "one" / "table.csv"
    assert found["data"] == [
        {"file": str(table), "bytes": 30, "sha256": hashlib.sha256(table.read_bytes()).hexdigest()}
    ]
    assert found["config"] == hashlib.sha256(run.read_bytes("config.yaml")).hexdigest()
    assert found["code"]["version"] == __version__
    assert re.fullmatch(r"[0-9a-f]{64}", found["code"]["sha256"])
    assert found["parents"] == [PARENT]
    assert found["trained"].endswith("+00:00")
    assert lineage_of(RunDir(tmp_path / "empty")) == {}
    before = run.read_json(KEPT)
    assert lineage_of(run) == found
    assert run.read_json(KEPT) == before, "hashed once"
    table.write_text("name,time,load\na,2024-01-01,2\n")
    assert lineage_of(run)["data"][0]["sha256"] != found["data"][0]["sha256"]
    table.unlink()
    gone = lineage_of(run)
    assert gone["data"] == []
    assert "names no file" in gone["missing"]


def bundled(lineage: dict[str, Any], number: int = 0) -> Any:
    policy = serving.forecaster()
    policy.facts |= {LINEAGE: lineage, "number": number}
    return policy


def test_a_tree_leads_through_parents_and_says_which_files_are_still_the_same(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "one"), trained(tmp_path / "two")
    parent = bundled(lineage_of(first))
    run = run_with(tmp_path / "run", parent.files())
    registry, account = begun(run)
    registry.close()
    old = version(parent.files())
    child = bundled({**lineage_of(second), "parents": [old, PARENT]}, 1)
    with registry.__class__(registry.folder) as registry:
        registry.challenge(account, child.files(), "retrain/0001", "judged", {})
    new = version(child.files())
    (tmp_path / "one" / "table.csv").write_text("altered")
    tree = ancestry(run, new[:12])
    assert (tree.version, [one.version for one in tree.parents]) == (new, [old, PARENT])
    assert list(tree.checked.values()) == ["same"]
    assert list(tree.parents[0].checked.values()) == ["changed"]
    assert tree.parents[1].lineage is None
    (tmp_path / "one" / "table.csv").unlink()
    told = "\n".join(lines(ancestry(run, new)))
    assert re.search(r"table\.csv \(30 bytes, [0-9a-f]{12}\)  gone", told)
    assert "not known here" in told
    assert ancestry(run).version == old, "the champion"
    with pytest.raises(InputError, match="no policy kept here"):
        ancestry(run, "ffffffff")


def test_the_card_tells_where_a_policy_comes_from(tmp_path: Path) -> None:
    policy = bundled({**lineage_of(trained(tmp_path / "one")), "parents": [PARENT]})
    card = model_card(policy, Facts({}))
    assert "## Lineage" in card
    assert "table.csv" in card
    assert str(tmp_path) not in card[card.index("## Lineage") : card.index("## How to call it")]
    assert PARENT in card
    assert json.dumps(policy.facts[LINEAGE])
    assert "## Lineage" not in model_card(serving.forecaster(), Facts({}))
