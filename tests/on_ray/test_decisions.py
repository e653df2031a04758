"""Decisions on actors equal a plain loop, outlive their driver, and reach the bundle that is served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.store import load_segments
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.decisions import decided_at, decisions, require_plans
from lstm_ray.on_ray.pool import actor_pool
from lstm_ray.on_ray.rollouts import world_of
from lstm_ray.plan.futures.starts import World
from lstm_ray.run_dir import RunDir
from lstm_ray.serving import planning
from tests.on_ray.worlds import prepared, small_config, write_waves

DECISION: dict[str, Any] = {
    "actions": [
        {"name": "wind", "low": -2, "high": 2, "sum": {"steps": 12, "low": -3, "high": 3}},
        {"name": "order", "low": 0, "high": 40, "step": 1, "every": 3},
    ],
    "objective": [
        {"kind": "newsvendor", "supply": "order", "over": 1, "under": 3},
        {"kind": "track", "column": "wind", "reference": 0},
    ],
    "candidates": 12,
    "rounds": 3,
    "elites": 0.25,
    "paths": 4,
    "origins": 3,
}


def config_of(file: Path, **values: Any) -> Config:
    plan = {"origins": 2, "paths": 2, "synthetic": None, "decision": DECISION | values}
    deploy = {"load_seconds": 0.2, "load_connections": 2}
    return small_config(file, data__past=[], data__known=["wind"], plan=plan, deploy=deploy)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return config_of(write_waves(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return prepared(config, tmp_path_factory.mktemp("run"), "train")


@pytest.fixture(scope="module")
def base(run: RunDir) -> Policy:
    assert run.local is not None
    return Policy.load(run.local / "train/policy")


@pytest.fixture(scope="module")
def bounds(run: RunDir) -> Boundaries:
    return load_segments(run)[1]


@pytest.fixture(scope="module")
def world(run: RunDir, base: Policy, bounds: Boundaries, config: Config) -> World:
    return world_of(base, load_segments(run)[0], bounds, config)


class Loop:
    """A pool that works in this process, for so many tasks."""

    def __init__(self, policy: Policy, world: World, most: int = 99) -> None:
        self.version, self._policy, self._world, self._most = policy.version, policy, world, most

    def each(self, function: Any, tasks: Sequence[Sequence[Any]]) -> Iterator[tuple[int, Any]]:
        for number, task in enumerate(tasks):
            if number == self._most:
                raise KeyboardInterrupt
            yield number, function(self._policy, self._world, *task)


def told(pool: Any, world: World, bounds: Boundaries, folder: Path) -> tuple[Any, ...]:
    findings, facts, figures, tables = decisions(pool, world, bounds, world.config, folder)
    for one in facts["origins"]:
        del one["seconds"]
    return [f.text for f in findings if " took " not in f.text], facts, figures, tables


def test_actors_decide_like_a_plain_loop(
    local_ray: None, run: RunDir, base: Policy, world: World, bounds: Boundaries, tmp_path: Path
) -> None:
    assert run.local is not None
    (tmp_path / "ray").mkdir()
    (tmp_path / "loop").mkdir()
    with actor_pool(run.local / "train/policy", world, 2) as pool:
        found = told(pool, world, bounds, tmp_path / "ray")
    assert found == told(Loop(base, world), world, bounds, tmp_path / "loop")
    kept = json.loads((tmp_path / "ray/decisions.json").read_text())
    assert [len(one["times"]) for one in kept["origins"]] == [12, 12, 12]
    assert {one["series"] for one in kept["origins"]} <= {"a", "b", "c"}
    order = np.array(kept["origins"][0]["actions"]["order"]["plan"])
    assert (order == np.rint(order)).all()
    assert (order.reshape(4, 3) == order[::3, None]).all()


def test_what_was_decided_before_the_driver_was_killed_is_not_decided_again(
    base: Policy, world: World, bounds: Boundaries, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        told(Loop(base, world, most=2), world, bounds, tmp_path)
    asked: list[int] = []

    class Counting(Loop):
        def each(self, function: Any, tasks: Sequence[Sequence[Any]]) -> Iterator[tuple[int, Any]]:
            asked.extend(task[0] for task in tasks)
            yield from super().each(function, tasks)

    found = told(Counting(base, world), world, bounds, tmp_path)
    assert len(asked) == 1
    (tmp_path / "whole").mkdir()
    assert found == told(Loop(base, world), world, bounds, tmp_path / "whole")


def test_a_plan_for_one_origin_is_that_of_the_seed(base: Policy, world: World) -> None:
    one, same = (decided_at(base, world, 400) for _ in range(2))
    np.testing.assert_array_equal(one["plan_SA"], same["plan_SA"])


def test_sums_that_no_plan_can_keep_are_told_by_whoever_asks_no_policy(
    config: Config, world: World, bounds: Boundaries
) -> None:
    require_plans(world, bounds)
    action = {"name": "wind", "low": 2, "high": 3, "sum": {"steps": 12, "keep": True}}
    wrong = config_of(Path(str(config.data.source)), actions=[action, DECISION["actions"][1]])
    with pytest.raises(
        InputError, match=r"plan.decision, a, 2024-.*: action 'wind': the data's own sum over 12 steps, .*widen"
    ):
        require_plans(replace(world, config=wrong), bounds)


def test_the_stage_reports_its_decisions_and_the_bundle_carries_the_planner_of_this_run(
    local_ray: None, config: Config, run: RunDir
) -> None:
    run_stages(config, run, ["plan", "deploy"])
    report = run.report("plan")
    assert report is not None
    assert "decisions at 3 moments" in report.summary
    assert report.model_extra is not None
    assert any(table["title"] == "Decisions" for table in report.model_extra["tables"])
    assert {"decision-action-0", "decision-outcome", "decision-search"} <= {f.id for f in run.figures("plan")}
    assert run.local is not None
    served = Policy.load(run.local / "policy")
    assert planning.can_plan(served)
    assert served.config.plan.decision == config.plan.decision
    assert set(served.facts[planning.RANGES]) == {"wind"}
    deployed = run.report("deploy")
    assert deployed is not None
    assert any("POST /v1/plan answers the documented example" in finding.text for finding in deployed.findings)
