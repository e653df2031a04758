"""Which stretches of labelled steps what-ifs tell."""

from __future__ import annotations

import numpy as np

from lstm_ray.data.steps import step_ranges
from lstm_ray.plan.what_if import labels
from tests import made

SEGMENTS = made.labelled_of((240, 60, 200), (0, 100, 30))


def test_stretches_are_the_validation_part_of_each_segment() -> None:
    items = labels.stretches(SEGMENTS, made.PARTS)
    assert items.tolist() == [[0, 140, 180], [1, 280, 300], [2, 410, 450]]
    np.testing.assert_array_equal(labels.ranges(SEGMENTS, items), step_ranges(SEGMENTS, made.PARTS, "validation"))
    assert labels.ranges(SEGMENTS, items[1:2]).tolist() == [[0, 0], [280, 300], [300, 300]]
