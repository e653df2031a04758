"""An explanation beside an answer, where a request asks for one. Knows no server: whoever serves passes in a thread for it.

It costs some ten answers and more, so it is never batched with ordinary requests, and few series of a request get one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.model import explaining
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.serving.bodies import time_words
from lstm_ray.serving.explained import MAX_SERIES, Explanation, Moved, Stretch

MAX_STEPS = 2_000
"""Of a series whose labels are explained, for it is read whole."""


def explain(policy: Policy, inputs: Sequence[SeriesInput]) -> list[Explanation | None]:
    """An explanation of the answer to each series; None where it is not finite.

    Raises InputError for too many of them, or too long ones.
    """
    require_few(policy, inputs)
    found: list[Explanation | None] = []
    for item in inputs:
        try:
            found.append(told(explaining.explain(policy, item), policy))
        except FloatingPointError:
            found.append(None)
    return found


def require_few(policy: Policy, inputs: Sequence[SeriesInput]) -> None:
    """Raises InputError for more series, or longer ones, than are explained."""
    if len(inputs) > MAX_SERIES:
        raise InputError(
            f"{len(inputs)} series were sent with explain; send at most {MAX_SERIES}, for each costs some ten answers and more"
        )
    longest = max((len(item.times) for item in inputs), default=0)
    if policy.config.task == "label" and longest > MAX_STEPS:
        raise InputError(
            f"a series of {longest} steps was sent with explain; send at most its newest {MAX_STEPS}, or none to explain"
        )


def told(found: explaining.Explanation, policy: Policy) -> Explanation:
    """As JSON holds it."""
    first, last = (time_words(times, policy.schema) for times in (found.first, found.last))
    stretches = [Stretch(first=a, last=b, ahead=c) for a, b, c in zip(first, last, found.ahead, strict=True)]
    answers = {
        one.name: Moved(
            answer=one.answer,
            baseline=one.baseline,
            inputs={name: float(values.sum()) for name, values in one.column_F.items()},
            stretches={name: values.tolist() for name, values in one.column_F.items()},
            gap=one.gap,
        )
        for one in found.moved
    }
    return Explanation(of=found.of, stretches=stretches, answers=answers)


def attach(answers: Sequence[Any], explanations: Sequence[Explanation | None] | None) -> None:
    """Put explanations to the answers of a request; what fell back has none of its own."""
    if explanations is None:
        return
    for answer, why in zip(answers, explanations, strict=True):
        if why is None or answer.fallback is not None:
            answer.warnings = [
                *answer.warnings,
                "the policy's own answer is not finite, so there is nothing to explain",
            ]
        else:
            answer.explanation = why
