"""Inputs that are the label under another name: its codes, or its values, at the same step or some steps off.

Training and validation parts alone; the test part is not read. A rule of several values, such as a threshold, is no leak
and is left alone. Legend: R rows, M labelled steps or sequences, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import labelled_rows
from lstm_ray.data.windows import Segments, sequences
from lstm_ray.evaluate.audit.checks import Check
from lstm_ray.evaluate.forecasts.statistical import spread
from lstm_ray.evaluate.words import percent

NAME = "inputs that are the label"
TELLS = 0.98
"""Share of the commonest class's mistakes that a code takes away, or correlation with a value, from which an input is
the label."""
CODES = 4
"""An input of more different values than so many times the classes is a measurement, no code."""
STEPS_OFF = 24
CASES, FEWEST = 20_000, 20


def of_labels(segments: Segments, parts: Boundaries, seed: int) -> Check:
    """Each input beside the labels of the same step, and of up to STEPS_OFF steps before and after."""
    rows_M = np.concatenate([labelled_rows(segments, parts, "train"), labelled_rows(segments, parts, "validation")])
    rows_M = spread(rows_M, CASES, seed)
    of_M = segments.series_of(rows_M)
    low_M, high_M = segments.bounds[of_M], segments.bounds[of_M + 1] - 1
    assert segments.label_R is not None, "steps to label have labels"
    label_M = segments.label_R[rows_M]
    found = {}
    for name, input_R in _columns(segments).items():
        told = {
            off: tells(input_R[np.clip(rows_M + off, low_M, high_M)], label_M, len(segments.schema.classes))
            for off in range(-STEPS_OFF, STEPS_OFF + 1)
        }
        # Of offsets that tell as much, the nearest.
        best = max(told, key=lambda off: (round(told[off], 3), -abs(off)))
        found[name] = (told[best], best)
    return _judged(found, len(rows_M), "labelled steps")


def of_classes(segments: Segments, parts: Boundaries) -> Check:
    """Each input's first and last value in a sequence beside its class."""
    ids_M = np.concatenate([sequences(segments, parts, "train"), sequences(segments, parts, "validation")])
    assert segments.label is not None, "sequences to classify have labels"
    label_M, found = segments.label[ids_M], {}
    for name, input_R in _columns(segments).items():
        ends = (segments.bounds[ids_M], segments.bounds[ids_M + 1] - 1)
        found[name] = (max(tells(input_R[rows_M], label_M, len(segments.schema.classes)) for rows_M in ends), 0)
    return _judged(found, len(ids_M), "sequences")


def tells(input_M: NDArray, label_M: NDArray, classes: int) -> float:
    """Share of the mistakes of always saying the commonest class that reading the input as a code takes away; of values
    (``classes`` 0) the size of their correlation. 0 where it is no code, or does not change."""
    if not classes:
        spreads = float(input_M.std()), float(label_M.std())
        return abs(float(np.corrcoef(input_M, label_M)[0, 1])) if min(spreads) > 0 else 0.0
    code_M, label_M = np.unique(input_M, return_inverse=True)[1], label_M.astype(np.int64)
    num = int(code_M.max(initial=0)) + 1
    if num > CODES * classes:
        return 0.0
    count = np.bincount(code_M * classes + label_M, minlength=num * classes).reshape(num, classes)
    common = int(count.sum(axis=0).max())
    mistakes = len(label_M) - common
    return float((count.max(axis=1).sum() - common) / mistakes) if mistakes else 0.0


def _columns(segments: Segments) -> dict[str, NDArray]:
    """Past and known inputs by name, the calendar left out."""
    schema = segments.schema
    known_RK = segments.known_RK[:, : len(schema.known)]
    return dict(zip([*schema.past, *schema.known], [*segments.past_RP.T, *known_RK.T], strict=True))


def _judged(found: dict[str, tuple[float, int]], num: int, what: str) -> Check:
    if num < FEWEST or not found:
        return Check(NAME, "left out", f"There are {num:,} {what} and {len(found):,} inputs to look at.")
    details = {"inputs": {name: {"tells": told, "steps_off": off} for name, (told, off) in found.items()}}
    caught = sorted(name for name, (told, _) in found.items() if told >= TELLS)
    if caught:
        said = "; ".join(
            f"'{name}'"
            + (f" {abs(off)} steps {'later' if off > 0 else 'before'}" if off else "")
            + f" ({percent(told)})"
            for name, (told, off) in found.items()
            if name in caught
        )
        text = f"Over {num:,} {what} the label can be read off one input alone: {said}. It is the label under another name."
        return Check(NAME, "failed", text, "Take it out of the data section.", {**details, "caught": caught})
    most = max(found, key=lambda name: found[name][0])
    text = f"None of {len(found):,} inputs is a code of the label over {num:,} {what}: '{most}' comes nearest, at "
    return Check(NAME, "passed", f"{text}{percent(found[most][0])}.", details={**details, "caught": []})
