"""What a replay of the monitor said, as findings, figures, a table and plain values. Knows nothing of how it was replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_ray import figure
from lstm_ray.evaluate.words import listed, number, percent
from lstm_ray.figure import Figure
from lstm_ray.monitor.drift.distances import MEASURES
from lstm_ray.run_dir import Finding, Report
from lstm_ray.sections.operate import MonitorConfig

if TYPE_CHECKING:
    from lstm_ray.monitor.new_data.replay import Replay, Spell

__all__ = ["Report", "figures", "report", "timeline"]
STAGE = "monitor"
MOST_LINES = 6
"""Columns that are drawn as lines; the others are in the table."""
KINDS = {
    "drift": "input",
    "joint": "inputs together",
    "prediction": "forecast",
    "performance": "error",
    "change": "change of the error",
    "anomalies": "anomalies",
}


def timeline(told: Replay) -> dict[str, Any]:
    """Every point in time as plain values."""
    return {
        "times": figure.plain(told.times),
        "columns": told.columns,
        "error_ratio": told.ratio,
        "alarms": [_plain(spell) for spell in told.spells],
        "changes": told.last.get("changes", []),
        "lacks": told.lacks,
    }


def _plain(spell: Spell) -> dict[str, Any]:
    return asdict(spell) | {"begins": _time(spell.begins), "ends": None if spell.ends is None else _time(spell.ends)}


def _time(at: Any) -> Any:
    found = figure.plain([at])[0]
    return found[:16].replace("T", " ") if isinstance(found, str) else found


def report(told: Replay, name: str, num_rows: int, settings: MonitorConfig, more: Sequence[Finding]) -> Report:
    """What the page and the terminal show.

    Args:
        name: of the run.
        more: what was noticed of the files.
    """
    findings = [_finding(spell) for spell in told.spells]
    findings += [Finding(severity="warning", text=f"{text[0].upper()}{text[1:]}.") for text in told.lacks]
    for row in told.last.get("changes", []):
        findings += [_change(row["column"], change) for change in row["changes"]]
    if not told.spells:
        text = (
            f"No alarm over {len(told.times)} looks. Limits are those that {percent(settings.false_alarms)} of windows of "
            f"{settings.window} values like training's pass."
        )
        findings.append(Finding(severity="info", text=text))
    kinds = Counter(KINDS.get(spell.kind, spell.kind) for spell in told.spells)
    first = told.spells[0] if told.spells else None
    summary = f"{num_rows:,} rows replayed from {_time(told.times[0])} to {_time(told.times[-1])}: "
    if first is None:
        summary += "no alarm"
    else:
        counted = listed([f"{times} of {kind}" for kind, times in kinds.items()])
        summary += (
            f"{len(told.spells)} alarm{'s' * (len(told.spells) > 1)} ({counted}), the first at {_time(first.begins)}"
        )
    ratio = next((value for value in reversed(told.ratio) if value is not None), None)
    if ratio is not None:
        summary += f"; the error ended at {number(ratio)} times validation's"
    return Report(
        stage=STAGE,
        summary=f"{summary}.",
        findings=[*findings, *more],
        run=name,
        num_rows=num_rows,
        num_alarms=len(told.spells),
        alarms=[_plain(spell) for spell in told.spells],
        first_alarm=None if first is None else {"what": first.what, "kind": first.kind, "at": _time(first.begins)},
        error_ratio=ratio,
        worse=settings.worse,
        tables=[*([_spells(told)] if told.spells else []), _columns(told)],
        topics=[],
    )


def _finding(spell: Spell) -> Finding:
    until = "and stands" if spell.ends is None else f"until {_time(spell.ends)}"
    return Finding(severity="warning", text=f"From {_time(spell.begins)} {until}: {spell.text}.")


def _change(column: str, change: dict[str, Any]) -> Finding:
    text = (
        f"The error of {column} changed after {change['at']:,} observed values, from {number(change['before'])} to "
        f"{number(change['after'])} times validation's; it was seen {change['told'] - change['at']:,} values later (ADWIN)."
    )
    return Finding(severity="info", text=text)


def _spells(told: Replay) -> dict[str, Any]:
    rows = [
        [
            KINDS.get(spell.kind, spell.kind),
            spell.what or "all",
            str(_time(spell.begins)),
            "" if spell.ends is None else str(_time(spell.ends)),
            spell.value,
            spell.limit,
        ]
        for spell in told.spells
    ]
    return {
        "title": "Alarms",
        "columns": ["of", "what", "from", "until", "largest value", "limit"],
        "rows": rows,
        "caption": "In the order in which they began; those without an end stand when the files end.",
    }


def _columns(told: Replay) -> dict[str, Any]:
    rows = []
    for name, points in told.columns.items():
        last, limits = points[-1], points[-1]["limits"] or {}
        over = [row["over_limit"] for row in points if row["over_limit"] is not None]
        cells = [cell for measure in MEASURES for cell in (last[measure], limits.get(measure))]
        rows.append([name, last["state"], max(over, default=None), *cells])
    rows.sort(key=lambda row: -(row[2] or 0.0))
    return {
        "title": "Every column against its limits",
        "columns": [
            *("column", "at the end", "largest share of a limit"),
            *("PSI", "its limit", "KS", "its limit", "Wasserstein", "its limit"),
        ],
        "rows": rows,
        "caption": "Distances of the newest values, at the end of the files; Wasserstein's in training deviations. A share of "
        "1 raises an alarm.",
    }


def figures(told: Replay, worse: float) -> list[Figure]:
    """Each column's largest measure against its limit, the measures of the worst, and the error, over time."""
    lines = {
        name: np.array([np.nan if row["over_limit"] is None else row["over_limit"] for row in points])
        for name, points in told.columns.items()
    }
    lines = {name: values for name, values in lines.items() if np.isfinite(values).any()}
    drawn = []
    if lines:
        worst = sorted(lines, key=lambda name: -float(np.nanmax(lines[name])))
        top, most = worst[0], float(np.nanmax(lines[worst[0]]))
        caption = f"{_the(top)} came to {number(most)} times a limit of its own, more than any other"
        caption += (
            "; every line that crosses 1 is an alarm." if most > 1 else "; no line reaches 1, where alarms begin."
        )
        shown = {name: lines[name] for name in worst[:MOST_LINES]} | {"limit": np.ones(len(told.times))}
        drawn.append(
            figure.lines(
                "over-limit",
                "How near to an alarm",
                caption,
                told.times,
                shown,
                y_title="largest measure over its limit",
            )
        )
        drawn.append(_measures(told, top))
    if any(value is not None for value in told.ratio):
        drawn.append(_errors(told, worse))
    return drawn


