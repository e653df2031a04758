"""Which spaces a search accepts, and which settings it draws from them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from lstm_ray import space
from lstm_ray.config import Config
from lstm_ray.config_file import load
from lstm_ray.errors import InputError
from lstm_ray.space import base_settings, disturbed, draw, require_searchable, trial_config
from tests import made

SPACE: dict[str, Any] = {
    "train.learning_rate": {"loguniform": [1e-4, 1e-2]},
    "train.batch": {"uniform": [4, 40]},
    "model.hidden": {"choice": [8, 12]},
    "model.normalisation_steps": {"uniform": [4, 12]},
}


def config_of(tunes: dict[str, Any] = SPACE, **values: Any) -> Config:
    return made.make_config(tune__space=tunes, **values)


def refused(tunes: dict[str, Any], **values: Any) -> str:
    with pytest.raises(InputError) as found:
        require_searchable(config_of(tunes, **values))
    return str(found.value)


@pytest.mark.parametrize(
    ("path", "values", "config", "words"),
    [
        ("model.residual", [False, True], {}, "there is one layer"),
        ("model.pooling", ["max", "mean"], {}, "only task 'classify'"),
        ("model.channels", ["shared", "joint"], {}, "several targets"),
        ("model.normalisation_steps", [4, 8], {"model__normalisation": "last"}, "measure a level over steps"),
        ("train.truncate_steps", [400, 800], {}, "no more steps than that"),
        ("train.min_improvement", [0.0, 0.1], {}, "only train.schedule plateau"),
        ("model.forget_bias", [0.0, 2.0], {}, "vary one of model.hidden"),
        ("model.recurrent_init", ["uniform", "orthogonal"], {}, "vary one of model.hidden"),
        ("model.dropout", [0.0], {}, "can only be 0.0, which it is already"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_dead_knob_is_refused_with_the_reason(path, values, config, words):
    said = refused({path: {"choice": values}}, **config)
    assert f"'{path}'" in said
    assert words in said
    assert "take it out of the space" in said


@pytest.mark.parametrize(
    ("tunes", "values"),
    [
        ({"model.residual": {"choice": [False, True]}, "model.layers": {"choice": [1, 2]}}, {}),
        ({"model.forget_bias": {"choice": [0.0, 2.0]}, "model.layers": {"choice": [1, 2]}}, {}),
        ({"train.min_improvement": {"choice": [0.0, 0.1]}, "train.schedule": {"choice": ["plateau", "cosine"]}}, {}),
        ({"train.truncate_steps": {"choice": [8, 800]}}, {}),
        ({"model.normalisation_steps": {"choice": [4, 8]}}, {}),
        ({"model.channels": {"choice": ["shared", "joint"]}}, {"data__target": ["load", "wind"], "data__past": []}),
        ({"train.augment.jitter": {"uniform": [0.0, 0.2]}}, {}),
        ({"window.history": {"choice": [12, 16]}, "window.patch": {"choice": [2, 4]}}, {}),
    ],
    ids=lambda tunes: "+".join(tunes),
)
def test_a_knob_that_is_alive_under_some_of_the_other_settings_is_accepted(tunes, values):
    require_searchable(config_of(tunes, **values))


def test_knobs_of_other_tasks_are_dead():
    for path, choice in (("model.normalisation", ["mean", "last"]), ("train.origins", [1, 2])):
        with pytest.raises(InputError, match=f"'{path}' has no effect here"):
            require_searchable(made.classify_config(tune__space={path: {"choice": choice}}))
    with pytest.raises(InputError, match=r"'model\.linear' has no effect here: nothing is solved"):
        require_searchable(made.label_config(tune__space={"model.linear": {"choice": ["none", "average"]}}))
    require_searchable(made.classify_config(tune__space={"model.pooling": {"choice": ["mean", "max"]}}))


@pytest.mark.parametrize(
    ("tunes", "words"),
    [
        ({"model.normalisation_steps": {"choice": [8, 500]}}, "{'model.normalisation_steps': 500}, which the config"),
        ({"model.normalisation_steps": {"uniform": [4, 500]}}, "500 exceeds window.history 12"),
        ({"model.bidirectional": {"choice": [False, True]}}, "a forecast is learned at every origin"),
        ({"window.history": {"choice": [12, 14]}}, "patch 4 does not divide history 14"),
        (
            {"window.history": {"choice": [12, 16]}, "window.patch": {"choice": [4, 6]}},
            "{'window.history': 16, 'window.patch': 6}",
        ),
        (
            {"train.truncate_steps": {"choice": [8, 16]}, "model.attention": {"choice": [True, False]}},
            "looks back over the whole sequence",
        ),
        ({"train.max_epochs": {"choice": [4, 100]}}, "train.max_epochs 100 is beyond tune.max_epochs 8"),
        ({"train.max_epochs": {"choice": [4, None]}}, "train.max_epochs None is beyond"),
        ({"window.patch": {"uniform": [1, 6]}}, "patch 5 does not divide"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "+".join(value),
)
def test_values_that_contradict_the_config_or_one_another_are_refused_before_any_trial(tunes, words):
    assert words in refused(tunes)


def test_one_bad_value_among_many_combinations_is_found():
    many = {
        "train.learning_rate": {"choice": [float(f"{0.001 * step:.4g}") for step in range(1, 60)]},
        "train.batch": {"choice": list(range(2, 40))},
        "model.normalisation_steps": {"choice": [*range(1, 12), 13]},
    }
    assert len(list(space._every(config_of(many)))) > 10 * space.MOST_COMBINATIONS
    assert "13 exceeds window.history 12" in refused(many)


def test_a_search_whose_package_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr(space, "find_spec", lambda name: None)
    assert "pip install 'lstm-ray[optuna]'" in refused(SPACE, tune__search="optuna")


def test_a_yaml_is_refused_for_its_space_when_it_is_read(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "name: x\ndata: {source: a.csv, target: [y]}\ntune: {space: {model.residual: {choice: [false, true]}}}\n"
    )
    with pytest.raises(InputError, match=r"model\.residual.* has no effect here"):
        load(file)


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


def test_every_whole_number_of_a_range_is_as_likely_the_ends_too():
    config = config_of({"model.layers": {"uniform": [1, 3]}, "train.batch": {"loguniform": [2, 64]}})
    random = np.random.default_rng(0)
    drawn = [space.drawn(config, random) for _ in range(600)]
    counts = np.bincount([one["model.layers"] for one in drawn], minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() > 150
    batches = [one["train.batch"] for one in drawn]
    assert all(isinstance(batch, int) for batch in batches)
    assert min(batches) == 2
    assert 60 <= max(batches) <= 64
    assert 200 < sum(batch <= 11 for batch in batches) < 400, "loguniform: half below the geometric mean"


def test_floats_of_fields_that_may_be_none_stay_floats_and_within_the_range():
    config = config_of({"train.weight_averaging": {"uniform": [0.5, 0.99999]}})
    random = np.random.default_rng(0)
    drawn = [space.drawn(config, random)["train.weight_averaging"] for _ in range(200)]
    assert all(isinstance(value, float) and 0.5 <= value <= 0.99999 for value in drawn)
    assert space.as_written("train.weight_averaging", config.tune.space["train.weight_averaging"], 0.999989) == 0.99999


def test_a_space_with_fewer_settings_than_trials_is_tried_whole():
    settings = draw(config_of({"model.hidden": {"choice": [8, 12]}}, tune__trials=6))
    assert settings == [{"model.hidden": 8}, {"model.hidden": 12}]
    assert draw(config_of({}, tune__trials=6)) == [{}]


def test_values_of_a_choice_are_tried_as_their_field_holds_them():
    settings = draw(config_of({"model.hidden": {"choice": ["8", 12.0]}, "model.attention": {"choice": [0, 1]}}))
    assert all(type(one["model.hidden"]) is int and type(one["model.attention"]) is bool for one in settings)


GRID = {"model.hidden": {"choice": [8, 12]}, "model.dropout": {"choice": [0.0, 0.1, 0.2]}}


def test_a_grid_is_every_combination_after_the_base_settings():
    settings = draw(config_of(GRID, tune__search="grid", tune__trials=20))
    assert settings[0] == {"model.hidden": 8, "model.dropout": 0.0}
    assert len(settings) == 6
    assert {(one["model.hidden"], one["model.dropout"]) for one in settings} == {
        (hidden, dropout) for hidden in (8, 12) for dropout in (0.0, 0.1, 0.2)
    }


def test_of_a_grid_with_more_combinations_than_trials_some_of_all_kinds_are_tried():
    settings = draw(config_of(GRID, tune__search="grid", tune__trials=5))
    assert len(settings) == 5
    assert len({str(one) for one in settings}) == 5
    assert space.num_combinations(config_of(GRID)) == 6
    assert {one["model.hidden"] for one in settings} == {8, 12}, "not the first value of the first knob alone"


def test_disturbed_settings_stay_in_the_space_and_near():
    tunes = {"train.learning_rate": {"loguniform": [1e-3, 1e-2]}, "model.dropout": {"choice": [0.0, 0.1, 0.2, 0.4]}}
    config = config_of(tunes)
    random = np.random.default_rng(0)
    found = [disturbed(config, {"train.learning_rate": 0.009, "model.dropout": 0.1}, random) for _ in range(400)]
    rates = [one["train.learning_rate"] for one in found]
    assert all(1e-3 <= rate <= 1e-2 for rate in rates)
    near = sum(rate in (0.0072, 0.01) for rate in rates) / 400
    assert 0.65 < near < 0.85, "times 0.8 or 1.2 within the range, a quarter drawn anew"
    dropouts = [one["model.dropout"] for one in found]
    assert sum(dropout in (0.0, 0.2) for dropout in dropouts) > 300
    assert set(dropouts) == {0.0, 0.1, 0.2, 0.4}
    # A value of the base that the space does not hold gives way to one of it.
    assert disturbed(config, base_settings(config) | {"model.dropout": 0.9}, random)["model.dropout"] != 0.9


def test_a_trial_has_the_search_s_budget_and_no_patience_of_its_own():
    config = trial_config(made.make_config(train__patience=1, tune__max_epochs=5), {"model.hidden": 12})
    assert (config.train.max_epochs, config.train.patience, config.model.hidden) == (5, 5, 12)


def test_a_trial_may_have_other_windows_and_augmentation():
    config = trial_config(made.make_config(), {"window.history": 16, "window.patch": 2, "train.augment.jitter": 0.1})
    assert (config.window.history, config.window.patch, config.train.augment.jitter) == (16, 2, 0.1)
    assert space.value_of(config, "train.augment.jitter") == 0.1


def test_a_search_of_many_trials_is_drawn_within_moments():
    """Also where the space holds fewer settings, and where a grid has more combinations than memory holds."""
    began = time.perf_counter()
    assert len(draw(config_of({"train.learning_rate": {"loguniform": [1e-4, 1e-3]}}, tune__trials=20_000))) < 9_010
    knobs = ("model.hidden", "train.batch", "train.origins", "model.members")
    grid = {path: {"choice": list(range(1, 101))} for path in knobs}
    assert len(draw(config_of(grid, tune__trials=20, tune__search="grid"))) == 20
    assert time.perf_counter() - began < 10
