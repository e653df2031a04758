"""Series told in units of their own: each known one in those of training, any other in those of the history at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.data import room
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Scaler, SeriesUnits, Units
from lstm_ray.data.windows import cut_windows
from lstm_ray.evaluate.damage.kinds import remove_steps
from lstm_ray.sections.prepare import WindowConfig
from tests.made import scaler_of, schema_of, segments_of

SEGMENTS = segments_of((60, 50, 40), schema=schema_of(target=["load", "heat"], known=["price"]))
WINDOW = WindowConfig(history=12, horizon=4, patch=4, season=6, lags=[14])
KNOWN = {"s0": [10.0, 20.0, 2.0, 4.0], "s2": [20.0, 10.0, 0.5, 0.25]}


def scaler(scale: str = "standard") -> Scaler:
    series = SeriesUnits(of=KNOWN, scale=scale, steps=12)  # type: ignore[arg-type]
    return scaler_of(SEGMENTS).model_copy(update={"series": series})


def test_segments_of_known_series_are_told_in_their_units_and_others_in_those_of_their_first_history() -> None:
    scaled = SEGMENTS.scaled(scaler())
    first, second, third = (slice(a, b) for a, b in zip(SEGMENTS.bounds[:-1], SEGMENTS.bounds[1:], strict=True))
    np.testing.assert_allclose(scaled.target_RC[first], (SEGMENTS.target_RC[first] - [10, 20]) / [2, 4], rtol=1e-5)
    np.testing.assert_allclose(scaled.target_RC[third], (SEGMENTS.target_RC[third] - [20, 10]) / [0.5, 0.25], rtol=1e-5)
    told = scaled.target_RC[second][:12]
    seen = SEGMENTS.observed_RC[second][:12] > 0
    for c in range(2):
        np.testing.assert_allclose([told[seen[:, c], c].mean(), told[seen[:, c], c].std()], [0, 1], atol=1e-5)
    later = replace(SEGMENTS, target_RC=SEGMENTS.target_RC.copy())
    later.target_RC[72:110] += 1e3
    np.testing.assert_array_equal(later.scaled(scaler()).target_RC[second][:12], told)


@pytest.mark.parametrize("scale", ["standard", "robust", "minmax"])
def test_windows_of_unknown_series_are_told_in_the_units_of_their_own_history(scale: str) -> None:
    own_scaler = scaler(scale)
    scaled, own_S = SEGMENTS.scaled(own_scaler), units.of_segments(SEGMENTS, own_scaler)
    assert own_S is not None
    rows = np.array([30, 80, 100])
    of_B = scaled.series_of(rows)
    names = [scaled.series[s] for s in of_B]
    before = cut_windows(scaled, rows, WINDOW)
    batch, own_B = units.of_windows(before, own_S.take(of_B), names, own_scaler, WINDOW)
    expected = units.of_histories(SEGMENTS, rows, own_scaler)
    assert expected is not None
    np.testing.assert_allclose(own_B.zero_BC, expected.zero_BC, rtol=1e-5)
    np.testing.assert_allclose(own_B.unit_BC, expected.unit_BC, rtol=1e-5)
    np.testing.assert_array_equal(batch.target_BTC[0], before.target_BTC[0])
    raw = SEGMENTS.target_RC[rows[:, None] + np.arange(-11, 5)]
    np.testing.assert_allclose(batch.target_BTC, own_scaler.scale(raw, "target", expected), rtol=1e-3, atol=1e-4)
    lagged = SEGMENTS.target_RC[rows[:, None] + np.arange(-11, 5) - 14]
    there = batch.known_BTK[..., -1:]
    np.testing.assert_allclose(
        batch.known_BTK[..., -3:-1], own_scaler.scale(lagged, "target", expected) * there, rtol=1e-3, atol=1e-4
    )
    assert 0 < there[1].mean() < 1, "the second window's lags begin before its segment does"


def test_what_is_missing_is_read_as_the_middle_of_its_own_series() -> None:
    centres = units.centres(["s2", "nobody"], scaler())
    np.testing.assert_allclose(centres[0], [20, 10])
    np.testing.assert_allclose(centres[1], scaler().target_mean)
    all_gone = remove_steps(SEGMENTS, np.ones(150, bool), scaler())
    np.testing.assert_allclose(all_gone.target_RC[[0, 149]], [[10, 20], [20, 10]])


@pytest.mark.parametrize("own", [True, False])
def test_scaling_in_chunks_is_scaling_at_once(monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    some = scaler() if own else scaler_of(SEGMENTS)
    whole = SEGMENTS.scaled(some)
    monkeypatch.setattr(room, "CHUNK_ROWS", 7)
    parts = SEGMENTS.scaled(some)
    for name in ("target_RC", "past_RP", "known_RK"):
        found: NDArray = getattr(parts, name)
        np.testing.assert_array_equal(found, getattr(whole, name), err_msg=name)


def test_segments_tell_how_long_a_deviation_is_where_it_is_not_1() -> None:
    assert SEGMENTS.scaled(scaler_of(SEGMENTS)).spread_C is None
    raw = {"zero": [0.0, 0.0], "unit": [1.0, 2.0], "typical": [0.0, 0.0], "spread": [3.0, 3.0]}
    plain = scaler_of(SEGMENTS).model_copy(update={"read": {"target": Units(**raw)}})
    spread_C = SEGMENTS.scaled(plain).spread_C
    assert spread_C is not None
    np.testing.assert_allclose(spread_C, [3, 1.5])
