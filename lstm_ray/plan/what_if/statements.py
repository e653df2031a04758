"""What scenarios do, in sentences and tables. Knows no torch, no Ray, no figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lstm_ray.plan.what_if.effects import Crossing, Effect
from lstm_ray.run_dir import Finding
from lstm_ray.sections.scenario import ChangeConfig, ScenarioConfig

Effects = Mapping[str, Mapping[str, Effect]]
"""By scenario and target."""
Crossings = Mapping[str, Mapping[str, Crossing]]
"""By scenario and the words of a threshold."""
NOTICED = 0.005
"""A change of a probability below this is not spoken of."""


def effect_findings(found: Effects, crossed: Crossings, scenarios: Sequence[ScenarioConfig]) -> list[Finding]:
    """What each scenario does to the target that it moves most, and how it changes what becomes of thresholds."""
    return [_finding(s, found[s.name], crossed.get(s.name, {})) for s in scenarios]


def effect_tables(found: Effects, crossed: Crossings) -> list[dict[str, Any]]:
    """Effects by target; by series, where there are several; and the probability of crossing each threshold."""
    if not found:
        return []
    tables = [_by_target(found)]
    if any(len(effect.by_series) > 1 for by in found.values() for effect in by.values()):
        tables.append(_by_series(found))
    if any(crossed.values()):
        tables.append(_by_threshold(crossed))
    return tables


def facts_of(found: Effects, crossed: Crossings) -> dict[str, Any]:
    """Both as plain values."""
    effects = {
        name: {target: asdict(effect) | {"most_affected": effect.most_affected} for target, effect in by.items()}
        for name, by in found.items()
    }
    crossings = {
        name: {words: asdict(crossing) | {"difference": crossing.difference} for words, crossing in by.items()}
        for name, by in crossed.items()
    }
    return {"effects": effects, "crossings": crossings}


def words_of(scenario: ScenarioConfig) -> str:
    """What is changed, such as ``wind shift 5 over 24 steps, price replay``."""
    return ", ".join(_words(change) for change in scenario.changes)


def most_moved(by_target: Mapping[str, Effect]) -> str:
    """The target that is moved most, as a share of its base."""
    return max(by_target, key=lambda target: abs(by_target[target].share or 0.0))


def _words(change: ChangeConfig) -> str:
    words = f"{change.column} {change.operation}"
    words += f" {change.value:g}" if change.value is not None else ""
    words += f" over {change.steps} step{'s' * (change.steps > 1)}" if change.steps else ""
    return words + (f" between {change.between[0]} and {change.between[1]}" if change.between else "")


def _finding(scenario: ScenarioConfig, by_target: Mapping[str, Effect], crossed: Mapping[str, Crossing]) -> Finding:
    target = most_moved(by_target)
    effect, start = by_target[target], f"If {scenario.name} ({words_of(scenario)}), "
    if all(not (e.mean or e.low or e.high) for e in by_target.values()):
        advice = (
            f"The policy does not react to '{scenario.column}' there; change more of it, or leave the scenario out."
        )
        return Finding(severity="advice", text=f"{start}nothing changes in any simulated future.", advice=advice)
    text = f"{start}'{target}' moves by {effect.mean:+.3g} on average"
    text += f", {percent(effect.share)} of the base" if effect.share is not None else ""
    if effect.interval:
        text += f" (95 % interval {effect.interval[0]:+.3g} to {effect.interval[1]:+.3g}"
    else:
        text += f" (80 % of origins {effect.low:+.3g} to {effect.high:+.3g}"
    text += ")" if effect.is_clear else ", so its direction is not clear)"
    if len(effect.by_series) > 1:
        text += f", most in '{effect.most_affected}', by {effect.by_series[effect.most_affected]:+.3g}"
    moved = [f"'{words}' {c.scenario:.1%} instead of {c.base:.1%}" for words, c in crossed.items() if _is_noticed(c)]
    if moved:
        text += f"; probability of {', '.join(moved)}"
    return Finding(severity="info", text=f"{text}.")


def percent(share: float) -> str:
    """A change in percent: without the sign of what rounds to nothing, and with as many digits as anyone reads."""
    if abs(share) < 0.0005:
        return "less than 0.1%"
    return f"{share:+.1%}" if abs(share) < 100 else f"{100 * share:+.3g}%"


def _is_noticed(crossing: Crossing) -> bool:
    return abs(crossing.difference) >= NOTICED


def _by_target(found: Effects) -> dict[str, Any]:
    columns = [
        "scenario",
        "target",
        "mean effect",
        "95 % interval",
        "% of base",
        "80 % of origins",
        "first step",
        "last step",
    ]
    rows: list[list[Any]] = []
    for name, by in found.items():
        for target, e in by.items():
            share = None if e.share is None else 100 * e.share
            rows.append(
                [name, target, e.mean, _range(e.interval), share, _range((e.low, e.high)), e.first_step, e.last_step]
            )
    short = any(effect.interval is None for by in found.values() for effect in by.values())
    caption = (
        "Difference from the base on the same draws, in the target's units, and the 95 % interval of its mean, by "
    )
    caption += (
        "leaving out blocks of time; over the series that are moved at all."
        + " There are too few moments for an interval: raise plan.origins, or give split.validation more." * short
    )
    return _with_targets("What-if", columns, rows, caption, found)


def _range(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:.3g} to {interval[1]:.3g}".replace("-", "\N{MINUS SIGN}")


def _by_series(found: Effects) -> dict[str, Any]:
    rows = []
    for name, by in found.items():
        target = most_moved(by)
        rows += [[name, target, series, mean] for series, mean in by[target].by_series.items()]
    caption = "The series that each scenario moves most, by the target that it moves most."
    columns = ["scenario", "target", "series", "effect"]
    return _with_targets("What-if by series", columns, rows, caption, found)


def _with_targets(
    title: str, columns: list[str], rows: list[list[Any]], caption: str, found: Effects
) -> dict[str, Any]:
    """A table whose second column names targets: left out where there is one alone, whose name the title takes."""
    targets = {target for by in found.values() for target in by}
    if len(targets) == 1:
        title = f"{title}: {targets.pop()}"
        columns, rows = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in rows]
    return {"title": title, "columns": columns, "rows": rows, "caption": caption}


def _by_threshold(crossed: Crossings) -> dict[str, Any]:
    rows = [
        [name, words, c.base, c.scenario, c.difference, _range(c.interval)]
        for name, by in crossed.items()
        for words, c in by.items()
    ]
    return {
        "title": "Crossing thresholds",
        "columns": ["scenario", "threshold", "base", "scenario's", "difference", "95 % interval"],
        "rows": rows,
        "caption": "Probability that a path crosses the threshold at any step, over paths and origins, and the 95 % interval "
        "of the difference. Thresholds that nobody declared are what 95 % of the target's training values lie below.",
    }
