"""One decision: what to do after one origin, and what comes of it. Knows a predict function; no torch, no Ray.

The plan is searched on the same sampled futures for every candidate, and judged on others that the search never saw: what
it saves there is what it is worth, not what it was picked for.
Shapes: N plans, W paths, S steps planned, T steps from the history's first to the last one ahead, C targets, A actions, K
known columns of the table, D values of a plan, R rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.windows import chunks
from lstm_ray.errors import InputError
from lstm_ray.plan.decisions.actions import Space, space_of
from lstm_ray.plan.decisions.objectives import Objective
from lstm_ray.plan.decisions.search import Found, cross_entropy, shooting
from lstm_ray.plan.futures.rollouts import PredictFn, roll
from lstm_ray.plan.futures.starts import Start, World, season_repeated
from lstm_ray.sections.decision import DecisionConfig

CHOOSING, TELLING = 1_000_003, 2_000_003
"""Added to the seed where the best plans are judged again, and where what the chosen one saves is told."""
FRESH = 4
"""Times as many paths there as in the search."""
FEWEST_FRESH = 64
STRETCH = 4
"""Length of the stretches of time whose errors the search and the telling follow in turn: so many seasons, or plans."""
MOST_SEQUENCES = 8_192
"""Futures simulated at a time, about."""
LOW, HIGH = 0.1, 0.9
NOTHING, SEASON, PLAN = "doing nothing", "last season again", "plan"


@dataclass(frozen=True)
class Case:
    """One origin, its decision, and how its futures are foreseen."""

    predict: PredictFn
    world: World
    start: Start
    """Of one origin; what it knows ahead holds the plan of doing nothing."""

    @property
    def decision(self) -> DecisionConfig:
        decision = self.world.config.plan.decision
        assert decision is not None, "there is nothing to decide"
        return decision

    @property
    def steps(self) -> int:
        return steps_planned(self.world)

    @cached_property
    def space(self) -> Space:
        """Raises InputError where no plan keeps every constraint."""
        return space_of(self.decision, self.data)

    @cached_property
    def data(self) -> NDArray:
        """What is planned if nobody decides, [S, A]: what the data holds of known columns; as the supply of a newsvendor what
        was demanded a season ago; of other actions 0."""
        return self._read(self._ahead[0], self._habit)

    @cached_property
    def nothing(self) -> NDArray:
        """The plan of doing nothing: the nearest to ``data`` that keeps the constraints, [S, A]."""
        return self.space.nearest(self.data)

    @cached_property
    def season(self) -> NDArray:
        """The plan of doing what was done a season ago, within the constraints, [S, A]: its known columns are those of then."""
        return self.space.nearest(self._read(self._again(self.start.known_MTK[0, : self._first]), self._habit))

    @property
    def moved(self) -> float:
        """Share of the values that the data holds of actions which doing nothing moves, for they break a constraint."""
        differ_SA = self.space.differ(self.nothing, self.data)
        return float(differ_SA[:, list(self._columns)].mean()) if self._columns else 0.0

    @property
    def _habit(self) -> NDArray:
        """What is done of actions that are no known column, [S, A]; 0 of those that are."""
        names, targets = [action.name for action in self.decision.actions], self.world.segments.schema.target
        plan_SA = np.zeros((self.steps, len(names)))
        demanded_SC = self._again(self.start.target_MXC[0, -self._first :])
        for term in self.decision.objective:
            if term.supply is not None and term.column in (None, *targets):
                plan_SA[:, names.index(term.supply)] = demanded_SC[:, targets.index(term.column or targets[0])]
        return plan_SA

    def _again(self, history_LF: NDArray) -> NDArray:
        """The last season of a history over the steps planned, [S, F]."""
        return season_repeated(history_LF[None], self.world.config.window.season, self.steps)[0, -self.steps :]

    def covered(self) -> list[NDArray]:
        """Where there are newsvendors, the plan in which each supply of its own is the quantile of demand that its costs call
        for, under / (over + under) (Arrow, Harris and Marschak 1951), within the constraints, [S, A]. The best there is where
        nothing else is asked of a supply, and else a good start."""
        names, targets = [action.name for action in self.decision.actions], self.world.segments.schema.target
        plan_SA, futures_WSC = self.nothing.copy(), None
        for term in self.decision.objective:
            if term.supply is None or names.index(term.supply) in self._columns or term.column in names:
                continue
            if futures_WSC is None:
                futures_WSC = self.futures(self.nothing[None], self.decision.paths, self.world.config.seed)[0]
            over, under = term.over or 0.0, term.under or 0.0
            demand_WS = futures_WSC[:, :, targets.index(term.column or targets[0])]
            plan_SA[:, names.index(term.supply)] = np.quantile(
                demand_WS, under / (over + under), axis=0, method="inverted_cdf"
            )
        return [] if futures_WSC is None else [self.space.nearest(plan_SA)]

    @property
    def objective(self) -> Objective:
        schema = self.world.segments.schema
        return Objective(self.decision, schema.target, schema.known)

    def futures(self, plan_NSA: NDArray, paths: int, seed: int) -> NDArray:
        """Sampled futures under each plan on the same draws, float32 [N, W, S, C]."""
        if not self._columns:
            # Nothing that is planned is read by the policy.
            one = roll(self.predict, self.world, self.start, paths, seed=seed, steps=self.steps)
            return np.broadcast_to(one, (len(plan_NSA), *one.shape[1:]))
        parts = []
        for some_N in chunks(np.arange(len(plan_NSA)), max(1, MOST_SEQUENCES // paths)):
            start = self.start.take(np.zeros(len(some_N), np.int64))
            self._put(plan_NSA[some_N], start.known_MTK[:, self._first : self._first + self.steps])
            parts.append(roll(self.predict, self.world, start, paths, seed=seed, steps=self.steps))
        return np.concatenate(parts)

    def costs(self, plan_NSA: NDArray, futures_NWSC: NDArray) -> NDArray:
        """Cost of each path of each plan, [N, W]."""
        known_NSK = self._ahead.repeat(len(plan_NSA), axis=0)[..., : len(self.world.segments.schema.known)]
        self._put(plan_NSA, known_NSK)
        return self.objective.costs(futures_NWSC, plan_NSA, known_NSK)

    def judged(self, plan_NSA: NDArray, paths: int, seed: int) -> NDArray:
        """What each plan costs by the measure of the decision, [N]."""
        return self.objective.risk(self.costs(plan_NSA, self.futures(plan_NSA, paths, seed)))

    @property
    def _first(self) -> int:
        """Steps of known inputs before the first one ahead."""
        return self.world.config.window.history

    @property
    def _ahead(self) -> NDArray:
        """[1, S, K and the calendar]"""
        return self.start.known_MTK[:, self._first : self._first + self.steps]

    @cached_property
    def _columns(self) -> dict[int, int]:
        """Action to known column."""
        known = self.world.segments.schema.known
        return {a: known.index(one.name) for a, one in enumerate(self.decision.actions) if one.name in known}

    def _read(self, known_SK: NDArray, plan_SA: NDArray) -> NDArray:
        """A plan whose actions that are known columns are those."""
        found_SA = plan_SA.copy()
        for a, k in self._columns.items():
            found_SA[:, a] = known_SK[:, k]
        return found_SA

    def _put(self, plan_NSA: NDArray, known_NSK: NDArray) -> None:
        """Write plans into known columns."""
        for a, k in self._columns.items():
            known_NSK[:, :, k] = plan_NSA[:, :, a]


def steps_planned(world: World) -> int:
    """Length of a plan."""
    decision = world.config.plan.decision
    assert decision is not None, "there is nothing to decide"
    return decision.steps or world.config.window.horizon


def world_for(world: World) -> World:
    """The world whose starts know as far ahead as is planned."""
    config = world.config
    return replace(
        world, config=config.model_copy(update={"plan": config.plan.model_copy(update={"steps": steps_planned(world)})})
    )


@dataclass(frozen=True)
class Decided:
    """A plan, what is expected of it, and what it is worth. Costs are those of fresh paths."""

    kept: bool
    """Whether the plan that was found beats doing nothing where it was chosen, on futures of neither the search nor
    ``cost_PW``; where not, ``plan_SA`` is that of doing nothing."""
    plan_SA: NDArray
    found_SA: NDArray
    """The best plan that was found, kept or not."""
    nothing_SA: NDArray
    season_SA: NDArray
    bounds_2SA: NDArray
    """Least and largest value of each step."""
    moved: float
    """Share of the values that the data holds which break a constraint; doing nothing then moves them."""
    cost_PW: NDArray
    """Of the plan found, of doing nothing and of last season again, on the same fresh paths, [3, W]."""
    outcome_PQSC: NDArray
    """Mean, 10 % and 90 % of the paths under ``plan_SA`` and under doing nothing, [2, 3, S, C]."""
    searched: float
    """What the plan found costs on the futures that it was searched on."""
    search_2R: NDArray
    """Least cost until the end of each round of the search, and the mean cost of each round's plans, [2, R]."""
    control_2R: NDArray
    """The same of random shooting; no rounds where none was asked for."""
    spread: float
    """From the 5th to the 95th percentile of the costs of the plans of the first round."""
    response_A3: NDArray
    """Of each known column: how far the first target's mean moves from its lowest plan to its highest, that as a share of the
    paths' own deviation, and the same of the target that moves most. NaN for actions that the policy does not read."""
    seconds: float
    apart: bool
    """Whether costs are told on errors of other times than those that the plan was searched on, not only on other draws."""

    def as_piece(self) -> dict[str, Any]:
        """Arrays and plain values."""
        return dict(vars(self))

    @classmethod
    def of(cls, piece: Mapping[str, Any]) -> Decided:
        return cls(**piece)


