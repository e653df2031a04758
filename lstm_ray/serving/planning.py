"""POST /v1/plan: a served policy that carries a decision plans for a caller's series. Whoever serves it passes in how.

Shapes: T steps, L history, X history and what lies the longest lag before it, S steps planned, A of whole horizons, C targets,
K known columns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from lstm_ray.data.lags import reach
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.plan.decisions import worth
from lstm_ray.plan.decisions.deciding import (
    NOTHING,
    PLAN,
    SEASON,
    Case,
    Decided,
    decide,
    require_feasible,
    steps_planned,
    world_for,
)
from lstm_ray.plan.futures.starts import Start, World
from lstm_ray.sections.decision import DecisionConfig
from lstm_ray.serving import bodies
from lstm_ray.serving.service import Plan

MAX_SERIES = 4
"""Series of one request: each is searched for by itself, one after the other."""
SEARCH_SECONDS = 15.0
"""For which a request is searched, over all its series; then the best plan so far is judged and answered."""
RANGES = "ranges"
"""Where a policy's facts hold what 98 % of each known column's training values lie between."""


class PlanRequest(bodies.Body):
    series: list[bodies.Series] = Field(
        min_length=1,
        description="as for a forecast, but future holds the known inputs over the steps planned: of an action what is done if "
        "nothing is decided, or nothing at all (then its last value sent is held)",
    )


class Outcome(BaseModel):
    mean: list[float]
    low: list[float] = Field(description="10 % of the sampled futures lie below")
    high: list[float] = Field(description="10 % of the sampled futures lie above")


class PlannedSeries(BaseModel):
    name: str
    times: list[str] | list[int]
    kept: bool = Field(description="false: no plan beat doing nothing, which is therefore answered")
    actions: dict[str, list[float]] = Field(description="what to do at each of the times")
    nothing: dict[str, list[float]] = Field(description="the plan of doing nothing, within the constraints")
    outcome: dict[str, Outcome] = Field(description="of each target under the plan")
    outcome_of_nothing: dict[str, Outcome]
    cost: float = Field(description="of the plan, by the objective, on futures that the search did not see")
    cost_of_nothing: float
    cost_of_last_season: float
    saved: float = Field(description="against doing nothing")
    saved_interval: list[float] = Field(description="its 95 % interval over the sampled futures, low and high")
    rounds: int = Field(description="of the search: fewer than asked for where time ran out")
    warnings: list[str]


class PlanAnswer(BaseModel):
    policy: str
    objective: str = Field(description="what is made small, in words")
    plans: list[PlannedSeries]


@dataclass(frozen=True)
class Planned:
    """What a policy plans for one series."""

    name: str
    times: NDArray
    decided: Decided
    warnings: list[str]


def can_plan(policy: Policy) -> bool:
    """Whether the policy carries a decision, and what futures are sampled from."""
    return policy.config.task == "forecast" and policy.config.plan.decision is not None and policy.residuals is not None


def add_route(app: FastAPI, policy: Policy, find: Plan, seconds: float, documented: Mapping[str, Any]) -> None:
    """POST /v1/plan, answered by ``find`` within so many seconds."""

    @app.post("/v1/plan", response_model=PlanAnswer, **documented)
    async def plan(body: PlanRequest) -> Response:
        found = await asyncio.wait_for(find(bodies.to_inputs(body.series, policy.schema)), seconds)
        plans = [answer(one, policy) for one in found]
        told = PlanAnswer(policy=policy.version, objective=words(policy)["objective"], plans=plans)
        return Response(told.model_dump_json(), media_type="application/json")


def plan(policy: Policy, series: Sequence[SeriesInput], seconds: float = SEARCH_SECONDS) -> list[Planned]:
    """A plan for each series; all of them are searched for in about so many seconds.

    Raises:
        InputError: there are too many series, one is wrong, or no plan of one keeps every constraint.
        FloatingPointError: the policy's forecasts are not finite; nothing is planned by a fallback.
    """
    if len(series) > MAX_SERIES:
        raise InputError(
            f"{len(series)} series were sent; send at most {MAX_SERIES} in a request, for each one's plan is searched for"
        )
    world = _world(policy)
    told = [_started(policy, world, item, index) for index, item in enumerate(series)]
    for (start, _, _), name in zip(told, _names(series), strict=True):
        require_feasible(start, world, f"series '{name}'")
    found = []
    for (start, times, warnings), name in zip(told, _names(series), strict=True):
        until = time.monotonic() + seconds / len(series)
        decided = decide(Case(policy.forecast_batch, world, start), control=False, in_time=partial(_before, until))
        if not np.isfinite(decided.outcome_PQSC).all():
            raise FloatingPointError(f"futures of series '{name}' under its plan are not finite")
        found.append(Planned(name, times, decided, [*warnings, *_warnings(decided, policy)]))
    return found


def answer(planned: Planned, policy: Policy) -> PlannedSeries:
    """One series' plan as JSON holds it."""
    decision, decided, targets = _decision(policy), planned.decided, policy.schema.target
    found = worth.worth([decided], decision, policy.config.seed)
    [facts] = worth.facts(found, [decided], decision, targets)["origins"]
    saved = found.savings[0]

    def outcome(which: str) -> dict[str, Outcome]:
        return {target: Outcome(**facts["outcome"][target][which]) for target in targets}

    return PlannedSeries(
        name=planned.name,
        times=bodies.time_words(planned.times, policy.schema),
        kept=decided.kept,
        actions={name: plans[PLAN] for name, plans in facts["actions"].items()},
        nothing={name: plans[NOTHING] for name, plans in facts["actions"].items()},
        outcome=outcome(PLAN),
        outcome_of_nothing=outcome(NOTHING),
        cost=facts["cost"][PLAN],
        cost_of_nothing=facts["cost"][NOTHING],
        cost_of_last_season=facts["cost"][SEASON],
        saved=saved.mean,
        saved_interval=[saved.low, saved.high],
        rounds=decided.search_2R.shape[1],
        warnings=planned.warnings,
    )


