"""Plans that keep their constraints, whatever is proposed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize

from lstm_ray.errors import InputError
from lstm_ray.plan.decisions.actions import Lever, space_of
from lstm_ray.sections.decision import ActionConfig, DecisionConfig

STEPS = 12


def action(**values: Any) -> ActionConfig:
    return ActionConfig.model_validate({"name": "price", "low": 0, "high": 10} | values)


def decision(*actions: ActionConfig) -> DecisionConfig:
    objective = [{"kind": "cost", "price": 1.0}]
    return DecisionConfig.model_validate({"actions": [a.model_dump() for a in actions], "objective": objective})


def lever(steps: int = STEPS, data_S: NDArray | None = None, **values: Any) -> Lever:
    data = np.zeros((steps, 1)) if data_S is None else data_S[:, None]
    return space_of(decision(action(**values)), data).levers[0]


def faults(plan_SA: NDArray, actions: list[ActionConfig], data_SA: NDArray) -> list[str]:
    """Every constraint that a plan breaks, told step by step."""
    found = []
    for a, one in enumerate(actions):
        plan_S, tiny = plan_SA[:, a], 1e-6 * (one.high - one.low)
        if plan_S.min() < one.low - tiny or plan_S.max() > one.high + tiny:
            found.append("bounds")
        if one.step and np.abs((plan_S - one.low) / one.step - np.rint((plan_S - one.low) / one.step)).max() > 1e-6:
            found.append("grid")
        for s in range(len(plan_S)):
            if s % one.every and plan_S[s] != plan_S[s - 1]:
                found.append("every")
            if s and one.max_change and abs(plan_S[s] - plan_S[s - 1]) > one.max_change + tiny:
                found.append("max_change")
            if one.within is not None and one.every == 1 and not one.step:
                far = abs(plan_S[s] - data_SA[s, a]) > one.within * abs(data_SA[s, a]) + tiny
                found += ["within"] * far
        if one.sum is None:
            continue
        for first in range(0, len(plan_S), one.sum.steps):
            total, held = (v[first : first + one.sum.steps].sum() for v in (plan_S, data_SA[:, a]))
            tiny_sum = tiny * one.sum.steps + (one.step or 0) * one.every * 0.5 * one.sum.keep
            low, high = (held, held) if one.sum.keep else (one.sum.low, one.sum.high)
            if (low is not None and total < low - tiny_sum) or (high is not None and total > high + tiny_sum):
                found.append("sum")
    return found


@st.composite
def constrained(draw: st.DrawFn) -> ActionConfig | None:
    low = draw(st.sampled_from([-3.0, 0.0, 2.0]))
    width = draw(st.sampled_from([1.0, 4.5, 20.0]))
    every = draw(st.sampled_from([1, 2, 3]))
    values: dict[str, Any] = {"low": low, "high": low + width, "every": every}
    values["step"] = draw(st.sampled_from([None, 0.25, 0.3, 1.0]))
    values["max_change"] = draw(st.sampled_from([None, 0.25, 0.6, 1.0, 3.0]))
    values["within"] = draw(st.sampled_from([None, None, 0.3]))
    if draw(st.booleans()):
        steps = draw(st.sampled_from([6, 12]))
        ends = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
        bounds = [steps * (low + end * width) for end in ends]
        which = draw(st.sampled_from(["keep", "low", "high", "both"]))
        values["sum"] = {"steps": steps, "keep": which == "keep"}
        if which in ("low", "both"):
            values["sum"]["low"] = bounds[0]
        if which in ("high", "both"):
            values["sum"]["high"] = bounds[1]
    try:
        return action(**values)
    except ValueError:
        return None


@given(constrained(), constrained(), st.integers(0, 10_000))
def test_every_proposal_becomes_a_plan_that_keeps_every_constraint(
    one: ActionConfig | None, other: ActionConfig | None, seed: int
) -> None:
    actions = [a.model_copy(update={"name": n}) for n, a in (("a", one), ("b", other)) if a is not None]
    if not actions:
        return
    random = np.random.default_rng(seed)
    data_SA = np.stack([random.uniform(a.low, a.top, STEPS) for a in actions], axis=1)
    try:
        space = space_of(decision(*actions), data_SA)
    except InputError:
        # Of constraints that each may be met, some together may not: told by tests of their own.
        assert any(a.max_change or a.within for a in actions)
        return
    width = random.choice([0.1, 1, 30])
    proposed = random.normal(5, width, (6, int(space.ends[-1])))
    proposed[0], proposed[1] = 1e6, -1e6
    plans = space.plans(space.project(proposed))
    assert [fault for plan_SA in plans for fault in faults(plan_SA, actions, data_SA)] == []
    np.testing.assert_allclose(space.project(space.flat(plans)), space.flat(plans), atol=1e-6)


def test_a_plan_that_keeps_all_is_left_alone() -> None:
    kept_V = np.array([1, 2, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2.0])
    for values in ({}, {"max_change": 1}, {"sum": {"steps": 6, "low": 9, "high": 15}}, {"step": 0.5}):
        np.testing.assert_allclose(lever(**values).project(kept_V[None])[0], kept_V, atol=1e-6)


def test_a_sum_is_met_by_the_nearest_plan_there_is() -> None:
    """Beside a quadratic programme."""
    proposal_V = np.random.default_rng(2).normal(3, 4, STEPS)
    one = lever(sum={"steps": 6, "low": 36, "high": 40})
    found = one.project(proposal_V[None])[0]
    member = np.kron(np.eye(2), np.ones(6))
    best = minimize(
        lambda v: ((v - proposal_V) ** 2).sum(),
        np.full(STEPS, 6.0),
        jac=lambda v: 2 * (v - proposal_V),
        bounds=[(0, 10)] * STEPS,
        constraints=LinearConstraint(member, 36, 40),
        method="SLSQP",
        options={"ftol": 1e-12},
    )
    np.testing.assert_allclose(found, best.x, atol=1e-4)


def test_a_change_is_limited_near_the_nearest_plan_there_is() -> None:
    proposal_V = np.random.default_rng(3).normal(5, 3, STEPS)
    found = lever(max_change=1.0).project(proposal_V[None])[0]
    best = minimize(
        lambda v: ((v - proposal_V) ** 2).sum(),
        np.full(STEPS, 5.0),
        jac=lambda v: 2 * (v - proposal_V),
        bounds=[(0, 10)] * STEPS,
        constraints=LinearConstraint(np.diff(np.eye(STEPS), axis=0), -1, 1),
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert ((found - proposal_V) ** 2).sum() <= 1.001 * best.fun


def test_a_grid_keeps_a_sum_by_largest_remainder() -> None:
    one = lever(steps=4, step=1.0, data_S=np.array([1.4, 1.3, 1.2, 1.1]), sum={"steps": 4, "keep": True})
    assert one.project(np.array([[1.4, 1.3, 1.2, 1.1]]))[0].tolist() == [2, 1, 1, 1]


def test_values_are_held_and_the_last_may_be_cut_short() -> None:
    space = space_of(decision(action(every=5)), np.zeros((12, 1)))
    flat = np.array([[1.0, 2, 3]])
    assert space.plans(flat)[0, :, 0].tolist() == [1] * 5 + [2] * 5 + [3] * 2
    np.testing.assert_allclose(space.flat(space.plans(flat)), flat)


def test_sums_that_the_data_holds_and_the_bounds_forbid_are_told_with_their_numbers() -> None:
    with pytest.raises(InputError) as caught:
        lever(data_S=np.full(12, 11.0), sum={"steps": 6, "keep": True})
    for word in ("'price'", "over 6 steps, 66,", "0 at least and 60 at most", "widen"):
        assert word in str(caught.value)


def test_where_scipy_is_not_installed_the_one_plan_that_needs_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert len(lever(sum={"steps": 6, "low": 9, "high": 15}).low_B) == 2
    with pytest.raises(InputError, match=r"needs the package 'scipy', .* pip install 'lstm-ray\[train\]'"):
        lever(max_change=10.0)


def test_a_change_too_small_for_the_sums_that_are_kept_is_told() -> None:
    data_S = np.r_[np.zeros(6), np.full(6, 10.0)]
    with pytest.raises(InputError, match=r"max_change 1 is too small for sums of 0, 60 one after the other"):
        lever(data_S=data_S, max_change=1.0, sum={"steps": 6, "keep": True})
    assert len(lever(data_S=data_S, max_change=10.0, sum={"steps": 6, "keep": True}).low_B) == 2


def test_values_stay_within_a_share_of_what_the_data_holds() -> None:
    data_S = np.array([20.0, 0, -10, 50])
    one = lever(steps=4, data_S=data_S, low=-20, high=45, within=0.2)
    assert one.project(np.full((1, 4), 1e3)).tolist() == [[24, 0, -8, 45]]
    assert one.project(np.full((1, 4), -1e3)).tolist() == [[16, 0, -12, 40]]
    grid = lever(steps=4, data_S=data_S, low=-20, high=45, within=0.02, step=4)
    assert grid.project(np.full((1, 4), 1e3)).tolist() == [[20, 0, -12, 44]]
    with pytest.raises(InputError, match=r"sum.low over 4 steps, 90, cannot be met.*44 at least and 61 at most"):
        lever(steps=4, data_S=data_S, low=-20, high=45, within=0.2, sum={"steps": 4, "low": 90})
