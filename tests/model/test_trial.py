from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.model import kernels, trial
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.network import KernelRidge, single
from lstm_ray.model.training import start
from lstm_ray.model.trial import draw, run_trial, trial_config
from lstm_ray.sections.tune import SpaceConfig
from tests import made
from tests.model.test_training import DAY_PARTS, noisy_days

SPACE = {
    "train.learning_rate": SpaceConfig(loguniform=(1e-4, 1e-2)),
    "train.batch": SpaceConfig(uniform=(4, 40)),
    "model.hidden": SpaceConfig(choice=[8, 12]),
    "model.normalisation_steps": SpaceConfig(uniform=(4, 12)),
}


def config_of(space=SPACE, **values):
    return made.make_config(tune__space={path: vars(one) for path, one in space.items()}, **values)


def test_the_first_trial_has_the_base_settings():
    first = draw(config_of())[0]
    assert first == {
        "train.learning_rate": 0.01,
        "train.batch": 8,
        "model.hidden": 8,
        "model.normalisation_steps": None,
    }


def test_the_seed_decides_the_settings_and_more_trials_only_add_to_them():
    settings = draw(config_of(tune__trials=5))
    assert draw(config_of(tune__trials=5)) == settings
    assert draw(config_of(tune__trials=8))[:5] == settings
    assert draw(config_of(tune__trials=5).model_copy(update={"seed": 8}))[1:] != settings[1:]


def test_settings_lie_in_their_ranges_all_differ_and_have_their_field_s_type():
    settings = draw(config_of(tune__trials=40))
    assert len(settings) == 40
    assert len({str(one) for one in settings}) == 40
    for one in settings[1:]:
        assert 1e-4 <= one["train.learning_rate"] <= 1e-2
        assert isinstance(one["train.batch"], int)
        assert 4 <= one["train.batch"] <= 40
        assert one["model.hidden"] in (8, 12)
        assert isinstance(one["model.normalisation_steps"], int)
    low = sum(one["train.learning_rate"] < 1e-3 for one in settings[1:])
    assert 10 < low < 30, "loguniform: about as many in each decade"


def test_a_space_with_fewer_settings_than_trials_is_tried_whole():
    settings = draw(config_of({"model.hidden": SpaceConfig(choice=[8, 12])}, tune__trials=6))
    assert settings == [{"model.hidden": 8}, {"model.hidden": 12}]
    assert draw(config_of({}, tune__trials=6)) == [{}]


