"""What a search of settings found: who goes on and why, in words. Knows no training and no Ray."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lstm_ray.evaluate.choosing.candidates import metric_of
from lstm_ray.evaluate.choosing.importance import Importances, importances
from lstm_ray.evaluate.choosing.selection import TRAINED, Selection, Standing
from lstm_ray.evaluate.words import number, percent
from lstm_ray.run_dir import Finding

MOST_FAILURES = 3
"""Failures whose reasons are told."""


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
    kept_loss: float | None = None
    """Validation loss of the weights it keeps, those of a network's own best epoch each; None: not known."""
    seconds: float = 0.0
    """Wall time it took, over all attempts."""
    lineage: list[str] = field(default_factory=list)
    """Which other trials' weights it went on from, and when: ``took over trial 1 at epoch 4, ...``."""
    unchanged: bool = False
    """Whether before its first step it answers as the trained policy does."""
    num_parameters: int | None = None
    """Of its network."""

    @property
    def origin(self) -> str:
        """How it began, in words."""
        if self.unchanged:
            return "unchanged function"
        return f"warm {100 * self.warm_share:.0f} %" if self.warm_share else "from scratch"

    @property
    def best_loss(self) -> float:
        """Of the weights it keeps."""
        return self.kept_loss if self.kept_loss is not None else min(self.losses, default=math.inf)

    @property
    def best_epoch(self) -> int:
        return self.losses.index(min(self.losses)) + 1


@dataclass(frozen=True)
class Search:
    """All trials beside the trained policy they should improve on."""

    answers: str
    selection: Selection
    """The choice among the trained policy as it was and the trials with the lowest loss."""
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

    @property
    def before(self) -> dict[str, float]:
        """Validation metrics of the trained policy as it was."""
        return self.selection.trained.metrics

    @property
    def validation(self) -> dict[str, float]:
        """Metrics of the policy that goes on."""
        return self.selection.chosen.metrics

    @property
    def winner(self) -> Trial | None:
        """The trial whose policy goes on; None where the trained policy does."""
        return self.trial(self.selection.chosen)

    @property
    def best_trial(self) -> Standing:
        """The best measured trial by the metric that decides, also where the trained policy is better."""
        return min(self.selection.standings[1:], key=lambda one: (one.behind, one.num_parameters, one.loss))

    @cached_property
    def importances(self) -> Importances | None:
        """Of the settings of trials that finished."""
        return importances([one.settings for one in self.finished], [one.best_loss for one in self.finished])

    def trial(self, standing: Standing) -> Trial | None:
        """A standing's trial; None: it is the trained policy's."""
        return next((trial for trial in self.trials if trial.number == standing.number), None)


def summary(search: Search) -> str:
    """The search in one sentence."""
    name, chosen, trained = search.metric, search.selection.chosen, search.selection.trained
    count = f"{len(search.trials)} trials" if len(search.trials) > 1 else "One trial"
    if search.winner:
        best = search.best_trial
        why = f"; trial {best.number}, with {_told(best, name)} the best, is not clearly better and no smaller"
        why = "" if chosen.behind == 0 else why
        if search.selection.best is trained:
            why = ", within its standard error, and the simpler of the two"
        return (
            f"{count}: trial {chosen.number} ({search.winner.origin}) has validation {name} {_told(chosen, name)}, "
            f"{_gap(search, chosen)} than the trained policy's {_told(trained, name)}{why}."
        )
    best = search.best_trial
    if search.selection.best is trained:
        return (
            f"{count}, none better than the trained policy (validation {name} {_told(trained, name)}; the best trial has "
            f"{_told(best, name)}), which stays as it is."
        )
    return (
        f"{count}, none clearly better than the trained policy, which stays as it is: its validation {name} is "
        f"{_told(trained, name)}, and trial {best.number} has {_told(best, name)}, within the standard error of their "
        "difference."
    )


def findings(search: Search) -> list[Finding]:
    """Who goes on and why, failures, what trials from scratch are worth, and the setting that mattered most."""
    found = [_choice(search)]
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
    if search.importances:
        found.append(_of_importance(search.importances))
    return found


