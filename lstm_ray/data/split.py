"""The chronological parts of the time axis. Plain numbers; opens no data."""

from __future__ import annotations

from typing import Literal

from lstm_ray.errors import InputError
from lstm_ray.sections import SplitConfig

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
Boundaries = dict[Part, tuple[int, int]]
"""First step and the step after the last, of each part, on the common time axis."""


def boundaries(split: SplitConfig, num_steps: int) -> Boundaries:
    """Cut an axis of ``num_steps`` steps into parts. Raises InputError where a part would be empty."""
    scale = num_steps if isinstance(split.train, float) else 1
    train, validation = round(split.train * scale), round(split.validation * scale)
    validation_start = train + split.gap_steps
    test_start = validation_start + validation + split.gap_steps
    test_end = num_steps if split.test is None else min(num_steps, test_start + round(split.test * scale))
    parts: Boundaries = {
        "train": (0, train),
        "validation": (validation_start, validation_start + validation),
        "test": (test_start, test_end),
    }
    for part, (first, end) in parts.items():
        if not 0 <= first < end <= num_steps:
            raise InputError(
                f"split: the {part} part would span steps {first} to {end} of {num_steps}; "
                "lower split.train, split.validation or split.gap_steps, or bring more data"
            )
    return parts
