"""The chronological parts of the time axis. Plain numbers; opens no data."""

from __future__ import annotations

from typing import Literal

from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig, SplitConfig

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
Boundaries = dict[Part, tuple[int, int]]
"""First step and the step after the last, of each part, on the common time axis."""
TEST_TIME = 0
"""Time of the first test sequence where the source has a test file of its own; the training file lies before it."""


def own_test_start(data: DataConfig, axis_start: int) -> int | None:
    """The step at which the source's own test part begins, its time 0; None where the source names none."""
    return TEST_TIME - axis_start if data.has_own_test else None


def boundaries(split: SplitConfig, num_steps: int, test_start: int | None = None) -> Boundaries:
    """Cut an axis of ``num_steps`` steps into parts.

    Args:
        test_start: ``own_test_start``; train and validation then share, in their proportion, all that lies before it.

    Raises InputError where a part would be empty.
    """
    if test_start is not None:
        assert split.train is not None, "the config refuses it: train and validation share one file"
        train = round(test_start * split.train / (split.train + split.validation))
        return _not_empty(
            {"train": (0, train), "validation": (train, test_start), "test": (test_start, num_steps)}, num_steps
        )
    scale = num_steps if isinstance(split.validation, float) else 1
    validation = round(split.validation * scale)
    if split.train is None:
        assert split.test is not None, "the config refuses both to be none"
        train = num_steps - validation - round(split.test * scale) - 2 * split.gap_steps
    else:
        train = round(split.train * scale)
    validation_start = train + split.gap_steps
    first_test = validation_start + validation + split.gap_steps
    test_end = num_steps if split.test is None else min(num_steps, first_test + round(split.test * scale))
    parts: Boundaries = {
        "train": (0, train),
        "validation": (validation_start, validation_start + validation),
        "test": (first_test, test_end),
    }
    return _not_empty(parts, num_steps)


def _not_empty(parts: Boundaries, num_steps: int) -> Boundaries:
    for part, (first, end) in parts.items():
        if not 0 <= first < end <= num_steps:
            raise InputError(
                f"split: the {part} part would span steps {first} to {end} of {num_steps}; "
                "lower split.train, split.validation or split.gap_steps, or bring more data"
            )
    return parts
