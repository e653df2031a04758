"""How a policy treats groups, how steady its answers are and what is told in their place, as its model card says it.

Knows metrics.json and what is promised of every policy (``model.consistency``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_ray.model import spending
from lstm_ray.model.consistency import table as promised
from lstm_ray.model.policy import Policy
from lstm_ray.report import scores, words
from lstm_ray.report.card.markdown import listed, paragraphs, table

MOST_GROUPS = 8
"""Of one column in the card: those that fare worst."""


def groups(metrics: Mapping[str, Any]) -> str:
    """The declared groups, or that none were."""
    told = metrics.get("groups")
    if not told:
        if "metrics" not in metrics:
            return ""
        return "## Groups\n\nNo groups were declared (`evaluate.groups`): whether it fares worse for some is not known."
    what, rows, flagged = told["error"], [], []
    for column, found in told["by"].items():
        flagged += [f"'{one['value']}' of '{column}'" for one in found if one["flagged"]]
        for one in found[:MOST_GROUPS]:
            interval = "{:.2f} to {:.2f}".format(*one["interval"]) if one["interval"] else words.NOTHING
            cases = next((one[thing] for thing in ("windows", "sequences", "steps") if thing in one), 0)
            further = [words.number(one.get(name)) for name in ("bias", "coverage")]
            ratio = f"{one['ratio']:.2f}" if one["ratio"] is not None else words.NOTHING
            rows.append([column, one["value"], f"{cases:,}", words.number(one["error"]), ratio, interval, *further])
    text = f"The {what} by declared group, the worst first, and its ratio to that of all."
    bound = f"{told['max_gap']:g} times that of all by more than luck"
    text += (
        f" **Worse than {bound}: {listed(flagged)}.**"
        if flagged
        else f" None is worse than {bound}; that says nothing of groups that were not declared."
    )
    columns = ["by", "group", "cases", "error", "ratio", "interval", "bias", "coverage"]
    if all(row[-1] == row[-2] == words.NOTHING for row in rows):
        columns, rows = columns[:-2], [row[:-2] for row in rows]
    return paragraphs("## Groups", text, table(columns, rows, numbers=False))


def steadiness(policy: Policy, metrics: Mapping[str, Any]) -> str:
    """How far the same input's answers may differ, how forecasts are revised, and what stands in for what is not finite."""
    held = table(["the same input", "differs by at most"], promised(), numbers=False)
    unit = "training deviations" if policy.config.answers == "values" else "probability"
    text = f"The same input has the same answer; in {unit}, tested:"
    return paragraphs("## How steady its answers are", text, held, _churn(metrics), _fallback(policy))


def _churn(metrics: Mapping[str, Any]) -> str:
    told = metrics.get("churn")
    if not told:
        return ""

    def said(name: str) -> str:
        share = told["share_of_mae"][name]
        return words.number(told["mean"][name]) + (f" ({100 * share:.1f} % of its MAE)" if share is not None else "")

    others = [f"the {scores.called(name)}'s by {said(name)}" for name in told["mean"] if name != "policy"]
    text = f"From one origin to the next its forecast of the same step moves by {said('policy')}"
    return f"{text}{', ' + listed(others) if others else ''}."


def _fallback(policy: Policy) -> str:
    stands_in = {
        "forecast": "the seasonal naive forecast of the history sent",
        "classify": "the classes' shares of the training part",
        "label": "the training part's class shares, or its mean label",
    }[policy.config.task]
    return (
        f"Served, an answer that is not finite never leaves: {stands_in} is told instead, flagged `fallback` and counted by "
        "`GET /v1/monitor`."
    )


def privacy(policy: Policy) -> str:
    """What its training spent of the privacy of those it learned from; a card of a policy without says nothing of it."""
    told = policy.facts.get(spending.PRIVACY)
    return paragraphs("## Privacy", spending.words(told), spending.left_out(told)) if told else ""
