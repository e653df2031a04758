"""Decisions as figures. Knows numbers; knows no models.

Shapes: S steps planned, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.figure import Figure
from lstm_ray.plan.decisions.deciding import NOTHING, PLAN, SEASON, Decided
from lstm_ray.plan.decisions.worth import Worth, curves, in_words
from lstm_ray.sections.decision import DecisionConfig

MOST_ACTIONS = 4
"""Actions that are drawn."""


def figures(
    found: Worth,
    decided: Sequence[Decided],
    labels: Sequence[str],
    times: Sequence[NDArray],
    decision: DecisionConfig,
    targets: Sequence[str],
) -> list[Figure]:
    """What is planned and what comes of it at the origin where most is saved; the search; what each origin saves.

    Args:
        labels: of the origins.
        times: [S] of each one's steps.
    """
    shown = int(np.argmax([savings[0].mean for savings in found.savings_O]))
    one, where, at = decided[shown], labels[shown], times[shown]
    drawn = [_plan(one, a, where, at, decision) for a in range(min(MOST_ACTIONS, len(decision.actions)))]
    drawn.append(_outcome(one, where, at, judged(decision, targets), targets))
    drawn.append(_search(decided, decision))
    if len(decided) > 1:
        drawn.append(_by_origin(found, labels))
    return drawn


def judged(decision: DecisionConfig, targets: Sequence[str]) -> str:
    """The first target that the objective judges, else the first."""
    named = [term.column or targets[0] for term in decision.objective if term.kind != "own"]
    return next((name for name in named if name in targets), targets[0])


def _plan(one: Decided, a: int, where: str, times: NDArray, decision: DecisionConfig) -> Figure:
    action = decision.actions[a]
    plan_S, nothing_S = one.plan_SA[:, a], one.nothing_SA[:, a]
    changed = int((np.abs(plan_S - nothing_S) > 1e-6 * (action.high - action.low)).sum())
    share = "" if action.within is None else f" and {action.within:.0%} of doing nothing"
    bounds = f"{action.low:g} to {action.high:g}{share}"
    caption = (
        f"{where}: {changed} of {len(plan_S)} steps differ from doing nothing, by {np.abs(plan_S - nothing_S).max():.3g} at "
        f"most; in all {plan_S.sum():.4g} instead of {nothing_S.sum():.4g}, each step within {bounds}."
    )
    lines = {PLAN: plan_S, NOTHING: nothing_S, SEASON: one.season_SA[:, a]}
    low_S, high_S = one.bounds_2SA[:, :, a]
    # Bounds far beyond all that is planned would press the plans flat.
    near = np.ptp(one.bounds_2SA[:, :, a]) <= 5 * max(np.ptp(np.concatenate(list(lines.values()))), 1e-9)
    drawn = figure.lines(
        f"decision-action-{a}",
        f"What to do: {action.name}",
        caption,
        _and_end(times),
        {name: _held(plan_S) for name, plan_S in lines.items()},
        y_title=action.name,
        band=(_held(low_S), _held(high_S), "bounds") if near else None,
    )
    for trace in drawn.traces:
        trace.setdefault("line", {})["shape"] = "hv"
    return drawn


def _and_end(times: NDArray) -> NDArray:
    """And when the last step ends: a value holds until then, and a stair without it would hide the last one."""
    return np.append(times, times[-1:] + (times[-1:] - times[-2:-1])) if len(times) > 1 else times


def _held(value_S: NDArray) -> NDArray:
    return np.append(value_S, value_S[-1]) if len(value_S) > 1 else value_S


def _outcome(one: Decided, where: str, times: NDArray, target: str, targets: Sequence[str]) -> Figure:
    plan_QS, nothing_QS = one.outcome_PQSC[:, :, :, list(targets).index(target)]
    difference_S = plan_QS[0] - nothing_QS[0]
    mean, most = difference_S.mean(), np.abs(difference_S).max()
    by = "the same" if abs(mean) < 1e-4 * most or not most else f"{mean:+.3g}"
    caption = (
        f"{where}: under the plan {target} is {plan_QS[0].mean():.4g} a step on average and {nothing_QS[0].mean():.4g} when "
        f"doing nothing, {by}; at one step they differ by {most:.3g}. Bands hold 80 % of the paths."
    )
    drawn = figure.lines("decision-outcome", f"What comes of it: {target}", caption, times, {}, y_title=target)
    for name, of_QS in ((PLAN, plan_QS), (NOTHING, nothing_QS)):
        drawn.traces.extend(figure.shaded(times, of_QS[1], of_QS[2], f"80 % of paths, {name}", of=name, legend=False))
    for name, of_QS in ((PLAN, plan_QS), (NOTHING, nothing_QS)):
        drawn.traces.append(figure.line(times, of_QS[0], name, banded=True))
    return drawn


def _search(decided: Sequence[Decided], decision: DecisionConfig) -> Figure:
    shown = curves(decided)
    best_R = shown["cross-entropy method, best"]
    caption = (
        f"Cost ({in_words(decision)}) on the futures searched on, mean of the origins: {best_R[0]:.4g} after the first "
        f"{decision.candidates} plans, {best_R[-1]:.4g} after {len(best_R) * decision.candidates:,}"
    )
    if "random shooting, best" in shown:
        caption += f"; as many random plans came to {shown['random shooting, best'][-1]:.4g}"
    return figure.lines(
        "decision-search",
        "The search",
        f"{caption}.",
        np.arange(1, len(best_R) + 1),
        shown,
        x_title="round",
        y_title="cost",
    )


def _by_origin(found: Worth, labels: Sequence[str]) -> Figure:
    traces: list[dict[str, Any]] = []
    for s, against in enumerate((NOTHING, SEASON)):
        savings = [of[s] for of in found.savings_O]
        reach = {
            "type": "data",
            "array": figure.plain([one.high - one.mean for one in savings]),
            "arrayminus": figure.plain([one.mean - one.low for one in savings]),
        }
        bar = {"type": "bar", "x": list(labels), "y": figure.plain([one.mean for one in savings])}
        traces.append({**bar, "name": f"against {against}", "error_y": reach})
    saving = found.savings[0]
    return Figure(
        id="decision-worth",
        title="What each decision saves",
        caption=f"On average {saving.mean:.4g} against doing nothing (95 % interval {saving.low:.4g} to {saving.high:.4g}); "
        "whiskers are 95 % intervals over each origin's own paths.",
        traces=traces,
        layout={"yaxis": {"title": {"text": "cost saved"}}},
    )