def example(policy: Policy) -> dict[str, Any]:
    """A body that is planned for: that of a forecast, its future as long as the plan."""
    body, steps = bodies.example_request(policy), steps_planned(_world(policy))
    [series] = body["series"]
    for name, values in series.get("future", {}).items():
        series["future"][name] = [*values, *values[-1:] * steps][:steps]
    return body


def words(policy: Policy) -> dict[str, Any]:
    """What is planned, for whoever asks about the policy."""
    decision = _decision(policy)
    actions = [action.model_dump(exclude_none=True) for action in decision.actions]
    return {"actions": actions, "objective": worth.in_words(decision), "steps": steps_planned(_world(policy))}


def _decision(policy: Policy) -> DecisionConfig:
    decision = policy.config.plan.decision
    assert decision is not None, "the policy can plan"
    return decision


def _before(until: float) -> bool:
    return time.monotonic() < until


def _names(series: Sequence[SeriesInput]) -> list[str]:
    return [item.name or str(index) for index, item in enumerate(series)]


def _world(policy: Policy) -> World:
    """A world without data: what is known is sent."""
    schema = policy.schema
    nothing, none = np.empty((0, 0), np.float32), np.empty(0, np.int64)
    empty = Segments(nothing, nothing, nothing, nothing, none, [], none, None, schema, nothing.astype(np.int64))
    return world_for(World(empty, policy.scaler, policy.config, policy.residuals))


