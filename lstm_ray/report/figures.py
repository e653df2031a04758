"""Figures made ready for the page: data that cannot act as markup, a size, a place in the grid. Draws nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lstm_ray.figure import Figure

WIDE_POINTS = 150
"""A trace with more points than this takes the page's whole width."""

WIDE_COLUMNS = 30
"""So does a matrix with more columns."""

ROW_PIXELS, MOST_ROWS = 20, 60
"""Height of one row of a matrix or of names, and how many rows may make a figure taller."""

PANEL_PIXELS = 165
"""Height of one of several panels above one another."""


LABEL_LETTERS = 20
"""Longer names of categories are cut on the axes."""

MOST_TICKS = 15
"""Of more categories side by side, some are left unnamed."""

DATE = re.compile(r"\d{4}-\d\d")


@dataclass(frozen=True)
class Picture:
    """A figure's place on the page."""

    id: str
    title: str
    caption: str
    wide: bool
    height: int
    panels: bool
    """Whether it holds several side by side, which a phone scrolls through."""
    data: Markup
    """JSON of traces and layout, safe inside a script element."""


def pictures(stage: str, figures: Sequence[Figure]) -> list[Picture]:
    """The stage's figures in order. Narrow ones stand two in a row; one that would stand alone becomes wide."""
    wide = [_is_wide(figure) for figure in figures]
    run = 0
    for index in range(len(figures) + 1):
        if index < len(figures) and not wide[index]:
            run += 1
            continue
        if run % 2:
            wide[index - 1] = True
        run = 0
    ids = _unique([f"{stage}-{re.sub(r'[^A-Za-z0-9-]+', '-', figure.id)}" for figure in figures])
    return [
        Picture(
            id,
            figure.title,
            figure.caption,
            is_wide,
            _height(figure, is_wide),
            "xaxis2" in figure.layout,
            _payload(figure),
        )
        for id, figure, is_wide in zip(ids, figures, wide, strict=True)
    ]


def script_json(value: Any) -> Markup:
    """JSON that a script element cannot end early: no ``<``, ``>`` or ``&`` appears in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _payload(figure: Figure) -> Markup:
    layout = figure.layout | {f"{axis}axis": _axis(figure, axis) for axis in "xy"}
    return script_json({"traces": _inert(figure.traces), "layout": _inert(layout)})


def _axis(figure: Figure, axis: str) -> dict[str, Any]:
    """The axis, told where it holds names: plotly would read ``10 %`` as the number 10.

    Names run downwards, as people read. Long ones are cut, for they would leave the figure no room.
    """
    given: dict[str, Any] = figure.layout.get(f"{axis}axis", {})
    names = _names(figure, axis)
    if not names:
        return given
    found: dict[str, Any] = {"type": "category"} | ({"nticks": MOST_TICKS} if len(names) > MOST_TICKS else {})
    if axis == "y":
        found = {"type": "category", "autorange": "reversed"}
    if any(len(name) > LABEL_LETTERS for name in names):
        short = [name if len(name) <= LABEL_LETTERS else name[: LABEL_LETTERS - 1] + "…" for name in names]
        found |= {"tickmode": "array", "tickvals": names, "ticktext": short}
    return found | given


def _names(figure: Figure, axis: str) -> list[str]:
    """The categories along an axis, each once; none where it holds numbers or dates."""
    values = dict.fromkeys(value for trace in figure.traces for value in trace.get(axis) or ())
    names = [value for value in values if isinstance(value, str)]
    return [] if all(DATE.match(name) for name in names) else names


def _inert(value: Any) -> Any:
    """Strings with ``<`` and ``&`` as entities, for plotly reads names and labels as a little HTML of its own.

    Hover and text templates are written by stages, not by data, and keep theirs.
    """
    if isinstance(value, str):
        return value.replace("&", "&amp;").replace("<", "&lt;")
    if isinstance(value, dict):
        return {key: item if key.endswith("template") else _inert(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_inert(item) for item in value]
    return value


def _unique(ids: list[str]) -> list[str]:
    seen: set[str] = set()
    for index, id in enumerate(ids):
        number = 1
        while ids[index] in seen:
            number += 1
            ids[index] = f"{id}-{number}"
        seen.add(ids[index])
    return ids


def _is_wide(figure: Figure) -> bool:
    if "xaxis2" in figure.layout:
        return True
    for trace in figure.traces:
        if trace.get("type") == "heatmap":
            if len(trace["z"]) and len(trace["z"][0]) > WIDE_COLUMNS:
                return True
        elif len(trace.get("x") or trace.get("y") or ()) > WIDE_POINTS and trace.get("type", "scatter") == "scatter":
            return True
    return False


def _height(figure: Figure, wide: bool) -> int:
    """Pixels: the usual height, or more where there are many rows or panels above one another."""
    tops = {tuple(axis.get("domain", (0, 1))) for key, axis in figure.layout.items() if re.match(r"yaxis\d*$", key)}
    matrices = [len(trace["z"]) for trace in figure.traces if trace.get("type") == "heatmap"]
    rows = min(max([len(_names(figure, "y")), *matrices]), MOST_ROWS)
    return max(340 if wide else 320, rows * ROW_PIXELS + 90, len(tops) * PANEL_PIXELS if len(tops) > 1 else 0)
