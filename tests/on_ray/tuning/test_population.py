from __future__ import annotations

import math

import pytest

from lstm_ray.model import checkpoint
from lstm_ray.model.trial import run_trial
from lstm_ray.on_ray.tuning import population
from lstm_ray.on_ray.tuning.legs import Leg
from lstm_ray.on_ray.tuning.population import first, following, read_generations, takeovers, write_generation
from lstm_ray.space import trial_config
from tests import made

SPACE = {"train.learning_rate": {"loguniform": [0.001, 0.02]}, "model.dropout": {"choice": [0.0, 0.1, 0.2]}}


def config_of(**values):
    tune = {"tune__trials": 4, "tune__max_epochs": 5, "tune__grace_epochs": 2, "tune__scheduler": "pbt"}
    return made.make_config(tune__space=SPACE, **{**tune, **values})


def test_the_worst_quarter_and_all_that_failed_go_on_from_the_best_quarter():
    losses = {1: 0.8, 2: 0.1, 3: 0.5, 4: 0.2, 5: 0.9, 6: math.inf, 7: 0.3, 8: 0.4}
    taken = takeovers(losses, 7, 1)
    assert set(taken) == {5, 6}
    assert set(taken.values()) <= {2, 4}
    assert takeovers(losses, 7, 1) == taken
    several = {seed: takeovers(losses, seed, 1) for seed in range(8)}
    assert len({str(one) for one in several.values()}) > 1, "who is taken over is drawn"
    assert set(takeovers(losses | {1: math.inf, 3: math.inf}, 7, 1)) == {1, 3, 6}
    assert takeovers({1: 0.2, 2: 0.1}, 7, 1) == {1: 2}


def test_nobody_goes_on_where_all_failed():
    assert takeovers({1: math.inf, 2: math.inf}, 7, 1) is None
    assert takeovers({1: math.inf, 2: 0.5}, 7, 1) == {1: 2}


def test_generations_cut_the_budget_into_stretches_of_the_grace():
    assert population.num_generations(config_of()) == 3
    assert [leg.until for leg in first(config_of())] == [2] * 4
    assert population.num_generations(config_of(tune__grace_epochs=4)) == 2


@pytest.fixture
def ended(tmp_path):
    """A folder in which three trials of the first generation trained to its end, trial 4 only to its first epoch."""
    segments = made.segments_of()
    config = config_of()
    policy = made.random_policy(config, segments)
    scaled = segments.scaled(policy.scaler)
    legs = first(config)
    write_generation(tmp_path, legs)
    for leg in legs:
        own = trial_config(config, leg.settings)
        until = 1 if leg.number == 4 else leg.until
        weights, place = policy.network.state_dict(), leg.place(tmp_path)
        run_trial(own, scaled, made.PARTS, weights, place, scaler=policy.scaler, until=until)
    return config, legs, tmp_path


def test_the_next_generation_goes_on_from_the_last_and_says_who_took_over_whom(ended):
    config, legs, folder = ended
    losses = {leg.number: population.loss_of(leg, folder) for leg in legs}
    assert math.isinf(losses[4])
    assert all(0 < losses[number] < 10 for number in (1, 2, 3))
    best = min(losses, key=lambda number: losses[number])
    legs = following(config, folder, legs)
    assert [(leg.number, leg.generation, leg.until) for leg in legs] == [(n, 1, 4) for n in (1, 2, 3, 4)]
    assert [leg.donor for leg in legs] == [1, 2, 3, best]
    heir = legs[3]
    assert heir.before(folder) == Leg(best, {}, 0).place(folder)
    (line,) = heir.lineage
    assert line.startswith(f"took over trial {best} at epoch 2, with train.learning_rate ")
    assert heir.settings != legs[best - 1].settings
    assert [leg.settings for leg in legs[:3]] == [leg.settings for leg in first(config)[:3]]
    assert following(config, folder, first(config)) == legs, "decided in the same way again"


def test_generations_are_read_as_they_were_written_and_the_last_has_no_next(ended):
    config, legs, folder = ended
    assert read_generations(folder) == [legs]
    second = following(config, folder, legs)
    write_generation(folder, second)
    assert read_generations(folder) == [legs, second]
    assert all(checkpoint.newest(leg.place(folder)) for leg in legs), "the second generation goes on from these"
    third = [Leg(leg.number, leg.settings, 2, 5, leg.number) for leg in second]
    write_generation(folder, third)
    assert not any(checkpoint.newest(leg.place(folder)) for leg in legs), "nobody needs them any more"
    assert following(config, folder, third) == []
