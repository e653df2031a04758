"""An input that is the label under another name is caught; one that is only a good sign of it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.audit import named
from tests import made


def _with_input(segments: Segments, values_R: np.ndarray) -> Segments:
    schema = segments.schema.model_copy(update={"past": [*segments.schema.past, "code"]})
    past_RP = np.concatenate([segments.past_RP, values_R[:, None].astype(np.float32)], axis=1)
    return replace(segments, past_RP=past_RP, schema=schema)


@pytest.mark.parametrize("off", [0, 3, -3])
@pytest.mark.parametrize("kind", ["class", "value"])
def test_the_label_as_an_input_is_caught_and_named_also_some_steps_off(kind, off):
    segments = made.labelled_of([240], kind=kind)
    code_R = 7 - 2 * np.nan_to_num(np.roll(segments.label_R, off), nan=np.nanmedian(segments.label_R))
    check = named.of_labels(_with_input(segments, code_R), made.PARTS, seed=1)
    assert check.verdict == "failed", check.text
    assert check.details["caught"] == ["code"]
    assert check.details["inputs"]["code"]["steps_off"] == off
    assert "'code'" in check.text


@pytest.mark.parametrize("kind", ["class", "value"])
def test_an_input_that_the_label_is_computed_from_is_not_accused(kind):
    check = named.of_labels(made.labelled_of([240], kind=kind), made.PARTS, seed=1)
    assert check.verdict == "passed", check.text


def test_a_class_that_is_written_into_each_sequence_is_caught():
    segments = made.sequences_of([20] * 60)
    parts = {"train": (0, 1000), "validation": (1000, 1200), "test": (1200, 1440)}
    assert named.of_classes(segments, parts).verdict == "passed"
    code_R = np.repeat(segments.label, 20) * 10.0
    check = named.of_classes(_with_input(segments, code_R), parts)
    assert check.details["caught"] == ["code"]
    noisy_R = np.where(np.random.default_rng(1).random(len(code_R)) < 0.2, 10 - code_R, code_R)
    assert named.of_classes(_with_input(segments, noisy_R), parts).verdict == "passed"


def test_without_cases_it_is_said():
    assert named.of_classes(made.sequences_of([20] * 10), made.PARTS).verdict == "left out"
