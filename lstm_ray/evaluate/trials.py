"""What a search of settings found: its best trial, in words and in a table. Knows no training and no Ray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.candidates import cost, metric_of
from lstm_ray.evaluate.words import number, percent
from lstm_ray.run_dir import Finding

ENOUGH = 6
"""Trials that a rank correlation needs at least."""
MOST_FAILURES = 3
"""Failures whose reasons are told."""
SHUFFLES = 2_000
UNLIKELY = 0.1
"""A correlation that a larger share of shuffled trials reach says nothing."""


@dataclass(frozen=True)
class Trial:
    """One trial's settings and what came of them."""

    number: int
    """From 1; trial 1 goes on with the settings of the trained policy."""
    settings: dict[str, Any]
    """``section.field`` to value, for every field of the space."""
    warm_share: float
    """Share of the parameters taken from the trained policy; 0 is from scratch."""
    start_loss: float | None
    """Validation loss before the first step; None from scratch."""
    losses: list[float]
    """Validation loss after each epoch."""
    failure: str = ""
    """Why it ended before its time, where it did."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Validation metrics of its best weights; empty where other trials' loss was lower."""

    @property
    def origin(self) -> str:
        """How it began, in words."""
        return f"warm {100 * self.warm_share:.0f} %" if self.warm_share else "from scratch"

    @property
    def best_loss(self) -> float:
        return min(self.losses, default=math.inf)

    @property
    def best_epoch(self) -> int:
        return self.losses.index(self.best_loss) + 1


@dataclass(frozen=True)
class Search:
    """All trials beside the trained policy they should improve on."""

    answers: str
    before: dict[str, float]
    """Validation metrics of the trained policy as it was."""
    trials: list[Trial]
    asked: int
    """Trials asked for; the space may hold fewer settings."""
    budget: int
    """Epochs of a trial at most."""

    @property
    def metric(self) -> str:
        return metric_of(self.answers)

    @property
    def finished(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.failure]

    @cached_property
    def best(self) -> Trial:
        """The best trial; of equals the first."""
        measured = [trial for trial in self.finished if self.metric in trial.metrics]
        return min(measured, key=lambda trial: cost(trial.metrics, self.answers))

    @property
    def winner(self) -> Trial | None:
        """The best trial where it beats the trained policy."""
        return self.best if cost(self.best.metrics, self.answers) < cost(self.before, self.answers) else None

    @property
    def validation(self) -> dict[str, float]:
        """Metrics of the policy that goes on."""
        return self.winner.metrics if self.winner else self.before


def summary(search: Search) -> str:
    """The search in one sentence."""
    name, best = search.metric, search.best
    count = f"{len(search.trials)} trials" if len(search.trials) > 1 else "One trial"
    if search.winner:
        return (
            f"{count}: trial {best.number} ({best.origin}) has validation {name} {number(best.metrics[name])}, "
            f"{_gap(search)} than the trained policy's {number(search.before[name])}."
        )
    return (
        f"{count}, none better than the trained policy (validation {name} {number(search.before[name])}; the best trial "
        f"has {number(best.metrics[name])}), which stays as it is."
    )


def findings(search: Search) -> list[Finding]:
    """Gain or none, failures, what trials from scratch are worth, and the setting that mattered most."""
    found = [_gain(search)]
    if failed := [trial for trial in search.trials if trial.failure]:
        reasons = "; ".join(f"trial {trial.number}: {trial.failure}" for trial in failed[:MOST_FAILURES])
        text = f"{len(failed)} of {len(search.trials)} trials failed. {reasons[:1].upper()}{reasons[1:]}"
        advice = "Narrow tune.space so that it leaves out what fails."
        found.append(Finding(severity="warning", text=text, advice=advice))
    if len(search.trials) < search.asked:
        text = (
            f"tune.space holds {len(search.trials)} different settings, fewer than the {search.asked} trials asked for."
        )
        found.append(Finding(severity="info", text=text, advice="tune.space: more values, or ranges"))
    if cold := [trial for trial in search.finished if not trial.warm_share]:
        text = (
            f"{len(cold)} of {len(search.finished)} trials began from scratch, for the trained weights do not fit their "
            f"shapes; {search.budget} epochs may be too few to judge them by."
        )
        found.append(Finding(severity="info", text=text, advice=f"tune.max_epochs: {2 * search.budget}"))
    if correlations := importance(search):
        path, (rho, chance) = next(iter(correlations.items()))
        most = f"{path} goes along with the loss most, with" if chance <= UNLIKELY else f"none stands out; {path} has"
        text = (
            f"Of the settings, {most} a rank correlation of {rho:+.2f} over {len(search.finished)} trials, which "
            f"{percent(chance)} of shuffled trials reach by chance. All settings vary at once, so this is no proof."
        )
        found.append(Finding(severity="info", text=text))
    return found


