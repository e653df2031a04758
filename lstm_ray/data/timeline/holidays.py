"""Public holidays of a country as ISO dates. The one place that needs the extra 'holidays'; policies carry the dates."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from lstm_ray.errors import InputError, nearest

YEARS_AHEAD = 10
"""Years after the data's last for which dates are listed: how long a policy knows its holidays."""


def dates(country: str, first_year: int, last_year: int) -> list[str]:
    """Public holidays, ISO dates in order.

    Args:
        country: ISO 3166 code such as DE; with a state's behind it, as in US-NY, its own too.
        first_year, last_year: both included.

    Raises InputError where the extra is missing or the country or state unknown.
    """
    package, (code, state) = _package(), checked(country)
    found = package.country_holidays(code, subdiv=state, years=range(first_year, last_year + 1))
    return sorted(day.isoformat() for day in found)


def checked(country: str) -> tuple[str, str | None]:
    """The codes of a country and of its state, of which the latter may be None. Raises InputError as ``dates`` does."""
    states_of = _package().list_supported_countries(include_aliases=False)
    code, _, state = country.strip().partition("-")
    code = code.upper()
    if code not in states_of:
        hint = nearest(code, states_of)
        hint = hint if "did you mean" in hint else "; write an ISO code such as DE, US or US-NY"
        raise InputError(f"preprocess.holidays '{country}' is no country whose holidays are known{hint}")
    known = {name.upper(): name for name in states_of[code]}
    if state and state.upper() not in known:
        hint = nearest(state, known.values()) if known else f"; write {code} alone"
        raise InputError(f"preprocess.holidays '{country}': {code} has no state '{state}'{hint}")
    return code, known[state.upper()] if state else None


def _package() -> ModuleType:
    try:
        return import_module("holidays")
    except ImportError:
        raise InputError(
            "preprocess.holidays needs the extra 'holidays': pip install lstm-ray[holidays], or remove it"
        ) from None
