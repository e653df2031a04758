"""Parts of the time axis: in order, apart, and as large as was asked."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lstm_ray.data.split import boundaries
from lstm_ray.errors import InputError
from lstm_ray.sections.data import SplitConfig


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ({"train": 0.7, "validation": 0.15}, [(0, 700), (700, 850), (850, 1000)]),
        ({"train": 0.7, "validation": 0.15, "gap_steps": 10}, [(0, 700), (710, 860), (870, 1000)]),
        ({"train": 0.5, "validation": 0.2, "test": 0.1}, [(0, 500), (500, 700), (700, 800)]),
        ({"train": 300, "validation": 200}, [(0, 300), (300, 500), (500, 1000)]),
        ({"train": 300, "validation": 200, "test": 400}, [(0, 300), (300, 500), (500, 900)]),
        ({"train": 300, "validation": 200, "test": 900}, [(0, 300), (300, 500), (500, 1000)]),
        ({"train": None, "validation": 48, "test": 48}, [(0, 904), (904, 952), (952, 1000)]),
        ({"train": None, "validation": 0.1, "test": 0.2, "gap_steps": 5}, [(0, 690), (695, 795), (800, 1000)]),
    ],
)
def test_parts_are_fractions_or_steps(split: dict[str, float], parts: list[tuple[int, int]]) -> None:
    found = boundaries(SplitConfig.model_validate(split), 1000)
    assert [found[part] for part in ("train", "validation", "test")] == parts


@given(st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.integers(0, 20), st.integers(10, 3000))
def test_parts_lie_in_order_and_a_gap_apart(train: float, validation: float, gap: int, num_steps: int) -> None:
    assume(train + validation < 0.99)
    try:
        found = boundaries(SplitConfig(train=train, validation=validation, gap_steps=gap), num_steps)
    except InputError:
        assert min(train, validation, 1 - train - validation) * num_steps < 2 * gap + 3
        return
    assert found["train"][0] == 0
    assert found["validation"][0] - found["train"][1] == found["test"][0] - found["validation"][1] == gap
    assert found["test"][1] == num_steps
    for (first, end), share in zip(found.values(), (train, validation), strict=False):
        assert first < end
        assert abs(end - first - share * num_steps) <= 1


@pytest.mark.parametrize(
    ("split", "part"),
    [
        ({"train": 100, "validation": 10}, "validation"),
        ({"train": 80, "validation": 20}, "test"),
        ({"train": 0.7, "validation": 0.15, "gap_steps": 10}, "test"),
        ({"train": 0.7, "validation": 0.001}, "validation"),
        ({"train": None, "validation": 50, "test": 50}, "train"),
    ],
)
def test_a_part_without_steps_is_named(split: dict[str, float], part: str) -> None:
    with pytest.raises(InputError, match=f"the {part} part would span steps .* of 100; lower split.train"):
        boundaries(SplitConfig.model_validate(split), 100)
