"""What decisions are worth, in numbers, sentences and tables. Knows costs; knows no models.

Shapes: O origins, W paths, P plans compared (the one chosen, doing nothing, last season again), B resamplings, S steps, A
actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments
from lstm_ray.finding import Finding
from lstm_ray.plan.decisions.deciding import NOTHING, PLAN, SEASON, Decided
from lstm_ray.plan.decisions.objectives import risk
from lstm_ray.sections.decision import DecisionConfig

RESAMPLINGS = 2_000
DEAF = 0.02
"""Share of the paths' own deviation; where targets move less from the lowest plan to the highest, the policy hardly answers."""
FLAT = 0.01
"""Share of what doing nothing costs; where random plans differ by less, the objective hardly depends on them."""
RANGE = (0.01, 0.99)
"""Quantiles of the training part beyond which a planned value is something the policy has seen little of."""


@dataclass(frozen=True)
class Saving:
    """What the plans chosen save against others, in the units of the objective."""

    against: str
    mean: float
    low: float
    high: float
    """95 % interval of the mean: of one origin over paths drawn anew, the same for the plans compared; of several by Student's
    t over what each saves, for few of them drawn anew would seem more alike than they are."""
    share: float | None
    """Of what the others cost; None where that is 0."""


@dataclass(frozen=True)
class Worth:
    """What the decisions at some origins come to, on futures that no search saw."""

    cost_OP: NDArray
    savings_O: list[list[Saving]]
    """At each origin, against doing nothing and against last season again."""
    savings: list[Saving]
    """Over all origins."""


def worth(decided: Sequence[Decided], decision: DecisionConfig, seed: int) -> Worth:
    """What was chosen at some origins against doing nothing and against last season again."""
    random = np.random.default_rng(seed)
    cost_OPW = np.stack([one.cost_PW[[0 if one.kept else 1, 1, 2]] for one in decided])
    cost_OP = risk(cost_OPW, decision.cvar)
    resampled = []
    for cost_PW in cost_OPW:
        drawn_BW = random.integers(cost_PW.shape[1], size=(RESAMPLINGS, cost_PW.shape[1]))
        resampled.append(np.stack([risk(cost_W[drawn_BW], decision.cvar) for cost_W in cost_PW]))
    savings_O = [_savings(cost_P, cost_PB) for cost_P, cost_PB in zip(cost_OP, resampled, strict=True)]
    return Worth(cost_OP, savings_O, savings_O[0] if len(decided) == 1 else _over_origins(cost_OP))


def _savings(cost_P: NDArray, cost_PB: NDArray) -> list[Saving]:
    """Of one origin."""
    found = []
    for p, against in ((1, NOTHING), (2, SEASON)):
        low, high = np.quantile(cost_PB[p] - cost_PB[0], [0.025, 0.975]).tolist()
        found.append(_saving(against, cost_P, p, low, high))
    return found


def _over_origins(cost_OP: NDArray) -> list[Saving]:
    """Of several."""
    from scipy.special import stdtrit  # a service plans one origin at a time, and does without SciPy

    found, num = [], len(cost_OP)
    for p, against in ((1, NOTHING), (2, SEASON)):
        saved_O = cost_OP[:, p] - cost_OP[:, 0]
        reach = float(stdtrit(num - 1, 0.975) * saved_O.std(ddof=1) / np.sqrt(num))
        mean = float(saved_O.mean())
        found.append(_saving(against, cost_OP.mean(0), p, mean - reach, mean + reach))
    return found


def _saving(against: str, cost_P: NDArray, p: int, low: float, high: float) -> Saving:
    mean = float(cost_P[p] - cost_P[0])
    return Saving(against, mean, low, high, mean / abs(float(cost_P[p])) if cost_P[p] else None)


def judged_by(decision: DecisionConfig) -> str:
    """How costs of paths become one number, in words."""
    return "the mean" if decision.cvar is None else f"the mean of the worst {decision.cvar:.0%}"


def in_words(decision: DecisionConfig) -> str:
    """The objective, in words."""
    terms = [f"{term.weight:g} times {term.words}" if term.weight != 1 else term.words for term in decision.objective]
    return f"{' + '.join(terms)}, {judged_by(decision)} of the paths"


def table(found: Worth, labels: Sequence[str], decided: Sequence[Decided], decision: DecisionConfig) -> dict[str, Any]:
    """What each decision costs and saves, and all of them together."""
    rows = [
        [label if one.kept else f"{label} (no plan was better)", *cost_P, *_told(savings[0])]
        for label, cost_P, savings, one in zip(labels, found.cost_OP.tolist(), found.savings_O, decided, strict=True)
    ]
    if len(rows) > 1:
        rows.append(["mean", *found.cost_OP.mean(0).tolist(), *_told(found.savings[0])])
    caption = (
        f"Cost is {in_words(decision)}: of {decided[0].cost_PW.shape[1]} futures that the search did not see, the same for "
        "every plan. Saved is against doing nothing, with its 95 % interval over paths (and origins); doing nothing leaves "
        f"known columns as planned in the data{_habit(decision)}; last season again repeats all of a season ago."
    )
    columns = ["decided at", "cost of the plan", NOTHING, SEASON, "saved", "95 % interval", "share"]
    return {"title": "Decisions", "columns": columns, "rows": rows, "caption": caption}