@pytest.mark.parametrize(
    ("path", "space", "words"),
    [
        ("train.loss", {"choice": ["mae", "mse"]}, "could not be compared"),
        ("model.quantiles", {"choice": [[0.5]]}, "could not be compared"),
        ("train.huber_delta", {"choice": [1, 2]}, "could not be compared"),
        ("train.class_weights", {"choice": ["none"]}, "could not be compared"),
        ("model.distribution", {"choice": ["gaussian"]}, "could not be compared"),
        ("train.read", {"choice": ["memory"]}, "speed alone"),
        ("train.workers", {"choice": [0, 2]}, "one process"),
        ("train.threads", {"choice": [1, 2]}, "one thread"),
        ("train.max_epochs", {"choice": [100]}, "tune.max_epochs 8"),
        ("model.normalisation_steps", {"choice": [500]}, "exceeds window.history 12"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_by_name(path, space, words):
    with pytest.raises(InputError, match=words) as refused:
        draw(config_of({path: SpaceConfig(**space)}))
    assert path in str(refused.value)


def test_a_trial_has_the_search_s_budget_and_no_patience_of_its_own():
    config = trial_config(made.make_config(train__patience=1, tune__max_epochs=5), {"model.hidden": 12})
    assert (config.train.max_epochs, config.train.patience, config.model.hidden) == (5, 5, 12)


@pytest.fixture(scope="module")
def world():
    segments = made.segments_of()
    config = made.make_config(tune__max_epochs=3, model__dropout=0.2)
    policy = made.random_policy(config, segments)
    return segments.scaled(policy.scaler), policy.network.state_dict()


def curve(training):
    return [loss for record in training.records for loss in (record.train_loss, record.validation_loss)]


def test_a_trial_that_was_interrupted_ends_as_if_it_never_was(world, tmp_path):
    scaled, weights = world
    config = trial_config(made.make_config(tune__max_epochs=3, model__dropout=0.2), {"train.learning_rate": 0.003})
    undisturbed = run_trial(config, scaled, made.PARTS, weights)
    run_trial(config, scaled, made.PARTS, weights, tmp_path, lambda record, start_loss: record.epoch < 1)
    assert len(list(tmp_path.glob("epoch-*"))) == 2
    told = []
    again = run_trial(config, scaled, made.PARTS, weights, tmp_path, lambda *given: told.append(given) or True)
    assert curve(again) == pytest.approx(curve(undisturbed))
    assert [record.epoch for record, _ in told] == [0, 1, 2]
    (start_loss,) = {loss for _, loss in told}
    assert start_loss > 0


def test_a_whole_trial_passes_its_epochs_on_and_trains_no_more(world, tmp_path):
    scaled, weights = world
    config = trial_config(made.make_config(tune__max_epochs=3), {})
    first = run_trial(config, scaled, made.PARTS, weights, tmp_path, lambda record, start_loss: record.epoch < 1)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    told = []
    again = run_trial(
        config,
        scaled,
        made.PARTS,
        weights,
        tmp_path,
        lambda record, loss: told.append(record.epoch) or True,
        whole=True,
    )
    assert told == [0, 1]
    assert curve(again) == curve(first)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == files


def test_a_trial_from_scratch_has_no_loss_before_its_first_step(world):
    scaled, weights = world
    told = []
    config = trial_config(made.make_config(tune__max_epochs=1), {"model.hidden": 4})
    run_trial(config, scaled, made.PARTS, weights, None, lambda record, loss: told.append(loss) or True)
    assert told == [None]


def test_a_trial_that_diverges_says_so(world):
    scaled, weights = world
    config = trial_config(made.make_config(), {"train.learning_rate": 1e6})
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        run_trial(config, scaled, made.PARTS, weights)


LINEAR = {"model__linear": "average", "model__normalisation": "auto", "tune__max_epochs": 1}


@pytest.fixture(scope="module")
def taught():
    """Scaled segments, a config with a linear map, and weights that hold it solved."""
    segments = made.segments_of()
    config = made.make_config(**LINEAR)
    policy = made.random_policy(config, segments)
    scaled = segments.scaled(policy.scaler)
    start(policy.network, config, solved=closed_forms(config, scaled, made.PARTS))
    return scaled, config, policy.network.state_dict()


@pytest.mark.parametrize(
    ("settings", "solved"),
    [
        ({"train.learning_rate": 0.003}, 0),
        ({"model.dropout": 0.3, "train.batch": 4}, 0),
        ({"model.hidden": 12}, 0),
        ({"model.members": 2}, 0),
        # A narrower network takes nothing over.
        ({"model.hidden": 4}, 1),
        ({"model.normalisation": "mean_deviation"}, 1),
        ({"model.normalisation": "mean", "model.normalisation_steps": 6}, 1),
        ({"model.linear": "trained"}, 1),
    ],
    ids=str,
)
def test_closed_forms_are_solved_again_only_where_settings_change_them(taught, settings, solved, monkeypatch):
    scaled, base, weights = taught
    config = trial_config(base, settings)
    expected = closed_forms(config, scaled, made.PARTS)
    calls = []
    monkeypatch.setattr(trial, "closed_forms", lambda *given: calls.append(1) or closed_forms(*given))
    found = run_trial(config, scaled, made.PARTS, weights, base=base)
    assert len(calls) == solved
    for one, buffers in zip(single(found.network), expected, strict=True):
        assert bool(buffers) == (one.highway is not None)
        for name, value in buffers.items():
            np.testing.assert_array_equal(one.state_dict()[name].numpy(), value)
    again = run_trial(config, scaled, made.PARTS, weights)
    assert len(calls) == solved + 1, "weights of an unknown config are not trusted"
    assert curve(found) == curve(again)


@pytest.mark.parametrize(
    ("settings", "solved"),
    [
        ({"train.learning_rate": 0.003}, 0),
        ({"model.hidden": 12}, 0),
        ({"model.members": 3}, 0),
        # Steps beyond a sequence's end count in its last patch.
        ({"window.patch": 2}, 1),
        ({"window.history": 8}, 1),
        # Nobody has a ridge, so there is nothing to solve.
        ({"model.linear": "none"}, 1),
    ],
    ids=str,
)
def test_a_trial_takes_the_ridge_beside_classifiers_along_where_it_would_be_the_same(settings, solved, monkeypatch):
    monkeypatch.setattr(kernels, "FEATURES", 100)
    segments = noisy_days()
    base = made.classify_config(model__linear="average", model__members=2, tune__max_epochs=1, window__history=12)
    policy = made.random_policy(base, segments)
    scaled = segments.scaled(policy.scaler)
    start(policy.network, base, solved=closed_forms(base, scaled, DAY_PARTS))
    weights, config = policy.network.state_dict(), trial_config(base, settings)
    expected = closed_forms(config, scaled, DAY_PARTS)
    calls = []
    monkeypatch.setattr(trial, "closed_forms", lambda *given: calls.append(1) or closed_forms(*given))
    found = run_trial(config, scaled, DAY_PARTS, weights, base=base)
    assert len(calls) == solved
    for one, buffers in zip(single(found.network), expected, strict=True):
        assert bool(buffers) == isinstance(one, KernelRidge)
        for name, value in buffers.items():
            np.testing.assert_array_equal(one.state_dict()[name].numpy(), value)
    again = run_trial(config, scaled, DAY_PARTS, weights)
    assert curve(found) == curve(again)
