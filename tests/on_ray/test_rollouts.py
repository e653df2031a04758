from __future__ import annotations

import os
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from lstm_ray.config import parse, with_values
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import rows_of, sequences
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import rollouts
from lstm_ray.on_ray.pool import Worker, actor_pool
from lstm_ray.on_ray.rollouts import BASE, FILE, KINDS, PARTS, rolled_out, tell, world_of
from lstm_ray.on_ray.what_if import what_if
from lstm_ray.plan.futures.rollouts import roll
from lstm_ray.plan.futures.starts import start_of
from lstm_ray.plan.what_if import labels
from lstm_ray.plan.what_if.scenarios import under, under_rows
from lstm_ray.serving.bundle import pack

from .worlds import label_config, prepared, small_config, write_waves

SCENARIOS = [
    {"name": "higher", "column": "load", "operation": "shift", "value": 5.0},
    {"name": "calm", "column": "wind", "operation": "set", "value": 0.0, "steps": 12, "series": ["a"]},
]


class Plain:
    """Tasks one after the other in this process, as they are asked for."""

    def __init__(self, folder, world, fails_at=None):
        self.worker, self.version, self.fails_at, self.done = Worker(pack(folder), world), "1", fails_at, 0

    def each(self, function, tasks):
        for number, task in enumerate(tasks):
            if number == self.fails_at:
                raise KeyboardInterrupt
            self.done += 1
            yield number, self.worker.do(function, task)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    tree = small_config(write_waves(folder)).model_dump()
    tree["plan"] |= {"scenarios": SCENARIOS, "origins": 24}
    config = parse(tree)
    return config, prepared(config, folder / "run", "train")


@pytest.fixture(scope="module")
def here(trained):
    """The policy's folder, the world, and the boundaries."""
    config, run = trained
    segments, bounds = load_segments(run)
    folder = run.local / "train/policy"
    return folder, world_of(Policy.load(folder), segments, bounds, config), bounds


@pytest.fixture(scope="module")
def undisturbed(here, tmp_path_factory):
    """What a plain loop leaves: the file, and what was told of each task."""
    folder, world, bounds = here
    work = tmp_path_factory.mktemp("undisturbed")
    return work / FILE, list(rolled_out(Plain(folder, world), world, bounds, work))


def test_rollouts_are_written_scenario_by_scenario_from_every_origin(here, undisturbed):
    folder, world, _ = here
    policy, (file, told) = Policy.load(folder), undisturbed
    assert len(told) > 3, "more than one task"
    assert sum(len(items) for items, _ in told) == 24
    frame = pl.read_parquet(file)
    assert frame.height == 3 * 24 * 3 * 24
    assert frame.schema["value"] == pl.Float32
    assert frame.select(pl.exclude("value")).is_duplicated().sum() == 0
    assert set(frame["series"].cast(str)) == {"a", "b", "c"}
    for items, answers in told:
        assert list(answers) == [BASE, "higher", "calm"]
        for scenario, futures in zip([None, *world.config.plan.scenarios], answers.values(), strict=True):
            start = under(start_of(world, items), scenario, world)
            np.testing.assert_array_equal(futures, roll(policy.forecast_batch, world, start, 3))
    items, answers = told[1]
    row = frame.filter(
        scenario="higher",
        series=world.segments.series[int(world.segments.series_of(items[:1])[0])],
        origin=world.segments.times(items[:1])[0],
        path=2,
        step=7,
    )
    assert row["value"].item() == answers["higher"][0, 2, 6, 0]


def test_what_starts_together_is_told_together(here):
    _, world, bounds = here
    kind = KINDS["forecast"]
    tasks = list(kind.tasks(world, kind.items(world, bounds)))
    steps = [set(world.segments.steps(items).tolist()) for items in tasks]
    assert sum(map(len, steps)) == len(set().union(*steps))


@pytest.mark.parametrize("actors", [1, 8])
def test_a_seed_gives_the_same_file_on_any_number_of_actors(local_ray, here, undisturbed, tmp_path, actors):
    folder, world, bounds = here
    with actor_pool(folder, world, actors, cpus=0.1) as pool:
        assert len(pool.members) == actors
        told = list(rolled_out(pool, world, bounds, tmp_path))
    assert (tmp_path / FILE).read_bytes() == undisturbed[0].read_bytes()
    for (items, answers), (wanted, expected) in zip(told, undisturbed[1], strict=True):
        np.testing.assert_array_equal(items, wanted)
        for name, futures in expected.items():
            np.testing.assert_array_equal(answers[name], futures)


