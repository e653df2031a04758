"""What a policy answered of the test part is in Parquet, beside what came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from lstm_ray.data.windows import origins
from lstm_ray.evaluate.gather import future_rows
from lstm_ray.evaluate.predictions import keep_classes, keep_values, writer


@pytest.mark.parametrize("batch", [7, 1000])
def test_every_forecast_stands_beside_what_came(make_data, fake_policy, tmp_path: Path, batch: int) -> None:
    data, policy = make_data(channels=2), fake_policy(quantiles=[0.1, 0.5, 0.9])
    test_M = origins(data.segments, data.parts, "test", data.window)
    forecast_MHCQ = policy.forecast_windows(data.segments, test_M)
    with writer(tmp_path / "p" / "part.parquet", data.segments) as write:
        for first in range(0, len(test_M), batch):
            some = slice(first, first + batch)
            write(test_M[some], forecast_MHCQ[some], policy.quantiles)
    found = pl.read_parquet(tmp_path / "p" / "part.parquet")
    assert found.columns == ["series_id", "origin", "target", "actual", "q0.1", "q0.5", "q0.9"]
    assert found.height == 2 * len(test_M)
    for c, target in enumerate(data.segments.schema.target):
        own = found.filter(target=target)
        names = [data.segments.series[s] for s in data.segments.series_of(test_M)]
        assert own["series_id"].to_list() == names
        assert (own["origin"].to_numpy() == data.segments.times(test_M)).all()
        for index, level in enumerate(policy.quantiles):
            np.testing.assert_array_equal(np.stack(own[f"q{level:g}"].to_list()), forecast_MHCQ[:, :, c, index])
        rows = future_rows(test_M, data.window.horizon)
        seen = data.segments.observed_RC[rows, c] > 0
        actual = np.array(own["actual"].to_list(), dtype=np.float64)
        assert 0 < seen.mean() < 1
        np.testing.assert_array_equal(np.isnan(actual), ~seen)
        np.testing.assert_array_equal(actual[seen], data.segments.target_RC[rows, c][seen])


def test_a_pass_that_fails_leaves_no_file(data, fake_policy, tmp_path: Path) -> None:
    test_M = origins(data.segments, data.parts, "test", data.window)[:5]
    with pytest.raises(RuntimeError), writer(tmp_path / "part.parquet", data.segments) as write:  # noqa: PT012
        write(test_M, fake_policy().forecast_windows(data.segments, test_M), [0.5])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_classes_and_values_are_kept_with_what_was_told(tmp_path: Path) -> None:
    where = {"series_id": pa.array(["a", "b"]), "time": pa.array([1, 2])}
    keep_classes(tmp_path / "c.parquet", where, np.array([1, 0]), np.array([[0.2, 0.8], [0.4, 0.6]]), ["no", "yes"])
    found = pl.read_parquet(tmp_path / "c.parquet")
    assert found["actual"].to_list() == ["yes", "no"]
    assert found["predicted"].to_list() == ["yes", "yes"]
    assert found["p_no"].to_list() == pytest.approx([0.2, 0.4])
    keep_values(tmp_path / "v.parquet", where, np.array([1.0, 2.0]), np.array([1.5, 2.5]))
    found = pl.read_parquet(tmp_path / "v.parquet")
    assert found["predicted"].to_list() == [1.5, 2.5]
