"""The parts that learning is divided into, in plain numbers. Knows nothing of how they are cut."""

from __future__ import annotations

from typing import Literal

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
Boundaries = dict[Part, tuple[int, int]]
"""First step and the step after the last, of each part, on the common time axis. Where whole series are dealt
(split.by: order or group), every part spans the axis, and ``Segments.part_S`` tells which series it holds."""
TEST_TIME = 0
"""Time of the first test sequence where the source has a test file of its own; the training file lies before it."""
