"""Numbers as people read them. Knows nothing of where they come from."""

from __future__ import annotations

from collections.abc import Sequence

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def number(value: float) -> str:
    """Three significant digits, or whole numbers with separators from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share as a percentage with at most one decimal, and separators from a thousand on."""
    value = round(100 * share, 1)
    return f"{value:,.0f} %" if value == int(value) or abs(value) >= 100 else f"{value:.1f} %"


def called(name: str) -> str:
    """A model's name in a sentence."""
    return name.replace("_", " ")


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
