"""A policy labels a caller's series as it labels the same steps of segments, and on disk it is the same policy."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.network import single
from lstm_ray.model.policy import Labelling, Policy, SeriesInput
from tests import made
from tests.test_architecture import BLOCK, python

SEGMENTS = {kind: made.labelled_of((240, 60, 7), (0, 100, 10), kind) for kind in ("class", "value")}


def policy_of(kind: str = "class", **values: Any) -> Policy:
    config: Config = made.label_config(data__label_kind=kind, train__origins=5, **values)
    policy = made.random_policy(config, SEGMENTS[kind])
    with torch.no_grad():
        for one in single(policy.network):
            one.newest.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr, operator]
    return policy


def whole(segments: Segments) -> np.ndarray:
    return np.stack([segments.bounds[:-1], segments.bounds[1:]], axis=1)


def series_of(segments: Segments, index: int) -> SeriesInput:
    """A segment as a caller would send it, null where nothing was measured."""
    rows = np.arange(segments.bounds[index], segments.bounds[index + 1])
    load = np.where(segments.observed_RC[rows, 0] > 0, segments.past_RP[rows, 0], np.nan)
    return SeriesInput(segments.times(rows).tolist(), {"load": load}, name=segments.series[index])


def filled(segments: Segments) -> Segments:
    """The segments as training has them: what was not measured repeats what was."""
    from lstm_ray.data.quality.impute import forward_fill

    past_RP = np.where(segments.observed_RC > 0, segments.past_RP, np.nan)
    for first, end in whole(segments):
        past_RP[first:end] = forward_fill(past_RP[first:end])
    mean = made.scaler_of(segments).past.mean
    return replace(segments, past_RP=np.where(np.isnan(past_RP), np.float32(mean[0]), past_RP))


@pytest.mark.parametrize("kind", ["class", "value"])
@pytest.mark.parametrize(
    "values",
    [{}, {"window__patch": 4}, {"model__bidirectional": True, "model__members": 2}, {"model__attention": True}],
    ids=str,
)
def test_labelling_series_equals_labelling_segments(kind: str, values: dict[str, Any]) -> None:
    policy, segments = policy_of(kind, **values), SEGMENTS[kind]
    expected = policy.tell_steps(filled(segments), whole(segments))
    found = policy.predict([series_of(segments, index) for index in range(3)])
    assert all(isinstance(one, Labelling) for one in found)
    np.testing.assert_allclose(np.concatenate([one.answer_LA for one in found]), expected, rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]
    assert [len(one.times) for one in found] == [240, 60, 7]  # type: ignore[union-attr]
    alone = policy.predict([series_of(segments, 1)])[0]
    np.testing.assert_allclose(alone.answer_LA, found[1].answer_LA, rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]
    if kind == "class":
        np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-5)
        assert expected.std(0).max() > 0.01, "the answers are not all alike"


@pytest.mark.parametrize("patch", [1, 4])
def test_what_is_told_of_a_step_does_not_depend_on_later_ones(patch: int) -> None:
    """Told from 40 steps or from their first 28: a sequence more or less leaves those before it alone."""
    policy, segments = policy_of(window__patch=patch), SEGMENTS["class"]
    long, short = (np.array([[0, end], [240, 240], [300, 300]]) for end in (40, 28))
    if patch == 1:
        seen = policy.tell_steps(segments, long)[:25]
        np.testing.assert_allclose(policy.tell_steps(segments, short)[:25], seen, rtol=1e-5)
    spoilt = segments.past_RP.copy()
    spoilt[28:] = 99.0
    after = policy.tell_steps(replace(segments, past_RP=spoilt), long)
    np.testing.assert_allclose(after[:28], policy.tell_steps(segments, long)[:28], rtol=1e-6)
    assert not np.allclose(after[28:], policy.tell_steps(segments, long)[28:])


@pytest.mark.parametrize("batch", [1, 3, 512])
def test_labels_do_not_depend_on_the_batch(batch: int) -> None:
    policy, segments = policy_of(), SEGMENTS["class"]
    expected = policy.tell_steps(segments, whole(segments))
    np.testing.assert_allclose(policy.tell_steps(segments, whole(segments), batch), expected, rtol=1e-4, atol=1e-6)


def test_a_part_is_told_from_the_history_before_it() -> None:
    policy, segments = policy_of(), SEGMENTS["class"]
    part = np.array([[100, 130], [240, 240], [300, 300]])
    assert policy.tell_steps(segments, part).shape == (30, 2)
    spoilt = segments.past_RP.copy()
    spoilt[:88], spoilt[130:] = 99.0, 99.0
    moved = policy.tell_steps(replace(segments, past_RP=spoilt), part)
    np.testing.assert_allclose(moved, policy.tell_steps(segments, part), rtol=1e-6)
    spoilt[88] = 99.0
    assert not np.allclose(policy.tell_steps(replace(segments, past_RP=spoilt), part)[:3], moved[:3])


def test_values_are_told_in_the_labels_own_units() -> None:
    policy, segments = policy_of("value"), SEGMENTS["value"]
    scale = policy.scaler.label
    assert scale is not None
    moved = policy.scaler.model_copy(update={"label": scale.model_copy(update={"mean": [scale.mean[0] + 100]})})
    other = Policy(policy.config, policy.schema, moved, policy.network.state_dict())
    difference = other.tell_steps(segments, whole(segments)) - policy.tell_steps(segments, whole(segments))
    np.testing.assert_allclose(difference, 100, rtol=1e-4)


@pytest.mark.parametrize("kind", ["class", "value"])
def test_a_policy_survives_its_round_trip_and_predicts_where_arrow_polars_and_ray_are_not_installed(
    tmp_path: Path, kind: str
) -> None:
    policy = policy_of(kind, window__patch=4)
    policy.save(tmp_path)
    rng = np.random.default_rng(0)
    load = (20 + rng.normal(size=30)).tolist()
    times = [f"{made.START + step}:00:00" for step in range(30)]
    code = (
        f"{BLOCK}from lstm_ray.model.policy import Policy, SeriesInput\n"
        f"[found] = Policy.load({str(tmp_path)!r}).predict([SeriesInput({times}, {{'load': {load}}})])\n"
        "print(found.answer_LA.ravel().tolist())"
    )
    answer = python(code)
    assert answer.returncode == 0, answer.stderr
    [expected] = policy.predict([SeriesInput(times, {"load": load})])
    np.testing.assert_allclose(ast.literal_eval(answer.stdout), expected.answer_LA.ravel(), rtol=1e-5)  # type: ignore[union-attr]


def test_missing_inputs_are_warned_of_and_the_label_is_no_input() -> None:
    policy = policy_of()
    [found] = policy.predict([series_of(SEGMENTS["class"], 1)])
    missing = int((SEGMENTS["class"].observed_RC[240:300] == 0).sum())
    assert found.warnings == [f"{missing} of 60 values of 'load' were missing and filled"]
    times = [f"{made.START + step}:00:00" for step in range(3)]
    with pytest.raises(InputError, match="'state' is no input of this policy; it reads load"):
        policy.predict([SeriesInput(times, {"load": [1, 2, 3], "state": [0, 0, 0]})])
