"""What was planted is what a model is said to rely on."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from lstm_ray.data.lags import reach
from lstm_ray.errors import InputError
from lstm_ray.evaluate.explain import questions, shuffling
from lstm_ray.evaluate.explain import told as explain
from lstm_ray.lifecycle import STAGES
from lstm_ray.sections.prepare import WindowConfig
from tests import made
from tests.evaluate.explain.conftest import Classes, Labels, config_of


@pytest.fixture
def walking(make_data):
    """Three long series, their target a slow walk that the first input tells, too."""
    data = make_data(steps=2000)
    random, walk = np.random.default_rng(0), np.zeros(len(data.segments.target_RC))
    for row in range(1, len(walk)):
        walk[row] = 0.99 * walk[row - 1] + random.standard_normal()
    past = np.stack([walk + 0.1 * random.standard_normal(len(walk)), random.standard_normal(len(walk))], axis=1)
    target = walk[:, None].astype(np.float32)
    return replace(data, segments=replace(data.segments, target_RC=target, past_RP=past.astype(np.float32)))


def test_a_model_that_reads_one_input_alone_relies_on_that_one(config, walking, reads):
    policy = reads(walking.scaler, target=0.0, past=(1.0, 0.0))
    [told] = explain.told(config, policy, walking.segments, walking.parts)
    assert told.topic == "What it relies on"
    facts = told.details["explain"]["by_input"]
    assert facts["a"]["increase"] > 0.3
    assert facts["a"]["increase"] > 3 * facts["a"]["reach"]
    assert facts["b"] == {"increase": 0.0, "reach": 0.0}
    assert facts["target0"] == {"increase": 0.0, "reach": 0.0}
    assert told.findings[0].text.startswith("The policy relies most on a: with another window's in its place")
    assert told.findings[1].text.startswith("Without these nothing is lost that could be told from chance: ")
    assert "b (+0 %)" in told.findings[1].text
    assert told.findings[1].advice.startswith("Leave b out")
    assert told.details["explain"]["part"] == "validation"


def test_the_targets_own_past_is_said_to_be_so_and_by_age(config, walking, reads):
    [told] = explain.told(config, reads(walking.scaler), walking.segments, walking.parts)
    assert "target0's own past" in told.findings[0].text
    ages = told.details["explain"]["by_lag"]
    assert list(ages) == ["newest 12h", "12h to 1d ago", "1d to 2d ago"]
    assert ages["newest 12h"]["increase"] > 0.1
    assert ages["1d to 2d ago"] == {"increase": 0.0, "reach": 0.0}
    [finding] = [finding for finding in told.findings if "stretch" in finding.text]
    assert "'newest 12h' matters most" in finding.text
    assert finding.advice.startswith("A window.history of 12 may do as well as 48")
    assert {figure.id for figure in told.figures} == {"importance-input", "importance-lag", "importance-both"}


def test_a_model_that_reads_a_day_back_relies_on_that_stretch(config, walking, reads):
    [told] = explain.told(config, reads(walking.scaler, steps_back=30), walking.segments, walking.parts)
    ages = told.details["explain"]["by_lag"]
    assert max(ages, key=lambda name: ages[name]["increase"]) == "1d to 2d ago"
    assert ages["newest 12h"] == {"increase": 0.0, "reach": 0.0}


def test_the_test_part_is_not_read(config, data, reads):
    hidden = data.segments.target_RC.copy()
    steps = data.segments.steps(np.arange(len(hidden)))
    hidden[steps >= data.parts["test"][0]] = np.nan
    [told] = explain.told(config, reads(data.scaler), replace(data.segments, target_RC=hidden), data.parts)
    assert np.isfinite(told.details["explain"]["base"])


def test_the_same_seed_tells_the_same(config, data, reads):
    once, again = (explain.told(config, reads(data.scaler), data.segments, data.parts)[0] for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    "kind",
    [{"channels": 2}, {"num_series": 1, "cut_first": False}, {"is_time": False}, {"missing": 0.95}, {"noise": 0.0}],
)
def test_any_data_is_told_without_a_number_that_is_none(config, make_data, reads, kind):
    data = make_data(**kind)
    [told] = explain.told(config, reads(data.scaler), data.segments, data.parts)
    json.dumps(told.details, allow_nan=False)
    json.dumps([figure.model_dump() for figure in told.figures], allow_nan=False)
    assert told.findings


def test_without_past_inputs_there_is_no_table_of_both(config, data, reads):
    schema = data.segments.schema.model_copy(update={"past": []})
    segments = replace(data.segments, past_RP=data.segments.past_RP[:, :0], schema=schema)
    [told] = explain.told(config, reads(data.scaler, past=()), segments, data.parts)
    assert {figure.id for figure in told.figures} == {"importance-input", "importance-lag"}


def test_an_empty_validation_part_is_said(config, data, reads):
    parts = data.parts | {"validation": (360, 361)}
    [told] = explain.told(config, reads(data.scaler), data.segments, parts)
    assert "too few measured windows" in told.findings[0].text
    assert not told.figures


def test_nothing_is_told_where_nothing_is_asked(data, reads):
    assert explain.told(config_of(evaluate__explain="none"), reads(data.scaler), data.segments, data.parts) == []


def test_gradients_without_captum_are_refused_before_training(monkeypatch):
    explain.require_installed(config_of(evaluate__explain="gradients"))
    monkeypatch.setattr(explain, "find_spec", lambda name: None)
    explain.require_installed(config_of())
    with pytest.raises(InputError, match=r"pip install lstm-ray\[explain\]"):
        explain.require_installed(config_of(evaluate__explain="gradients"))


def test_a_classifier_relies_on_the_input_that_it_reads(sequences_data):
    config = made.classify_config(window__history=32)
    [told] = explain.told(config, Classes(sequences_data.scaler), sequences_data.segments, sequences_data.parts)
    facts = told.details["explain"]
    assert facts["metric"] == "log loss"
    assert facts["by_input"]["a"]["increase"] > facts["by_input"]["a"]["reach"]
    assert facts["by_input"]["b"] == {"increase": 0.0, "reach": 0.0}
    assert max(facts["by_lag"], key=lambda name: facts["by_lag"][name]["increase"]) == "last eighth"


def test_labels_of_steps_rely_on_the_input_that_they_are_told_from():
    config, segments = made.value_config(), made.labelled_of(kind="value")
    extra = np.random.default_rng(0).standard_normal((len(segments.past_RP), 1)).astype(np.float32)
    schema = segments.schema.model_copy(update={"past": [*segments.schema.past, "other"]})
    wider = replace(
        segments,
        past_RP=np.concatenate([segments.past_RP, extra], axis=1),
        observed_RC=np.concatenate([segments.observed_RC, np.ones_like(extra)], axis=1),
        schema=schema,
    )
    policy = made.random_policy(config, segments)
    [told] = explain.told(config, Labels(policy.scaler), wider, made.PARTS)
    facts = told.details["explain"]
    assert facts["metric"] == "mean absolute error"
    assert facts["by_input"]["other"] == {"increase": 0.0, "reach": 0.0}
    assert not facts["by_lag"]


@pytest.mark.parametrize(
    "window",
    [
        {"history": 168, "horizon": 24, "patch": 24, "season": 24},
        {"history": 720, "horizon": 96, "patch": 16, "season": 24},
        {"history": 5, "horizon": 3, "patch": 1, "season": 1},
        {"history": 12, "horizon": 6, "patch": 4, "season": 12},
        {"history": 40, "horizon": 6, "patch": 20, "season": 7},
        {"history": 48, "horizon": 6, "patch": 4, "season": 24, "lags": [168]},
    ],
)
def test_stretches_cover_the_history_once_from_the_newest_patch_on(window):
    window = WindowConfig(**window)
    edges = questions.stretch_edges(window)
    assert edges[:2] == [0, window.patch]
    assert edges[-1] == reach(window)
    assert window.history in edges
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= questions.MOST_STRETCHES + 1
    assert all(edge % window.patch == 0 for edge in edges if edge <= window.history)


def test_another_seed_tells_about_the_same_within_what_is_left_open(config, walking, reads):
    question = questions.of_forecast(config, reads(walking.scaler), walking.segments, walking.parts)
    found = shuffling.importances(question, 0)
    other = shuffling.importances(question, 1)
    mine, again = found.by_input[0], other.by_input[0]
    assert abs(mine.increase - again.increase) < mine.reach + again.reach
    assert mine.increase > mine.reach > 0


def test_the_stage_asks_for_captum_before_anything_is_trained(monkeypatch):
    early = STAGES["evaluate"].early
    module, _, name = early.partition(":")
    monkeypatch.setattr(explain, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="extra 'explain'"):
        getattr(import_module(module), name)(config_of(evaluate__explain="gradients"), None)


def test_gradients_are_told_beside_the_shuffling():
    config, segments = made.make_config(evaluate__explain="gradients"), made.segments_of()
    [told] = explain.told(config, made.random_policy(config, segments), segments, made.PARTS)
    found = told.details["gradients"]
    assert set(found["by_input"]) >= {"load", "wind"}
    assert found["gap"] < 0.05
    assert found["windows"] <= 128
    assert told.figures[-1].id == "gradients"
    assert "By integrated gradients" in told.findings[-1].text
    json.dumps(told.details, allow_nan=False)


def test_windows_that_lie_near_each_other_are_not_taken_for_certainty():
    """All repeats agree, and yet one stretch of time says that much is lost and the next that little is."""
    step_M = np.arange(40)
    more_KM = np.tile(np.where(step_M < 20, 1.0, 0.1), (shuffling.REPEATS, 1))
    mean, reach = shuffling._mean(more_KM, step_M, 20)
    assert mean == pytest.approx(0.55)
    assert reach > mean