def _habit(decision: DecisionConfig) -> str:
    """What doing nothing is for the actions that no data holds."""
    supplies = [term.supply for term in decision.objective if term.supply is not None]
    return f", and {' and '.join(dict.fromkeys(supplies))} at the demand of a season ago" if supplies else ""


def findings(
    found: Worth, decided: Sequence[Decided], decision: DecisionConfig, known: Sequence[str], targets: Sequence[str]
) -> list[Finding]:
    """What a reader of the plans must know of them."""
    saving, season = found.savings
    dropped = sum(not one.kept for one in decided)
    alike = all(np.array_equal(one.nothing_SA, one.season_SA) for one in decided)
    other = "" if alike else f" and {_saved(season)} against last season again"
    moments = f"{len(decided)} origin{'s' * (len(decided) > 1)}"
    text = (
        f"Planned at {moments} of validation, the cost ({in_words(decision)}) is {_saved(saving)} against doing "
        f"nothing{other}, on futures that the search did not see."
    )
    told = [Finding(severity="info", text=text)]
    if dropped:
        text = (
            f"At {dropped} of {len(decided)} origins the plan that was found costs no less than doing nothing on futures that "
            "the search did not see; doing nothing is chosen there."
        )
        advice = "Raise plan.decision.paths, so that the search is misled by chance less, or candidates and rounds."
        told.append(Finding(severity="advice", text=text, advice=advice))
    told += [*_about_search(decided, decision), *about_response(decided, decision, known, targets)]
    if moved := float(np.mean([one.moved for one in decided])):
        text = (
            f"{moved:.0%} of the values planned in the data break a constraint of the actions; doing nothing is taken as the "
            "nearest plan that keeps them all."
        )
        told.append(
            Finding(severity="advice", text=text, advice="Widen low, high, max_change or sum if those plans were real.")
        )
    return told


def _about_search(decided: Sequence[Decided], decision: DecisionConfig) -> list[Finding]:
    """How far the search is to be believed, and whether random plans would have done."""
    searched = float(np.mean([one.searched for one in decided]))
    fresh = float(np.mean([risk(one.cost_PW[0], decision.cvar) for one in decided]))
    seconds = float(np.mean([one.seconds for one in decided]))
    text = (
        f"The plans found cost {searched:.4g} on the {decision.paths} futures that they were searched on and {fresh:.4g} on "
        f"fresh ones; a decision took {seconds:.2g} s."
    )
    shot = [one.control_2R[0, -1] for one in decided if one.control_2R.size]
    if shot:
        text += (
            f" The cross-entropy method came to {searched:.4g} where as many random plans came to {np.mean(shot):.4g}."
        )
    told = [Finding(severity="info", text=text)]
    if not all(one.apart for one in decided):
        text = (
            "The validation part is too short to search on errors of some of its time and judge on those of the rest: fresh "
            "futures follow the same windows in other draws, so savings are told somewhat too high."
        )
        told.append(Finding(severity="info", text=text, advice="Give split.validation more steps."))
    spread, level = (
        float(np.mean(v))
        for v in zip(*((d.spread, abs(risk(d.cost_PW[1], decision.cvar))) for d in decided), strict=True)
    )
    if spread < FLAT * level:
        text = (
            f"Random plans differ in cost by {spread:.3g} of {level:.4g}: the objective hardly depends on the actions."
        )
        advice = "Give the objective a term that the actions reach, or let them move further (low, high, within)."
        told.append(Finding(severity="warning", text=text, advice=advice))
    return told


def about_response(
    decided: Sequence[Decided], decision: DecisionConfig, known: Sequence[str], targets: Sequence[str]
) -> list[Finding]:
    """Whether the policy's forecasts answer to each action at all, and that an answer is no proof."""
    told, read = [], [action.name for action in decision.actions if action.name in known]
    response_A3 = np.mean([one.response_A3 for one in decided], axis=0)
    for action, (move, _, share) in zip(decision.actions, response_A3, strict=True):
        if action.name not in read:
            continue
        ends = f"From its lowest plan to its highest, '{action.name}' moves '{targets[0]}' by {move:+.3g} a step"
        if share < DEAF:
            text = f"{ends}, and no target by more than {share:.1%} of the paths' deviation: the policy hardly answers to it."
            advice = f"Do not act on it for the forecast's sake; where '{action.name}' matters, data or model lack it."
            told.append(Finding(severity="warning", text=text, advice=advice))
        else:
            told.append(Finding(severity="info", text=f"{ends}, up to {share:.2g} times the paths' deviation."))
    if read:
        names = " and ".join(f"'{name}'" for name in read)
        text = (
            f"What the policy foresees under another {names} is learned from what went together in the data. That is no proof "
            "that the one causes the other."
        )
        advice = "Try a plan on few series first, and compare with those left alone, before relying on what it saves."
        told.append(Finding(severity="warning", text=text, advice=advice))
    return told


