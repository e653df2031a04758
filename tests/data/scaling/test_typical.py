"""What stands for a missing value: the same whether a scaler is handed the hole or the value that a segment holds for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from lstm_ray.data.preparing.segments import OBSERVED
from lstm_ray.data.scaling.fit import fit_scaler
from lstm_ray.data.schema import ROLES, Role, Scaler
from tests.made import make_config, schema_of

SCHEMA = schema_of(target=["load", "heat"], known=["price", "size"], is_time=False)
COLUMNS = {"target": ["load", "heat"], "past": ["wind"], "known": ["price", "size"]}


def fitted(**preprocess: Any) -> tuple[Scaler, pl.DataFrame]:
    """Columns of many sizes, of which one has a mean far beyond its quartiles."""
    random = np.random.default_rng(2)
    columns = {"load": random.lognormal(0, 1, 200), "heat": 500 + random.normal(size=200)}
    columns |= {"wind": random.normal(size=200), "price": random.normal(50, 5, 200), "size": random.normal(7, 1, 200)}
    columns["wind"][::20] = 1e6
    frame = pl.DataFrame({"series": "a", "step": np.arange(200), **columns})
    frame = frame.with_columns(pl.lit(True).alias(OBSERVED + name) for name in SCHEMA.target)
    config = make_config(**{f"preprocess__{name}": value for name, value in preprocess.items()})
    return fit_scaler(frame, SCHEMA, pl.lit(True), config), frame


@pytest.mark.parametrize("outliers", ["keep", "clip"])
@pytest.mark.parametrize("transform", ["none", "log", "box_cox", "yeo_johnson"])
@pytest.mark.parametrize("scale_by", ["column", "all"])
@pytest.mark.parametrize("scale", ["standard", "robust", "minmax"])
def test_a_hole_is_read_as_the_value_that_stands_for_it(
    scale: str, scale_by: str, transform: str, outliers: str
) -> None:
    settings = {"outliers": outliers, "outlier_method": "iqr", "outlier_deviations": 1.5}
    scaler, _ = fitted(scale=scale, scale_by=scale_by, transform=transform, **settings)
    for role in ROLES:
        held = np.array([scaler.centre(role)], np.float32)
        hole = np.full_like(held, np.nan)
        np.testing.assert_allclose(scaler.scale(hole, role), scaler.scale(held, role), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("scale", "middle"), [("standard", np.mean), ("minmax", np.mean), ("robust", np.median)])
@pytest.mark.parametrize("role", ROLES)
def test_columns_that_share_a_scale_miss_their_own_typical_value(scale: str, middle: Any, role: Role) -> None:
    scaler, frame = fitted(scale=scale, scale_by="all", transform="none")
    expected = [middle(frame[name].to_numpy()) for name in COLUMNS[role]]
    np.testing.assert_allclose(scaler.centre(role), expected, rtol=1e-4)


def test_a_typical_value_beyond_a_fence_is_the_fence() -> None:
    scaler, _ = fitted(outliers="clip", outlier_method="iqr", outlier_deviations=1.5)
    assert scaler.fences is not None
    assert scaler.past.mean[0] > 1e4 > scaler.fences["past"].high[0]
    assert scaler.centre("past") == scaler.fences["past"].high


@pytest.mark.parametrize("scale", ["standard", "robust", "minmax", "none"])
@pytest.mark.parametrize("transform", ["none", "log", "yeo_johnson"])
def test_errors_are_scaled_by_the_raw_deviation_whatever_is_learned(scale: str, transform: str) -> None:
    scaler, frame = fitted(scale=scale, transform=transform, outliers="clip", outlier_deviations=2.0)
    expected = frame.select(pl.col(SCHEMA.target).std(ddof=0)).row(0)
    np.testing.assert_allclose(scaler.target_deviation, expected, rtol=1e-6)


def test_a_logarithm_of_value_plus_1_tells_a_tenth_of_the_distance_to_its_end() -> None:
    scaler, frame = fitted(transform="log1p")
    assert scaler.transform is not None
    low = frame.select(pl.col(SCHEMA.target).min()).row(0)
    np.testing.assert_allclose(scaler.transform.least, [0.1 * (1 + value) - 1 for value in low], rtol=1e-6)
