"""Which networks a config asks for."""

from __future__ import annotations

from typing import Any

import pytest

from lstm_ray.config import Config, with_values
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.network import build
from lstm_ray.model.views import members, views
from tests import made

AUTO: dict[str, Any] = {"model__normalisation": "auto", "model__linear": "average"}


def test_auto_is_a_network_with_level_and_scale_taken_out_and_one_with_a_faster_level_and_the_lstm_alone() -> None:
    config = made.make_config(**AUTO, model__quantiles=[0.1, 0.5, 0.9])
    first, second = views(config)
    assert first == with_values(config, {"model.normalisation": "mean_deviation"})
    assert second == with_values(
        config, {"model.normalisation": "mean", "model.normalisation_steps": 6, "model.linear": "none"}
    )
    assert all(isinstance(view, Config) for view in (first, second))


@pytest.mark.parametrize(("history", "faster"), [(12, 6), (7, 3), (1, 1)])
def test_the_faster_level_is_that_of_half_the_history_and_of_one_step_at_least(history: int, faster: int) -> None:
    config = made.make_config(**AUTO, window__history=history, window__patch=1)
    assert views(config)[1].model.normalisation_steps == faster


@pytest.mark.parametrize("normalisation", ["none", "last", "mean", "mean_deviation"])
def test_any_other_normalisation_is_the_config_itself(normalisation: str) -> None:
    config = made.make_config(model__normalisation=normalisation, model__linear="average")
    assert views(config) == members(config) == [config]


def test_a_classifier_normalises_nothing_so_it_is_one() -> None:
    config = made.classify_config(**AUTO)
    assert views(config) == [config]
    assert members(made.classify_config(**AUTO, model__members=3)) == 3 * [with_values(config, {"model.members": 3})]


def test_members_are_so_many_of_each_kind_side_by_side() -> None:
    config = made.make_config(**AUTO, model__members=3)
    first, second = views(config)
    assert members(config) == [first, first, first, second, second, second]
    network = build(config, made.schema_of())
    assert isinstance(network, Ensemble)
    assert network.kinds == 2
    found = [(one.normalisation, one.normalisation_steps, one.highway is not None) for one in network.members]
    assert found == 3 * [("mean_deviation", 12, True)] + 3 * [("mean", 6, False)]


def test_left_open_there_is_one_member_of_each_kind_to_forecast_and_three_to_classify() -> None:
    assert len(members(made.make_config(**AUTO, model__members=None))) == 2
    assert len(members(made.make_config(model__members=None))) == 1
    assert len(members(made.classify_config(model__members=None))) == 3
