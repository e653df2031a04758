"""POST /v1/plan, in this process: what is answered over HTTP is what planning decides."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lstm_ray.data.parts import Boundaries
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.plan.decisions.deciding import Case, decide, world_for
from lstm_ray.plan.decisions.worth import ranges_in_training
from lstm_ray.plan.futures.residuals import errors_of
from lstm_ray.plan.futures.starts import World, start_of
from lstm_ray.serving import planning
from lstm_ray.serving.api import describe, make_app
from tests import made
from tests.serving import services as serving
from tests.serving.services import Client

Json = dict[str, Any]
BOUNDS: Boundaries = {"train": (0, 300), "validation": (300, 350), "test": (350, 400)}
DECISION: Json = {
    "actions": [
        {"name": "price", "low": 12, "high": 28, "max_change": 4, "sum": {"steps": 6, "keep": True}},
        {"name": "order", "low": 0, "high": 60},
    ],
    "objective": [
        {"kind": "newsvendor", "supply": "order", "over": 1, "under": 3},
        {"kind": "cost", "price": "price", "weight": 0.1},
    ],
    "candidates": 16,
    "rounds": 3,
    "elites": 0.2,
    "paths": 8,
}


def planner(**values: Any) -> Policy:
    """A forecaster that carries a decision; every target of its data was measured."""
    data = serving.segments()
    data.observed_RC[:] = 1
    config = made.make_config(data__known=["price"], model__quantiles=[0.1, 0.5, 0.9], plan__decision=DECISION | values)
    policy = made.random_policy(config, data)
    policy.residuals = errors_of(policy, data, BOUNDS)
    policy.facts[planning.RANGES] = ranges_in_training(data, BOUNDS)
    return policy


POLICY = planner()


def served(policy: Policy, seconds: float = 10.0) -> Client:
    async def plan(inputs: list[SeriesInput]) -> list[planning.Planned]:
        return planning.plan(policy, inputs, seconds)

    return Client(make_app(serving.service(policy, plan=plan)))


@pytest.fixture
def client() -> Iterator[Client]:
    with served(POLICY) as found:
        yield found


def good(origin: int = 320, name: str = "s0", horizon: int = 6) -> Json:
    return copy.deepcopy(serving.body_of(made.series_input(serving.segments(), origin, 12, horizon, name)))


def post(client: Client, body: Json) -> Any:
    return client.post("/v1/plan", content=json.dumps(body), headers={"content-type": "application/json"})


def planned(client: Client, body: Json) -> Json:
    answer = post(client, body)
    assert answer.status_code == 200, answer.text
    [found] = answer.json()["plans"]
    return dict(found)


def refused(client: Client, body: Json) -> str:
    answer = post(client, body)
    assert answer.status_code == 422, answer.text
    return str(answer.json()["detail"][0]["msg"])


@pytest.mark.parametrize("steps", [None, 12])
def test_a_plan_over_http_is_the_one_that_planning_decides_at_that_origin(steps: int | None) -> None:
    policy = planner(steps=steps)
    data = serving.segments()
    data.observed_RC[:] = 1
    world = world_for(World(data, policy.scaler, policy.config, policy.residuals))
    expected = decide(Case(policy.forecast_batch, world, start_of(world, np.array([320]))), control=False)
    with served(policy) as client:
        found = planned(client, good(horizon=steps or 6))
    assert found["kept"] == expected.kept
    for a, name in enumerate(("price", "order")):
        np.testing.assert_allclose(found["actions"][name], expected.plan_SA[:, a], rtol=1e-4)
        np.testing.assert_allclose(found["nothing"][name], expected.nothing_SA[:, a], rtol=1e-4)
    np.testing.assert_allclose(found["outcome"]["load"]["mean"], expected.outcome_PQSC[0, 0, :, 0], rtol=1e-4)
    np.testing.assert_allclose(found["outcome_of_nothing"]["load"]["low"], expected.outcome_PQSC[1, 1, :, 0], rtol=1e-4)
    costs = expected.cost_PW.mean(1)
    assert found["cost"] == pytest.approx(costs[0], rel=1e-4)
    assert [found["cost_of_nothing"], found["cost_of_last_season"]] == pytest.approx(costs[1:], rel=1e-4)
    assert found["saved"] == pytest.approx(costs[1] - costs[0], rel=1e-3)
    assert found["saved_interval"][0] < found["saved"] < found["saved_interval"][1]
    assert len(found["times"]) == (steps or 6)


def test_what_is_planned_keeps_its_constraints_and_says_what_it_is_not(client: Client) -> None:
    found = planned(client, good())
    price = np.array(found["actions"]["price"])
    assert price.min() >= 12 - 1e-6
    assert price.max() <= 28 + 1e-6
    assert np.abs(np.diff(price)).max() <= 4 + 1e-6
    assert price.sum() == pytest.approx(sum(found["nothing"]["price"]), rel=1e-5)
    assert any("no proof that the one causes the other" in words for words in found["warnings"])
    assert found["rounds"] == 3


def test_an_action_that_is_not_sent_ahead_is_held_at_its_last_value(client: Client) -> None:
    body = good()
    del body["series"][0]["future"]["price"]
    body["series"][0]["columns"]["price"][-1] = 21.5
    found = planned(client, body)
    assert found["nothing"]["price"] == [21.5] * 6
    assert "'price' was not sent ahead; doing nothing holds its last value, 21.5" in found["warnings"]


def test_a_request_that_cannot_be_planned_for_is_refused_with_the_reason(client: Client) -> None:
    many = good()
    many["series"] *= 5
    assert "5 series were sent; send at most 4" in refused(client, many)
    short = good()
    short["series"][0]["future"]["price"].pop()
    assert "column 'price' has 5 values; send 6, one for each step planned" in refused(client, short)
    dear = good()
    dear["series"][0]["future"]["price"] = [90.0] * 6
    assert "the data's own sum over 6 steps, 540, cannot be met" in refused(client, dear)
    assert "series 's0'" in refused(client, dear)
    young = good()
    young["series"][0]["times"] = young["series"][0]["times"][-3:]
    assert "has 3 steps of history; send at least 12" in refused(client, young)
    assert "unknown field" in refused(client, good() | {"seed": 3})


def test_a_target_that_was_never_measured_is_named(client: Client) -> None:
    body = good()
    body["series"][0]["columns"]["load"] = [None] * 12
    assert "column 'load' holds no value" in refused(client, body)


def test_a_known_input_that_is_no_action_must_be_sent() -> None:
    with served(planner(actions=DECISION["actions"][1:])) as client:
        body = good()
        del body["series"][0]["future"]["price"]
        assert "column 'price' is missing; send 6 values, one for each step planned" in refused(client, body)


def test_values_beyond_what_training_saw_and_moved_ones_are_warned_of() -> None:
    action = {"name": "price", "low": 40, "high": 50}
    with served(planner(actions=[action, DECISION["actions"][1]])) as client:
        words = planned(client, good())["warnings"]
    assert any("of the values planned for 'price' lie outside" in one for one in words)
    assert any(one.startswith("100% of the values of doing nothing break a constraint") for one in words)


def test_a_search_without_time_answers_with_the_best_so_far_and_says_so() -> None:
    with served(POLICY, seconds=0.0) as client:
        found = planned(client, good())
    assert found["rounds"] == 1
    assert "the search ended after 1 of 3 rounds, for time ran out" in found["warnings"]


def test_the_documented_example_is_planned_for_and_the_policy_says_that_it_plans(client: Client) -> None:
    route = client.get("/openapi.json").json()["paths"]["/v1/plan"]["post"]
    assert planned(client, route["requestBody"]["content"]["application/json"]["example"])["name"] == "example"
    told = client.get("/v1/policy").json()
    assert told["plan"]["steps"] == 6
    assert [action["name"] for action in told["plan"]["actions"]] == ["price", "order"]
    assert told["plan"]["objective"].startswith("newsvendor + 0.1 times cost, the mean of the paths")
    assert "Plans price, order for 6 steps" in told["words"]


def test_a_policy_that_decides_nothing_or_carries_no_errors_has_no_planner() -> None:
    plain = serving.forecaster()
    assert not planning.can_plan(plain)
    assert describe(plain, {})["plan"] is None
    with Client(make_app(serving.service(plain))) as client:
        assert post(client, good()).status_code == 404
    bare = planner()
    bare.residuals = None
    assert not planning.can_plan(bare)


def test_series_share_the_time_there_is() -> None:
    found = planning.plan(
        POLICY, [made.series_input(serving.segments(), o, 12, 6, n) for o, n in ((320, "s0"), (330, ""))]
    )
    assert [one.name for one in found] == ["s0", "1"]
    with pytest.raises(InputError, match="5 series were sent"):
        planning.plan(POLICY, [made.series_input(serving.segments(), 320, 12, 6)] * 5)
