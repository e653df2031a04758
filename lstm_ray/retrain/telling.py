"""A verdict as a report: findings, a table and a picture. Knows verdicts; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lstm_ray.config import Config
from lstm_ray.figure import Figure, plain
from lstm_ray.finding import Finding, Report
from lstm_ray.report import page
from lstm_ray.report.page import Tile
from lstm_ray.retrain.gate import NEWEST, WHOLE, Slice, Verdict
from lstm_ray.retrain.joined import Joined
from lstm_ray.retrain.stretches import Reference
from lstm_ray.run_dir import RunDir

GATE = "gate"
"""Folder and stage of a challenger's directory."""
UNIT = "error, in training deviations"
"""Classes told wrong are a share."""


def report_of(
    verdict: Verdict, joined: Joined, slice_: Reference, bound: float, why: Sequence[str], seconds: float
) -> Report:
    """What was compared on what, and what came of it.

    Args:
        why: what asked for a challenger.
        seconds: that the attempt has taken so far.
    """
    said = "promoted" if verdict.promoted else "refused"
    text = (
        f"{joined.old + joined.late - joined.reference:,} old rows taught it, and of {joined.new:,} new ones those before the "
        f"stretches held out, each of which counted {joined.new_weight:.3g} old ones; {joined.changed:,} old rows were told "
        f"otherwise since, and {joined.late:,} came late."
    )
    findings = [
        Finding(severity="info", text=f"What asked for it: {'; '.join(why)}."),
        Finding(severity="info", text=text),
        Finding(severity="info", text=f"No challenger learns from the reference slice, {slice_.words}."),
        *(
            Finding(severity="info" if verdict.promoted else "warning", text=f"{reason[0].upper()}{reason[1:]}.")
            for reason in verdict.reasons
        ),
    ]
    if joined.left_out:
        text = f"{joined.left_out:,} rows were left out: their series is new, and its constant columns are not known."
        findings.append(Finding(severity="advice", text=text, advice="Bring rows of it with --data."))
    tables: list[dict[str, Any]] = [
        {
            "title": "Champion and challenger on the same cases",
            "columns": ["stretch", "slice", "cases", "champion", "challenger", "growth", "90 % interval", "much worse"],
            "rows": [_row(one, bound) for one in verdict.slices],
            "caption": f"Growth of the error; more than {bound:.0%}, with the whole interval, is too much in any slice.",
        }
    ]
    return Report(
        stage=GATE,
        summary=f"The challenger is {said}: {verdict.reasons[0]}.",
        findings=findings,
        wall_seconds=seconds,
        promoted=verdict.promoted,
        tables=tables if verdict.slices else [],
    )


def figures_of(verdict: Verdict, bound: float) -> list[Figure]:
    """Both policies' errors by slice, and the growth with its interval."""
    if not verdict.slices:
        return []
    slices = verdict.slices[::-1]
    names = [_label(one) for one in slices]
    whole = verdict.slices[0]
    errors = Figure(
        id="errors",
        title="Errors by slice",
        caption=f"On the newest stretch the champion's error is {whole.champion:.4g}, the challenger's {whole.challenger:.4g} "
        f"({UNIT}). New: the newest held-out stretch; ref: the reference slice.",
        traces=[_dots(names, [getattr(one, who) for one in slices], who) for who in ("champion", "challenger")],
        layout=_sideways(UNIT),
    )
    held = [one for one in slices if one.growth is not None]
    worst = max(held, key=lambda one: one.growth or 0.0, default=None)
    told = (
        f"At most {worst.growth:+.1%} ({worst.stretch}: {worst.name}); "
        if worst is not None and worst.growth is not None
        else ""
    )
    growth = Figure(
        id="growth",
        title="How the error grows",
        caption=f"{told}more than {bound:+.0%} with the whole 90 % interval is too much in any slice, and below 0 the "
        "challenger is better.",
        traces=[_with_intervals(held), *_bound(bound, [_label(one) for one in held])],
        layout=_sideways("growth of the error"),
    )
    return [errors, growth]


def page_of(
    run: RunDir, attempt: str, config: Config, report: Report, figures: Sequence[Figure], verdict: Verdict
) -> str:
    """The report as a page of its own."""
    question = "Is the challenger better than the champion, and nowhere much worse?"
    view = page.section(GATE, question, report, figures, None, run)
    tiles = [Tile("Verdict", "promoted" if verdict.promoted else "refused", "", "good" if verdict.promoted else "bad")]
    for one in verdict.slices:
        if one.name == WHOLE and one.growth is not None:
            what = f"Error on the {one.stretch} {'held-out stretch' if one.stretch == NEWEST else 'slice'}"
            note = f"{one.challenger:.4g} after {one.champion:.4g}"
            tiles.append(Tile(what, f"{one.growth:+.1%}", note, "good" if one.growth <= 0 else ""))
    return page.filled(
        kind=f"Challenger {attempt}",
        name=config.name,
        task=config.task,
        verdict_text=report.summary,
        tiles=tiles,
        stages={GATE: question},
        views={GATE: view},
        command=f"lstm-ray retrain {run.uri.rsplit('/', 2)[0]}",
        config_text="",
        environment=[],
    )


def _row(one: Slice, bound: float) -> list[Any]:
    interval = "too few times" if one.interval is None else f"{one.interval[0]:+.1%} to {one.interval[1]:+.1%}"
    growth = "from nothing" if one.growth is None else f"{one.growth:+.1%}"
    stretch = one.stretch if one.stretch != NEWEST else "newest held-out"
    return [
        stretch,
        one.name,
        one.num,
        one.champion,
        one.challenger,
        growth,
        interval,
        "yes" if one.much_worse(bound) else "no",
    ]


def _dots(names: list[str], values: list[float], name: str) -> dict[str, Any]:
    return {"type": "scatter", "mode": "markers", "x": plain(values), "y": names, "name": name}


def _with_intervals(slices: list[Slice]) -> dict[str, Any]:
    values = [one.growth or 0.0 for one in slices]
    ends = [one.interval or (value, value) for one, value in zip(slices, values, strict=True)]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": plain([high - value for (_, high), value in zip(ends, values, strict=True)]),
        "arrayminus": plain([value - low for (low, _), value in zip(ends, values, strict=True)]),
    }
    return _dots([_label(one) for one in slices], values, "growth, 90 % interval") | {"error_x": bars}


def _bound(bound: float, names: list[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    ends = [names[0], names[-1]]
    return [
        {"type": "scatter", "mode": "lines", "x": [value, value], "y": ends, "name": name, "line": {"dash": dash}}
        for value, name, dash in ((0.0, "as good as the champion", "dot"), (bound, "bound", "dash"))
    ]


def _label(one: Slice) -> str:
    return f"{'new' if one.stretch == NEWEST else 'ref'}: {one.name}"


def _sideways(title: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": title}, "zeroline": True}, "yaxis": {"title": {"text": ""}}}
