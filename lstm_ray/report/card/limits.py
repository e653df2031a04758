"""What a policy relies on and what it does not bear, as its model card says it. Knows metrics.json and audit.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_ray.evaluate.damage.naming import WORDS
from lstm_ray.model.policy import Policy
from lstm_ray.report import scores, words
from lstm_ray.report.card.markdown import counted, listed, moment, paragraphs, table

MOST_INPUTS, MOST_DAMAGES = 5, 6


def relies(metrics: Mapping[str, Any]) -> str:
    """The inputs that matter, and those that add nothing."""
    told = metrics.get("explain")
    if not told or not told.get("by_input"):
        return ""
    by = sorted(told["by_input"].items(), key=lambda item: -item[1]["increase"])
    clear = [(name, one) for name, one in by if one["increase"] > (one["reach"] or 0.0)]
    rest = [name for name, one in by if one["increase"] <= (one["reach"] or 0.0)]
    thing = told["things"].removesuffix("s")
    text = (
        f"How much the {told['metric']} rises where an input is another {thing}'s, on {told['windows']:,} {told['things']} of "
        f"the {told['part']} part; inputs that say the same share their worth."
    )
    rows = [[name, *_rise(one)] for name, one in clear[:MOST_INPUTS]]
    also = f"Less, but clearly: {listed([name for name, _ in clear[MOST_INPUTS:]])}." if clear[MOST_INPUTS:] else ""
    useless = f"Without these nothing is lost that could be told from chance: {listed(rest)}." if rest else ""
    lags = told.get("by_lag") or {}
    aged = ""
    if len(lags) > 1:
        most = max(lags, key=lambda name: lags[name]["increase"])
        is_clear = lags[most]["increase"] > (lags[most]["reach"] or 0.0)
        aged = f"Of the past, the stretch '{most}' matters most ({' '.join(_rise(lags[most])).rstrip()})."
        aged = aged if is_clear else "No single stretch of the past matters clearly."
    return paragraphs(
        "## What it relies on",
        text,
        table(["input", "rise of the error", "95 % interval"], rows) if rows else "",
        " ".join(filter(None, (also, useless, aged))),
    )


def _rise(one: Mapping[str, float | None]) -> tuple[str, str]:
    return words.percent(one["increase"] or 0.0), f"± {100 * one['reach']:.1f} %" if one["reach"] else ""


def limits(policy: Policy, metrics: Mapping[str, Any]) -> str:
    """What it must not be trusted with, and what was tried."""
    config, prepare = policy.config, policy.config.preprocess
    lines = [
        f"It knows nothing but its {config.window.history} steps of history: events without precedent surprise it.",
        "It learned correlations, not causes: a what-if tells what the policy would say, not what would happen.",
        f"Gaps of up to {counted(prepare.max_gap_steps, 'step')} were filled ({prepare.impute}); a longer one cut the series, "
        "so it never learned across one.",
        _unseen(policy, metrics),
    ]
    if config.answers != "values":
        lines.append("Probabilities are the network's own; how far they hold is told above, where it was measured.")
    text = "\n".join(f"- {line}" for line in lines)
    return paragraphs("## Limits", text, _damage(metrics))


def _unseen(policy: Policy, metrics: Mapping[str, Any]) -> str:
    by_name = bool(policy.schema.categories) or policy.scaler.series is not None
    tried = next((one for one in metrics.get("robustness") or [] if one["kind"] == "unseen"), None)
    text = (
        "It was trained on series that it knows by their categories or names; others are read as unseen"
        if by_name
        else "It knows no series by name: one that training never saw is answered like any other"
    )
    if tried and (harm := _harm(tried, -1)) is not None:
        return f"{text}. Known series read as unseen change its {_metric(tried)} by {_signed(tried, harm)}."
    return f"{text}; how well is not known before `lstm-ray evaluate RUN --data NEW`."


def _damage(metrics: Mapping[str, Any]) -> str:
    """The kinds that harm most at their middle severity, and where each baseline overtakes."""
    curves = [one for one in metrics.get("robustness") or [] if one["kind"] in WORDS and one["kind"] != "unseen"]
    told = [(one, harm) for one in curves if (harm := _harm(one, len(one["severity"]) // 2)) is not None]
    if not told:
        return ""
    order = sorted(told, key=lambda item: -item[1])
    rivals = sorted({who for one, _ in told for who, at in one["overtaken_at"].items()})
    ahead = [who for who in rivals if any(one["overtaken_at"].get(who) == 0 for one, _ in told)]
    rows = []
    for one, harm in order[:MOST_DAMAGES]:
        level, middle = WORDS[one["kind"]].level, len(one["severity"]) // 2
        most = _harm(one, -1)
        severest = f"{_signed(one, most)} at {level(one['severity'][-1])}" if most is not None else words.NOTHING
        at = {who: one["overtaken_at"].get(who) for who in rivals if who not in ahead}
        over = [f"{scores.called(who)} from {level(_rounded(value))}" for who, value in at.items() if value]
        first = f"{_signed(one, harm)} at {level(one['severity'][middle])}"
        rows.append([WORDS[one["kind"]].title, first, severest, ", ".join(over) or "none"])
    some = order[0][0]
    worst = "the worst of " if len(order) > MOST_DAMAGES else ""
    text = (
        f"How its {_metric(some)} changes when the inputs are damaged, {worst}{counted(len(order), 'kind')} tried, and from "
        "where on a baseline with the same damage is better:"
    )
    rest = [WORDS[one["kind"]].title.lower() for one, _ in order[MOST_DAMAGES:]]
    already = f"The {listed([scores.called(who) for who in ahead])} is better undamaged already." if ahead else ""
    less = f"Less harm comes of {listed(rest)}." if rest else ""
    columns = ["damage", "at a middle severity", "at the severest", "overtaken by"]
    return paragraphs(text, table(columns, rows, numbers=False), " ".join(filter(None, (less, already))))


def _harm(curve: Mapping[str, Any], at: int) -> float | None:
    harm: Sequence[float | None] = curve.get("harm", {}).get("policy", ())
    return harm[at] if harm else None


def _signed(curve: Mapping[str, Any], harm: float) -> str:
    """The change of the score: an error rises, a score of quality falls."""
    return words.percent(-harm if scores.metric(curve["metric"]).better == "higher" else harm)


def _metric(curve: Mapping[str, Any]) -> str:
    return scores.metric(curve["metric"]).label


def _rounded(severity: float) -> float:
    """A severity between two that were tried is not known to the last digit."""
    return float(f"{severity:.2g}")


def spread(metrics: Mapping[str, Any]) -> str:
    """How scores spread over stretches of time and seeds."""
    told = metrics.get("backtest")
    if not told or not told.get("policies"):
        return ""
    label, rows, by = scores.metric(told["metric"]).label, [], told["policies"]
    for stretch in dict.fromkeys(one["stretch"] for one in by):
        of = [one for one in by if one["stretch"] == stretch]
        mine = [one["score"] for one in of]
        shown = words.number(mine[0]) if len(of) == 1 else f"{words.number(min(mine))} to {words.number(max(mine))}"
        days = " to ".join(moment(of[0][end]) for end in ("from", "to"))
        rows.append([days, shown, words.number(of[0]["baseline_score"]), scores.called(of[0]["baseline"])])
    seeds = len({one["seed"] for one in by})
    how = "trained anew before each" if told["refit"] else "trained once, before the oldest"
    text = f"Over {counted(len(rows), 'stretch')} of time, {how}, with {counted(seeds, 'seed')}: "
    text += " and ".join(
        f"{label if name == 'score' else name} {_mean(one, name)}" for name, one in told["summary"].items()
    )
    columns = ["stretch", f"{label}{', by seed' if seeds > 1 else ''}", f"{label} of the best baseline", "which"]
    return paragraphs("## Over folds and seeds", f"{text}.", table(columns, rows, numbers=False))


def _mean(one: Mapping[str, float | None], name: str) -> str:
    mean, deviation = one["mean"] or 0.0, one.get("deviation")
    if name == "skill":
        return f"{words.percent(mean)}{f' ± {100 * deviation:.1f} %' if deviation is not None else ''}"
    return f"{words.number(mean)}{f' ± {words.number(deviation)}' if deviation is not None else ''}"


def audit(checks: Sequence[Mapping[str, Any]]) -> str:
    """What an audit for leaks found; in full where a check failed."""
    if not checks:
        return ""
    by = {verdict: [one for one in checks if one["verdict"] == verdict] for verdict in ("passed", "failed", "left out")}
    num = counted(len(checks), "check")
    text = f"Of {num} for leaks and mistakes, {len(by['passed'])} passed and {len(by['failed'])} failed"
    text += f"; {len(by['left out'])} did not apply." if by["left out"] else "."
    failed = "\n".join(f"- **{one['name']} failed**: {one['text']}" for one in by["failed"])
    passed = f"Passed: {listed([one['name'] for one in by['passed']], 20)}." if by["passed"] else ""
    return paragraphs("## Audit", text, failed, passed)