def test_actors_killed_in_mid_work_change_nothing(local_ray, here, undisturbed, tmp_path, monkeypatch):
    folder, world, bounds = here
    marks = tmp_path / "marks"
    marks.mkdir()

    def dies_at_first(policy, world, items, key):
        mark = marks / key[:8]
        if not mark.exists():
            mark.touch()
            if key[0] in "02468":
                os.kill(os.getpid(), signal.SIGKILL)
        return tell(policy, world, items, key)

    monkeypatch.setattr(rollouts, "tell", dies_at_first)
    with actor_pool(folder, world, 2, cpus=0.1) as pool:
        list(rolled_out(pool, world, bounds, tmp_path))
    assert any(mark.name[0] in "02468" for mark in marks.iterdir()), "nothing was killed"
    assert (tmp_path / FILE).read_bytes() == undisturbed[0].read_bytes()


def test_what_a_killed_attempt_left_is_not_told_again_and_what_is_not_its_own_goes(here, undisturbed, tmp_path):
    folder, world, bounds = here
    with pytest.raises(KeyboardInterrupt):
        list(rolled_out(Plain(folder, world, fails_at=3), world, bounds, tmp_path))
    parts = tmp_path / PARTS
    kept = sorted(parts.glob("*.parquet"))
    assert len(kept) == 3
    assert not (tmp_path / FILE).exists()
    before = {file: file.stat().st_mtime_ns for file in kept[:1]}
    half = kept[1].read_bytes()[:-100]
    kept[1].write_bytes(half)
    (parts / "part-00003.tmp").write_bytes(half)
    other = pq.read_table(kept[2])
    pq.write_table(other.replace_schema_metadata({rollouts.KEY: b"of another seed"}), kept[2])
    pq.write_table(other, parts / "part-00099.parquet")
    pool = Plain(folder, world)
    told = list(rolled_out(pool, world, bounds, tmp_path))
    assert pool.done == len(told) - 1
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(list(parts.iterdir())) == len(told)
    assert (tmp_path / FILE).read_bytes() == undisturbed[0].read_bytes()


def test_other_paths_scenarios_and_policies_are_other_parts(here, tmp_path):
    folder, world, bounds = here
    list(rolled_out(Plain(folder, world), world, bounds, tmp_path))
    for values in ({"plan.paths": 4}, {"plan.scenarios": SCENARIOS[:1]}, {"seed": 7}):
        other = world_of(Policy.load(folder), world.segments, bounds, with_values(world.config, values))
        pool = Plain(folder, other)
        assert len(list(rolled_out(pool, other, bounds, tmp_path))) == pool.done, values
    pool.version, pool.done = "2", 0
    assert len(list(rolled_out(pool, other, bounds, tmp_path))) == pool.done


def test_memory_does_not_grow_with_what_is_rolled_out(here, tmp_path):
    folder, world, bounds = here

    def peak(origins: int) -> tuple[float, int]:
        config = with_values(world.config, {"plan.origins": origins, "plan.paths": 150})
        ours, work = world_of(Policy.load(folder), world.segments, bounds, config), tmp_path / str(origins)
        work.mkdir()
        pool = Plain(folder, ours)
        for _ in rolled_out(pool, ours, bounds, work):
            pass
        # All parts are there: what the driver itself holds is measured.
        tracemalloc.start()
        told = what_if(pool, ours, bounds, config, work)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held / 1e6, told.facts["num_rollouts"]

    (few, small), (many, large) = peak(24), peak(192)
    assert large == 8 * small
    whole = large * world.steps * 4 / 1e6
    assert many - few < whole / 6, f"{few:.1f} MB, {many:.1f} MB, all rollouts {whole:.1f} MB"


