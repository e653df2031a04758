from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.on_ray.tuning.tpe import Tried, propose
from lstm_ray.space import draw, drawn
from tests import made

SPACE = {
    "train.learning_rate": {"loguniform": [1e-4, 1e-1]},
    "train.batch": {"uniform": [4, 40]},
    "model.dropout": {"choice": [0.0, 0.1, 0.2, 0.4]},
    "model.attention": {"choice": [False, True]},
}


def config_of(space=SPACE, trials=40):
    return made.make_config(tune__space=space, tune__trials=trials, tune__search="optuna", tune__max_epochs=2)


def loss(settings):
    """Least at a rate of 0.01, without attention."""
    return abs(np.log10(settings["train.learning_rate"]) + 2) + settings["model.attention"] + settings["model.dropout"]


def search(config, trials):
    tried = [Tried(draw(config)[0])]
    while len(tried) <= trials:
        tried[-1].losses.update({1: 9.0, 2: loss(tried[-1].settings)})
        tried[-1].ended = True
        tried.append(Tried(propose(config, len(tried) + 1, tried)))
    return tried[:-1]


def test_proposals_come_nearer_to_what_was_good_than_random_ones():
    config = config_of()
    late = [loss(one.settings) for one in search(config, 40)[20:]]
    random = [loss(drawn(config, np.random.default_rng(seed))) for seed in range(200)]
    assert np.median(late) < 0.6 * np.median(random)


def test_the_same_trials_give_the_same_proposal_and_another_seed_another():
    config = config_of()
    tried = search(config, 6)
    assert propose(config, 7, tried) == propose(config, 7, tried)
    assert propose(config.model_copy(update={"seed": 8}), 7, tried) != propose(config, 7, tried)
    assert propose(config, 8, tried) != propose(config, 7, tried)


def test_settings_have_their_field_s_type_and_lie_in_the_space():
    for one in search(config_of(), 12)[1:]:
        assert isinstance(one.settings["train.batch"], int)
        assert isinstance(one.settings["model.attention"], bool)
        assert 4 <= one.settings["train.batch"] <= 40
        assert 1e-4 <= one.settings["train.learning_rate"] <= 1e-1
        assert one.settings["model.dropout"] in (0.0, 0.1, 0.2, 0.4)


def test_a_space_that_holds_no_more_is_said_to_and_nothing_is_proposed_twice():
    config = config_of({"model.hidden": {"choice": [8, 12, 16]}})
    tried = [Tried({"model.hidden": 8})]
    while (found := propose(config, len(tried) + 1, tried)) is not None:
        assert found not in [one.settings for one in tried]
        tried.append(Tried(found))
    assert len(tried) == 3


@pytest.mark.parametrize("end", ["failed", "running", "stopped"])
def test_trials_that_failed_still_run_or_were_stopped_are_heeded_too(end):
    space = {"model.dropout": {"choice": [0.0, 0.1, 0.2, 0.4]}, "train.batch": {"uniform": [4, 40]}}
    config = config_of(space)
    other = [
        Tried({"model.dropout": 0.1, "train.batch": batch}, {1: 0.5, 2: 0.5 - batch / 100}, ended=True)
        for batch in range(5, 20)
    ]
    poor = {
        "failed": [Tried({"model.dropout": 0.4, "train.batch": n}, failed=True) for n in range(5, 20)],
        "running": [Tried({"model.dropout": 0.4, "train.batch": n}) for n in range(5, 20)],
        "stopped": [Tried({"model.dropout": 0.4, "train.batch": n}, {1: 5.0}, ended=True) for n in range(5, 20)],
    }[end]
    found = [propose(config, number, [*other, *poor]) for number in range(40, 60)]
    assert sum(one["model.dropout"] == 0.4 for one in found) < 6


def test_a_base_that_lies_outside_the_space_counts_as_far_as_it_lies_inside():
    tried = [Tried({"model.dropout": 0.3, "model.normalisation_steps": None}, {1: 0.5, 2: 0.5}, ended=True)]
    space = {"model.dropout": {"choice": [0.0, 0.1]}, "model.normalisation_steps": {"uniform": [2, 12]}}
    assert set(propose(config_of(space), 2, tried)) == set(space)


def test_what_the_config_refuses_is_not_proposed():
    config = config_of({"window.history": {"choice": [12, 16]}, "window.patch": {"choice": [4, 6]}})
    tried = [Tried({"window.history": 12, "window.patch": 4})]
    while (found := propose(config, len(tried) + 1, tried)) is not None:
        tried.append(Tried(found))
    assert {(one.settings["window.history"], one.settings["window.patch"]) for one in tried} == {
        (12, 4),
        (12, 6),
        (16, 4),
    }
