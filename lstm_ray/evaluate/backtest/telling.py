"""What a backtest has to say: sentences, a table and a picture of scores over stretches and seeds. Knows no model.

Legend: F stretches, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.config import Config
from lstm_ray.data.schema import Schema
from lstm_ray.data.split_figures import words
from lstm_ray.evaluate.backtest.spread import Spread, Stretch, deviations, spread_of
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.run_dir import Finding

TOPIC = "Over folds and seeds"
FAR = 2.0
"""Deviations of the seeds beyond which a policy is told apart from others of its recipe."""
NAMES = {"mae": "mean absolute error", "macro_f1": "macro F1"}


def report(
    config: Config, schema: Schema, stretches: Sequence[Stretch], own_score: float | None, notes: Sequence[Finding] = ()
) -> Told:
    """What a backtest found.

    Args:
        stretches: oldest first; the last is the test part.
        own_score: the chosen policy's, on the test part.
        notes: what else there is to say of how it was done.
    """
    assert config.evaluate.backtest is not None
    spread, refit = spread_of(stretches, config.answers), config.evaluate.backtest.refit
    findings = [_headline(spread, schema, refit), *_of_luck(spread)]
    if refit and own_score is not None and spread.stretches[-1] is stretches[-1]:
        findings += _of_chosen(spread, own_score)
    if left := len(stretches) - len(spread.stretches):
        text = f"In {left} of {len(stretches)} stretches nothing was measured; they are left out."
        findings.append(Finding(severity="advice", text=text, advice="evaluate.backtest.folds: fewer"))
    return Told(
        TOPIC,
        [*findings, *notes],
        [_figure(spread, schema, refit)],
        [_table(spread, schema, config)],
        {"backtest": _details(spread, schema, refit)},
    )


def _headline(spread: Spread, schema: Schema, refit: bool) -> Finding:
    scores, skills = spread.score_FS, spread.skills
    num, seeds = scores.shape
    lengths = {one.test[1] - one.test[0] for one in spread.stretches}
    with_seeds = f"{seeds} seed{'s' * (seeds > 1)}"
    how = (
        f"trained anew before each with {with_seeds}"
        if refit
        else f"trained once, before the oldest, with {with_seeds}"
    )
    text = (
        f"Over {num} stretch{'es' * (num > 1)} of {max(lengths):,} steps, {how}, the recipe has a {NAMES[spread.metric]} of "
        f"{number(float(scores.mean()))}{_give_or_take(scores, number)}"
    )
    if not np.isnan(skills).any():
        text += (
            f" and a skill of {percent(float(skills.mean()))}{_give_or_take(skills, percent)} against the best baseline"
        )
    won = spread.won
    text += f"; it beats that in {int(won.sum())} of {num}."
    if won.all():
        return Finding(severity="info", text=text)
    lost = _moments(schema, [spread.stretches[f].test[0] for f in np.flatnonzero(~won)])
    text += f" It loses in the stretch{'es' * (len(lost) > 1)} from {', '.join(lost)}."
    rival = called(spread.rivals[int(np.flatnonzero(~won)[-1])])
    if won.sum() * 2 < num:
        advice = f"Serve the {rival} instead, or change the recipe: over time it does not hold."
        return Finding(severity="warning", text=text, advice=advice)
    return Finding(severity="advice", text=text, advice="Look at what those stretches have that the others have not.")


def _give_or_take(values_FS: NDArray, say: Any) -> str:
    """The deviation over all policies, where there are several."""
    return f" ± {say(float(values_FS.std(ddof=1)))}" if values_FS.size > 1 else ""


def _of_luck(spread: Spread) -> list[Finding]:
    """How much of the spread is the season's, how much the seed's."""
    between, within = deviations(spread.score_FS)
    if between is None and within is None:
        text = "One stretch and one seed tell nothing of how scores spread."
        return [Finding(severity="advice", text=text, advice="evaluate.backtest.folds: 3, and seeds: 3")]
    if within is None:
        assert between is not None
        text = (
            f"From stretch to stretch the score moves by {number(between)} (standard deviation); with one seed each, luck of "
            "the seed is part of that."
        )
        return [Finding(severity="advice", text=text, advice="evaluate.backtest.seeds: 3 tells luck and season apart")]
    if between is None:
        text = f"From seed to seed the score moves by {number(within)} (standard deviation)."
        return [Finding(severity="info", text=text)]
    text = (
        f"From stretch to stretch the score moves by {number(between)} (standard deviation of their means), from seed to seed "
        f"within a stretch by {number(within)}: "
    )
    if within > between:
        text += "luck of the seed is the larger part."
        advice = "Average several networks (model.members), or do not read much into small differences."
        return [Finding(severity="advice", text=text, advice=advice)]
    times = f"{number(between / within)} times as much as the seed" if within else "and the seed nothing"
    return [Finding(severity="info", text=f"{text}the season moves it {times}.")]


def _of_chosen(spread: Spread, own_score: float) -> list[Finding]:
    """The chosen policy beside those of its recipe that were trained afresh for the same stretch."""
    fresh_S, (_, within) = spread.score_FS[-1], deviations(spread.score_FS)
    if not within:
        return []
    mean, low, high = float(fresh_S.mean()), float(fresh_S.min()), float(fresh_S.max())
    better = (mean - own_score if spread.metric == "mae" else own_score - mean) / within
    text = (
        f"On the test part the chosen policy has {number(own_score)}; {len(fresh_S)} trained afresh by its recipe have "
        f"{number(low)} to {number(high)}, {number(mean)} on average: "
    )
    if abs(better) <= FAR:
        return [Finding(severity="info", text=f"{text}within what seeds make of it.")]
    text += f"it is {number(abs(better))} deviations of the seeds {'better' if better > 0 else 'worse'}."
    advice = f"Expect about {number(mean)} of the next training by this recipe."
    return [Finding(severity="advice", text=text, advice=advice)]


def _figure(spread: Spread, schema: Schema, refit: bool) -> figure.Figure:
    x_F = figure.plain(schema.times(np.array([one.test[0] for one in spread.stretches])))
    num, seeds = spread.score_FS.shape
    mean_F = spread.score_FS.mean(axis=1)
    traces = []
    if seeds > 1:
        traces.append(figure.line(x_F, mean_F, "policy, mean of seeds", "lines"))
    each = figure.line(
        np.repeat(x_F, seeds), spread.score_FS.ravel(), "policy, each seed" if seeds > 1 else "policy", "markers"
    )
    traces += [each, figure.line(x_F, spread.rival_F, "best baseline", "lines+markers")]
    name, begins = NAMES[spread.metric], _moments(schema, [one.test[0] for one in spread.stretches])
    least, most = int(mean_F.argmin()), int(mean_F.argmax())
    text = f"In the stretch from {begins[0]} the {name} is {number(float(mean_F[0]))}"
    if num > 1:
        text = (
            f"The {name} lies between {number(float(mean_F[least]))} (stretch from {begins[least]}) and "
            f"{number(float(mean_F[most]))} (from {begins[most]})"
        )
    layout = {"xaxis": {"title": {"text": "first step of the stretch"}}, "yaxis": {"title": {"text": name}}}
    return figure.Figure(
        id="backtest",
        title=f"{name[0].upper()}{name[1:]} by stretch{'' if refit else ', trained before the oldest'}",
        caption=f"{text}; the policy is better than the best baseline in {int(spread.won.sum())} of {num}.",
        traces=traces,
        layout=layout,
    )


def _table(spread: Spread, schema: Schema, config: Config) -> dict[str, Any]:
    unit = {"forecast": "windows", "classify": "sequences", "label": "steps told"}[config.task]
    metric = spread.metric.replace("_", " ")
    return {
        "title": "Each policy of the backtest",
        "columns": ["stretch from", "seed", "training steps", unit, metric, "skill", "best baseline"],
        "rows": [
            [*(row[name] for name in ROW), f"{row['baseline']}, {number(row['baseline_score'])}"]
            for row in _rows(spread, schema)
        ],
        "caption": "Stretches from the oldest to the test part. Scaler and baselines are fitted to the training part of the "
        "policy beside them. Settings are the chosen policy's, picked with the run's validation part in view, which is later "
        "than the older stretches: for these the scores are somewhat kind.",
    }


ROW = ("from", "seed", "training_steps", "num_windows", "score", "skill")


def _rows(spread: Spread, schema: Schema) -> list[dict[str, Any]]:
    """A row for each policy and stretch."""
    found = []
    for f, one in enumerate(spread.stretches):
        first, last = _moments(schema, [one.test[0], one.test[1] - 1])
        for s, seed in enumerate(one.policies):
            skill = float(spread.skills[f, s])
            found.append(
                {
                    "stretch": f + 1,
                    "from": first,
                    "to": last,
                    "seed": seed,
                    "training_steps": one.trained[1] - one.trained[0],
                    "epochs": one.epochs[seed],
                    "num_windows": one.num,
                    "score": float(spread.score_FS[f, s]),
                    "baseline": called(spread.rivals[f]),
                    "baseline_score": float(spread.rival_F[f]),
                    "skill": None if np.isnan(skill) else skill,
                }
            )
    return found


def _details(spread: Spread, schema: Schema, refit: bool) -> dict[str, Any]:
    skills, held = spread.skills, {"score": spread.score_FS}
    if not np.isnan(skills).any():
        held["skill"] = skills
    summary = {}
    for name, value_FS in held.items():
        between, within = deviations(value_FS)
        summary[name] = {
            "mean": float(value_FS.mean()),
            "deviation": float(value_FS.std(ddof=1)) if value_FS.size > 1 else None,
            "deviation_over_stretches": between,
            "deviation_over_seeds": within,
        }
    return {
        "metric": spread.metric,
        "refit": refit,
        "policies": _rows(spread, schema),
        "summary": summary,
        "metrics": [
            {"policies": {str(seed): dict(own) for seed, own in one.policies.items()}, "baselines": one.baselines}
            for one in spread.stretches
        ],
    }


def _moments(schema: Schema, steps: Sequence[int]) -> list[str]:
    """Times of some steps, to the minute where steps are whole minutes."""
    return [text.removesuffix(":00") if " " in text else text for text in words(schema, steps)]
