"""Which networks a config asks for."""

from __future__ import annotations

from typing import Any

import pytest

from lstm_ray.config import Config, with_values
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.network import Classifier, KernelRidge, build
from lstm_ray.model.views import kinds, members, solved_alone, views
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


@pytest.mark.parametrize("task", ["classify", "label"])
def test_what_has_no_level_to_take_out_is_one(task: str) -> None:
    made_config = made.classify_config if task == "classify" else made.label_config
    config = made_config(model__normalisation="auto", model__linear="none")
    assert views(config) == [config]
    several = with_values(config, {"model.members": 3})
    assert members(several) == 3 * [several]
    assert kinds(several) == [0, 0, 0]


def test_classifiers_have_a_ridge_beside_them_of_which_one_is_enough() -> None:
    config = made.classify_config(model__linear="average", model__members=3)
    networks, ridge = views(config)
    assert (networks, ridge) == (with_values(config, {"model.linear": "none"}), config)
    assert [solved_alone(view) for view in (networks, ridge)] == [False, True]
    assert members(config) == [networks, networks, networks, ridge]
    assert kinds(config) == [0, 0, 0, 1]
    network = build(config, made.sequences_of([12]).schema)
    assert isinstance(network, Ensemble)
    assert network.kind_E == (0, 0, 0, 1)
    assert [type(one) for one in network.members] == 3 * [Classifier] + [KernelRidge]


def test_labels_have_no_ridge_beside_them() -> None:
    config = made.label_config(model__linear="average", model__members=2)
    assert views(config) == [config]
    assert members(config) == 2 * [config]
    assert not solved_alone(config)


def test_members_are_so_many_of_each_kind_side_by_side() -> None:
    config = made.make_config(**AUTO, model__members=3)
    first, second = views(config)
    assert members(config) == [first, first, first, second, second, second]
    assert kinds(config) == [0, 0, 0, 1, 1, 1]
    assert not any(solved_alone(view) for view in (first, second))
    network = build(config, made.schema_of())
    assert isinstance(network, Ensemble)
    assert network.kinds == 2
    found = [(one.normalisation, one.normalisation_steps, one.highway is not None) for one in network.members]
    assert found == 3 * [("mean_deviation", 12, True)] + 3 * [("mean", 6, False)]


def test_left_open_there_is_one_member_of_each_kind_to_forecast_and_three_to_classify() -> None:
    assert len(members(made.make_config(**AUTO, model__members=None))) == 2
    assert len(members(made.make_config(model__members=None))) == 1
    assert len(members(made.classify_config(model__members=None))) == 3
    assert len(members(made.classify_config(model__members=None, model__linear="average"))) == 4
    assert len(members(made.label_config(model__members=None))) == 3
