"""Decisions in worlds where the best one is known."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize

from lstm_ray.data.schema import Own
from lstm_ray.data.windows import Batch
from lstm_ray.errors import InputError
from lstm_ray.model.residuals import Residuals
from lstm_ray.plan.decisions.deciding import TELLING, Case, Decided, decide, require_feasible
from lstm_ray.plan.futures.starts import actual_after
from tests.plan.decisions import worlds
from tests.plan.decisions.worlds import DRIVES, KEEPS, SEGMENTS, STEPS, case_of, plant, respond

HEAT = {"name": "heat", "low": -5, "high": 40}
STEADY = [
    {"kind": "track", "reference": 22.0},
    {"kind": "track", "column": "heat", "reference": 8.0, "weight": 0.05},
]
SUPPLY = {"name": "order", "low": 0, "high": 60}
SHOP = [{"kind": "newsvendor", "supply": "order", "over": 1.0, "under": 3.0}]


def best_cost(case: Case, paths_WS: NDArray, rows: NDArray | None, low: float, high: float) -> float:
    """The least quadratic cost there is, by a quadratic programme over the paths without any heat."""
    power = np.array([[DRIVES * KEEPS ** (t - s) if t >= s else 0.0 for s in range(STEPS)] for t in range(STEPS)])

    def cost(heat_S: NDArray) -> float:
        return float(((paths_WS + power @ heat_S - 22) ** 2).sum(1).mean() + 0.05 * ((heat_S - 8) ** 2).sum())

    def slope(heat_S: NDArray) -> NDArray:
        return 2 * power.T @ (paths_WS.mean(0) + power @ heat_S - 22) + 0.1 * (heat_S - 8)

    constraints = [] if rows is None else [LinearConstraint(rows, low, high)]
    options = {"ftol": 1e-9, "maxiter": 500}
    found = minimize(
        cost,
        np.full(STEPS, 4.0),
        jac=slope,
        bounds=[(-5, 40)] * STEPS,
        constraints=constraints,
        options=options,
        method="SLSQP",
    )
    assert found.success
    return float(found.fun)


@pytest.mark.parametrize("budget", [None, (40.0, 60.0)], ids=["bounds", "sum"])
def test_a_linear_plant_is_steered_to_within_two_percent_of_the_best_and_random_shooting_is_not(budget: Any) -> None:
    action = HEAT if budget is None else HEAT | {"sum": {"steps": STEPS, "low": budget[0], "high": budget[1]}}
    case = case_of({"actions": [action], "objective": STEADY})
    found = decide(case)
    still_WS = case.futures(np.zeros((1, STEPS, 1)), 32, case.world.config.seed)[0, :, :, 0].astype(np.float64)
    best = best_cost(case, still_WS, None if budget is None else np.ones((1, STEPS)), *(budget or (0, 0)))
    assert best * (1 - 1e-4) <= found.searched <= 1.005 * best
    assert found.control_2R[0, -1] > 1.1 * best
    fresh_WS = case.futures(np.zeros((1, STEPS, 1)), 128, case.world.config.seed + TELLING)[0, :, :, 0].astype(
        np.float64
    )
    fresh_best = best_cost(case, fresh_WS, None if budget is None else np.ones((1, STEPS)), *(budget or (0, 0)))
    assert fresh_best <= found.cost_PW[0].mean() <= 1.05 * fresh_best
    assert found.kept
    if budget is not None:
        assert budget[0] - 1e-6 <= found.plan_SA.sum() <= budget[1] + 1e-6


@pytest.mark.parametrize("budget", [None, (40.0, 60.0)], ids=["bounds", "sum"])
@pytest.mark.parametrize(("keeps", "drives"), [(0.8, 0.5), (0.95, 0.3), (0.3, 2.0)])
def test_weak_and_strong_plants_are_steered_as_well_by_any_seed(
    keeps: float, drives: float, budget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (worlds, sys.modules[__name__]):
        monkeypatch.setattr(module, "KEEPS", keeps)
        monkeypatch.setattr(module, "DRIVES", drives)
    action = HEAT if budget is None else HEAT | {"sum": {"steps": STEPS, "low": budget[0], "high": budget[1]}}
    for seed in range(4):
        case = case_of({"actions": [action], "objective": STEADY}, 100 + 13 * seed, seed=seed)
        found = decide(case, control=False)
        still_WS = case.futures(np.zeros((1, STEPS, 1)), 32, seed)[0, :, :, 0].astype(np.float64)
        best = best_cost(case, still_WS, None if budget is None else np.ones((1, STEPS)), *(budget or (0, 0)))
        assert best * (1 - 1e-4) <= found.searched <= 1.005 * best


def test_an_order_lies_at_the_critical_fractile_of_demand() -> None:
    case = case_of({"actions": [SUPPLY], "objective": SHOP, "paths": 64})
    found = decide(case)
    demand_WS = case.futures(case.nothing[None], 64, case.world.config.seed)[0, :, :, 0]
    low_S, high_S = np.quantile(demand_WS, [0.68, 0.82], axis=0)
    assert ((found.plan_SA[:, 0] > low_S) & (found.plan_SA[:, 0] < high_S)).mean() > 0.8
    best = np.quantile(demand_WS, 0.75, axis=0, method="inverted_cdf")
    least = case.judged(best[None, :, None], 64, case.world.config.seed)[0]
    assert found.searched == pytest.approx(least)


def test_what_is_found_is_never_worse_on_its_own_futures_than_doing_nothing_or_the_last_season() -> None:
    case = case_of({"actions": [HEAT], "objective": STEADY, "candidates": 8, "rounds": 1, "elites": 0.3})
    found = decide(case)
    ends = case.judged(np.stack([case.nothing, case.season]), 32, case.world.config.seed)
    assert found.searched <= ends.min()


def test_a_plan_that_only_seems_better_is_dropped_for_doing_nothing() -> None:
    """The objective does not see the action: whatever is found cannot be better."""
    case = case_of({"actions": [HEAT, SUPPLY], "objective": [{"kind": "threshold", "column": "order", "above": 1.0}]})
    found = decide(case)
    assert not found.kept
    np.testing.assert_array_equal(found.plan_SA, found.nothing_SA)
    assert found.spread > 0


def test_what_is_told_was_not_chosen_where_it_is_told() -> None:
    """A plan that is as good as doing nothing saves nothing on average: as often less as more."""
    saved = []
    for seed in range(12):
        plan = {
            "actions": [HEAT | {"low": 0.99, "high": 1.01}],
            "candidates": 8,
            "rounds": 1,
            "elites": 0.3,
            "paths": 8,
        }
        found = decide(case_of(plan | {"objective": [{"kind": "own", "function": LUCK}]}, seed=seed), control=False)
        told = found.cost_PW[1].mean() - found.cost_PW[0].mean()
        saved += [told] if found.kept else []
    assert len(saved) > 3
    assert min(saved) < 0 < max(saved)


def test_a_plan_is_told_on_errors_of_other_times_than_it_was_searched_on() -> None:
    """Orders that fit few errors closely: on the same ones drawn anew they would seem cheaper than they are."""
    random, gap = np.random.default_rng(1), []
    many_WS = respond(random.normal(0, 0.5, (20_000, STEPS)), np.zeros(STEPS), 0.0)
    shop = {"kind": "newsvendor", "supply": "order", "over": 1.0, "under": 19.0}
    for seed in range(25):
        case = case_of({"actions": [SUPPLY], "objective": [shop], "candidates": 16, "rounds": 4}, seed=seed)
        score_RH = respond(random.normal(0, 0.5, (400, STEPS)), np.zeros(STEPS), 0.0)
        times, nobody = np.arange(400) - 10_000, np.zeros(400, np.int64)
        library = Residuals((0.5,), score_RH[:, :, None].astype(np.float32), times, nobody, ["s0"])
        found = decide(replace(case, world=replace(case.world, residuals=library)), control=False)
        assert found.apart
        still = replace(library, score_RHC=np.zeros_like(library.score_RHC))
        middle_S = replace(case, world=replace(case.world, residuals=still)).futures(case.nothing[None], 1, 0)[
            0, 0, :, 0
        ]
        much_WS = found.found_SA[:, 0] - middle_S - many_WS
        true = (np.maximum(much_WS, 0) + 19 * np.maximum(-much_WS, 0)).sum(1).mean()
        gap.append(found.cost_PW[0].mean() / true - 1)
    assert abs(np.mean(gap)) < 2.5 * np.std(gap) / np.sqrt(len(gap))
    assert not decide(case_of({"actions": [SUPPLY], "objective": [shop]}), control=False).apart


def luck(futures_WSC: NDArray, actions_SA: NDArray, known_SK: NDArray) -> NDArray:
    """Cost that no plan can change on average, but on any few futures."""
    sign = np.where(np.floor(1e6 * actions_SA.sum()) % 2 > 0, 1.0, -1.0)
    wiggle: NDArray = sign * np.sin(40 * futures_WSC[:, :, 0]).sum(1)
    return wiggle


LUCK = "tests.plan.decisions.test_deciding:luck"


def test_doing_nothing_is_what_the_data_holds_and_last_season_what_it_held() -> None:
    case = case_of({"actions": [HEAT | {"name": "price"}, SUPPLY], "objective": SHOP})
    rows = np.arange(101, 101 + STEPS)
    before = np.tile(np.arange(95, 101), 2)
    demanded, price = SEGMENTS.target_RC[before, 0], SEGMENTS.known_RK[:, 1]
    np.testing.assert_allclose(case.nothing, np.stack([price[rows], demanded], axis=1), rtol=1e-6)
    np.testing.assert_allclose(case.season, np.stack([price[before], demanded], axis=1), rtol=1e-6)
    spare = case_of({"actions": [SUPPLY | {"low": 3}], "objective": [{"kind": "cost", "column": "order", "price": 1}]})
    assert (spare.nothing == 3).all()


def test_data_that_break_a_constraint_are_brought_within_and_told() -> None:
    case = case_of({"actions": [HEAT | {"low": 2}], "objective": STEADY})
    assert (case.nothing == 2).all()
    assert decide(case, control=False).moved == 1
    assert decide(case_of({"actions": [HEAT], "objective": STEADY}), control=False).moved == 0


def test_candidates_are_compared_on_the_same_draws_as_one_alone() -> None:
    case = case_of({"actions": [HEAT], "objective": STEADY})
    plans = np.random.default_rng(0).uniform(0, 10, (5, STEPS, 1))
    together = case.futures(plans, 8, 3)
    for one, plan in zip(together, plans, strict=True):
        np.testing.assert_array_equal(case.futures(plan[None], 8, 3)[0], one)
    np.testing.assert_allclose(
        together - together[:1], np.repeat((together - together[:1])[:, :1], 8, axis=1), atol=1e-4
    )


def test_futures_of_actions_that_no_policy_reads_are_rolled_once() -> None:
    calls = []

    def counting(batch: Batch, own: Own | None = None) -> NDArray:
        calls.append(len(batch.target_BTC))
        return plant(batch, own)

    case = case_of({"actions": [SUPPLY], "objective": SHOP})
    counted = Case(counting, case.world, case.start)
    plans = np.random.default_rng(0).uniform(0, 10, (50, STEPS, 1))
    assert counted.futures(plans, 4, 1).shape == (50, 4, STEPS, 1)
    assert calls == [1]


def test_the_policys_answer_to_an_action_is_measured() -> None:
    found = decide(case_of({"actions": [HEAT, SUPPLY], "objective": SHOP}), control=False)
    power = DRIVES * (1 - KEEPS ** np.arange(1, STEPS + 1)) / (1 - KEEPS)
    assert found.response_A3[0, 0] == pytest.approx(45 * power.mean(), rel=1e-3)
    assert found.response_A3[0, 2] > 10
    assert np.isnan(found.response_A3[1]).all()


def test_a_search_ends_in_time_and_every_decision_goes_through_a_piece() -> None:
    turns = iter([True, True, False])
    found = decide(case_of({"actions": [HEAT], "objective": STEADY}), control=False, in_time=lambda: next(turns))
    assert found.search_2R.shape == (2, 3)
    again = Decided.of(found.as_piece())
    assert again.kept == found.kept
    np.testing.assert_array_equal(again.plan_SA, found.plan_SA)


def test_the_same_seed_decides_the_same() -> None:
    one, same = (decide(case_of({"actions": [HEAT], "objective": STEADY}), control=False) for _ in range(2))
    np.testing.assert_array_equal(one.plan_SA, same.plan_SA)
    other = decide(case_of({"actions": [HEAT], "objective": STEADY}, seed=8), control=False)
    assert (one.plan_SA != other.plan_SA).any()


def test_a_longer_plan_than_the_horizon_goes_on_block_by_block() -> None:
    case = case_of({"actions": [HEAT], "objective": STEADY, "steps": 18, "candidates": 16, "rounds": 2, "elites": 0.2})
    found = decide(case, control=False)
    assert found.plan_SA.shape == (18, 1)
    assert found.outcome_PQSC.shape == (2, 3, 18, 1)
    assert actual_after(SEGMENTS, np.array([100]), 18)[0].shape == (1, 18, 1)


def test_sums_that_cannot_be_kept_at_an_origin_are_told_with_where() -> None:
    kept = HEAT | {"low": 2, "sum": {"steps": 12, "keep": True}}
    case = case_of({"actions": [kept], "objective": STEADY})
    with pytest.raises(
        InputError, match=r"plan.decision, s0, monday: action 'heat': the data's own sum over 12 steps, 12,"
    ):
        require_feasible(case.start, case.world, "s0, monday")