def decide(case: Case, *, control: bool = True, in_time: Callable[[], bool] = lambda: True) -> Decided:
    """Search for a plan and judge it on futures that the search did not see.

    Args:
        control: whether random shooting is tried beside, with as many evaluations.
        in_time: asked after each round of the search, which ends where it says no.

    Raises:
        InputError: no plan keeps every constraint, or a term of the objective is not finite.
    """
    began = time.perf_counter()
    decision, space, seed = case.decision, case.space, case.world.config.seed
    case, telling = parted(case)

    def cost(flat_ND: NDArray) -> NDArray:
        return case.judged(space.plans(flat_ND), decision.paths, seed)

    first_FD = space.project(space.flat(np.stack([case.nothing, case.season, *case.covered()])))
    numbers = [seed, int(case.start.step_M[0]) % 2**63]
    found = cross_entropy(cost, space, first_FD, decision, np.random.default_rng([*numbers, 0]), in_time)
    shot = shooting(cost, space, first_FD, decision, np.random.default_rng([*numbers, 1])) if control else None
    fresh = max(FEWEST_FRESH, FRESH * decision.paths)
    finalists = np.concatenate([space.plans(found.best_FD), case.nothing[None]])
    # Whether to act at all is decided here, too: what is saved would never be told below 0 were it chosen where it is told.
    *risk_F, idle = case.judged(finalists, fresh, seed + CHOOSING).tolist()
    best, kept = finalists[int(np.argmin(risk_F))], min(risk_F) < idle
    three = np.stack([best, case.nothing, case.season])
    futures_PWSC = telling.futures(three, fresh, seed + TELLING)
    cost_PW = case.costs(three, futures_PWSC)
    chosen = futures_PWSC[[0 if kept else 1, 1]]
    return Decided(
        kept=kept,
        plan_SA=best if kept else case.nothing,
        found_SA=best,
        nothing_SA=case.nothing,
        season_SA=case.season,
        bounds_2SA=space.plans(np.stack(space.bounds)),
        moved=case.moved,
        cost_PW=cost_PW,
        outcome_PQSC=np.stack([chosen.mean(1), *np.quantile(chosen, [LOW, HIGH], axis=1, method="weibull")], axis=1),
        searched=float(found.cost_F[0]),
        search_2R=_curve(found),
        control_2R=np.empty((2, 0)) if shot is None else _curve(shot),
        spread=found.spread,
        response_A3=_response(case),
        seconds=time.perf_counter() - began,
        apart=telling is not case,
    )