def importance(search: Search) -> dict[str, tuple[float, float]]:
    """Spearman's rank correlation of each numeric setting with the best loss, the strongest first, and the share of
    SHUFFLES of the losses that correlate as strongly.

    Empty with fewer than ENOUGH finished trials. Positive: higher values went with a higher loss.
    """
    trials = search.finished
    if len(trials) < ENOUGH:
        return {}
    loss_T = _ranks([trial.best_loss for trial in trials])
    shuffled_ST = np.random.default_rng(0).permuted(np.tile(loss_T, (SHUFFLES, 1)), axis=1)
    found = {}
    for path in trials[0].settings:
        values = [trial.settings[path] for trial in trials]
        if len(set(map(str, values))) > 1 and all(isinstance(value, int | float) for value in values):
            value_T = _ranks(values)
            rho = float(np.corrcoef(value_T, loss_T)[0, 1])
            by_chance_S = (shuffled_ST - loss_T.mean()) @ (value_T - value_T.mean())
            scale = len(trials) * value_T.std() * loss_T.std()
            found[path] = (rho, float(np.mean(np.abs(by_chance_S) >= abs(rho) * scale - 1e-9)))
    return dict(sorted(found.items(), key=lambda item: -abs(item[1][0])))


def table(search: Search) -> dict[str, Any]:
    """The trained policy and every trial, a row each: what came of it, then its settings."""
    name = search.metric
    paths = list(search.trials[0].settings)
    rows: list[list[Any]] = [["as trained", "", search.before[name], None, None, None, "", *(None for _ in paths)]]
    for trial in search.trials:
        best = trial.best_loss if trial.losses else None
        end = "failed" if trial.failure else "whole" if len(trial.losses) == search.budget else "stopped early"
        result = [trial.metrics.get(name), best, trial.start_loss, len(trial.losses), end]
        rows.append([str(trial.number), trial.origin, *result, *(trial.settings[path] for path in paths)])
    outcome = [f"validation {name}", "best loss", "loss at start", "epochs", "end"]
    return {
        "title": "Trials",
        "columns": ["trial", "start", *outcome, *(path.split(".")[1] for path in paths)],
        "rows": rows,
        "caption": f"Trial 1 trains on with the base settings, for {search.budget} epochs as every trial at most. 'warm' is "
        f"the share of the parameters taken from the trained policy. {name} is measured for the trials with the lowest loss.",
        "best": search.winner.number if search.winner else 0,
    }


def _ranks(values: Sequence[float]) -> NDArray:
    """Ranks from 0, equals sharing the mean of theirs."""
    _, place, count = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks: NDArray = (np.cumsum(count) - (count + 1) / 2)[place]
    return ranks


def _gain(search: Search) -> Finding:
    name, best = search.metric, search.best
    if not search.winner:
        text = (
            f"No gain: the trained policy has validation {name} {number(search.before[name])} and the best of "
            f"{len(search.finished)} trials, number {best.number}, {number(best.metrics[name])}. The policy is unchanged."
        )
        return Finding(severity="info", text=text, advice="tune.trials or tune.max_epochs: more, or another tune.space")
    changed = [f"{path}={written(value)}" for path, value in best.settings.items()]
    text = (
        f"Trial {best.number} ({best.origin}) is {_gap(search)} on validation than the trained policy: {name} "
        f"{number(best.metrics[name])} after {number(search.before[name])}. It was chosen there, so expect a little less "
        "on data not yet seen."
    )
    settings = "those of the base" if best.number == 1 else "--set " + " --set ".join(changed)
    return Finding(severity="info", text=text, advice=f"Its settings: {settings}")


def _gap(search: Search) -> str:
    """How far the best trial is ahead: ``3.1 % lower``."""
    before, after = search.before[search.metric], search.best.metrics[search.metric]
    size = percent(abs(after / before - 1)) if before else number(abs(after - before))
    return f"{size} {'lower' if after < before else 'higher'}"


def written(value: Any) -> str:
    """A setting as a YAML has it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
