"""What-ifs on actors: the base and every scenario from moments of the validation part, streamed to Parquet.

An actor tells some moments (or sequences) under every scenario and answers with the bytes of a Parquet file, which goes at
once into the stage's folder: a driver that was killed goes on after the files that are there. Once all are, they are read in
order, one at a time, into ``rollouts.parquet`` and into sums; so the driver never holds more than one of them, and numbers
and files do not depend on who told what when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Schema
from lstm_ray.data.windows import Segments, rows_of, sequences
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import metrics
from lstm_ray.on_ray.pool import Pool
from lstm_ray.plan.futures.residuals import errors_of
from lstm_ray.plan.futures.rollouts import require_errors, roll
from lstm_ray.plan.futures.starts import Start, World, some_origins, start_of
from lstm_ray.plan.what_if import labels
from lstm_ray.plan.what_if.scenarios import under, under_rows
from lstm_ray.run_dir import digest
from lstm_ray.sections.scenario import ScenarioConfig

FILE, PARTS = "rollouts.parquet", "rollouts"
"""What is left, and the folder of its parts: the stage removes it when all else is whole, too."""
KEY = b"lstm_ray.task"
"""Metadata of a part: a hash of all that it depends on."""
BASE = "base"
PATHS_PER_TASK = 160
"""Futures of one scenario that an actor rolls out at a time, at most about: the batch of its forecasts."""
FEWEST_TASKS = 16
"""Where there are origins for them: every actor of many gets some."""
STEPS_PER_TASK = 100_000
"""Steps of sequences, or labelled ones, that an actor tells at a time, about."""
Answers = Mapping[str, NDArray]
"""By scenario, the base first: futures [M, W, S, C], class probabilities [M, classes], or labels of steps [M, A]."""

Read = tuple[Segments, NDArray]
"""Stretches as segments of their own, and where they lie in those [M, 3]."""


@dataclass(frozen=True)
class Kind:
    """How the what-ifs of one task are told and written."""

    items: Callable[[World, Boundaries], NDArray]
    """What is told: origins [M], sequences [M], or stretches [M, 3] (``plan.labels``)."""
    tasks: Callable[[World, NDArray], Iterator[NDArray]]
    """Items that go together."""
    known: Callable[[World, NDArray], Any]
    """What the data holds of some items, read once for all scenarios."""
    answer: Callable[[Policy, World, ScenarioConfig | None, Any], NDArray]
    """What comes of that under a scenario, None for the unchanged base."""
    table: Callable[[World, NDArray, Answers], pa.Table]
    """Answers as rows: scenario after scenario, in the order of the items."""
    array: Callable[[World, NDArray, pa.Table], NDArray]
    """The inverse: the answers of all scenarios [N, ...]."""


def world_of(base: Policy, segments: Segments, bounds: Boundaries, config: Config) -> World:
    """What rollouts of a policy need: the data, and its own errors on validation to draw from."""
    errors = errors_of(base, segments, bounds) if config.task == "forecast" else None
    return World(segments, base.scaler, config, errors)


def tell(policy: Policy, world: World, items_M: NDArray, key: str) -> pa.Buffer:
    """What an actor does: some items under every scenario, as a Parquet file."""
    kind = KINDS[world.config.task]
    scenarios = {BASE: None} | {scenario.name: scenario for scenario in world.config.plan.scenarios}
    known = kind.known(world, items_M)
    answers = {name: kind.answer(policy, world, scenario, known) for name, scenario in scenarios.items()}
    sink = pa.BufferOutputStream()
    table = kind.table(world, items_M, answers).replace_schema_metadata({KEY: key.encode()})
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def rolled_out(pool: Pool, world: World, bounds: Boundaries, folder: Path) -> Iterator[tuple[NDArray, Answers]]:
    """Tell all items on the pool's actors, then give them and their answers back, task by task in order.

    Leaves ``rollouts.parquet`` in the folder once all were taken.
    """
    config, kind = world.config, KINDS[world.config.task]
    tasks = list(kind.tasks(world, kind.items(world, bounds)))
    settings = config.plan.model_dump(mode="json", include={"scenarios", "paths", "steps"})
    keys = [digest([pool.version, config.seed, settings, items_M]) for items_M in tasks]
    parts = folder / PARTS
    files = [parts / f"part-{number:05d}.parquet" for number in range(len(tasks))]
    _tell_missing(pool, tasks, keys, files)
    names = [BASE, *(scenario.name for scenario in config.plan.scenarios)]
    temporary, writer = folder / f".{FILE}.tmp", None
    for items_M, file in zip(tasks, files, strict=True):
        table = pq.read_table(file).replace_schema_metadata()
        writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=max(1, table.num_rows))
        yield items_M, dict(zip(names, kind.array(world, items_M, table), strict=True))
    if writer is not None:
        writer.close()
        temporary.rename(folder / FILE)


def _tell_missing(pool: Pool, tasks: list[NDArray], keys: list[str], files: list[Path]) -> None:
    """Fill the folder with what a killed attempt has not left there; what it left of other settings goes."""
    folder = files[0].parent
    folder.mkdir(exist_ok=True)
    wanted = dict(zip(files, keys, strict=True))
    for file in folder.iterdir():
        if file not in wanted or _key_of(file) != wanted[file]:
            file.unlink()
    missing = [number for number, file in enumerate(files) if not file.exists()]
    with progress.bar("rollouts", len(tasks)) as advance:
        for _ in range(len(tasks) - len(missing)):
            advance("kept from before")
        for turn, part in pool.each(tell, [(tasks[number], keys[number]) for number in missing]):
            file = files[missing[turn]]
            temporary = file.with_suffix(".tmp")
            temporary.write_bytes(part)
            temporary.rename(file)
            metrics.tell("rollouts", len(tasks[missing[turn]]))
            advance("")


def _key_of(file: Path) -> str | None:
    """What a part depends on; None where it is no whole Parquet file."""
    try:
        return (pq.read_metadata(file).metadata or {}).get(KEY, b"").decode()
    except (OSError, pa.ArrowInvalid):
        return None


def _origins(world: World, bounds: Boundaries) -> NDArray:
    """In the order of time: what starts together is told together."""
    segments, config = world.segments, world.config
    origin_M = some_origins(segments, bounds, "validation", config, config.plan.origins, together=True)
    require_errors(world, origin_M)
    return origin_M[np.argsort(segments.steps(origin_M), kind="stable")]


def _origin_tasks(world: World, origin_M: NDArray) -> Iterator[NDArray]:
    """Runs of origins; those of one time, which may be judged together, are never parted."""
    size = max(1, min(PATHS_PER_TASK // world.config.plan.paths, len(origin_M) // FEWEST_TASKS))
    first_U = np.flatnonzero(np.diff(world.segments.steps(origin_M), prepend=-1))
    return iter(np.split(origin_M, first_U[1:][np.diff(first_U // size) > 0]))


def _futures(policy: Policy, world: World, scenario: ScenarioConfig | None, start: Start) -> NDArray:
    return roll(policy.forecast_batch, world, under(start, scenario, world), world.config.plan.paths)


def _futures_table(world: World, origin_M: NDArray, answers: Answers) -> pa.Table:
    """One row for each scenario, series, origin, path, step and target."""
    segments = world.segments
    future_NMWSC = np.stack(list(answers.values()))
    index = np.indices(future_NMWSC.shape, np.int32).reshape(5, -1)
    names, of_M = np.unique([segments.series[s] for s in segments.series_of(origin_M)], return_inverse=True)
    return pa.table(
        {
            "scenario": _words(index[0], list(answers)),
            "series": _words(of_M[index[1]], names),
            "origin": segments.times(origin_M)[index[1]],
            "path": index[2],
            "step": index[3] + 1,
            "target": _words(index[4], segments.schema.target),
            "value": future_NMWSC.ravel(),
        }
    )


def _futures_array(world: World, origin_M: NDArray, table: pa.Table) -> NDArray:
    paths, num_targets = world.config.plan.paths, len(world.segments.schema.target)
    return table["value"].to_numpy().reshape(-1, len(origin_M), paths, world.steps, num_targets)


def _sequences(world: World, bounds: Boundaries) -> NDArray:
    """Whole sequences, as stretches."""
    ids = sequences(world.segments, bounds, "validation")
    return np.column_stack([ids, world.segments.bounds[ids], world.segments.bounds[ids + 1]])


def _stretch_tasks(world: World, item_M3: NDArray) -> Iterator[NDArray]:
    """Runs of stretches with as many steps as fit, at least one."""
    task_M = (np.cumsum(item_M3[:, 2] - item_M3[:, 1]) - 1) // STEPS_PER_TASK
    return iter(np.split(item_M3, np.flatnonzero(np.diff(task_M)) + 1))


def _classes(policy: Policy, world: World, scenario: ScenarioConfig | None, known: Read) -> NDArray:
    read, own_M3 = known
    return policy.class_probabilities(under_rows(read, scenario, own_M3, world.config), own_M3[:, 0])


def _labels(policy: Policy, world: World, scenario: ScenarioConfig | None, known: Read) -> NDArray:
    read, own_M3 = known
    return policy.tell_steps(under_rows(read, scenario, own_M3, world.config), labels.ranges(read, own_M3))


def _read_for(world: World, item_M3: NDArray) -> Read:
    """The stretches and what lies before them in their segments, as segments of their own; and the stretches in those."""
    segments = world.segments
    first_M = segments.bounds[item_M3[:, 0]]
    read = segments.stretches(np.column_stack([first_M, item_M3[:, 2]]))
    begin_M = read.bounds[:-1] + item_M3[:, 1] - first_M
    return read, np.column_stack([np.arange(len(item_M3)), begin_M, read.bounds[1:]])


def _classes_table(world: World, item_M3: NDArray, answers: Answers) -> pa.Table:
    return _answers_table(world, item_M3[:, 0], {}, answers)


def _labels_table(world: World, item_M3: NDArray, answers: Answers) -> pa.Table:
    rows = rows_of(item_M3[:, 1:])
    return _answers_table(world, world.segments.series_of(rows), {"time": world.segments.times(rows)}, answers)


def _answers_table(world: World, segment_R: NDArray, more: Mapping[str, NDArray], answers: Answers) -> pa.Table:
    """One row for each scenario and sequence (or step), a column for each answer."""
    segment_S, of_R = np.unique(segment_R, return_inverse=True)
    answer_NA = np.concatenate(list(answers.values()))
    return pa.table(
        {
            "scenario": _words(np.repeat(np.arange(len(answers)), len(segment_R)), list(answers)),
            "series": _words(np.tile(of_R, len(answers)), [world.segments.series[s] for s in segment_S]),
            **{name: np.tile(values, len(answers)) for name, values in more.items()},
            **{name: answer_NA[:, a] for a, name in enumerate(answer_names(world.segments.schema))},
        }
    )


def _answers_array(world: World, items_M: NDArray, table: pa.Table) -> NDArray:
    names = answer_names(world.segments.schema)
    answer_RA = np.column_stack([table[name].to_numpy() for name in names])
    return answer_RA.reshape(1 + len(world.config.plan.scenarios), -1, len(names))


def answer_names(schema: Schema) -> list[str]:
    """Of a class's probability each, or of the value that is told."""
    return schema.classes or [schema.label or ""]


def _words(index: NDArray, words: Any) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(list(words), pa.string()))


KINDS: Mapping[str, Kind] = {
    "forecast": Kind(_origins, _origin_tasks, start_of, _futures, _futures_table, _futures_array),
    "classify": Kind(_sequences, _stretch_tasks, _read_for, _classes, _classes_table, _answers_array),
    "label": Kind(
        lambda world, bounds: labels.stretches(world.segments, bounds),
        _stretch_tasks,
        _read_for,
        _labels,
        _labels_table,
        _answers_array,
    ),
}
