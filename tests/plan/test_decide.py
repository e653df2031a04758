"""Synthetic experience is kept only where it beats both others."""

from __future__ import annotations

import math

import pytest

from lstm_ray.plan.decide import decide


@pytest.mark.parametrize(
    ("answers", "base", "control", "mixed", "kept"),
    [
        ("values", 1.0, 0.9, 0.8, True),
        ("values", 1.0, 0.8, 0.9, False),
        ("values", 0.8, 1.0, 0.9, False),
        ("values", 1.0, 0.9, 0.9, False),
        ("values", 1.0, 0.9, math.nan, False),
        ("classes", 0.7, 0.8, 0.9, True),
        ("classes", 0.7, 0.9, 0.8, False),
        ("classes", 0.9, 0.7, 0.8, False),
        ("classes", 0.7, 0.9, 0.9, False),
    ],
)
def test_only_a_clear_gain_is_kept(answers: str, base: float, control: float, mixed: float, kept: bool) -> None:
    metric = {"values": "mae", "classes": "macro_f1"}[answers]
    verdict = decide(answers, {metric: base, "x": 0}, {metric: control}, {metric: mixed}, 1234)
    assert verdict.kept is kept
    assert verdict.words.startswith(
        f"synthetic experience {'kept' if kept else 'dropped'}: validation {metric} {base:.4g}"
    )
    assert "1,234 synthetic sequences" in verdict.words
    assert verdict.table()["best"] == (2 if kept else 0)
    assert [row[1] for row in verdict.table()["rows"]][:2] == [base, control]
    assert verdict.as_dict()["num_synthetic"] == 1234
