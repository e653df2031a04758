"""Holidays by country and state, for as long as a policy may live; a wrong one is named with the nearest."""

from __future__ import annotations

import sys

import pytest

from lstm_ray.data.timeline import holidays
from lstm_ray.errors import InputError


def test_dates_come_in_order_for_every_year_asked_for() -> None:
    found = holidays.dates("DE", 2023, 2025)
    assert found == sorted(found)
    assert {"2023-10-03", "2024-10-03", "2025-10-03"} <= set(found)
    assert {date[:4] for date in found} == {"2023", "2024", "2025"}


def test_a_state_has_holidays_of_its_own_in_any_case_of_letters() -> None:
    whole, bavaria = holidays.dates("de", 2024, 2024), holidays.dates("DE-by", 2024, 2024)
    assert set(whole) < set(bavaria)
    assert "2024-01-06" in set(bavaria) - set(whole)
    assert holidays.checked("de-augsburg") == ("DE", "Augsburg")


@pytest.mark.parametrize(
    ("country", "words"),
    [
        ("DEU", "'DEU' is no country whose holidays are known; did you mean 'DE'"),
        ("Q9", "'Q9' is no country whose holidays are known; write an ISO code such as DE, US or US-NY"),
        ("US-NYC", "'US-NYC': US has no state 'NYC'; did you mean 'NY'"),
        ("VA-1", "'VA-1': VA has no state '1'; write VA alone"),
    ],
)
def test_an_unknown_country_or_state_is_named_with_the_nearest(country: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        holidays.dates(country, 2024, 2024)


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(InputError, match=r"needs the extra 'holidays': pip install lstm-ray\[holidays\]"):
        holidays.checked("DE")
