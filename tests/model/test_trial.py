from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.model import kernels, trial
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.network import KernelRidge, single
from lstm_ray.model.training import start
from lstm_ray.model.trial import Facts
from lstm_ray.space import trial_config
from tests import made
from tests.model.test_training import DAY_PARTS, noisy_days

SCALER = made.scaler_of(made.segments_of())
run_trial = partial(trial.run_trial, scaler=SCALER)


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


def test_a_trial_ends_where_it_is_told_and_another_goes_on_from_there_with_its_own_settings(world, tmp_path):
    scaled, weights = world
    config = trial_config(made.make_config(tune__max_epochs=3, model__dropout=0.2), {"train.weight_decay": 0.1})
    undisturbed = run_trial(config, scaled, made.PARTS, weights)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    run_trial(config, scaled, made.PARTS, weights, first, until=2)
    before = {file: file.stat().st_mtime_ns for file in first.rglob("*")}
    same = run_trial(config, scaled, made.PARTS, weights, second, goes_on_from=first)
    assert curve(same) == pytest.approx(curve(undisturbed))
    changed = trial_config(config, {"train.weight_decay": 0.0, "train.learning_rate": 0.05})
    other = run_trial(changed, scaled, made.PARTS, weights, third, goes_on_from=first)
    assert curve(other)[:4] == curve(undisturbed)[:4]
    assert curve(other)[4:] != pytest.approx(curve(undisturbed)[4:])
    assert {group["weight_decay"] for group in other.optimiser.param_groups} == {0.0}
    assert {file: file.stat().st_mtime_ns for file in first.rglob("*")} == before
    assert len(other.records) == 3


def test_nothing_goes_on_from_a_damaged_checkpoint(world, tmp_path):
    scaled, weights = world
    config = trial_config(made.make_config(tune__max_epochs=2), {})
    run_trial(config, scaled, made.PARTS, weights, tmp_path / "first", until=1)
    (tmp_path / "first/epoch-00001/training.json").write_text("{")
    with pytest.raises(InputError, match="first' is whole"):
        run_trial(config, scaled, made.PARTS, weights, tmp_path / "second", goes_on_from=tmp_path / "first")


def test_a_trial_s_folder_tells_how_it_began_and_what_it_took(world, tmp_path):
    scaled, weights = world
    config = trial_config(made.make_config(tune__max_epochs=2), {})
    starts = []
    one = run_trial(config, scaled, made.PARTS, weights, tmp_path, lambda record, loss: starts.append(loss) or False)
    facts = Facts.read(tmp_path)
    assert (facts.share, facts.start_loss, facts.failure) == (1.0, starts[0], "")
    assert facts.num_parameters == sum(weight.numel() for weight in one.network.parameters())
    assert facts.seconds > 0
    run_trial(config, scaled, made.PARTS, weights, tmp_path)
    assert Facts.read(tmp_path).start_loss == starts[0]
    assert Facts.read(tmp_path).seconds > facts.seconds, "over both attempts"


def test_a_trial_from_scratch_has_no_loss_before_its_first_step(world):
    scaled, weights = world
    told = []
    config = trial_config(made.make_config(tune__max_epochs=1), {"model.hidden": 4})
    run_trial(config, scaled, made.PARTS, weights, None, lambda record, loss: told.append(loss) or True)
    assert told == [None]


def test_a_trial_from_scratch_knows_where_the_target_s_own_bounds_lie(world):
    """A bound at the mean of the values would pass for one at 0 of theirs."""
    scaled, weights = world
    config = trial_config(made.make_config(model__output="relu", tune__max_epochs=1), {"model.hidden": 4})
    network = run_trial(config, scaled, made.PARTS, weights).network
    zero_C, unit_C = SCALER.units("target")
    for one in single(network):
        np.testing.assert_allclose(one.zero_C.numpy(), -zero_C / unit_C, rtol=1e-5)
        np.testing.assert_allclose(one.unit_C.numpy(), 1 / unit_C, rtol=1e-5)


def test_a_trial_that_diverges_says_so(world, tmp_path):
    scaled, weights = world
    config = trial_config(made.make_config(), {"train.learning_rate": 1e6})
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        run_trial(config, scaled, made.PARTS, weights, tmp_path)
    assert "diverged" in Facts.read(tmp_path).failure


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"window.history": 24}, True),
        ({"window.history": 8}, True),
        ({"window.patch": 2}, False),
        ({"window.history": 8, "window.patch": 2}, False),
        ({"train.augment.jitter": 0.1}, True),
    ],
    ids=str,
)
def test_a_trial_may_read_other_windows_warm_where_the_weights_mean_the_same(world, tmp_path, settings, share):
    scaled, weights = world
    config = trial_config(made.make_config(tune__max_epochs=1, model__linear="average"), settings)
    training = run_trial(config, scaled, made.PARTS, weights, tmp_path)
    assert bool(Facts.read(tmp_path).share) == share
    assert np.isfinite(curve(training)).all()


def test_closed_forms_are_solved_once_for_all_trials_that_need_the_same(taught, tmp_path, monkeypatch):
    scaled, base, weights = taught
    calls = []
    monkeypatch.setattr(trial, "closed_forms", lambda *given: calls.append(1) or closed_forms(*given))
    curves = {}
    for hidden in (4, 5):
        config = trial_config(base, {"model.hidden": hidden})
        curves[hidden] = curve(run_trial(config, scaled, made.PARTS, weights, base=base, forms=tmp_path))
        assert curve(run_trial(config, scaled, made.PARTS, weights, base=base)) == curves[hidden]
    assert len(calls) == 3, "one for the folder, two for the controls"
    run_trial(trial_config(base, {"model.hidden": 4, "window.history": 8}), scaled, made.PARTS, weights, forms=tmp_path)
    assert len(calls) == 4
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(b"half")
    run_trial(trial_config(base, {"model.hidden": 4}), scaled, made.PARTS, weights, base=base, forms=tmp_path)
    assert len(calls) == 5, "a damaged file is no closed form"


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


def test_a_trial_whose_network_no_memory_holds_says_so(world, tmp_path):
    scaled, weights = world
    config = trial_config(made.make_config(), {"model.hidden": 10_000_000})
    with pytest.raises(InputError, match=r"the network does not fit into memory; lower model\.hidden \(now 10000000\)"):
        run_trial(config, scaled, made.PARTS, weights, tmp_path)
