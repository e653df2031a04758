"""The smoke input: what a policy is asked wherever it is loaded, and what happens where it answers otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.model.smoke import TOLERANCE, SmokeError, check, smoke_of
from tests import made


def forecaster() -> Policy:
    return made.random_policy(made.make_config(model__quantiles=[0.1, 0.5, 0.9]), made.segments_of())


def classifier() -> Policy:
    return made.random_policy(made.classify_config(), made.sequences_of([12, 3, 7, 4, 10, 12]))


def labeller() -> Policy:
    return made.random_policy(made.label_config(), made.labelled_of())


def valuer() -> Policy:
    return made.random_policy(made.value_config(), made.labelled_of(kind="value"))


def on_steps() -> Policy:
    return made.random_policy(made.make_config(), made.segments_of(schema=made.schema_of(is_time=False)))


@pytest.mark.parametrize("make", [forecaster, classifier, labeller, valuer, on_steps])
def test_a_policy_answers_its_smoke_input_as_before_wherever_it_is_read(make: Callable[[], Policy]) -> None:
    policy = make()
    assert check(policy) is None
    policy.smoke = json.loads(json.dumps(smoke_of(policy), allow_nan=False))
    again = Policy.of(policy.files())
    assert again.smoke == policy.smoke
    assert check(again) == check(policy) == 0.0


@pytest.mark.parametrize("make", [forecaster, classifier, valuer])
def test_a_policy_that_answers_otherwise_is_told_with_how_far(make: Callable[[], Policy]) -> None:
    policy = make()
    policy.smoke = smoke_of(policy)
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.mul_(1.01)
    with pytest.raises(SmokeError, match=r"answers its smoke input .* off what it answered when it was bundled"):
        check(policy)


def test_rounding_is_let_pass_and_measured_in_training_deviations() -> None:
    policy = forecaster()
    policy.smoke = smoke_of(policy)
    answer = np.asarray(policy.smoke["answer"])
    off = 0.5 * TOLERANCE * policy.scaler.target_deviation[:, None]
    policy.smoke = {**policy.smoke, "answer": (answer + off).tolist()}
    assert check(policy) == pytest.approx(0.5 * TOLERANCE, rel=1e-3)
    policy.smoke = {**policy.smoke, "answer": (answer + 3 * off).tolist()}
    with pytest.raises(SmokeError, match=r"0\.00015 training deviations off"):
        check(policy)


BAD: list[dict[str, Any]] = [
    {},
    {"series": 3, "answer": []},
    {"series": {"times": [], "columns": {}, "future": {}, "static": {}}, "answer": [1.0]},
    {"series": None, "answer": [[1], [1, 2]]},
]


@pytest.mark.parametrize("smoke", BAD)
def test_a_smoke_input_that_cannot_be_asked_is_told(smoke: dict[str, Any]) -> None:
    policy = forecaster()
    policy.smoke = smoke
    with pytest.raises(SmokeError, match="cannot answer its smoke input"):
        check(policy)


@pytest.mark.parametrize("answer", [[1.0], [[[float("1e400")] * 3] * 2] * 6, "much"])
def test_an_answer_of_another_kind_is_told(answer: Any) -> None:
    policy = forecaster()
    policy.smoke = {**smoke_of(policy), "answer": answer}
    with pytest.raises(SmokeError):
        check(policy)


def test_a_policy_that_answers_nan_gets_no_smoke_input() -> None:
    policy = forecaster()
    with torch.no_grad():
        next(policy.network.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="NaN or infinity; train it again"):
        smoke_of(policy)


def test_no_training_row_is_in_it() -> None:
    """Targets wave about their mean, inputs stay at theirs."""
    segments: Segments = made.segments_of()
    policy = made.random_policy(made.make_config(), segments)
    columns = smoke_of(policy)["series"]["columns"]
    real = {round(float(value), 4) for value in segments.target_RC.ravel()}
    assert len({round(value, 4) for value in columns["load"]} & real) <= 1
    assert len(set(columns["wind"])) == 1
