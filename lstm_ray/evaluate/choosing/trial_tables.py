"""A search of settings in tables: before and after, the choice, every trial, and what the settings have to do with it."""

from __future__ import annotations

from typing import Any

from lstm_ray.evaluate.choosing.importance import Importances
from lstm_ray.evaluate.choosing.selection import TRAINED
from lstm_ray.evaluate.choosing.trials import Search, Trial, short, written
from lstm_ray.evaluate.words import percent

MOST_LETTERS = 120
"""Of a failure's reason."""
WORSE = "yes, but worse than one that is not"


def tables(search: Search) -> list[dict[str, Any]]:
    """Before and after, the choice, every trial, and what each setting has to do with the loss."""
    found = [_before_and_after(search), _of_choice(search), _of_trials(search)]
    if search.importances:
        found.append(_of_settings(search, search.importances))
    return found


def _before_and_after(search: Search) -> dict[str, Any]:
    """Every validation metric of the trained policy, and of the one that goes on or the best trial."""
    selection = search.selection
    after = selection.chosen if search.winner else search.best_trial
    metrics = sorted(selection.trained.metrics, key=lambda name: name != search.metric)
    rows = []
    for name in metrics:
        old, new = selection.trained.metrics[name], after.metrics.get(name)
        change = None if new is None else new - old
        # A bias and a coverage have two sides, so more of it need not be worse, nor twice as much twice as bad.
        relative = (
            "" if change is None or not old or name in ("bias", "coverage") else f"{100 * change / abs(old):+.1f} %"
        )
        told = ["" if value is None else f"{value:.4g}" for value in (old, new, change)]
        rows.append([name, *told, relative])
    end = "goes on" if search.winner else "best trial, not chosen"
    over = f" that a history of {selection.history} steps can answer" if selection.history else ""
    return {
        "title": "Before and after tuning, validation part",
        "columns": ["metric", "as trained", f"trial {after.number} ({end})", "difference", "relative"],
        "rows": rows,
        "caption": f"All measured on the same {selection.num_cases:,} cases{over}. {search.metric} decides.",
    }


def _of_choice(search: Search) -> dict[str, Any]:
    name, selection = search.metric, search.selection
    rows = [
        [
            "as trained" if one.number == TRAINED else f"trial {one.number}",
            one.num_parameters,
            one.metrics[name],
            one.behind,
            one.error,
            "best"
            if one is selection.best
            else "no"
            if not one.is_close
            else "yes"
            if one in selection.close
            else WORSE,
        ]
        for one in selection.standings
    ]
    return {
        "title": "Who goes on",
        "columns": ["candidate", "parameters", f"validation {name}", "behind", "standard error", "within one"],
        "rows": rows,
        "caption": "The trained policy and the trials with the lowest loss. Of those within one standard error of the best, "
        "from the best down to the first that is not, the one with the fewest parameters goes on; of equals the trained one. "
        "The error is that of the difference of two on the same cases, with blocks of time left out in turn.",
        "best": selection.standings.index(selection.chosen),
        "mark": "goes on",
    }


def _of_trials(search: Search) -> dict[str, Any]:
    """The trained policy and every trial, a row each: what came of it, then its settings."""
    name, trained = search.metric, search.selection.trained
    paths = list(search.trials[0].settings)
    lines = any(trial.lineage for trial in search.trials)
    first = ["as trained", "", trained.metrics[name], None, None, None, None, trained.num_parameters, ""]
    rows: list[list[Any]] = [[*first, *([""] if lines else []), *(None for _ in paths)]]
    for trial in search.trials:
        result = [
            trial.metrics.get(name),
            trial.best_loss if trial.losses else None,
            trial.start_loss,
            len(trial.losses),
            round(trial.seconds, 1) or None,
            trial.num_parameters,
            _end(trial, search.budget),
            *(["; ".join(trial.lineage)] if lines else []),
        ]
        rows.append([str(trial.number), trial.origin, *result, *(trial.settings[path] for path in paths)])
    outcome = [f"validation {name}", "best loss", "loss at start", "epochs", "seconds", "parameters", "end"]
    return {
        "title": "Trials",
        "columns": ["trial", "start", *outcome, *(["lineage"] if lines else []), *map(short, paths)],
        "rows": rows,
        "caption": f"Trial 1 trains on with the base settings, for {search.budget} epochs as every trial at most. 'warm' is "
        f"the share of the parameters taken from the trained policy; with 'unchanged function' its answers were the trained "
        f"policy's before the first step. {name} is measured for the trials with the lowest loss (of each history).",
        "best": search.selection.chosen.number,
        "mark": "goes on",
    }


def _end(trial: Trial, budget: int) -> str:
    if trial.failure:
        reason = trial.failure if len(trial.failure) <= MOST_LETTERS else f"{trial.failure[:MOST_LETTERS]}..."
        return f"failed: {reason}"
    return "whole" if len(trial.losses) >= trial.settings.get("train.max_epochs", budget) else "stopped early"


def _of_settings(search: Search, found: Importances) -> dict[str, Any]:
    """Shares of what a forest says are told only where it knows something."""
    known, lowest = found.foretold > 0, min(search.finished, key=lambda trial: trial.best_loss)
    rows = [
        [
            one.path,
            round(100 * one.share, 1) if known else None,
            one.direction,
            round(100 * one.chance, 1),
            written(lowest.settings[one.path]),
        ]
        for one in (found.of if known else sorted(found.of, key=lambda one: one.chance))
    ]
    explained = (
        f"which foretells {percent(found.foretold)} of the variance of trials it was not grown on"
        if known
        else "left out here, for it foretells nothing of trials it was not grown on"
    )
    return {
        "title": "What the loss hangs on",
        "columns": [
            "setting",
            "explains alone, %",
            "rank correlation",
            "chance, %",
            f"trial {lowest.number}, the lowest",
        ],
        "rows": rows,
        "caption": f"Over {found.num_trials} trials. 'Explains alone' is a setting's share of the variance of what a random "
        f"forest makes of the rank of the loss (fANOVA), {explained}. Rank correlation with the loss: below zero, higher "
        "values went with a lower one. Chance: shuffled trials that go along as strongly.",
    }
