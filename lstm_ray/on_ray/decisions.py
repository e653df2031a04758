"""Decisions on actors: a plan for each of some moments of the validation part, and what the plans are worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.figure import Figure
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import pieces
from lstm_ray.on_ray.pool import Pool
from lstm_ray.plan.decisions import pictures, worth
from lstm_ray.plan.decisions.deciding import Case, Decided, decide, require_feasible, world_for
from lstm_ray.plan.futures.starts import World, some_origins, start_of
from lstm_ray.run_dir import Finding, to_json


def decided_at(policy: Policy, world: World, origin: int) -> pieces.Piece:
    """The decision at one row of the segments."""
    ahead = world_for(world)
    return decide(Case(policy.forecast_batch, ahead, start_of(ahead, np.array([origin])))).as_piece()


def require_plans(world: World, bounds: Boundaries) -> None:
    """Raises InputError where at some origin no plan keeps every constraint; asks no policy."""
    ahead = world_for(world)
    for moment in _moments(ahead, bounds):
        require_feasible(start_of(ahead, np.array([moment.origin])), ahead, moment.label)


def decisions(
    pool: Pool, world: World, bounds: Boundaries, config: Config, folder: Path
) -> tuple[list[Finding], dict[str, Any], list[Figure], list[dict[str, Any]]]:
    """Findings, facts, figures and tables; leaves ``decisions.json`` in the folder. Origins that an earlier, killed attempt
    finished are taken from there."""
    decision, schema = config.plan.decision, world.segments.schema
    assert decision is not None, "there is nothing to decide"
    moments = _moments(world_for(world), bounds)
    labels, times = [moment.label for moment in moments], [moment.times for moment in moments]
    decided = _decided(pool, moments, folder)
    found = worth.worth(decided, decision, config.seed)
    facts = worth.facts(found, decided, decision, schema.target)
    for one, moment in zip(facts["origins"], moments, strict=True):
        one |= {"series": moment.series, "times": [_word(time) for time in moment.times]}
    (folder / "decisions.json").write_bytes(to_json(facts))
    told = worth.findings(found, decided, decision, schema.known, schema.target)
    told += worth.beyond_training(decided, decision, worth.ranges_in_training(world.segments, bounds))
    drawn = pictures.figures(found, decided, labels, times, decision, schema.target)
    return told, facts, drawn, [worth.table(found, labels, decided, decision)]


@dataclass(frozen=True)
class _Moment:
    """Where a plan begins."""

    origin: int
    series: str
    times: NDArray

    @property
    def label(self) -> str:
        return f"{self.series}, {_word(self.times[0])}"


def _moments(ahead: World, bounds: Boundaries) -> list[_Moment]:
    """Those of the validation part that are planned for."""
    segments, decision = ahead.segments, ahead.config.plan.decision
    assert decision is not None, "there is nothing to decide"
    origin_M = some_origins(segments, bounds, "validation", ahead.config, decision.origins)
    steps = np.arange(1, ahead.steps + 1)
    names = [segments.series[s] for s in segments.series_of(origin_M)]
    return [_Moment(int(o), name, segments.times(o + steps)) for o, name in zip(origin_M, names, strict=True)]


def _decided(pool: Pool, moments: list[_Moment], folder: Path) -> list[Decided]:
    """The decision at each moment, in order."""
    tasks, found = [(moment.origin,) for moment in moments], {}
    keys = [["decision", pool.version, origin] for (origin,) in tasks]
    with progress.bar("decisions", len(tasks)) as advance:
        for number, piece in pieces.each(pool, folder, decided_at, tasks, keys):
            found[number] = Decided.of(piece)
            advance(moments[number].label)
    return [found[number] for number in range(len(tasks))]


def _word(time: Any) -> str:
    """A time to the minute, or a whole number."""
    return str(time.astype("datetime64[m]")) if isinstance(time, np.datetime64) else str(time)
