"""New sequences from real ones: what each formula keeps, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.plan.experience import variants
from lstm_ray.plan.experience.variants import JITTER, Stretches
from tests import made

SEGMENTS = replace(
    made.segments_of([240, 150], [0, 90], schema=made.schema_of(known=["price"])),
    weight_R=np.arange(390, dtype=np.float32),
)
TAKEN = Stretches(np.array([10, 100, 250]), np.array([40, 160, 270]))
LENGTHS = [30, 60, 20]


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_noise_is_a_tenth_of_a_deviation_and_nothing_else_changes() -> None:
    copies = TAKEN.copied(SEGMENTS)
    found = variants.jittered(copies, np.array([2.0], np.float32), drawn())
    assert np.diff(found.bounds).tolist() == LENGTHS
    assert 0.8 < (found.target_RC - copies.target_RC).std() / (2 * JITTER) < 1.2
    assert 0.8 < (found.past_RP - copies.past_RP).std() / JITTER < 1.2
    for name in ("known_RK", "observed_RC", "weight_R", "first_step", "category_SK"):
        np.testing.assert_array_equal(getattr(found, name), getattr(copies, name), err_msg=name)
    assert found.target_RC.dtype == found.past_RP.dtype == np.float32


def test_a_warped_clock_keeps_both_ends_and_reads_every_column_alike() -> None:
    line = np.arange(390, dtype=np.float32)[:, None]
    ruled = replace(SEGMENTS, target_RC=line, past_RP=2 * line, known_RK=3 * line)
    found = variants.time_warped(ruled, TAKEN, drawn())
    for first, end, low, high in zip(TAKEN.first_M, TAKEN.end_M, found.bounds[:-1], found.bounds[1:], strict=True):
        clock = found.target_RC[low:high, 0]
        assert (clock[0], clock[-1]) == (pytest.approx(first), pytest.approx(end - 1, rel=1e-5))
        assert (np.diff(clock) > 0).all(), "time runs on"
        assert np.abs(np.diff(clock) - 1).max() > 0.02, "but not evenly"
        np.testing.assert_allclose(found.past_RP[low:high, 0], 2 * clock, rtol=1e-5)
        np.testing.assert_allclose(found.known_RK[low:high, 0], 3 * clock, rtol=1e-5)
    assert found.target_RC.dtype == np.float32


def test_a_warped_step_is_measured_where_both_its_neighbours_are() -> None:
    found = variants.time_warped(replace(SEGMENTS, observed_RC=np.zeros_like(SEGMENTS.observed_RC)), TAKEN, drawn())
    assert not found.observed_RC.any()
    found = variants.time_warped(SEGMENTS, TAKEN, drawn())
    assert set(np.unique(found.observed_RC)) <= {0.0, 1.0}
    assert found.observed_RC.mean() < TAKEN.copied(SEGMENTS).observed_RC.mean()
    assert found.weight_R is not None
    assert (found.weight_R <= SEGMENTS.weight_R[TAKEN.end_M - 1].repeat(LENGTHS)).all()  # type: ignore[index]


def test_a_blend_keeps_the_larger_share_of_its_own_and_counts_as_the_lesser() -> None:
    values = np.zeros((390, 1), np.float32)
    values[300:] = 1.0
    partner = np.array([[300, 330], [305, 335], [310, 350]])
    found = variants.mixed(replace(SEGMENTS, target_RC=values), TAKEN, partner, drawn())
    own = np.split(found.target_RC[:, 0], found.bounds[1:-1])
    for share in own:
        assert len(np.unique(share)) == 1, "one share for a whole sequence"
        assert 0 < share[0] < 0.5
    # The second partner is half as long and is read at half the pace.
    known = SEGMENTS.known_RK[305 + np.rint(np.arange(60) * 29 / 59).astype(int)]
    given = own[1][0]
    np.testing.assert_allclose(
        found.known_RK[30:90], SEGMENTS.known_RK[100:160] * (1 - given) + given * known, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(
        found.observed_RC[:30], np.minimum(SEGMENTS.observed_RC[10:40], SEGMENTS.observed_RC[300:330])
    )
    assert found.series == ["s0", "s0", "s1"]


def test_trend_and_season_are_told_from_the_rest() -> None:
    step = np.arange(480.0)
    season = np.where(step % 24 < 8, 3.0, -1.5)
    rest = drawn().normal(0, 0.2, 480)
    values = (0.01 * step + season + rest)[:, None]
    found = variants.smooth(values, 24)[:, 0]
    middle = slice(48, -48)
    assert np.abs(found - 0.01 * step - season)[middle].max() < 0.5
    assert (values[:, 0] - found)[middle].std() < 0.3
    assert variants.smooth(values[:10], 24).shape == (10, 1), "less than a season is its own mean"


def test_deviations_come_from_other_times_at_the_same_place_in_the_season() -> None:
    rows = variants.donors(117, 100, (12, 240), 6, drawn())
    assert len(rows) == 100
    assert ((rows - np.arange(117, 217)) % 6 == 0).all()
    assert rows.min() >= 12
    assert rows.max() < 240
    assert (np.diff(rows[:12]) == 1).all(), "a block is two seasons in a row"
    assert (rows != np.arange(117, 217)).mean() > 0.5


def test_a_recombined_sequence_is_its_own_season_with_other_deviations() -> None:
    columns = np.concatenate([SEGMENTS.target_RC, SEGMENTS.past_RP], axis=1)
    smooth = np.concatenate([variants.smooth(columns[:240], 6), variants.smooth(columns[240:], 6)])
    donor = np.concatenate([np.arange(50, 80), np.arange(20, 80), np.arange(300, 320)])
    found = variants.recombined(SEGMENTS, TAKEN, donor, smooth)
    rows = TAKEN.rows
    np.testing.assert_allclose(
        found.target_RC - smooth[rows][:, :1], (columns - smooth)[donor][:, :1], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(found.past_RP - smooth[rows][:, 1:], (columns - smooth)[donor][:, 1:], atol=1e-4)
    np.testing.assert_array_equal(found.known_RK, SEGMENTS.known_RK[rows])
    np.testing.assert_array_equal(
        found.observed_RC, np.minimum(SEGMENTS.observed_RC[rows], SEGMENTS.observed_RC[donor])
    )
    itself = variants.recombined(SEGMENTS, TAKEN, rows, smooth)
    np.testing.assert_array_equal(itself.target_RC, SEGMENTS.target_RC[rows])
