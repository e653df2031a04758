"""Windows read out of segments: cut, narrowed and grouped without changing what a forecaster sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lstm_ray.data.lags import reach
from lstm_ray.data.parts import PARTS
from lstm_ray.data.windows import cut_windows, origins
from lstm_ray.evaluate import gather
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive


def _seen(segments, origins_M, window):
    """All that a window holds: values, measured or not, inputs, times and series."""
    rows = origins_M[:, None] + np.arange(1 - window.history, window.horizon + 1)
    series = [segments.series[s] for s in segments.series_of(origins_M)]
    return (
        segments.target_RC[rows],
        segments.observed_RC[rows],
        segments.past_RP[rows],
        segments.times(rows.ravel()),
        np.ptp(segments.series_of(rows.ravel()).reshape(rows.shape), axis=1),
        series,
    )


def _assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_windows_cut_out_hold_what_they_held(data):
    test_M = origins(data.segments, data.parts, "test", data.window)[::7]
    cut, origin_M = gather.cut_out(data.segments, test_M, data.window.history, data.window.horizon)
    assert len(cut.series) == len(test_M)
    _assert_same(_seen(data.segments, test_M, data.window), _seen(cut, origin_M, data.window))


def test_narrowed_segments_hold_what_the_windows_held(data):
    test_M = origins(data.segments, data.parts, "test", data.window)
    for some in (test_M, test_M[:1], test_M[-40:], test_M[60:260:3]):
        near, origin_M = gather.narrow(data.segments, some, data.window.history, data.window.horizon)
        assert len(near.target_RC) == near.bounds[-1] <= some[-1] - some[0] + data.window.history + data.window.horizon
        _assert_same(_seen(data.segments, some, data.window), _seen(near, origin_M, data.window))
        naive = SeasonalNaive(data.window.horizon, data.window.season)
        np.testing.assert_array_equal(
            naive.forecast_windows(near, origin_M), naive.forecast_windows(data.segments, some)
        )


def test_windows_of_dealt_series_stay_in_their_part(data):
    dealt = replace(data.segments, part_S=np.array([2, 2, 0, 1], dtype=np.int8))
    whole = dict.fromkeys(PARTS, (0, 600))
    for index, part in enumerate(PARTS):
        origins_M = origins(dealt, whole, part, data.window)
        for cut in (gather.cut_out, gather.narrow):
            found, _ = cut(dealt, origins_M, data.window.history, data.window.horizon)
            assert found.part_S.tolist() == [index] * len(found.series)


def test_sequences_cut_out_keep_their_newest_steps_and_their_label(sequences_data):
    segments, ids = sequences_data.segments, np.array([3, 50, 51, 199])
    cut = gather.cut_out_sequences(segments, ids, 10)
    for index, s in enumerate(ids):
        whole = np.arange(segments.bounds[s], segments.bounds[s + 1])
        rows = np.arange(cut.bounds[index], cut.bounds[index + 1])
        assert len(rows) == min(10, len(whole))
        np.testing.assert_array_equal(cut.past_RP[rows], segments.past_RP[whole[-10:]])
        np.testing.assert_array_equal(cut.times(rows), segments.times(whole[-10:]))
        assert cut.series[index] == segments.series[s]
        assert cut.label[index] == segments.label[s]


def test_series_in_several_segments_are_one(data):
    names, index = gather.series_names(data.segments)
    assert names == ["s0", "s1", "s2"]
    assert index.tolist() == [0, 0, 1, 2]


def test_windows_that_read_lags_are_cut_out_and_narrowed_with_them(data):
    window = data.window.model_copy(update={"lags": [12, 60]})
    test_M = origins(data.segments, data.parts, "test", window)
    early = data.segments.bounds[:-1] + window.history - 1
    some_M = np.unique(np.concatenate([early, test_M[::7]]))
    whole = cut_windows(data.segments, some_M, window)
    for cut in (gather.cut_out, gather.narrow):
        found, origin_M = cut(data.segments, some_M, reach(window), window.horizon)
        np.testing.assert_array_equal(cut_windows(found, origin_M, window).known_BTK, whole.known_BTK)
    assert 0 < whole.known_BTK[..., -1].mean() < 1
