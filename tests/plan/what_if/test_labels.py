"""Scenarios of labels change what they say, in the part that is told, and synthetic copies their noise alone."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.data.feed import source
from lstm_ray.data.steps import labelled_rows, step_ranges
from lstm_ray.plan import labels, synthetic
from lstm_ray.sections.plan import ScenarioConfig
from tests import made

SEGMENTS = made.labelled_of((240, 60, 200), (0, 100, 30))
SCALED = SEGMENTS.scaled(made.scaler_of(SEGMENTS))


def test_stretches_are_the_validation_part_of_each_segment() -> None:
    items = labels.stretches(SEGMENTS, made.PARTS)
    assert items.tolist() == [[0, 140, 180], [1, 280, 300], [2, 410, 450]]
    np.testing.assert_array_equal(labels.ranges(SEGMENTS, items), step_ranges(SEGMENTS, made.PARTS, "validation"))
    assert labels.ranges(SEGMENTS, items[1:2]).tolist() == [[0, 0], [280, 300], [300, 300]]


@pytest.mark.parametrize(("steps", "series", "rows"), [(None, [], 180), (5, [], 5), (5, ["s2"], 0)])
def test_a_scenario_changes_the_newest_steps_of_the_stretches_that_it_names(
    steps: int | None, series: list[str], rows: int
) -> None:
    scenario = ScenarioConfig(name="more", column="load", operation="shift", value=3, steps=steps, series=series)
    changed = labels.under(SEGMENTS, scenario, labels.stretches(SEGMENTS, made.PARTS))
    moved = (changed.past_RP - SEGMENTS.past_RP)[:, 0]
    assert np.flatnonzero(moved[:240]).tolist() == list(range(180 - rows, 180))
    np.testing.assert_allclose(moved[moved != 0], 3, atol=1e-4)
    assert labels.under(SEGMENTS, None, labels.stretches(SEGMENTS, made.PARTS)) is SEGMENTS


def test_a_synthetic_copy_is_the_training_part_with_its_labels_and_a_little_noise() -> None:
    copy = synthetic.jittered_steps(SEGMENTS, made.PARTS, np.array([1.0]), 1)
    rows = np.concatenate([np.arange(0, 140), np.arange(240, 280), np.arange(300, 410)])
    np.testing.assert_array_equal(copy.label_R, SEGMENTS.label_R[rows])  # type: ignore[index]
    noise = copy.past_RP - SEGMENTS.past_RP[rows]
    assert noise.std() == pytest.approx(0.1, rel=0.2)
    np.testing.assert_array_equal(copy.steps(np.arange(len(rows))), SEGMENTS.steps(rows))


@pytest.mark.parametrize("fraction", [0.25, 0.9])
def test_a_batch_mixes_real_and_synthetic_sequences_of_the_same_length(fraction: float) -> None:
    config = made.label_config(plan__synthetic={"fraction": fraction}, window__patch=4, train__origins=3)
    real = source(SCALED, made.PARTS, "train", config)
    copy = synthetic.jittered_steps(SEGMENTS, made.PARTS, np.array([1.0]), 1).scaled(made.scaler_of(SEGMENTS))
    both = synthetic.with_synthetic(real, SCALED, copy, made.PARTS, config)
    added = min(synthetic.num_synthetic(real, config), real.num_items)
    assert both.num_items == real.num_items + added
    batch = both.cut(np.arange(both.num_items))
    taught = (~np.isnan(batch.label_BT)).sum(1)
    assert taught[: real.num_items].sum() == len(labelled_rows(SEGMENTS, made.PARTS, "train"))
    assert (taught > 0).all()


def test_the_effect_on_values_is_told_in_their_units() -> None:
    base = np.array([[1.0], [3.0]])
    hot = base + np.array([[1.0], [-3.0]])
    table, figures, findings = labels.value_effects({"base": base, "hot": hot}, "wear")
    assert table["rows"] == [["base", 2.0, 0.0, 0.0], ["hot", 1.0, -1.0, 2.0]]
    assert "'wear' moves by -1 on average, 2 in size" in findings[0].text
    assert figures[0].id == "scenarios"
