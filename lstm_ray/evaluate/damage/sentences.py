"""Damage in sentences and a table: what harms most, where a baseline overtakes, and what helps. Knows curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lstm_ray.evaluate.damage.curve import Curve, Interval
from lstm_ray.evaluate.damage.naming import WORDS, capital, cure, name, said
from lstm_ray.evaluate.words import number, percent
from lstm_ray.run_dir import Finding

LITTLE = 0.05
"""Harm that is told in passing."""
MOST = 3
"""Kinds that the first sentence names."""


def by_harm(curves: Sequence[Curve]) -> list[Curve]:
    """Those that harm the policy most at the middle severity first."""

    return sorted(curves, key=lambda curve: curve.worse(curve.middle), reverse=True)


def findings(curves: Sequence[Curve]) -> list[Finding]:
    """All kinds in a sentence, then each that does harm or lets a baseline overtake, and what does none."""
    if not curves:
        return []
    order = by_harm(curves)
    told = [curve for curve in order if _deserves_words(curve)]
    rest = [curve for curve in order if curve not in told]
    little = [curve for curve in rest if curve.is_harmed(curve.middle) or curve.is_harmed(-1)]
    harmless = [curve for curve in rest if curve not in little]
    found = [_overall(order), *(_of_kind(curve, curve is told[0]) for curve in told)]
    parts = []
    if little:
        worst = [_in_passing(curve, max((-1, curve.middle), key=curve.worse)) for curve in little]
        parts.append(f"Little harm before the severest: {', '.join(worst)}.")
    if harmless:
        named = ", ".join(WORDS[curve.kind].title.lower() for curve in harmless)
        parts.append(f"No harm beyond sampling error, up to the severest that was tried: {named}.")
    if parts:
        found.append(Finding(severity="info", text=" ".join(parts)))
    return found


def _deserves_words(curve: Curve) -> bool:
    much = curve.is_harmed(curve.middle) and curve.worse(curve.middle) > LITTLE
    return much or any(curve.is_clearly_overtaken(who) for who in curve.overtakers)


def _overall(order: Sequence[Curve]) -> Finding:
    """The most harmful kinds, and under which of them each baseline overtakes."""
    harmful = [curve for curve in order if curve.is_harmed(curve.middle)][:MOST]
    if harmful:
        first, *others = (_in_passing(curve, curve.middle) for curve in harmful)
        text = f"Of {len(order)} kinds of damage to the inputs at a middle severity, most harm comes of {first}"
        text += f", then of {' and '.join(others)}" if others else ""
        text += "; ± is a 95 % interval." if harmful[0].harm_interval[harmful[0].middle] else "."
    else:
        text = (
            f"Of {len(order)} kinds of damage to the inputs at a middle severity, none does harm beyond sampling error."
        )
    behind = [who for who in order[0].gap_interval if order[0].gap(who)[0] > 0]
    for who in order[0].gap_interval:
        if who in behind:
            text += f" The {name(who)} is better undamaged already."
            continue
        under = [curve for curve in order if who in curve.overtakers]
        if not under:
            text += f" The {name(who)} never overtakes it within the ranges tried."
            continue
        sure = "" if any(curve.is_clearly_overtaken(who) for curve in under) else ", within sampling error"
        text += f" The {name(who)} overtakes it under {', '.join(WORDS[c.kind].title.lower() for c in under)}{sure}."
    return Finding(severity="info", text=text)


def _in_passing(curve: Curve, at: int) -> str:
    """With the severity, where that is not the middle one."""
    told = [_change(curve, curve.policy, at)]
    told += [f"at {WORDS[curve.kind].level(curve.severity[at])}"] if at != curve.middle else []
    words = " ".join(word for word in told if word)
    return f"{WORDS[curve.kind].title.lower()}{f' ({words})' if words else ''}"


def _of_kind(curve: Curve, is_worst: bool) -> Finding:
    """One kind's harm at its middle severity and what helps, where it is the worst or a baseline is clearly better."""
    at, unit = curve.middle, f" {curve.metric.unit}" if curve.metric.unit else ""
    ways: list[str] = []
    for who in [curve.policy, *([curve.naive] if curve.naive else [])]:
        score, change = curve.score[who], _change(curve, who, at)
        what = f"{curve.metric.words} goes " if who == curve.policy else ""
        way = f"{name(who)}'s {what}from {number(score[0])} to {number(score[at])}{unit}{f' ({change})' if change else ''}"
        ways, unit = [*ways, way], ""
    text = f"{WORDS[curve.kind].title}: with {_said(curve, at)}, the {', the '.join(ways)}.{_overtaking(curve)}"
    behind = any(curve.is_clearly_overtaken(who) for who in curve.overtakers)
    advice = cure(curve.kind, curve.task) if behind or is_worst else ""
    return Finding(severity="advice" if advice else "info", text=text, advice=advice)


def _said(curve: Curve, at: int) -> str:
    return said(curve.kind, curve.severity[at], curve.severity[-1])


def _overtaking(curve: Curve) -> str:
    """From where on each baseline is better, which was not before."""
    level, texts = WORDS[curve.kind].level, []
    for who in curve.overtakers:
        sure = "" if curve.is_clearly_overtaken(who) else ", within sampling error"
        where = f" from {level(curve.overtaken_at(who) or 0.0)} on" if len(curve.severity) > 2 else ""
        texts.append(f" The {name(who)} overtakes it{where}{sure}.")
    return "".join(texts)


def _change(curve: Curve, model: str, at: int) -> str:
    """By which share a score moves, such as +12 % of error or -12 % of F1, and the reach of its interval to either side;
    empty where it moves from 0."""
    harm, sign = curve.harm(model)[at], curve.metric.sign
    if harm is None:
        return ""
    interval = curve.harm_interval[at] if model == curve.policy else None
    if interval is None:
        return signed(sign * harm)
    return f"{signed(sign * harm).removesuffix(' %')} ± {percent((interval[1] - interval[0]) / 2)}"


def signed(share: float) -> str:
    return f"{'+' if share >= 0 else ''}{percent(share)}"


def tables(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Every severity of every kind, the most harmful kind first."""
    if not curves:
        return []
    order = by_harm(curves)
    metric, undamaged = order[0].metric, order[0].score
    policy, *others = undamaged
    rows: list[list[Any]] = []
    for curve in order:
        for at, severity in enumerate(curve.severity[1:], start=1):
            harm = curve.harm(policy)[at]
            change = None if harm is None else round(100 * metric.sign * harm, 1)
            scores = [curve.score[policy][at], change, _ends(curve.harm_interval[at], metric.sign)]
            scores += [curve.score[who][at] for who in others]
            rows.append([WORDS[curve.kind].title, WORDS[curve.kind].level(severity), *scores])
    whole = ", ".join(f"{name(who)} {number(score[0])}" for who, score in undamaged.items())
    unit = f" in {metric.unit}" if metric.unit else ""
    return [
        {
            "title": "Every kind of damage",
            "columns": ["damage", "severity", policy, "change, %", "95 % interval, %", *map(name, others)],
            "rows": rows,
            "caption": f"{capital(metric.words)}{unit}, {'lower' if metric.sign > 0 else 'higher'} is better; undamaged: "
            f"{whole}. The change is the policy's, its interval of sampling error over blocks of time.",
        }
    ]


def _ends(interval: Interval, sign: int) -> str | None:
    if interval is None:
        return None
    low, high = sorted(100 * sign * end for end in interval)
    return f"{low:+.1f} to {high:+.1f}"