def _started(policy: Policy, world: World, item: SeriesInput, index: int) -> tuple[Start, NDArray, list[str]]:
    """What a caller's series says at its end, the times planned for, and warnings."""
    schema, window, reader = policy.schema, policy.config.window, policy.requests
    where, steps = f"series '{item.name or index}'", world.steps
    future, warnings = _future(policy, item, steps, where)
    ahead = {name: np.append(values, np.repeat(values[-1:], world.ahead - steps)) for name, values in future.items()}
    # Read as for a forecast, too: it says what is out of reach, and warns of what is far.
    read = reader.read(replace(item, future={name: values[: window.horizon] for name, values in ahead.items()}), index)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(policy.forecast_batch(read.batch, read.own)).all():
            raise FloatingPointError(f"the forecast for {where} is not finite, and a plan would rest on it")
    told = reader.told(replace(item, future=ahead), where, world.ahead)
    total, channels = len(told.time_T), len(schema.target)
    rows_X = np.arange(total - reach(window), total)
    time_L = told.time_T[-window.history :]
    known_TK = np.concatenate(
        [
            told.known_XK[-window.history - world.ahead :],
            schema.calendar_features(np.concatenate([time_L, told.time_A])),
        ],
        axis=1,
    )
    for c, name in enumerate(schema.target):
        if np.isnan(told.filled_TF[told.first :, c]).all():
            raise InputError(f"{where}: column '{name}' holds no value, and a plan begins at one; send one at least")
    start = Start(
        row_M=np.zeros(1, np.int64),
        step_M=(schema.ticks(told.time_T[-1:]) - schema.axis_start) // schema.step,
        series=[item.name],
        target_MXC=told.filled_TF[None, np.maximum(rows_X, told.first), :channels],
        present_MX=(rows_X >= told.first)[None],
        observed_MLC=told.observed_LF[None, :, :channels].astype(np.float32),
        past_MLP=told.filled_TF[None, -window.history :, channels:],
        known_MTK=known_TK[None].astype(np.float32),
        category_MS=told.category_BS,
        own=told.own,
    )
    return start, told.time_A[:steps], [*warnings, *read.warnings]


def _future(policy: Policy, item: SeriesInput, steps: int, where: str) -> tuple[dict[str, NDArray], list[str]]:
    """Known inputs over the steps planned, and a warning for each action whose plan of doing nothing was not sent."""
    actions = [action.name for action in _decision(policy).actions]
    future: dict[str, NDArray] = {name: np.asarray(values, dtype=np.float64) for name, values in item.future.items()}
    warnings = []
    for name in policy.schema.known:
        if name in future and future[name].shape != (steps,):
            raise InputError(
                f"{where}, future: column '{name}' has {len(future[name])} values; send {steps}, one for each step planned"
            )
        if name not in future and name in actions:
            sent = np.asarray(item.columns.get(name, ()), dtype=np.float64)
            last = sent[~np.isnan(sent)][-1:]
            if len(last):
                future[name] = np.repeat(last, steps)
                warnings.append(f"'{name}' was not sent ahead; doing nothing holds its last value, {last[0]:g}")
    if missing := [name for name in policy.schema.known if name not in future]:
        raise InputError(
            f"{where}, future: column '{missing[0]}' is missing; send {steps} values, one for each step planned, null where "
            "unknown"
        )
    return future, warnings


def _warnings(decided: Decided, policy: Policy) -> list[str]:
    """What a caller must know of a plan."""
    decision, schema, found = _decision(policy), policy.schema, []
    if not decided.kept:
        found.append("no plan was found that costs less than doing nothing on futures that the search did not see")
    if (rounds := decided.search_2R.shape[1]) < decision.rounds:
        found.append(f"the search ended after {rounds} of {decision.rounds} rounds, for time ran out")
    if decided.moved:
        found.append(
            f"{decided.moved:.0%} of the values of doing nothing break a constraint; the nearest that keep all are taken"
        )
    told = worth.about_response([decided], decision, schema.known, schema.target)
    told += worth.beyond_training([decided], decision, policy.facts.get(RANGES, {}))
    return found + [finding.text for finding in told if finding.severity == "warning"]
