"""Whether a trial begins as the trained policy: the same answers before its first step. Knows policies; trains none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.steps import step_ranges
from lstm_ray.data.windows import Segments, sequences
from lstm_ray.evaluate.choosing.validation import common_origins
from lstm_ray.evaluate.gather import cut_out, cut_out_sequences
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.trial import brings_closed_forms
from lstm_ray.model.warm_start import warm_start

CASES = 32
"""Validation windows, sequences or patches of steps that are compared, spread over the part."""
ALIKE = 1e-4
"""Answers that differ by no more training deviations (or probability) are the same: they were added up in another order."""


def begins_unchanged(config: Config, base: Policy, segments: Segments, bounds: Boundaries) -> bool:
    """Whether a network of this config, once it holds what fits of a trained policy's weights, answers as the policy does.

    Not where a closed form is solved anew, as with another window, normalisation or linear map.
    """
    network = build(config, base.schema)
    if not warm_start(network, base.network.state_dict()) or not brings_closed_forms(network, config, base.config):
        return False
    start = Policy(config, base.schema, base.scaler, network.state_dict())
    ours, theirs = _answers([start, base], segments, bounds)
    return bool(np.allclose(ours, theirs, rtol=0, atol=ALIKE))


def _answers(policies: list[Policy], segments: Segments, bounds: Boundaries) -> list[NDArray]:
    """What policies answer on the same few validation cases; values in training deviations."""
    base = policies[-1]
    scaler, windows = base.scaler, [policy.config.window for policy in policies]
    if base.config.task == "classify":
        few = cut_out_sequences(segments, _few(sequences(segments, bounds, "validation")), windows[-1].history)
        return [policy.class_probabilities(few, np.arange(len(few.series))) for policy in policies]
    if base.config.task == "label":
        return [policy.tell_steps(*_stretch(segments, bounds, windows[-1].history)) for policy in policies]
    longest = max(windows, key=lambda window: window.history)
    origins_M = _few(common_origins(segments, bounds, windows))
    few, origins_M = cut_out(segments, origins_M, reach(longest) + lookback(scaler), longest.horizon)
    deviation_C1 = scaler.target_deviation[:, None]
    return [policy.forecast_windows(few, origins_M) / deviation_C1 for policy in policies]


def _few(items_M: NDArray) -> NDArray:
    return items_M[:: max(1, len(items_M) // CASES)]


def _stretch(segments: Segments, bounds: Boundaries, history: int) -> tuple[Segments, NDArray]:
    """The first validation steps of the segment that holds most of them, after a history."""
    range_S2 = step_ranges(segments, bounds, "validation")
    at = int(np.argmax(range_S2[:, 1] - range_S2[:, 0]))
    first, end = range_S2[at]
    start, end = max(int(segments.bounds[at]), int(first) - history), min(int(end), int(first) + CASES)
    few = segments.stretches(np.array([[start, end]]))
    return few, np.array([[int(first) - start, end - start]])