def _choice(search: Search) -> Finding:
    """Who goes on, and why that one."""
    name, selection = search.metric, search.selection
    best, chosen, trained = selection.best, selection.chosen, selection.trained
    over = f"Over {selection.num_cases:,} validation cases"
    if selection.history:
        over += f", those that a history of {selection.history} steps can answer,"
    lead = f"{over} {_who(best)} has the best {name} of {len(selection.standings)} candidates, {_told(best, name)}"
    if chosen is best:
        rivals = [one for one in selection.standings if one is not best]
        nearest = min(rivals, key=lambda one: one.behind)
        larger = (
            ", but has more parameters" if nearest.is_close and nearest.num_parameters > best.num_parameters else ""
        )
        why = f"{lead}; {_behind(nearest)}{larger}. {_upper(_who(best))} goes on."
        if any(one.is_close and one.num_parameters == best.num_parameters for one in rivals):
            why = f"{lead}; no simpler one is within a standard error of it. {_upper(_who(best))} goes on."
    else:
        fewer = chosen.num_parameters < best.num_parameters
        simple = (
            f"has fewer parameters ({chosen.num_parameters:,} against {best.num_parameters:,})"
            if fewer
            else "is no larger"
        )
        why = f"{lead}, but {_behind(chosen)} and {simple}: it goes on, for the difference may be luck."
    if chosen is trained:
        text = f"No {'clear ' if best is not trained else ''}gain. {why} The policy is unchanged."
        return Finding(severity="info", text=text, advice="tune.trials or tune.max_epochs: more, or another tune.space")
    winner = search.winner
    assert winner is not None, "who goes on is the trained policy or a trial"
    text = (
        f"{why} Trial {chosen.number} ({winner.origin}) is {_gap(search, chosen)} than the trained policy's "
        f"{_told(trained, name)}. It was chosen there, so expect a little less on data not yet seen."
    )
    changed = " --set ".join(f"{path}={written(value)}" for path, value in winner.settings.items())
    settings = "those of the base" if winner.number == 1 else f"--set {changed}"
    return Finding(severity="info", text=text, advice=f"Its settings: {settings}")


def _behind(one: Standing) -> str:
    """How far a candidate is behind the best, beside the standard error of that."""
    gap = f"{_who(one)} lies {number(one.behind)} behind"
    if one.behind == 0:
        return f"{_who(one)} is as good"
    if one.error is None:
        return f"{gap} (validation is too short to tell a standard error)"
    side = "within" if one.is_close else "beyond"
    return f"{gap}, {side} one standard error of their difference ({number(one.error)})"


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]


def _who(one: Standing) -> str:
    return "the trained policy" if one.number == TRAINED else f"trial {one.number}"


def _of_importance(found: Importances) -> Finding:
    """What stands out among the settings, or that nothing does."""
    top, over = found.of[0], f"over {found.num_trials} trials"
    if found.foretold <= 0:
        text = (
            f"None of the settings stands out: a forest grown on them {over} foretells nothing of the losses of trials that "
            "it was not grown on."
        )
        return Finding(severity="info", text=text, advice="tune.trials: more, to learn what matters")
    text = (
        f"{top.path} mattered most: alone it explains {percent(top.share)} of what a forest {over} makes of the loss, and "
        f"that foretells {percent(found.foretold)} of the variance of trials it was not grown on."
    )
    if top.direction is not None and top.is_likely:
        side = "lower" if top.direction < 0 else "higher"
        text += (
            f" Higher values went with a {side} loss (rank correlation {top.direction:+.2f}, which {percent(top.chance)} of "
            "shuffled trials reach by chance)."
        )
    return Finding(severity="info", text=text)


def _told(one: Standing, name: str) -> str:
    return f"{one.metrics[name]:.4g}"


def _gap(search: Search, one: Standing) -> str:
    """How far a policy is from the trained one: ``3.1 % lower``."""
    before, after = search.before[search.metric], one.metrics[search.metric]
    size = percent(abs(after / before - 1)) if before else number(abs(after - before))
    return f"{size} {'lower' if after < before else 'higher'}"


def written(value: Any) -> str:
    """A setting as a YAML has it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def short(path: str) -> str:
    """A field without its section."""
    return path.rsplit(".", 1)[-1]
