from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import ray

from lstm_ray.config import parse
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import rows_of
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.pool import Worker, actor_pool
from lstm_ray.on_ray.rollouts import tasks_for, told, world_of
from lstm_ray.plan import labels
from lstm_ray.plan.starts import rollout_origins

from .worlds import label_config, prepared, small_config, write_waves

SCENARIOS = [
    {"name": "higher", "column": "load", "operation": "shift", "value": 5.0},
    {"name": "calm", "column": "wind", "operation": "set", "value": 0.0, "steps": 12, "series": ["a"]},
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    tree = small_config(write_waves(folder)).model_dump()
    tree["plan"]["scenarios"] = SCENARIOS
    config = parse(tree)
    return config, prepared(config, folder / "run", "train")


@pytest.fixture(scope="module")
def world(trained):
    config, run = trained
    segments, bounds = load_segments(run)
    policy = Policy.load(run.local / "train/policy")
    return world_of(policy, segments, bounds, config), rollout_origins(segments, bounds, "validation", config, 12)


@pytest.mark.parametrize("actors", [1, 2])
def test_actors_roll_out_what_a_plain_loop_does(local_ray, trained, world, actors):
    config, run = trained
    ours, items = world
    folder = run.local / "train/policy"
    tasks = tasks_for(config, items)
    alone = Worker(str(folder))
    plain = [alone.do(told, ours, (task,)) for task in tasks]
    with actor_pool(folder, ours, actors) as pool:
        answers = dict(pool.each(told, [(task,) for task in tasks]))
    assert sorted(answers) == list(range(len(tasks)))
    for number, expected in enumerate(plain):
        np.testing.assert_array_equal(answers[number], expected)


def test_an_actor_killed_in_mid_work_loses_and_doubles_nothing(local_ray, trained, world):
    config, run = trained
    ours, items = world
    folder = run.local / "train/policy"
    tasks = tasks_for(config, items) * 4
    alone = Worker(str(folder))
    with actor_pool(folder, ours, 2) as pool:
        answers = []
        for index, answer in enumerate(pool.each(told, [(task,) for task in tasks])):
            if index == 2:
                for actor in pool.members:
                    ray.kill(actor, no_restart=False)
            answers.append(answer)
    assert sorted(number for number, _ in answers) == list(range(len(tasks)))
    for number, answer in answers:
        np.testing.assert_array_equal(answer, alone.do(told, ours, (tasks[number],)))


def test_the_stage_leaves_every_rollout_and_an_honest_verdict(local_ray, trained):
    config, run = trained
    report = run_stages(config, run, ["plan"])["plan"]
    rollouts = pl.read_parquet(run.local / "plan/rollouts.parquet")
    keys = ["scenario", "series", "origin", "path", "step", "target"]
    assert rollouts.select(keys).is_duplicated().sum() == 0
    assert rollouts.height == 3 * 12 * 3 * 24
    verdict = run.read_json("plan/verdict.json")
    assert verdict["kept"] == (verdict["mixed"] < min(verdict["base"], verdict["control"]))
    assert run.exists("plan/policy/policy.json") == verdict["kept"]
    assert report.validation["mae"] == pytest.approx(
        min(verdict["base"], verdict["mixed"] if verdict["kept"] else np.inf)
    )
    effects = run.read_json("plan/scenarios.json")["effects"]
    assert effects["higher"]["load"]["mean"] > 0.5, "a load that was higher stays higher for a while"


@pytest.mark.parametrize("kind", ["class", "value"])
def test_scenarios_of_labels_are_told_by_actors_as_by_a_plain_loop_and_planning_ends_with_a_verdict(
    local_ray, tmp_path, kind
):
    config = label_config(write_waves(tmp_path), kind)
    run = prepared(config, tmp_path / "run", "plan")
    segments, bounds = load_segments(run)
    policy = Policy.load(run.local / "train/policy")
    items = labels.stretches(segments, bounds)
    rows = rows_of(labels.ranges(segments, items))
    table = pl.read_parquet(run.local / "plan/rollouts.parquet")
    assert table.height == 2 * len(rows)
    answers = segments.schema.classes or ["state"]
    changed = labels.under(segments, config.plan.scenarios[0], items)
    for name, world in (("base", segments), ("higher", changed)):
        expected = policy.tell_steps(world, labels.ranges(segments, items))
        np.testing.assert_allclose(table.filter(pl.col("scenario") == name).select(answers).to_numpy(), expected)
    verdict = json.loads((run.local / "plan/verdict.json").read_text())
    assert verdict["metric"] == ("macro_f1" if kind == "class" else "mae")
    assert verdict["num_synthetic"] > 0
    _, end = bounds["validation"]
    later = segments.steps(np.arange(len(changed.past_RP))) >= end
    np.testing.assert_array_equal(changed.past_RP[later], segments.past_RP[later])
    np.testing.assert_allclose(changed.past_RP[rows, 0], segments.past_RP[rows, 0] + 5, rtol=1e-6)
