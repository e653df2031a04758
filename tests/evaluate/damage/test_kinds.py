"""Each kind of damage does what its name says, there alone, and a severer one all that a milder one does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.quality.impute import Filling, forward_fill
from lstm_ray.data.schema import SeriesUnits
from lstm_ray.data.windows import origins
from lstm_ray.evaluate.damage import kinds
from lstm_ray.evaluate.damage.kinds import KINDS, Given
from lstm_ray.evaluate.gather import cut_out, cut_out_sequences, future_rows
from lstm_ray.sections.evaluate import DAMAGES
from tests import made

TWO = dict.fromkeys(KINDS, (0.2, 0.6)) | {"inputs": (1, 2), "later": (3, 9), "irregular": (0.5, 2.0)}


def given_of(data, before: int = 5, filling: Filling | None = None) -> Given:
    """Windows of the test part, each with some steps before its history, which lags would read."""
    chosen = origins(data.segments, data.parts, "test", data.window)[::9]
    whole, origin_M = cut_out(data.segments, chosen, data.window.history + before, data.window.horizon)
    is_open = np.ones(len(whole.target_RC), dtype=bool)
    is_open[future_rows(origin_M, data.window.horizon)] = False
    length_S = np.full(len(chosen), data.window.history)
    return Given(whole, is_open, length_S, data.scaler, filling or Filling(), 7)


def rows_changed(damaged, whole):
    return ((damaged.target_RC != whole.target_RC) | (damaged.observed_RC != whole.observed_RC)).any(1)


def removed(damaged, whole):
    """Of rows that were measured, those that are not any more."""
    return (damaged.observed_RC[:, 0] == 0) & (whole.observed_RC[:, 0] > 0)


@pytest.fixture
def given(make_data) -> Given:
    return given_of(make_data(missing=0.0))


def test_all_kinds_have_a_function_but_the_one_that_reads_more():
    assert set(KINDS) == {*DAMAGES} - {"longer"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_the_origin_is_never_damaged(given, kind):
    closed = ~given.open_R
    for severity in TWO[kind]:
        damaged = KINDS[kind](given, severity)
        for name in ("target_RC", "observed_RC", "past_RP", "label_R"):
            if kind == "inputs" and name == "past_RP":
                continue
            before, after = getattr(given.whole, name), getattr(damaged, name)
            if before is not None:
                np.testing.assert_array_equal(after[closed], before[closed])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("unseen", "irregular", "inputs")])
def test_the_same_rows_are_damaged_and_more_of_them_under_a_severer_damage(given, kind):
    mild, severe = (KINDS[kind](given, severity) for severity in TWO[kind])
    again = KINDS[kind](given, TWO[kind][0])
    np.testing.assert_array_equal(mild.target_RC, again.target_RC)
    is_mild, is_severe = (rows_changed(damaged, given.whole) for damaged in (mild, severe))
    assert is_mild.any()
    assert (is_severe | ~is_mild).all()


def test_missing_steps_are_about_as_many_as_asked_for(given):
    gone = removed(kinds.missing(given, 0.3), given.whole)
    assert gone[given.open_R].mean() == pytest.approx(0.3, abs=0.03)


def test_an_outage_is_one_block_of_each_history_which_may_go_on_from_newest_to_oldest(given):
    length = int(given.length_S[0])
    gone = removed(kinds.blocks(given, 0.25), given.whole)
    assert not gone[given.position < 0].any(), "what lies before the history is no part of the outage"
    oftenness = np.zeros(length)
    for s in range(len(given.length_S)):
        of_history = gone[(given.segment == s) & given.open_R & (given.position >= 0)]
        assert of_history.sum() == round(0.25 * length)
        assert np.abs(np.diff(np.append(of_history, of_history[0]).astype(int))).sum() == 2, "one block, around the end"
        oftenness += of_history
    assert oftenness[-1] > 0, "the newest step is missing as often as others"


def test_noise_is_normal_and_in_training_deviations(given):
    damaged = kinds.noise(given, 0.5)
    added = (damaged.target_RC - given.whole.target_RC)[given.open_R, 0] / given.scaler.target_deviation[0]
    assert added.std() == pytest.approx(0.5, rel=0.05)
    assert added.mean() == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(
        kinds.noise(given, 1.0).past_RP - given.whole.past_RP, 2 * (damaged.past_RP - given.whole.past_RP), atol=1e-5
    )


def test_outliers_hit_a_share_of_the_values_by_a_spike_and_leave_the_rest(given):
    damaged = kinds.outliers(given, 0.05)
    away = (damaged.target_RC - given.whole.target_RC)[given.open_R, 0] / given.scaler.target_deviation[0]
    hit = away != 0
    assert hit.mean() == pytest.approx(0.05, abs=0.015)
    np.testing.assert_allclose(np.abs(away[hit]), kinds.SPIKE, rtol=1e-4)
    assert (away > 0).any()
    assert (away < 0).any()
    np.testing.assert_array_equal(damaged.observed_RC, given.whole.observed_RC)


def test_a_level_shift_lifts_what_lies_before_a_moment_and_never_the_newest_step(given):
    away = (kinds.level(given, 2.0).target_RC - given.whole.target_RC)[:, 0] / given.scaler.target_deviation[0]
    lifted = np.abs(away) > 0
    np.testing.assert_allclose(away[lifted], 2.0, rtol=1e-3)
    assert not lifted[given.age == 0].any()
    ends = np.diff(lifted.astype(int))
    assert (lifted[:-1] | (ends <= 0) | (np.diff(given.segment) > 0)).all(), (
        "within a window it ends once, and stays ended"
    )
    share = [
        lifted[(given.segment == s) & (given.position >= 0) & given.open_R].mean() for s in range(len(given.length_S))
    ]
    assert max(share) - min(share) > 0.5, "at another moment in each window"


def test_a_change_of_scale_moves_values_away_from_the_typical_one(given):
    centre = given.scaler.target_mean[0]
    before, after = given.whole.target_RC[:, 0] - centre, kinds.scale(given, 0.5).target_RC[:, 0] - centre
    moved = after != before
    np.testing.assert_allclose(after[moved], 1.5 * before[moved], rtol=1e-3)
    assert 0.2 < moved[given.open_R].mean() < 0.8


def test_damage_to_values_is_done_to_what_is_learned(make_data):
    data = make_data(missing=0.0)
    logs = replace(data, scaler=made.in_logarithms(data.scaler, offset=0.0, mean=3.0, deviation=0.5))
    given = given_of(logs)
    factor = kinds.level(given, 1.0).target_RC / given.whole.target_RC
    np.testing.assert_allclose(factor[factor != 1], np.exp(0.5), rtol=1e-4)
    own = SeriesUnits(of={"s0": [10.0, 2.0], "s1": [20.0, 4.0]}, scale="standard", steps=48)
    given = given_of(replace(data, scaler=data.scaler.model_copy(update={"series": own})))
    lifted = (kinds.level(given, 1.0).target_RC - given.whole.target_RC)[:, 0]
    for name, unit in (("s0", 2.0), ("s1", 4.0), ("s2", data.scaler.target_deviation[0])):
        mine = lifted[(np.array(given.whole.series)[given.segment] == name) & (lifted != 0)]
        np.testing.assert_allclose(mine, unit, rtol=1e-3)


def test_irregular_readings_are_joined_where_they_meet_and_missing_where_none_lies(given):
    damaged = kinds.irregular(given, 1.0)
    rows = np.arange(len(given.open_R))
    moved = rows + np.rint(given.random("irregular").standard_normal(len(rows))).astype(int)
    empty = twice = 0
    for row in np.flatnonzero(given.segment == 3):
        if not given.open_R[row]:
            continue
        own = [r for r in rows[given.segment == 3] if given.open_R[r] and moved[r] == row]
        if own:
            np.testing.assert_allclose(damaged.target_RC[row], given.whole.target_RC[own].mean(0), rtol=1e-5)
            assert damaged.observed_RC[row] == 1
        else:
            assert damaged.observed_RC[row] == 0
        empty, twice = empty + (not own), twice + (len(own) > 1)
    assert empty > 3
    assert twice > 3


def test_a_reading_that_is_late_beyond_the_origin_has_not_arrived(given):
    ramp = replace(given.whole, target_RC=np.arange(len(given.open_R), dtype=np.float32)[:, None])
    marked = replace(given, whole=ramp)
    damaged = kinds.irregular(marked, 2.0)
    newest = given.end[given.segment] - 1
    assert (damaged.target_RC[given.open_R, 0] <= newest[given.open_R]).all()
    oldest = given.whole.bounds[:-1][given.segment]
    arrived = given.open_R & (damaged.observed_RC[:, 0] > 0)
    assert (damaged.target_RC[arrived, 0] >= oldest[arrived]).all()


def test_a_shorter_history_lacks_its_oldest_steps_and_all_before_them(given):
    gone = removed(kinds.shorter(given, 0.5), given.whole)
    np.testing.assert_array_equal(gone, given.open_R & (given.position < 24))
    typical = kinds.shorter(given, 0.5).target_RC[gone]
    np.testing.assert_allclose(typical, given.scaler.target_mean[0], rtol=1e-5)


def test_late_data_lack_the_newest_steps_which_are_filled_by_the_rule(given):
    damaged = kinds.later(given, 3)
    gone = removed(damaged, given.whole)
    np.testing.assert_array_equal(gone, given.open_R & (given.age < 3))
    newest_there = np.flatnonzero(given.age == 3)
    np.testing.assert_array_equal(damaged.target_RC[given.age == 0], given.whole.target_RC[newest_there])


def test_absent_inputs_are_read_as_typical_at_all_steps_and_differ_between_windows(data):
    given = given_of(data)
    damaged = kinds.inputs(given, 1)
    absent_RP = damaged.past_RP != given.whole.past_RP
    np.testing.assert_array_equal(damaged.past_RP[absent_RP], 0)  # the mean of both inputs
    absent_SP = np.logical_and.reduceat(absent_RP, given.whole.bounds[:-1])
    np.testing.assert_array_equal(absent_SP.sum(1), 1)
    assert absent_SP.any(0).all(), "now one, now the other"
    np.testing.assert_array_equal(kinds.inputs(given, 2).past_RP, 0)
    np.testing.assert_array_equal(damaged.target_RC, given.whole.target_RC)


def test_known_inputs_are_absent_ahead_too_and_the_calendar_is_not():
    segments = made.segments_of((60, 60), schema=made.schema_of(known=["price"], calendar=["hour"]))
    scaler = made.scaler_of(segments)
    is_open = np.arange(120) % 60 < 50
    given = Given(segments, is_open, np.array([12, 12]), scaler, Filling(), 7)
    every = kinds.inputs(given, len(segments.schema.past) + 1)
    np.testing.assert_allclose(every.known_RK[:, 0], scaler.known.mean[0], rtol=1e-6)
    np.testing.assert_array_equal(every.known_RK[:, 1:], segments.known_RK[:, 1:])
    as_zero = kinds.inputs(replace(given, filling=Filling(how="constant", value=3.0)), 2)
    np.testing.assert_array_equal(as_zero.known_RK[:, 0], 3.0)


def test_an_unseen_series_has_neither_name_nor_words(given):
    known = replace(given.whole, category_SK=np.ones((len(given.length_S), 2), np.int64))
    damaged = kinds.unseen(replace(given, whole=known), 1.0)
    assert set(damaged.series) == {""}
    np.testing.assert_array_equal(damaged.category_SK, 0)
    np.testing.assert_array_equal(damaged.target_RC, known.target_RC)


def test_sequences_lose_their_first_or_their_last_steps_and_keep_one(sequences_data):
    whole = cut_out_sequences(sequences_data.segments, np.arange(20), 100)
    length = np.diff(whole.bounds)
    shorter, early = kinds.shortened(whole, 0.5, length), kinds.ended_early(whole, 0.5)
    for s in range(20):
        own = whole.past_RP[whole.bounds[s] : whole.bounds[s + 1]]
        lost = round(length[s] * 0.5)
        np.testing.assert_array_equal(shorter.past_RP[shorter.bounds[s] : shorter.bounds[s + 1]], own[lost:])
        np.testing.assert_array_equal(early.past_RP[early.bounds[s] : early.bounds[s + 1]], own[: len(own) - lost])
    np.testing.assert_array_equal(early.label, whole.label)
    for nothing in (kinds.shortened(whole, 1.0, length), kinds.ended_early(whole, 1.0)):
        np.testing.assert_array_equal(np.diff(nothing.bounds), 1)


def test_removed_steps_are_filled_as_serving_fills_them_and_marked_unobserved(make_data):
    data = make_data(channels=2)
    cut, _ = cut_out(data.segments, np.array([100, 200, 210]), 48, 12)
    gone = np.random.default_rng(0).random(len(cut.target_RC)) < 0.4
    gone[60] = True  # the first step of the second window, with nothing before it
    damaged = kinds.remove_steps(cut, gone, data.scaler)
    holes = np.where(gone[:, None], np.nan, cut.target_RC)
    for first, end in zip(cut.bounds[:-1], cut.bounds[1:], strict=True):
        filled = forward_fill(holes[first:end])
        expected = np.where(np.isnan(filled), data.scaler.target_mean, filled)
        np.testing.assert_allclose(damaged.target_RC[first:end], expected, rtol=1e-6)
    np.testing.assert_array_equal(damaged.observed_RC[gone], 0)
    np.testing.assert_array_equal(damaged.observed_RC[~gone], cut.observed_RC[~gone])
    np.testing.assert_allclose(damaged.past_RP[60], data.scaler.past.mean)
    np.testing.assert_array_equal(damaged.past_RP[~gone], cut.past_RP[~gone])


def test_removed_steps_are_filled_by_the_rule_and_never_from_what_follows_the_history(data):
    test_M = origins(data.segments, data.parts, "test", data.window)[:3]
    cut, origin_M = cut_out(data.segments, test_M, data.window.history, data.window.horizon)
    gone = np.zeros(len(cut.target_RC), dtype=bool)
    gone[[*origin_M, *(origin_M - 2)]] = True
    line = Filling(how="linear", causal=False)
    stops = np.union1d(cut.bounds, origin_M + 1)
    damaged = kinds.remove_steps(cut, gone, data.scaler, line, stops)
    between = (cut.target_RC[origin_M - 3] + cut.target_RC[origin_M - 1]) / 2
    np.testing.assert_allclose(damaged.target_RC[origin_M - 2], between, rtol=1e-5)
    np.testing.assert_array_equal(damaged.target_RC[origin_M], cut.target_RC[origin_M - 1])


def test_every_kind_fills_a_history_before_anybody_knows_what_follows(data):
    given = given_of(data, filling=Filling(how="linear", causal=False))
    gone = kinds.later(given, 2)
    newest_there = np.flatnonzero(given.age == 2)
    np.testing.assert_array_equal(gone.target_RC[given.age == 0], given.whole.target_RC[newest_there])
