"""What futures cost, told by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.plan.decisions.objectives import Objective, own_function, require_usable, risk
from lstm_ray.sections.decision import DecisionConfig

TARGETS, KNOWN = ["load", "heat"], ["price", "valve"]
ACTIONS = [{"name": "valve", "low": 0, "high": 9}, {"name": "order", "low": 0, "high": 9}]
FUTURES = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
PLANS = np.arange(2 * 4 * 2, dtype=np.float64).reshape(2, 4, 2)
AHEAD = np.stack([np.full((2, 4), 3.0), PLANS[:, :, 0]], axis=2) * np.array([[[1.0, 1]], [[2, 1]]])


def decision(*terms: dict[str, Any], **values: Any) -> DecisionConfig:
    return DecisionConfig.model_validate({"actions": ACTIONS, "objective": list(terms), **values})


def costs(*terms: dict[str, Any]) -> NDArray:
    return Objective(decision(*terms), TARGETS, KNOWN).costs(FUTURES, PLANS, AHEAD)


LOAD, HEAT = FUTURES[..., 0].astype(float), FUTURES[..., 1].astype(float)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ({"kind": "cost", "price": 2}, 2 * LOAD.sum(2)),
        ({"kind": "cost", "price": -1.5, "column": "heat"}, -1.5 * HEAT.sum(2)),
        ({"kind": "cost", "price": "price", "weight": 10}, 10 * np.array([[3], [6]]) * LOAD.sum(2)),
        ({"kind": "cost", "price": 1, "column": "order"}, np.repeat(PLANS[:, :, 1].sum(1)[:, None], 3, axis=1)),
        ({"kind": "threshold", "above": 20}, np.maximum(LOAD - 20, 0).sum(2)),
        ({"kind": "threshold", "above": 30, "below": 9}, (np.maximum(LOAD - 30, 0) + np.maximum(9 - LOAD, 0)).sum(2)),
        ({"kind": "track", "reference": 4, "column": "heat"}, ((HEAT - 4) ** 2).sum(2)),
        ({"kind": "track", "reference": "valve"}, ((LOAD - PLANS[:, None, :, 0]) ** 2).sum(2)),
    ],
    ids=str,
)
def test_a_term_costs_what_it_says(term: dict[str, Any], expected: NDArray) -> None:
    np.testing.assert_allclose(costs(term), expected)


def test_a_newsvendor_pays_for_each_unit_too_much_and_too_little() -> None:
    found = costs({"kind": "newsvendor", "supply": "order", "over": 1, "under": 3})
    expected = np.zeros((2, 3))
    for n, w, s in np.ndindex(2, 3, 4):
        much = PLANS[n, s, 1] - LOAD[n, w, s]
        expected[n, w] += much if much > 0 else -3 * much
    np.testing.assert_allclose(found, expected)


def test_terms_add_up() -> None:
    one, other = {"kind": "cost", "price": 2}, {"kind": "threshold", "above": 20, "weight": 0.5}
    np.testing.assert_allclose(costs(one, other), costs(one) + costs(other))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.floats(0.05, 0.95))
def test_the_worst_share_is_what_rockafellar_and_uryasev_minimise(cost: list[float], share: float) -> None:
    cost_W = np.array(cost)
    # The least lies at one of the costs, for the function is piecewise linear between them.
    least = min(t + np.maximum(cost_W - t, 0).mean() / share for t in cost_W)
    assert risk(cost_W, share) == pytest.approx(least, abs=1e-6)
    assert risk(cost_W, share) >= risk(cost_W, None) - 1e-9


def test_a_cost_that_is_no_number_names_its_term() -> None:
    broken = FUTURES.copy()
    broken[1, 2, 3, 0] = np.inf
    objective = Objective(
        decision({"kind": "cost", "price": 1}, {"kind": "track", "column": "load", "reference": 0}), TARGETS, KNOWN
    )
    with pytest.raises(InputError, match=r"term 'cost' is inf on a sampled future"):
        objective.costs(broken, PLANS, AHEAD)


OWN = """
import numpy as np
def mine(futures_WSC, actions_SA, known_SK):
    return futures_WSC[:, :, 0].sum(1) + actions_SA[:, 1].sum() + known_SK[:, 0].sum()
def nan(futures_WSC, actions_SA, known_SK):
    return np.full(len(futures_WSC), np.nan)
def scalar(futures_WSC, actions_SA, known_SK):
    return futures_WSC.sum()
def broken(futures_WSC, actions_SA, known_SK):
    return futures_WSC[:, :, 99]
NUMBER = 3


def turned(futures, actions, known):
    return futures[:, 0, 0] + 1j


def writes(futures, actions, known):
    futures[:] = 0
    return futures[:, 0, 0]


def leaves(futures, actions, known):
    raise SystemExit(3)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_costs.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own_function.cache_clear()


@pytest.mark.usefixtures("own")
def test_a_function_of_ones_own_is_asked_plan_by_plan() -> None:
    found = costs({"kind": "own", "function": "own_costs:mine", "weight": 2})
    expected = LOAD.sum(2) + PLANS[:, :, 1].sum(1)[:, None] + np.array([[12], [24]])
    np.testing.assert_allclose(found, 2 * expected)
    require_usable(decision({"kind": "own", "function": "own_costs:mine"}), TARGETS, KNOWN, 4)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("own_costs:nan", "is nan on made-up futures of (3, 4, 2)"),
        ("own_costs:scalar", "returns shape () for 3 paths; return the cost of each path, (3,)"),
        ("own_costs:broken", "raises IndexError: index 99 is out of bounds"),
        ("own_costs:turned", "returns complex numbers"),
        ("own_costs:writes", "raises ValueError: assignment destination is read-only"),
        ("own_costs:leaves", "raises SystemExit: 3"),
        ("own_costs:missing", "has no function 'missing', found None"),
        ("own_costs:NUMBER", "has no function 'NUMBER', found 3"),
        ("no_such_costs:mine", "'no_such_costs' cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_function_that_cannot_serve_is_refused_on_made_up_numbers(function: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        require_usable(decision({"kind": "own", "function": function}), TARGETS, KNOWN, 4)
    assert words in str(caught.value)
    assert function in str(caught.value)
