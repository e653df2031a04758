"""Callers' series read at once equal those read one by one, and what is wrong with one is told as ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Forecast, Policy, SeriesInput
from lstm_ray.model.request import Reader
from lstm_ray.model.sent import read_sent
from tests import made
from tests.serving import services


def asked(number: int = 5) -> list[SeriesInput]:
    """Windows with gaps, a far value, and more history than is needed."""
    found = [
        made.series_input(services.segments(), 60 + 7 * k, 12 + k, 6, f"s{k}" if k % 2 else "") for k in range(number)
    ]
    values = {name: np.array(of, dtype=np.float64) for name, of in found[1].columns.items()}
    values["load"][3:5] = np.nan
    values["wind"][-1] = 200.0
    found[1] = replace(found[1], columns=values)
    return found


def alone(policy: Policy, series: list[SeriesInput]) -> list[Forecast]:
    """Each predicted for itself, under the name that it has among the others."""
    return [policy.predict([one])[0] for one in series]  # type: ignore[misc]


def test_series_read_at_once_are_told_as_if_alone() -> None:
    policy, series = services.forecaster(), asked()
    assert read_sent(policy.requests, series) is not None
    together = policy.predict(series)
    for number, (one, other) in enumerate(zip(together, alone(policy, series), strict=True)):
        assert isinstance(one, Forecast)
        assert one.name == (series[number].name or str(number))
        np.testing.assert_array_equal(one.times, other.times)
        np.testing.assert_allclose(one.values_HCQ, other.values_HCQ, rtol=1e-5, atol=1e-5)
        assert len(one.warnings) == len(other.warnings)
    assert together[1].warnings == alone(policy, series)[1].warnings
    assert any("wind" in words for words in together[1].warnings)


def test_what_a_batch_holds_is_what_the_reader_reads() -> None:
    policy, series = services.forecaster(), asked()
    together = read_sent(policy.requests, series)
    assert together is not None
    for number, item in enumerate(series):
        for name, values in vars(policy.requests.read(item, number).batch).items():
            np.testing.assert_array_equal(vars(together.batch)[name][number : number + 1], values, err_msg=name)


def test_categories_are_read_at_once_too() -> None:
    policy = services.categorical()
    series = [
        replace(made.series_input(services.segments(), 60 + k, 12, 6), static={"kind": kind})
        for k, kind in enumerate(["shop", "store", "kiosk"])
    ]
    together = read_sent(
        policy.requests, [replace(item, future={}) if not policy.schema.known else item for item in series]
    )
    assert together is not None
    assert together.batch.category_BS.ravel().tolist() == [1, 2, 0]
    assert "kiosk" in together.warnings[2][0]


def broken(**changed: Any) -> list[SeriesInput]:
    series = asked()
    series[2] = replace(series[2], **changed)
    return series


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": {"load": [1.0]}},
        {"times": list(range(3))},
        {"future": {}},
        {"static": {"colour": "red"}},
        {"columns": {"load": np.full(14, 1e300), "wind": np.ones(14), "price": np.ones(14)}},
    ],
)
def test_what_is_wrong_with_one_is_told_in_its_own_words(changed: dict[str, Any]) -> None:
    policy, series = services.forecaster(), broken(**changed)
    assert read_sent(policy.requests, series) is None
    with pytest.raises(InputError) as together:
        policy.predict(series)
    with pytest.raises(InputError) as one:
        policy.requests.read(series[2], 2)
    assert str(together.value) == str(one.value)


def test_few_series_are_read_one_by_one() -> None:
    policy = services.forecaster()
    assert read_sent(policy.requests, asked(2)) is None


def test_nameless_series_get_no_units_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = services.forecaster()
    reader: Reader = replace(policy.requests, scaler=policy.scaler.model_copy(update={"series": {}}))
    assert read_sent(reader, asked()) is None