def parted(case: Case) -> tuple[Case, Case]:
    """The case as it is searched and as it is told: their paths follow real windows of stretches of time that take turns, for
    a plan that fits the errors it was searched on would seem better than it is on the same ones drawn anew. Twice the same
    case where the library has no two stretches for each, with as many times as the search has paths."""
    library, window = case.world.residuals, case.world.config.window
    assert library is not None, "paths are drawn from residuals"
    length = STRETCH * max(window.season, -(-case.steps // window.horizon) * window.horizon)
    turn_R = (library.step_R - library.step_R[0]) // length
    halves = [library.among(turn_R % 2 == side) for side in (0, 1)]
    if len(np.unique(turn_R)) < 4 or min(len(half.times) for half in halves) < case.decision.paths:
        return case, case
    searched, told = (replace(case, world=replace(case.world, residuals=half)) for half in halves)
    return searched, told


def _curve(found: Found) -> NDArray:
    return np.stack([found.best_R, found.mean_R])


def _response(case: Case) -> NDArray:
    """How the targets answer to each known column set to its bounds throughout, others left alone."""
    low_D, high_D = case.space.bounds
    ends_2SA = case.space.plans(np.stack([low_D, high_D]))
    response_A3 = np.full((len(case.decision.actions), 3), np.nan)
    for a in case._columns:
        plan_2SA = np.stack([case.nothing] * 2)
        plan_2SA[:, :, a] = ends_2SA[:, :, a]
        futures = case.futures(plan_2SA, case.decision.paths, case.world.config.seed).astype(np.float64)
        move_SC = (futures[1] - futures[0]).mean(0)
        share_C = np.abs(move_SC).mean(0) / np.maximum(futures.std(1).mean((0, 1)), 1e-12)
        response_A3[a] = move_SC[:, 0].mean(), share_C[0], share_C.max()
    return response_A3


def require_feasible(start: Start, world: World, where: str) -> None:
    """Raises InputError where no plan keeps every constraint; it says where."""
    case = Case(_never, world, start)
    try:
        assert case.space.steps == case.steps, "the space is that of the case"
    except InputError as error:
        raise InputError(f"plan.decision, {where}: {error}") from None


def _never(*given: Any) -> NDArray:
    raise AssertionError("constraints ask for no forecast")