def ranges_in_training(segments: Segments, bounds: Boundaries) -> dict[str, tuple[float, float]]:
    """What 98 % of each known column's values in the training part lie between."""
    train = rows_in(segments, bounds, "train")
    low_K, high_K = np.quantile(segments.known_RK[train, : len(segments.schema.known)], RANGE, axis=0)
    return {name: (float(low_K[k]), float(high_K[k])) for k, name in enumerate(segments.schema.known)}


def beyond_training(
    decided: Sequence[Decided], decision: DecisionConfig, seen: Mapping[str, tuple[float, float]]
) -> list[Finding]:
    """A warning for each action that is planned where the training part holds hardly anything.

    Args:
        seen: what RANGE of each known column's training values lie between.
    """
    told = []
    for a, action in enumerate(decision.actions):
        if action.name not in seen:
            continue
        low, high = seen[action.name]
        plan = np.concatenate([one.plan_SA[:, a] for one in decided])
        slack = 1e-6 * (action.high - action.low)
        outside = float(((plan < low - slack) | (plan > high + slack)).mean())
        if outside:
            text = (
                f"{outside:.0%} of the values planned for '{action.name}' lie outside {low:.4g} to {high:.4g}, where 98 % of "
                "the training part's do: there the policy extrapolates."
            )
            advice = f"Set low and high of '{action.name}' within that range, or trust the plan the less."
            told.append(Finding(severity="warning", text=text, advice=advice))
    return told


def curves(decided: Sequence[Decided]) -> dict[str, NDArray]:
    """Cost by round, over the origins that were searched as long as asked, [R] each."""
    rounds = max(one.search_2R.shape[1] for one in decided)
    whole = [one for one in decided if one.search_2R.shape[1] == rounds]
    best_R, mean_R = np.mean([one.search_2R for one in whole], axis=0)
    shown = {"cross-entropy method, best": best_R, "cross-entropy method, mean of the round": mean_R}
    if whole[0].control_2R.size:
        shot_R, shot_mean_R = np.mean([one.control_2R for one in whole], axis=0)
        shown |= {"random shooting, best": shot_R, "random shooting, mean of the round": shot_mean_R}
    return shown


def facts(found: Worth, decided: Sequence[Decided], decision: DecisionConfig, targets: Sequence[str]) -> dict[str, Any]:
    """All of it as plain values, for ``decisions.json``; ``origins`` in the order of the decisions."""
    names, listed = [action.name for action in decision.actions], []
    for one, cost_P, savings in zip(decided, found.cost_OP.tolist(), found.savings_O, strict=True):
        plans = {PLAN: one.plan_SA, "found": one.found_SA, NOTHING: one.nothing_SA, SEASON: one.season_SA}
        listed.append(
            {
                "kept": one.kept,
                "actions": {n: {p: figure.plain(v[:, a]) for p, v in plans.items()} for a, n in enumerate(names)},
                "outcome": {
                    target: {
                        which: {
                            k: figure.plain(one.outcome_PQSC[p, q, :, c]) for q, k in enumerate(("mean", "low", "high"))
                        }
                        for p, which in enumerate((PLAN, NOTHING))
                    }
                    for c, target in enumerate(targets)
                },
                "cost": dict(zip((PLAN, NOTHING, SEASON), cost_P, strict=True)),
                "saved": [vars(saving) for saving in savings],
                "seconds": one.seconds,
            }
        )
    return {
        "objective": in_words(decision),
        "saved": [vars(saving) for saving in found.savings],
        "search": {name: figure.plain(curve) for name, curve in curves(decided).items()},
        "origins": listed,
    }


def _saved(saving: Saving) -> str:
    share = "" if saving.share is None else f", {abs(saving.share):.1%}"
    if saving.mean < 0:
        return f"{-saving.mean:.4g} higher{share} (95 % interval of the saving {saving.low:.4g} to {saving.high:.4g})"
    return f"{saving.mean:.4g} lower{share} (95 % interval {saving.low:.4g} to {saving.high:.4g})"


def _told(saving: Saving) -> list[Any]:
    """Cells of a saving."""
    share = "" if saving.share is None else f"{saving.share:.1%}"
    return [saving.mean, f"{saving.low:.4g} to {saving.high:.4g}", share]
