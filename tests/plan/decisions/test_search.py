"""The search on costs that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.plan.decisions.actions import Space, space_of
from lstm_ray.plan.decisions.search import FINALISTS, cross_entropy, shooting
from lstm_ray.sections.decision import DecisionConfig

WANTED = np.array([3.0, -2, 0.5, 4, -4, 1])


def decision(**values: Any) -> DecisionConfig:
    action = {"name": "valve", "low": -5, "high": 5, **values.pop("action", {})}
    return DecisionConfig.model_validate({"actions": [action], "objective": [{"kind": "cost", "price": 1}], **values})


def world(**values: Any) -> tuple[DecisionConfig, Space]:
    found = decision(**values)
    return found, space_of(found, np.zeros((len(WANTED), 1)))


def bowl(flat_ND: NDArray) -> NDArray:
    found: NDArray = ((flat_ND - WANTED) ** 2).sum(1)
    return found


NOTHING = np.zeros((1, len(WANTED)))


def test_the_cross_entropy_method_finds_the_bottom_and_shooting_does_not() -> None:
    given, space = world()
    found = cross_entropy(bowl, space, NOTHING, given, np.random.default_rng(1))
    shot = shooting(bowl, space, NOTHING, given, np.random.default_rng(1))
    np.testing.assert_allclose(found.best_FD[0], WANTED, atol=0.05)
    assert shot.cost_F[0] > 100 * found.cost_F[0]
    assert (np.diff(found.best_R) <= 0).all()
    assert found.mean_R[-1] < 0.01 * found.mean_R[0]
    assert abs(shot.mean_R[-1] / shot.mean_R[0] - 1) < 0.5


def test_both_ask_as_often_and_for_allowed_plans_alone() -> None:
    action = {"step": 0.5, "max_change": 6.0, "sum": {"steps": 6, "low": 1, "high": 3}}
    given, space = world(action=action, candidates=20, rounds=4)
    for search in (cross_entropy, shooting):
        asked: list[NDArray] = []

        def cost(flat_ND: NDArray, asked: list[NDArray] = asked) -> NDArray:
            asked.append(flat_ND)
            return bowl(flat_ND)

        search(cost, space, space.project(NOTHING), given, np.random.default_rng(0))
        assert [len(some) for some in asked] == [20] * 4
        assert space.levers[0].keeps(np.concatenate(asked)).all()


@pytest.mark.parametrize("search", [cross_entropy, shooting])
def test_what_is_tried_first_is_never_lost(search: Any) -> None:
    given, space = world(candidates=4, rounds=2, elites=0.5)
    found = search(bowl, space, np.stack([NOTHING[0], WANTED]), given, np.random.default_rng(0))
    np.testing.assert_array_equal(found.best_FD[0], WANTED)
    assert found.cost_F[0] == found.best_R[0] == 0


def test_finalists_differ_and_come_in_order() -> None:
    given, space = world(rounds=3)
    found = cross_entropy(bowl, space, NOTHING, given, np.random.default_rng(0))
    assert found.best_FD.shape == (FINALISTS, len(WANTED))
    assert len(np.unique(found.best_FD, axis=0)) == FINALISTS
    np.testing.assert_array_equal(found.cost_F, np.sort(bowl(found.best_FD)))


def test_a_search_without_time_ends_after_a_round() -> None:
    given, space = world()
    found = cross_entropy(bowl, space, NOTHING, given, np.random.default_rng(0), lambda: False)
    assert found.rounds == len(found.best_R) == 1
