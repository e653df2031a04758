"""How good a policy is, as its model card says it: against baselines, intervals, slices, classes. Knows metrics.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lstm_ray.report import scores, words
from lstm_ray.report.card.markdown import counted, listed, paragraphs, table

SLICES = ("horizon", "series", "hour", "weekday", "month", "level", "volatility")
"""What errors are told by, where the run told them."""
NAMES = {"horizon": "step ahead", "weekday": "day of the week", "hour": "hour of the day"}
NOTABLE = 1.2
"""Times that the worst of a kind must be as bad as the best to be told."""
MOST_CLASSES = 12
MOST_TARGETS = 8
WAYS = {
    "uncalibrated": "as the network gives them",
    "calibrated": "calibrated on validation",
    "adaptive": "adaptive, following every error",
}
"""Intervals, by what was done to them."""


def quality(metrics: Mapping[str, Any]) -> str:
    """The verdict, and the policy beside the baselines: one row a metric."""
    test = scores.Scores.model_validate(metrics)
    found = scores.verdict(test)
    order = list(found.baselines) if found else []
    own = scores.comparison(test.policy, test.metrics, test.baselines, order)
    who = [name for name, _ in own.rows]
    rows = []
    for name in own.names:
        known = scores.metric(name)
        cells = words.column([values.get(name) for _, values in own.rows])
        better = {"lower": " ↓", "higher": " ↑"}.get(known.better or "", "")
        marked = [f"**{text}**" if (at, name) in own.best else text for at, text in enumerate(cells)]
        rows.append([f"{known.label}{better}", *marked])
    units = "in the data's own units, " if "mae" in test.metrics else ""
    caption = (
        f"On {test.num_windows:,} {scores.UNITS[test.task]} of the test part, which was read once, after the policy was "
        f"chosen; {units}the best in bold. ↓: lower is better, ↑: higher is better."
    )
    alone = ", ".join(f"{scores.metric(name).label} {words.number(test.metrics[name])}" for name in own.alone)
    return paragraphs(
        "## How good it is",
        f"**{_verdict(found)}**" if found else "",
        caption,
        table(["", *who], rows) if rows else "",
        f"Of the policy alone: {alone}." if alone else "",
        _targets(metrics),
        _statistical(metrics),
    )


def _verdict(found: scores.Verdict) -> str:
    label, value = scores.metric(found.name).label, words.number(found.value)
    if found.best_baseline is None:
        return f"Its {label} is {value}; there is no baseline to hold it against."
    rival, other = found.best_baseline, words.number(found.baselines[found.best_baseline])
    where = {"ahead": "is ahead of", "behind": "is behind", "level": "stands against"}[found.standing or "level"]
    said = f"Its {label} of {value} {where} the {other} of the best baseline ({rival})"
    if found.skill is None:
        return f"{said}."
    change = f"{abs(100 * found.skill):.1f} % {'less' if found.skill >= 0 else 'more'}"
    change += " error" if scores.metric(found.name).better == "lower" else f" is lacking to a perfect {label}"
    if found.interval is None:
        return f"{said}: {change}."
    low, high = found.interval
    verdict = {
        "ahead": "lies above zero",
        "behind": "lies below zero: serve the baseline instead",
        "level": "holds zero: the difference may be luck",
    }[found.standing or "level"]
    between = f"{words.percent(low)} to {words.percent(high)}"
    return f"{said}: {change}. The 95 % interval of that skill, {between}, {verdict}."


def _targets(metrics: Mapping[str, Any]) -> str:
    """Errors of each target, where there are several."""
    by = metrics.get("by_target", {})
    names = list(by.get("mae", {}))
    if len(names) < 2:
        return ""
    rows = [[name, *(words.number(by[m].get(name)) for m in by)] for name in names[:MOST_TARGETS]]
    left = f" (the first {MOST_TARGETS} of {len(names)})" if len(names) > MOST_TARGETS else ""
    return f"By target{left}:\n\n" + table(["target", *(scores.metric(m).label for m in by)], rows)


def _statistical(metrics: Mapping[str, Any]) -> str:
    """AutoETS and the like, which are fitted anew before each of a few windows."""
    found = metrics.get("statistical") or {}
    skill, fitted = found.get("skill", {}), [who for who in found.get("failed", {}) if who in found.get("metrics", {})]
    if not fitted:
        return ""
    rows = []
    for who in fitted:
        low, high = found.get("skill_interval", {}).get(who) or (None, None)
        between = (
            f"{words.percent(low)} to {words.percent(high)}" if low is not None and high is not None else words.NOTHING
        )
        gained = words.percent(skill[who]) if skill.get(who) is not None else words.NOTHING
        mine, its = (words.number(found["metrics"][one].get("mae")) for one in ("policy", who))
        rows.append([who, its, mine, gained, between])
    text = (
        f"Against statistical models, fitted anew to the last {found['history']:,} steps before each of "
        f"{found['num_windows']:,} test windows:"
    )
    return paragraphs(text, table(["", "its MAE", "policy's MAE", "policy's skill", "95 % interval"], rows))


def intervals(metrics: Mapping[str, Any]) -> str:
    """What intervals hold beside what they are meant to."""
    found = metrics.get("intervals")
    nominal, coverage = metrics.get("interval_nominal"), metrics.get("metrics", {}).get("coverage")
    if not found:
        if nominal is None or coverage is None:
            return ""
        return f"## Intervals\n\nIntervals meant to hold {100 * nominal:.0f} % of actual values hold {100 * coverage:.1f} %."
    ways = [way for way in WAYS if way in found]
    rows = []
    for name, one in found[found["answered"]]["intervals"].items():
        told = [found[way]["intervals"][name] for way in ways]
        rows.append([f"share held by the {name} interval", *(_share(it["coverage"]) for it in told)])
        rows.append(["its mean width", *(words.number(it["width"]) for it in told)])
        steps = [[value for value in it.get("by_horizon", []) if value is not None] for it in told]
        if len(one.get("by_horizon", [])) > 1 and all(steps):
            rows.append(["share held, by step ahead", *(_range(it) for it in steps)])
    series = [list(found[way].get("by_series", {}).values()) for way in ways]
    if all(len(it) > 1 for it in series):
        rows.append(["share held, by series", *(_range(it) for it in series)])
    answered = found[found["answered"]]["intervals"]
    held = listed([f"those of {name} hold {_share(one['coverage'])}" for name, one in answered.items()])
    chance = max(one["chance"] or 0.0 for one in answered.values())
    text = f"Answered are intervals {WAYS[found['answered']]}: of the actual values {held}."
    text += f" Chance alone moves such a share by up to {100 * chance:.1f} points." if chance else ""
    return paragraphs("## Intervals", text, table(["", *(WAYS[way] for way in ways)], rows))


def _share(value: float | None) -> str:
    return words.NOTHING if value is None else f"{100 * value:.1f} %"


def _range(values: Sequence[float]) -> str:
    return f"{_share(min(values))} to {_share(max(values))}"


def slices(metrics: Mapping[str, Any]) -> str:
    """Where it errs most and least, by all that the run told errors by."""
    unit, say = ("MAE", words.number) if "mae" in metrics.get("metrics", {}) else ("share of wrong steps", _share)
    rival = metrics.get("skill_against")
    rows, even = [], []
    for kind, by in _slices(metrics):
        known = {name: value for name, value in by["policy"].items() if value is not None}
        if len(known) < 2:
            continue
        low, high = min(known, key=lambda name: known[name]), max(known, key=lambda name: known[name])
        if known[low] > 0 and known[high] / known[low] < NOTABLE:
            even.append(NAMES.get(kind, kind))
            continue
        times = f"{known[high] / known[low]:.1f}" if known[low] > 0 else words.NOTHING
        other = by.get(rival or "", {}).get(high)
        least, most = (f"{name}: {say(known[name])}" for name in (low, high))
        rows.append([NAMES.get(kind, kind), least, most, times, say(other)])
    if not rows and not even:
        return ""
    columns = ["by", f"least {unit}", f"most {unit}", "times", f"{scores.called(rival or 'baseline')}'s there"]
    if all(row[-1] == words.NOTHING for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    evenly = f"Nearly even ({NOTABLE:g} times at most) by {listed(even)}." if even else ""
    return paragraphs(
        "## Where it errs",
        "Differences between groups that matter to people should be looked at; small groups also differ by chance.",
        table(columns, rows) if rows else "",
        evenly,
    )


def _slices(metrics: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, dict[str, float | None]]]]:
    """Each kind of slice, with each forecaster's error by the slice's name."""
    for kind in SLICES:
        told = metrics.get(f"by_{kind}")
        if not told or "policy" not in told:
            continue
        yield kind, {who: _named(kind, values) for who, values in told.items()}


def _named(kind: str, values: Any) -> dict[str, float | None]:
    if isinstance(values, Mapping):
        return dict(values)
    name = {"hour": "{:02d}:00", "horizon": "step {}"}.get(kind, "{}")
    return {name.format(at + (kind == "horizon")): value for at, value in enumerate(values)}


def classes(metrics: Mapping[str, Any]) -> str:
    """Each class's scores, the worst first, and the commonest confusion."""
    by = metrics.get("by_class")
    if not by:
        return ""
    order = sorted(by, key=lambda name: by[name].get("f1") or 0.0)
    names = [name for name in ("support", "precision", "recall", "f1", "roc_auc", "pr_auc") if name in by[order[0]]]
    labels = {"support": "cases", "f1": "F1", "precision": "precision", "recall": "recall"}
    rows = [[name, *(words.number(by[name].get(one)) for one in names)] for name in order[:MOST_CLASSES]]
    left = f"The {MOST_CLASSES} worst of {len(order)}." if len(order) > MOST_CLASSES else ""
    return paragraphs(
        "## By class",
        left,
        table(["class", *(labels.get(one) or scores.metric(one).label for one in names)], rows),
        _confused(metrics),
    )


def _confused(metrics: Mapping[str, Any]) -> str:
    names, cells = (metrics.get("confusion", {}).get(key, []) for key in ("classes", "rows_are_truth"))
    wrong = [(num, names[i], names[j]) for i, row in enumerate(cells) for j, num in enumerate(row) if i != j and num]
    if not wrong:
        return ""
    num, true, told = max(wrong)
    thing = {"classify": "sequence", "label": "step"}.get(metrics.get("task", ""), "case")
    return f"The commonest mistake: {counted(int(num), thing)} of '{true}' told as '{told}'."