@pytest.mark.parametrize("kind", ["class", "value"])
def test_labels_under_scenarios_are_those_of_a_plain_loop_over_all_segments(tmp_path, kind):
    config = label_config(write_waves(tmp_path), kind)
    run = prepared(config, tmp_path / "run", "train")
    segments, bounds = load_segments(run)
    folder = run.local / "train/policy"
    policy, items = Policy.load(folder), labels.stretches(segments, bounds)
    world = world_of(policy, segments, bounds, config)
    told = what_if(Plain(folder, world), world, bounds, config, tmp_path)
    rows = rows_of(labels.ranges(segments, items))
    table = pl.read_parquet(tmp_path / FILE)
    assert table.height == told.facts["num_rollouts"] == 2 * len(rows)
    answers = segments.schema.classes or ["state"]
    changed = under_rows(segments, config.plan.scenarios[0], items, config)
    for name, ours in ((BASE, segments), ("higher", changed)):
        expected = policy.tell_steps(ours, labels.ranges(segments, items))
        found = table.filter(pl.col("scenario") == name)
        np.testing.assert_allclose(found.select(answers).to_numpy(), expected, rtol=1e-4, atol=1e-5)
        assert found["series"].cast(str).to_list() == [segments.series[s] for s in segments.series_of(rows)]
        np.testing.assert_array_equal(found["time"].to_numpy(), segments.times(rows))
    assert not np.allclose(table.filter(scenario="higher")[answers[0]], table.filter(scenario=BASE)[answers[0]])


def test_few_steps_a_task_tell_the_same_labels(tmp_path, monkeypatch):
    config = label_config(write_waves(tmp_path))
    run = prepared(config, tmp_path / "run", "train")
    segments, bounds = load_segments(run)
    folder = run.local / "train/policy"
    world = world_of(Policy.load(folder), segments, bounds, config)
    tables = []
    for steps in (rollouts.STEPS_PER_TASK, 1):
        monkeypatch.setattr(rollouts, "STEPS_PER_TASK", steps)
        work = tmp_path / str(steps)
        work.mkdir()
        pool = Plain(folder, world)
        what_if(pool, world, bounds, config, work)
        tables.append((pool.done, pl.read_parquet(work / FILE).sort("scenario", "series", "time")))
    (one, whole), (three, parts) = tables
    assert (one, three) == (1, len(labels.stretches(segments, bounds)))
    for name in segments.schema.classes:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-4, atol=1e-5)


def _classified(folder: Path, many: int = 90) -> Path:
    """Sequences of different lengths, with a class that their level tells."""
    random = np.random.default_rng(0)
    lines = ["name,step,level,kind"]
    for number in range(many):
        kind = "high" if number % 2 else "low"
        for step in range(random.integers(9, 20)):
            lines.append(f"{number:03d},{step},{(number % 2) + random.normal(0, 0.4):.4f},{kind}")
    file = folder / "sequences.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_classes_under_scenarios_are_those_of_a_plain_loop_over_all_sequences(tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "STEPS_PER_TASK", 60)
    config = parse(
        {
            "name": "sequences",
            "task": "classify",
            "data": {
                "source": str(_classified(tmp_path)),
                "series_id": ["name"],
                "time": "step",
                "past": ["level"],
                "label": "kind",
            },
            "split": {"by": "order"},
            "preprocess": {"engine": "polars"},
            "window": {"history": 20, "patch": 2},
            "model": {"hidden": 8},
            "train": {"precision": "float32", "max_epochs": 2, "batch": 8},
            "plan": {"scenarios": [{"name": "higher", "column": "level", "operation": "shift", "value": 1.0}]},
        }
    )
    run = prepared(config, tmp_path / "run", "train")
    segments, bounds = load_segments(run)
    folder = run.local / "train/policy"
    policy, ids = Policy.load(folder), sequences(segments, bounds, "validation")
    world = world_of(policy, segments, bounds, config)
    pool = Plain(folder, world)
    told = what_if(pool, world, bounds, config, tmp_path)
    assert pool.done > 2
    assert told.facts["num_rollouts"] == 2 * len(ids)
    table = pl.read_parquet(tmp_path / FILE)
    items = np.column_stack([ids, segments.bounds[ids], segments.bounds[ids + 1]])
    changed = under_rows(segments, config.plan.scenarios[0], items, config)
    for name, ours in ((BASE, segments), ("higher", changed)):
        found = table.filter(pl.col("scenario") == name)
        assert found["series"].cast(str).to_list() == [segments.series[i] for i in ids]
        expected = policy.class_probabilities(ours, ids)
        np.testing.assert_allclose(found.select(segments.schema.classes).to_numpy(), expected, rtol=1e-4, atol=1e-5)