def _measures(told: Replay, name: str) -> Figure:
    points = told.columns[name]
    shares = {}
    for measure, label in zip(MEASURES, ("PSI", "KS", "Wasserstein"), strict=True):
        shares[label] = [
            np.nan if row[measure] is None or not row["limits"] else row[measure] / row["limits"][measure]
            for row in points
        ]
    last = next(row for row in reversed(points) if row["over_limit"] is not None)
    values = ", ".join(
        f"{label} {number(last[measure])} of {number(last['limits'][measure])}"
        for measure, label in zip(MEASURES, shares, strict=True)
        if last[measure] is not None
    )
    caption = f"{_the(name)} by each measure over its limit, which is 1; at the end {values}."
    return figure.lines(
        "measures",
        f"{_the(name)}, measure by measure",
        caption,
        told.times,
        shares | {"limit": np.ones(len(points))},
        y_title="measure over its limit",
    )


def _errors(told: Replay, worse: float) -> Figure:
    ratio = np.array([np.nan if value is None else value for value in told.ratio])
    at = int(np.nanargmax(ratio))
    last = ratio[np.isfinite(ratio)][-1]
    caption = (
        f"The error over the newest forecasts was at most {number(float(ratio[at]))} times what the validation part lets "
        f"expect ({_time(told.times[at])}), and {number(float(last))} times at the end; from {worse:g} on it is an alarm."
    )
    series = {"rolling error over validation's": ratio, "alarm": np.full(len(ratio), worse)}
    return figure.lines("error", "How the error went", caption, told.times, series, y_title="times validation's error")


def _the(name: str) -> str:
    return "How columns go together" if name == "(together)" else name[0].upper() + name[1:] if " " in name else name
