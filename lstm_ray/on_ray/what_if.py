"""What-ifs as findings, facts, figures and tables: rollouts are taken part by part and summed up at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import rows_of
from lstm_ray.figure import Figure
from lstm_ray.on_ray.pool import Pool
from lstm_ray.on_ray.rollouts import BASE, Answers, rolled_out
from lstm_ray.plan.futures import calibration
from lstm_ray.plan.futures.starts import World, actual_after
from lstm_ray.plan.what_if.answers import class_effects, value_effects
from lstm_ray.plan.what_if.effects import Summary, crossings, effects, summary_of, thresholds_of
from lstm_ray.plan.what_if.pictures import rollout_figures
from lstm_ray.plan.what_if.statements import effect_findings, effect_tables, facts_of
from lstm_ray.run_dir import Finding


class Told(NamedTuple):
    """What a part of planning has to say."""

    findings: list[Finding]
    facts: dict[str, Any]
    figures: list[Figure]
    tables: list[dict[str, Any]]


def what_if(pool: Pool, world: World, bounds: Boundaries, config: Config, folder: Path) -> Told:
    """Tell the base and every scenario; leaves ``rollouts.parquet`` in the folder, and its parts."""
    parts = rolled_out(pool, world, bounds, folder)
    return _of_futures(parts, world, bounds, config) if config.task == "forecast" else _of_answers(parts, world)


def _of_futures(parts: Iterable[tuple[NDArray, Answers]], world: World, bounds: Boundaries, config: Config) -> Told:
    """Simulated futures, of which no more than one task's is held at a time."""
    segments, targets = world.segments, world.segments.schema.target
    thresholds = thresholds_of(config, segments, bounds)
    origins: list[NDArray] = []
    held: dict[str, list[Summary]] = defaultdict(list)
    judged: calibration.Facts | None = None
    for origin_M, answers in parts:
        origins.append(origin_M)
        for name, future_MWSC in answers.items():
            held[name].append(summary_of(future_MWSC, thresholds))
        truth = actual_after(segments, origin_M, world.steps)
        new = calibration.facts(answers[BASE], *truth, segments.steps(origin_M)).settled()
        judged = new if judged is None else judged.merge(new)
    assert judged is not None, "rollouts start somewhere"
    origin_M = np.concatenate(origins)
    summaries = {name: Summary.joined(some) for name, some in held.items()}
    actual_MSC, observed_MSC = actual_after(segments, origin_M, world.steps)
    found = effects(summaries, segments, origin_M)
    crossed = crossings(summaries, thresholds, segments.steps(origin_M))
    trust = calibration.summary(judged, targets)
    pictured = rollout_figures(summaries, found, crossed, actual_MSC, observed_MSC, segments, origin_M)
    return Told(
        findings=[*effect_findings(found, crossed, config.plan.scenarios), trust.finding],
        facts={
            "num_rollouts": sum(len(summary.mean_MSC) * summary.paths for summary in summaries.values()),
            "calibration": trust.numbers,
            **facts_of(found, crossed),
        },
        figures=[*pictured, *([trust.figure] if trust.figure else [])],
        tables=[*effect_tables(found, crossed), *([trust.table] if trust.table else [])],
    )


def _of_answers(parts: Iterable[tuple[NDArray, Answers]], world: World) -> Told:
    """Class probabilities of sequences, or labels of steps."""
    schema = world.segments.schema
    held: dict[str, list[NDArray]] = defaultdict(list)
    items: list[NDArray] = []
    for item_M3, answers in parts:
        items.append(item_M3)
        for name, answer_MA in answers.items():
            held[name].append(answer_MA)
    found, item_M3 = {name: np.concatenate(some) for name, some in held.items()}, np.concatenate(items)
    is_classify = world.config.task == "classify"
    rows = item_M3[:, 1] if is_classify else rows_of(item_M3[:, 1:])
    when = world.segments.steps(rows), world.config.window.history
    if schema.classes:
        unit = "sequence" if is_classify else "step"
        table, figures, findings = class_effects(found, schema.classes, unit, *when, world.config.plan.scenarios)
    else:
        table, figures, findings = value_effects(found, schema.label or "", *when, world.config.plan.scenarios)
    return Told(findings, {"num_rollouts": sum(map(len, found.values()))}, figures, [table])
