"""Damage in pictures: what each kind does to the policy at a glance, and a curve for each. Knows curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lstm_ray import figure
from lstm_ray.evaluate.damage.curve import Curve
from lstm_ray.evaluate.damage.naming import WORDS, capital, name, said
from lstm_ray.evaluate.damage.sentences import by_harm, signed
from lstm_ray.evaluate.words import number
from lstm_ray.figure import Figure

COLUMNS, ROWS = 3, 2
"""Panels side by side, and above one another in one figure."""
GAP, ROOM = 0.05, 0.65
"""Between panels, as a share of the width, and of a row's height, for the numbers below one and the heading of the next."""
DARKEST = 100
"""Percent from which on all harm has one colour."""
DEGREES = ("mild", "middle", "severe")


def figures(curves: Sequence[Curve]) -> list[Figure]:
    """The overview, and every curve in a panel of its own, the most harmful damage first."""
    if not curves:
        return []
    order = by_harm(curves)
    most = COLUMNS * ROWS
    return [_overview(order), *(_panels(order[at : at + most], at // most) for at in range(0, len(order), most))]


def _overview(order: Sequence[Curve]) -> Figure:
    """How much worse the policy and the naive get at each severity, in percent."""
    worst = order[0]
    models = [worst.policy, *([worst.naive] if worst.naive else [])]
    rows = [[value for model in models for value in _degrees(curve, model)] for curve in order]
    harm = worst.harm(worst.policy)[worst.middle]
    caption = f"Percent by which the {worst.metric.words} is worse than undamaged"
    if harm is not None:
        damage = said(worst.kind, worst.severity[worst.middle], worst.severity[-1])
        caption += f": by {signed(harm).removeprefix('+')} with {damage}, the most harmful"
    if worst.naive:
        caption += f"; beside it the {name(worst.naive)}"
    shown = figure.heatmap(
        "damage-overview",
        "Harm by kind of damage",
        f"{caption}.",
        [f"{who}, {degree}" for who in ("policy", "naive")[: len(models)] for degree in DEGREES],
        [WORDS[curve.kind].title for curve in order],
        rows,
        diverging=True,
    )
    # One kind must not take the colour from all others.
    return shown.model_copy(update={"traces": [shown.traces[0] | {"zmin": -DARKEST, "zmax": DARKEST}]})


def _degrees(curve: Curve, model: str) -> list[float | None]:
    """Harm in percent by DEGREES; a kind with one severity has a middle one alone."""
    harm = curve.harm(model)
    at = (1, curve.middle, len(harm) - 1) if len(harm) > 2 else (None, 1, None)
    shown = [None if index is None else harm[index] for index in at]
    return [None if value is None else round(100 * value, 1) for value in shown]


def _panels(curves: Sequence[Curve], part: int) -> Figure:
    """A panel for each kind. Those side by side, which do about as much harm, have one range of scores."""
    rows, columns, metric = -(-len(curves) // COLUMNS), min(COLUMNS, len(curves)), curves[0].metric
    width, height = (1 - GAP * (columns - 1)) / columns, 1 / (rows + ROOM * (rows - 1))
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": [], "shapes": [], "margin": {"t": 60}, "legend": {"y": 1.12}}
    for index, curve in enumerate(curves):
        row, column = divmod(index, columns)
        left, top, axes = column * (width + GAP), 1 - row * height * (1 + ROOM), _axes_of(index)
        traces += [trace | axes for trace in _lines(curve, legend=index == 0)]
        words = WORDS[curve.kind]
        x_axis: dict[str, Any] = {"domain": [left, min(1.0, left + width)], "anchor": axes["yaxis"], "nticks": 5}
        x_axis |= {"title": {"text": words.axis, "standoff": 2}}
        y_axis = {"domain": [max(0.0, top - height), top], "anchor": axes["xaxis"], "showticklabels": column == 0}
        y_axis |= {"matches": _axes_of(index - column)["yaxis"]} if column else {"nticks": 5}
        layout[_long(axes["xaxis"])] = x_axis | (
            {"tickformat": ".0%"} if "%" in words.level(curve.severity[-1]) else {}
        )
        layout[_long(axes["yaxis"])] = y_axis
        place = {"x": left, "y": top, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
        layout["annotations"].append({"text": words.title, "showarrow": False, **place})
        layout["shapes"] += _overtakings(curve, axes)
    title = f"{capital(metric.words)} against severity"
    return Figure(
        id="robustness" if part == 0 else f"robustness-{part + 1}",
        title=title if part == 0 else f"{title}, less harmful kinds",
        caption=_panel_caption(curves),
        traces=traces,
        layout=layout,
    )


def _axes_of(index: int) -> dict[str, str]:
    """What a panel's traces call its axes."""
    suffix = "" if index == 0 else str(index + 1)
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}


def _long(axis: str) -> str:
    """What a layout calls an axis: yaxis2 of y2."""
    return f"{axis[0]}axis{axis[1:]}"


def _lines(curve: Curve, legend: bool) -> list[dict[str, Any]]:
    """Each model's scores, and the policy's with its sampling error."""
    mine, sign, traces = curve.score[curve.policy], curve.metric.sign, []
    told = [interval for interval in curve.harm_interval if interval is not None]
    if len(told) == len(mine) and mine[0]:
        low, high = ([mine[0] * (1 + sign * interval[end]) for interval in told] for end in (0, 1))
        traces += figure.shaded(curve.severity, low, high, "95 % interval", of=name(curve.policy), legend=False)
    for model, score in curve.score.items():
        line = figure.line(curve.severity, score, name(model), "lines+markers", banded=True)
        traces.append(line | {"showlegend": legend})
    return traces


def _overtakings(curve: Curve, axes: dict[str, str]) -> list[dict[str, Any]]:
    """A dotted line where each baseline overtakes."""
    there = {"xref": axes["xaxis"], "yref": f"{axes['yaxis']} domain", "y0": 0, "y1": 1}
    places = [curve.overtaken_at(who) for who in curve.overtakers]
    return [{"type": "line", "line": {"dash": "dot", "width": 1}, "x0": at, "x1": at, **there} for at in places]


def _panel_caption(curves: Sequence[Curve]) -> str:
    metric, worst = curves[0].metric, curves[0]
    unit = f" in {metric.unit}" if metric.unit else ""
    score = worst.score[worst.policy]
    text = f"{capital(metric.words)}{unit}, the most harmful kind first: under {WORDS[worst.kind].title.lower()} from "
    text += f"{number(score[0])} to {number(score[-1])}"
    if any(interval for interval in worst.harm_interval[1:]):
        text += ". Bands are the sampling error of the policy's change"
    overtaken = sum(bool(curve.overtakers) for curve in curves)
    where = f"in {overtaken} of {len(curves)} panels, at dotted lines" if overtaken else "in none of the panels"
    return f"{text}. A baseline overtakes the policy {where}. Each row has a range of its own."
