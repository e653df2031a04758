"""Figures as plain data (the schema that plotly.js draws). Knows nothing of pages, colours or files.

Stages build figures here and leave them in their directory; ``report`` draws them. A stage therefore never imports a
plotting library, and the report can change how every figure looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = Sequence[Any] | NDArray[Any]


class Figure(BaseModel):
    """One picture: traces and axes in plotly's schema, with words for the reader."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="unique in its stage; letters, digits and dashes")
    title: str = Field(description="what it shows, in a few words")
    caption: str = Field(description="the sentence a reader should take away, with its numbers")
    topic: str = Field(default="", description="heading that it stands under, with others")
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = {}


def lines(
    id: str,
    title: str,
    caption: str,
    x: Values,
    series: Mapping[str, Values],
    *,
    x_title: str = "",
    y_title: str = "",
    band: tuple[Values, Values, str] | None = None,
    mode: str = "lines",
) -> Figure:
    """Lines over a shared x; ``band`` = (low, high, name) is shaded behind them."""
    traces: list[dict[str, Any]] = []
    if band is not None:
        low, high, name = band
        traces += shaded(x, low, high, name)
    traces += [line(x, values, name, mode) for name, values in series.items()]
    return Figure(id=id, title=title, caption=caption, traces=traces, layout=_axes(x_title, y_title))


def line(x: Values, y: Values, name: str, mode: str = "lines", *, banded: bool = False) -> dict[str, Any]:
    """The trace of a line; where it is ``banded``, with the colour and the legend of what is ``shaded`` as its own."""
    trace = {"type": "scatter", "x": plain(x), "y": plain(y), "name": name, "mode": mode}
    return trace | ({"legendgroup": name} if banded else {})


def shaded(
    x: Values, low: Values, high: Values, name: str, *, of: str | None = None, legend: bool = True
) -> list[dict[str, Any]]:
    """The traces of a band, to be drawn before the lines.

    Args:
        of: the line that it is the band of, whose colour it has; None: it has none.
        legend: whether the legend names it.
    """
    edge = {"type": "scatter", "x": plain(x), "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    edge |= {} if of is None else {"legendgroup": of}
    return [
        {**edge, "y": plain(low), "showlegend": False},
        {**edge, "y": plain(high), "fill": "tonexty", "name": name, "showlegend": legend},
    ]


def bars(
    id: str,
    title: str,
    caption: str,
    x: Values,
    series: Mapping[str, Values],
    *,
    x_title: str = "",
    y_title: str = "",
) -> Figure:
    """Grouped bars over a shared x."""
    traces = [{"type": "bar", "x": plain(x), "y": plain(values), "name": name} for name, values in series.items()]
    return Figure(id=id, title=title, caption=caption, traces=traces, layout=_axes(x_title, y_title))


def heatmap(
    id: str,
    title: str,
    caption: str,
    x: Values,
    y: Values,
    values: Sequence[Values] | NDArray[Any],
    *,
    x_title: str = "",
    y_title: str = "",
    diverging: bool = False,
) -> Figure:
    """A matrix, rows along y. ``diverging`` centres the colours on zero."""
    trace: dict[str, Any] = {"type": "heatmap", "x": plain(x), "y": plain(y), "z": [plain(row) for row in values]}
    trace |= {"colorscale": "RdBu", "zmid": 0} if diverging else {"colorscale": "Viridis"}
    return Figure(id=id, title=title, caption=caption, traces=[trace], layout=_axes(x_title, y_title))


def plain(values: Values) -> list[Any]:
    """JSON-ready values: NumPy scalars and times unwrapped, non-finite numbers as null, floats to 6 digits."""
    return [_plain(value) for value in (values.tolist() if hasattr(values, "tolist") else values)]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _axes(x_title: str, y_title: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x_title}}, "yaxis": {"title": {"text": y_title}}}
