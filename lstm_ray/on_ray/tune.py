"""Tuning as a stage: a search on the cluster, and the choice among its best trials and the trained policy."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Schema
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.choosing.beginnings import begins_unchanged
from lstm_ray.evaluate.choosing.selection import TRAINED, select
from lstm_ray.evaluate.choosing.trial_figures import figures
from lstm_ray.evaluate.choosing.trial_tables import tables
from lstm_ray.evaluate.choosing.trials import Search, Trial, findings, summary
from lstm_ray.model import checkpoint
from lstm_ray.model.policy import Policy
from lstm_ray.model.threads import threads
from lstm_ray.on_ray.tuning.legs import TRIALS, Ended
from lstm_ray.on_ray.tuning.running import FORMS
from lstm_ray.on_ray.tuning.searching import RAY_TUNE, search
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir
from lstm_ray.space import num_combinations, require_searchable, trial_config

POLICY, HISTORY = "policy", "window.history"
TOP = 3
"""Trials with the lowest loss among which one is chosen, and so many at most with the lowest of another history."""


def tune(config: Config, run: RunDir, work: StageDir) -> Report:
    """Search ``tune.space``, going on from what a killed attempt left behind.

    Leaves ``policy/``: the one that validation chooses among the best trials and the trained policy as it was.

    Raises:
        InputError: the space cannot be searched, or every trial failed.
    """
    require_searchable(config)
    segments, bounds = load_segments(run)
    with run.local_copy(f"train/{POLICY}") as folder:
        base = Policy.load(folder)
    ended = search(config, segments.scaled(base.scaler), bounds, base, work.path)
    with threads(1):
        policies = _best(config, ended, base, segments.schema)
        if not policies:
            raise InputError(f"all {len(ended)} trials of tune failed; the first: {ended[0].failure}")
        found = [_trial(config, one, base, segments, bounds) for one in ended]
        losses = {trial.number: trial.best_loss for trial in found}
        selection = select(policies | {TRAINED: base}, losses, segments, bounds)
    for standing in selection.standings[1:]:
        found[standing.number - 1].metrics.update(standing.metrics)
    result = Search(config.answers, selection, found, asked=config.tune.trials, budget=config.tune.max_epochs)
    policy = policies[result.winner.number] if result.winner else base
    policy.facts["validation"] = result.validation
    if result.winner:
        policy.facts["preferred_to"] = base.version
    policy.save(work.path / POLICY)
    work.write_figures(figures(result))
    for leftover in (TRIALS, RAY_TUNE, FORMS):
        shutil.rmtree(work.path / leftover, ignore_errors=True)
    return Report(
        stage="tune",
        summary=summary(result),
        findings=[*findings(result), *_left_out(config)],
        validation=result.validation,
        tables=tables(result),
        trials=[asdict(trial) | {"start": trial.origin} for trial in found],
        best_trial=result.winner.number if result.winner else None,
        best_config=result.winner.settings if result.winner else {},
    )


def _left_out(config: Config) -> list[Finding]:
    """What a grid with more combinations than trials did not try."""
    total = num_combinations(config) if config.tune.search == "grid" else 0
    if total <= config.tune.trials:
        return []
    text = (
        f"The grid holds {total} combinations, of which {config.tune.trials} trials took some in an order by the seed."
    )
    return [Finding(severity="info", text=text, advice=f"tune.trials: {total + 1}")]


def _trial(config: Config, one: Ended, base: Policy, segments: Segments, bounds: Boundaries) -> Trial:
    own = trial_config(config, one.settings)
    return Trial(
        number=one.number,
        settings=one.settings,
        warm_share=one.share,
        start_loss=one.start_loss,
        losses=[record.validation_loss for record in one.records],
        failure=one.failure,
        kept_loss=one.records[-1].kept_loss if one.records else None,
        seconds=one.seconds,
        lineage=one.lineage,
        # One that never began may have a network that no memory holds.
        unchanged=one.start_loss is not None and begins_unchanged(own, base, segments, bounds),
        num_parameters=one.num_parameters,
    )


def _best(config: Config, ended: Sequence[Ended], base: Policy, schema: Schema) -> dict[int, Policy]:
    """The policies of the TOP trials with the lowest loss, by number, and the best of other histories: where segments are
    short, losses of different histories are of different windows.

    Of trials that keep the same weights, for one took over the other and found nothing better, it is the other's.
    """
    by_lineage = sorted((one for one in ended if not one.failure), key=lambda one: len(one.lineage))
    whole = sorted({_kept(one): one for one in reversed(by_lineage)}.values(), key=_kept)
    top = whole[:TOP]
    for one in whole[TOP:]:
        if len(top) < 2 * TOP and one.settings.get(HISTORY) not in {other.settings.get(HISTORY) for other in top}:
            top.append(one)
    policies = {}
    for one in top:
        kept = checkpoint.newest(one.folder)
        assert kept is not None, "its records were read from there"
        policies[one.number] = Policy(trial_config(config, one.settings), schema, base.scaler, kept[1])
    return policies


def _kept(one: Ended) -> float:
    return one.records[-1].kept_loss
