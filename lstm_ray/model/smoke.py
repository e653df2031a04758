"""A policy's smoke input: a made-up series with the answer that the policy gave when it was bundled.

Whoever loads a policy, on another machine or with another torch, asks it once and knows whether it still answers as it did.
The series is ``example``'s: it holds training statistics, no training row. Knows no files and no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.model.example import example
from lstm_ray.model.policy import Classification, Forecast, Policy
from lstm_ray.model.request import SeriesInput

TOLERANCE = 1e-4
"""Training deviations, or probability: float32 sums in another order stay far below, other weights do not."""


class SmokeError(RuntimeError):
    """A policy does not answer its smoke input as it did when it was bundled."""


def smoke_of(policy: Policy) -> dict[str, Any]:
    """What ``smoke.json`` holds: the series as plain values, and the policy's answer to it as nested lists.

    Raises InputError where the policy answers with what is no finite number: such a policy is not to be bundled.
    """
    given = example(policy)
    answer = _answer(policy, given)
    if not np.isfinite(answer).all():
        raise InputError(
            "the policy answers the made-up example with NaN or infinity; train it again before it is served"
        )
    times = np.asarray(given.times)
    series = {
        "times": [str(time) for time in times] if policy.schema.has_dates else times.tolist(),
        "columns": {name: np.asarray(values).tolist() for name, values in given.columns.items()},
        "future": {name: np.asarray(values).tolist() for name, values in given.future.items()},
        "static": dict(given.static),
    }
    return {"series": series, "answer": answer.tolist()}


def check(policy: Policy) -> float | None:
    """Ask a policy its smoke input. The largest difference from the answer it was bundled with, in training deviations or
    probability; None where it carries none.

    Raises SmokeError where the answer is another, or none.
    """
    if policy.smoke is None:
        return None
    try:
        given, kept = _read(policy.smoke)
        difference = _difference(_answer(policy, given), kept, policy)
    except InputError as error:
        raise SmokeError(f"policy {policy.version[:12]} cannot answer its smoke input: {error}") from None
    if not difference <= TOLERANCE:
        unit = "training deviations" if policy.config.answers == "values" else "probability"
        raise SmokeError(
            f"policy {policy.version[:12]} answers its smoke input {difference:.3g} {unit} off what it answered when it was "
            f"bundled, more than {TOLERANCE:g}; compare this machine's torch with the one in policy.json, or take a fresh copy"
        )
    return difference


def _read(smoke: Mapping[str, Any]) -> tuple[SeriesInput, NDArray]:
    try:
        given = smoke["series"]
        series = SeriesInput(given["times"], given["columns"], given["future"], "example", given["static"])
        return series, np.asarray(smoke["answer"], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"smoke.json holds no series with an answer ({error!r}); take a fresh copy") from None


def _answer(policy: Policy, given: SeriesInput) -> NDArray:
    """[H, C, Q] values, [classes] probabilities, or [L, A] labels."""
    [found] = policy.predict([given])
    if isinstance(found, Forecast):
        return found.values_HCQ
    return found.probabilities if isinstance(found, Classification) else found.answer_LA


def _difference(answer: NDArray, kept: NDArray, policy: Policy) -> float:
    """NaN where the answer is not finite."""
    if answer.shape != kept.shape:
        raise InputError(f"the answer kept has shape {kept.shape}, the policy's {answer.shape}")
    unit: Any = 1.0
    if policy.config.task == "forecast":
        unit = policy.scaler.target_deviation[:, None]
    elif policy.scaler.label is not None:
        unit = policy.scaler.label.deviation[0]
    return float((np.abs(answer - kept) / unit).max())
