"""Whether an answer hangs on what was not known when it was given: what comes later is scrambled, and nothing may change.

Known inputs stay, for they are known ahead. The check can fail: what came before is scrambled, too, and must change answers.

Legend: R rows, S segments, M windows, sequences or steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import step_ranges
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.evaluate.audit.checks import Check
from lstm_ray.evaluate.forecasts.statistical import spread
from lstm_ray.evaluate.gather import Classifier, Forecaster, Labeller
from lstm_ray.sections.prepare import WindowConfig

NAME = "future scramble"
CASES = 64
"""Windows, sequences or segments that are scrambled."""
SAME = 1e-6
"""Share of its own size that an answer may differ by where nothing it reads has changed."""


def of_forecasts(
    policy: Forecaster, segments: Segments, parts: Boundaries, window: WindowConfig, before: int, seed: int
) -> Check:
    """Targets and past inputs after the origin of test windows.

    Args:
        before: further steps that decide what a window is read as (``clean.lookback``).
    """
    origins_M = spread(origins(segments, parts, "test", window), CASES, seed)
    of_M = segments.series_of(origins_M)
    back = reach(window) + before
    first_M = np.maximum(segments.bounds[of_M], origins_M - back + 1)
    end_M = np.minimum(segments.bounds[of_M + 1], origins_M + window.horizon + back)
    cut = segments.stretches(np.stack([first_M, end_M], axis=1))
    row_M = cut.bounds[:-1] + origins_M - first_M
    later_R = np.arange(cut.bounds[-1]) > np.repeat(row_M, end_M - first_M)
    told, after, past = (
        policy.forecast_windows(some, row_M) for some in (cut, scrambled(cut, later_R), scrambled(cut, ~later_R))
    )
    return judged(
        f"targets and past inputs after the origin of {len(row_M)} test windows",
        int(later_R.sum()),
        changed(told, after),
        changed(told, past),
        "forecasts",
    )


def of_classes(policy: Classifier, segments: Segments, parts: Boundaries, history: int, seed: int) -> Check:
    """Labels, and all other sequences, of test sequences."""
    ids_M = spread(sequences(segments, parts, "test"), CASES, seed)
    end_M = segments.bounds[ids_M + 1]
    range_M2 = np.stack([np.maximum(segments.bounds[ids_M], end_M - history), end_M], axis=1)
    # Each sequence twice: the copies stand for all other sequences.
    cut = segments.stretches(np.concatenate([range_M2, range_M2]))
    own_M, size = np.arange(len(ids_M)), int(cut.bounds[len(ids_M)])
    other_R = np.arange(cut.bounds[-1]) >= size
    assert cut.label is not None, "sequences to classify have labels"
    mixed = replace(scrambled(cut, other_R), label=(cut.label + 1) % max(2, len(cut.schema.classes)))
    told, after, past = (policy.class_probabilities(some, own_M) for some in (cut, mixed, scrambled(cut, ~other_R)))
    return judged(
        f"the labels of {len(ids_M)} test sequences and all other sequences",
        int(other_R.sum()),
        changed(told, after),
        changed(told, past),
        "answers",
    )


def of_labels(policy: Labeller, segments: Segments, parts: Boundaries, window: WindowConfig, seed: int) -> Check:
    """Every label, and all inputs after a step of the test part."""
    range_S2 = step_ranges(segments, parts, "test")
    held = np.flatnonzero(range_S2[:, 1] - range_S2[:, 0] > 2 * window.patch)
    if not len(held):
        return Check(NAME, "left out", f"No test stretch is longer than two patches of {window.patch} steps.")
    held = spread(held, CASES, seed)
    first_M = np.maximum(segments.bounds[held], range_S2[held, 0] - window.history)
    end_M = np.minimum(range_S2[held, 1], range_S2[held, 0] + 4 * window.history)
    last_M = (np.maximum(range_S2[held, 0], first_M) + end_M) // 2
    cut = segments.stretches(np.stack([first_M, end_M], axis=1))
    row_M = cut.bounds[:-1] + last_M - first_M
    of_R = np.repeat(np.arange(len(held)), end_M - first_M)
    later_R = np.arange(cut.bounds[-1]) > row_M[of_R]
    # A patch is told as a whole, so that a step may see what is left of its own patch.
    sure_R = np.arange(cut.bounds[-1]) <= row_M[of_R] - window.patch + 1
    assert cut.label_R is not None, "steps to label have labels"
    label_R = np.random.default_rng(seed).permutation(cut.label_R)
    told_S2 = np.stack([cut.bounds[:-1], cut.bounds[1:]], axis=1)
    told, after, past = (
        policy.tell_steps(some, told_S2)[sure_R]
        for some in (cut, replace(scrambled(cut, later_R), label_R=label_R), scrambled(cut, ~later_R))
    )
    return judged(
        f"all labels, and inputs after a step in {len(held)} test stretches",
        int(later_R.sum()),
        changed(told, after),
        changed(told, past),
        "answers",
    )


def scrambled(segments: Segments, chosen_R: NDArray) -> Segments:
    """Targets and past inputs of some rows turned over, stretched and out of order; measured and filled values swapped."""
    order = np.flatnonzero(chosen_R)[::-1]

    def turned(values_RF: NDArray) -> NDArray:
        found = values_RF.copy()
        size_F = np.abs(values_RF).mean(axis=0) + 1 if len(values_RF) else 1.0
        found[chosen_R] = size_F - 2 * values_RF[order]
        return found

    observed_RC = segments.observed_RC.copy()
    observed_RC[chosen_R] = 1 - observed_RC[chosen_R]
    return replace(
        segments,
        target_RC=turned(segments.target_RC),
        past_RP=turned(segments.past_RP),
        observed_RC=observed_RC,
    )


def changed(told_MX: NDArray, then_MX: NDArray) -> NDArray:
    """Which answers differ by more than rounding, bool [M]."""
    gap = np.abs(told_MX - then_MX) > SAME * (np.abs(told_MX) + np.abs(then_MX).clip(0, np.abs(told_MX)))
    differs: NDArray = gap.reshape(len(told_MX), -1).any(axis=1)
    return differs


def judged(what: str, num_rows: int, later_M: NDArray, past_M: NDArray, answers: str) -> Check:
    """The verdict: no answer may change with the future, and most must with the past."""
    leaks, reads, num = int(later_M.sum()), int(past_M.sum()), len(later_M)
    details = {"cases": num, "rows": num_rows, "changed_by_future": leaks, "changed_by_past": reads}
    text = f"With {what} scrambled ({num_rows:,} rows), {leaks:,} of {num:,} {answers} changed"
    if leaks:
        return Check(
            NAME,
            "failed",
            f"{text}: they read what is not known yet.",
            "Do not trust any score of this run; the policy, or what it reads, was changed.",
            details,
        )
    if 2 * reads < num:
        return Check(
            NAME,
            "failed",
            f"{text}; but with the past scrambled only {reads:,} did: most do not hang on what they read, which shows "
            "nothing.",
            "Look at the figure of predictions: the policy may always answer the same.",
            details,
        )
    return Check(NAME, "passed", f"{text}; with what came before scrambled, {reads:,} did.", details=details)
