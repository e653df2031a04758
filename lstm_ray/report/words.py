"""Numbers, times and short texts as people read them. Knows nothing of stages, metrics or pages.

Every function that returns Markup has escaped what came from data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from markupsafe import Markup, escape

from lstm_ray.config import Config
from lstm_ray.sections.base import Section

DIGITS = 4
"""Significant digits of a number that is not whole."""

NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""

MINUS = "\N{MINUS SIGN}"

_SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
_FIELDS = [rf"{name}\.(?:{'|'.join(section.model_fields)})" for name, section in _SECTIONS.items()]
_WORDS = {"true", "false", "null"} | {
    word
    for section in _SECTIONS.values()
    for field in section.model_fields.values()
    for word in (get_args(field.annotation) if get_origin(field.annotation) is Literal else ())
}
_NUMBER = r"-?\d[\d.e+-]*\d|-?\d"
_VALUE = rf"""\[[^\]]*\]|{_NUMBER}|"[^"]*"|'[^']*'|(?:{"|".join(sorted(_WORDS))})\b"""
_SETTING = rf"\b(?:{'|'.join(_FIELDS)})\b(?:(?::\s*|=)(?:{_VALUE}))?"
_FLOW = rf"\b(?:{'|'.join(_SECTIONS)}):\s*\{{[^{{}}]*\}}"
_CODE = re.compile(rf"`([^`]+)`|((?:--set\s)?{_SETTING}|{_FLOW})", re.MULTILINE)


def number(value: Any) -> str:
    """One value: whole numbers in full, others to DIGITS significant digits, with thousands separators."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return NOTHING
    return _fixed(value, _needed(value, _decimals(value, DIGITS)))


def column(values: Sequence[Any]) -> list[str]:
    """The cells of one column, with the same number of decimals throughout so that they line up."""
    numbers = [value for value in values if is_number(value) and math.isfinite(value)]
    sizes = sorted(abs(value) for value in numbers if value)
    if not sizes or all(float(size).is_integer() for size in sizes):
        return [number(value) for value in values]
    noise = sizes[-1] * 1e-12  # what rounding leaves of a zero
    numbers = [value if abs(value) > noise else 0.0 for value in numbers]
    decimals = max(_decimals(sizes[-1], DIGITS), _decimals(sizes[len(sizes) // 2], DIGITS - 1))
    decimals = max(_needed(value, decimals) for value in numbers)
    texts = iter([_fixed(value, decimals) for value in numbers])
    return [next(texts) if is_number(value) and math.isfinite(value) else number(value) for value in values]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def seconds(value: float) -> str:
    """A duration that no line break divides: ``0.42 s``, ``12.3 s``, ``1 min 25 s``, ``2 h 05 min``."""
    minutes, rest = divmod(round(value), 60)
    if value < 59.95:
        text = f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    elif minutes < 60:
        text = f"{minutes} min {rest:02d} s"
    else:
        text = f"{minutes // 60} h {minutes % 60:02d} min"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def percent(share: float) -> str:
    """A signed share: ``+14.2 %``."""
    return f"{100 * share:+.1f}\N{NO-BREAK SPACE}%".replace("-", MINUS)


def label(name: str) -> str:
    """A key of a report in words: ``num_parameters`` gives ``Parameters``; a unit at its end is left to ``fact``."""
    words = re.sub(r"^num_|_(seconds|bytes)$", "", name).replace("_", " ").strip() or name
    return words[0].upper() + words[1:]


def fact(name: str, value: Any) -> str:
    """The value of a report's key, in the unit that the key ends with."""
    if is_number(value) and name.endswith("_seconds"):
        return seconds(value)
    if is_number(value) and name.endswith("_bytes"):
        return _bytes(value)
    return number(value)


def rich(text: str) -> Markup:
    """Text with what is in backticks, and settings such as ``train.batch: 64`` or ``train: {batch: 64}``, as code."""
    parts, end = [], 0
    for match in _CODE.finditer(text):
        parts += [escape(text[end : match.start()]), Markup("<code>{}</code>").format(match[1] or match[2])]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def _decimals(value: float, digits: int) -> int:
    return min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 8)


def _needed(value: float, decimals: int) -> int:
    """Fewer decimals where the value has no more: 0.7 stays 0.7, and 3.84 becomes 3.840 only if it is 3.8401."""
    while decimals and round(value, decimals - 1) == value:
        decimals -= 1
    return decimals


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    if value and not text.strip("-0.,"):
        text = f"{value:.{DIGITS - 1}g}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            break
        value, unit = value / 1000, "TB"
    return f"{value:.3g} {unit}"
