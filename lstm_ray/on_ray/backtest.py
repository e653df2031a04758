"""The backtest: the chosen policy's recipe trained anew for stretches of the past and for several seeds, one training after
the other in this process or by actors, with the same numbers.

Every fold has a scaler, and known categories, of its own training part: they are fitted again to the stored segments, which
are in the data's own units. What imputing put into these stands: causal rules look back alone, but with preprocess.causal
false and impute mean or median a filled value knows the run's whole training part, of which an older fold's is the beginning.

What is finished is kept in the stage's folder: a driver that was killed goes on after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lstm_ray import progress
from lstm_ray.config import Config, with_values
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.preparing.prepare import Plan
from lstm_ray.data.scaling import fit
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.store import SEGMENTS, load_segments, read_index, with_typical
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.backtest.folds import fit_rivals, fitting, measured
from lstm_ray.evaluate.backtest.spread import Stretch
from lstm_ray.evaluate.backtest.telling import report
from lstm_ray.evaluate.choosing.candidates import metric_of
from lstm_ray.evaluate.intervals.calibrating import calibrated
from lstm_ray.evaluate.told import Evaluation, Told
from lstm_ray.model.policy import Policy
from lstm_ray.model.threads import threads
from lstm_ray.on_ray import pieces
from lstm_ray.on_ray.ingest import summed
from lstm_ray.on_ray.pool import Pool, actor_pool
from lstm_ray.on_ray.train import train_here
from lstm_ray.run_dir import Finding, RunDir

MEND = "lower evaluate.workers, or give each node more memory; the same command goes on after what is done"
BUDGET = ("train.max_epochs", "train.patience")
"""Fields that a trial has from the search, which goes on from trained weights; a training from its first step has the run's."""


@dataclass(frozen=True)
class Fold:
    """One training part, and what was learned of it before any training."""

    number: int
    bounds: Boundaries
    schema: Schema
    scaler: Scaler


@dataclass(frozen=True)
class Given:
    """What every training reads."""

    config: Config
    segments: Segments
    """Not filled: what a column misses before its first value is each fold's own mean."""


def backtest(config: Config, own: Config, stage: str, found: Evaluation, run: RunDir, folder: Path) -> Told:
    """Train and score the recipe of a policy over folds and seeds.

    Args:
        config: the run's.
        own: what the policy was trained by.
        stage: that left the policy.
        found: of the policy, on the test part.
        folder: where finished trainings are kept.

    Raises:
        InputError: a training diverged, or nothing was measured in any stretch.
    """
    settings = config.evaluate.backtest
    assert settings is not None, "no backtest is asked for"
    recipe = recipe_of(config, own, stage)
    segments, parts = load_segments(run, filled=False)
    bounds, lacks = fitting(recipe, segments, parts)
    folds = folds_of(recipe, run, segments.schema, bounds if settings.refit else bounds[:1])
    seeds = [config.seed + turn for turn in range(settings.seeds)]
    stretches = [[one] for one in bounds] if settings.refit else [bounds]
    # The longest training part first, baselines last: they take the least.
    tasks: list[tuple[Fold, int | None, list[Boundaries]]] = [
        (fold, seed, scored)
        for kind in (seeds, [None])
        for fold, scored in reversed(list(zip(folds, stretches, strict=True)))
        for seed in kind
    ]
    answers: dict[tuple[int, int | None], pieces.Piece] = {}
    given = Given(recipe, segments)
    with _working(given) as pool, progress.bar("backtest", len(tasks)) as advance:
        for number, answer in _answered(pool, given, tasks, folder):
            fold, seed, _ = tasks[number]
            answers[fold.number, seed] = answer
            advance(f"stretch {fold.number + 1}, {'baselines' if seed is None else f'seed {seed}'}")
    pieces.clear(folder)
    return report(
        config,
        segments.schema,
        [_stretch(number, bounds, folds, seeds, answers) for number in range(len(bounds))],
        found.metrics.get(metric_of(config.answers)),
        _notes(config, stage, lacks, len(bounds)),
    )


def recipe_of(config: Config, own: Config, stage: str) -> Config:
    """By what each fold is trained: as the policy was, from the first step and in one process."""
    tuned = {path: _at(config, path) for path in BUDGET if path not in config.tune.space} if stage == "tune" else {}
    return with_values(own, {**tuned, "train.workers": 0, "train.read": "memory"})


def folds_of(config: Config, run: RunDir, schema: Schema, bounds: list[Boundaries]) -> list[Fold]:
    """The folds, with scaler and categories of each one's own training part."""
    index, found = read_index(run), []
    with run.local_copy("preprocess") as path:
        for number, one in enumerate(bounds):
            sums = summed(path / SEGMENTS, index, Plan(config, schema, one))
            own = schema.model_copy(update={"categories": fit.categories_of(sums)})
            found.append(Fold(number, one, own, fit.scaler_of(sums, own, config)))
    return found


def as_known(segments: Segments, fold: Fold) -> Segments:
    """The segments as a fold's training part lets them be read: its means before any value, its categories."""
    filled = with_typical(segments, fold.scaler)
    codes_SK = np.empty_like(segments.category_SK)
    for k, (name, values) in enumerate(segments.schema.categories.items()):
        known = {value: code for code, value in enumerate(fold.schema.categories[name], 1)}
        own: NDArray = np.array([0, *(known.get(value, 0) for value in values)], dtype=np.int64)
        codes_SK[:, k] = own[segments.category_SK[:, k]]
    return replace(filled, schema=fold.schema, category_SK=codes_SK)


def answered(nothing: None, given: Given, fold: Fold, seed: int | None, stretches: list[Boundaries]) -> pieces.Piece:
    """What one task comes to: a policy trained on a fold with a seed, or its baselines (no seed), scored on stretches."""
    config, segments = given.config, as_known(given.segments, fold)
    models, epochs = {}, 0
    # Sums are rounded by how many threads share them: as many here as in an actor.
    with threads(config.train.threads), threadpool_limits(config.train.threads):
        try:
            if seed is None:
                models = fit_rivals(config, segments, fold.bounds, fold.scaler)
            else:
                config = config.model_copy(update={"seed": seed})
                scaled = segments.scaled(fold.scaler)
                training = train_here(config, scaled, fold.bounds, None, way="memory", scaler=fold.scaler)
                weights, epochs = training.network.state_dict(), len(training.records)
                policy = Policy(config, fold.schema, fold.scaler, weights)
                policy.calibration = calibrated(policy, segments, fold.bounds, config.evaluate.conformal)
                models = {"policy": policy}
            found = [measured(config, models, segments, one, fold.scaler) for one in stretches]
        except InputError as error:
            who = "its baselines" if seed is None else f"seed {seed}"
            raise InputError(f"backtest, stretch {fold.number + 1}, {who}: {error}") from None
    return {"epochs": epochs, "scored": [{"num": num, "metrics": metrics} for num, metrics in found]}


@contextmanager
def _working(given: Given) -> Iterator[Pool | None]:
    """The actors that train; none: this process does."""
    workers = given.config.evaluate.workers
    if not workers:
        yield None
        return
    own, asks = float(given.config.train.threads), given.config.resources
    with actor_pool(None, given, workers, own, share_gpus=True, mend=MEND, asks=asks, stage="evaluate") as pool:
        yield pool


def _answered(
    pool: Pool | None, given: Given, tasks: list[tuple[Fold, int | None, list[Boundaries]]], folder: Path
) -> Iterator[tuple[int, pieces.Piece]]:
    keys: list[Any] = [
        ["backtest", given.config, fold.bounds, fold.scaler, seed, stretches] for fold, seed, stretches in tasks
    ]
    if pool is not None:
        yield from pieces.each(pool, folder, answered, tasks, keys)
        return
    for number, (task, key) in enumerate(zip(tasks, keys, strict=True)):
        yield number, pieces.kept(folder, key, lambda task=task: answered(None, given, *task))  # type: ignore[misc]


def _stretch(
    number: int,
    bounds: list[Boundaries],
    folds: list[Fold],
    seeds: list[int],
    answers: dict[tuple[int, int | None], pieces.Piece],
) -> Stretch:
    """One stretch's policies and baselines: of its own fold, or of the one there is."""
    refit = len(folds) == len(bounds)
    fold, turn = (folds[number], 0) if refit else (folds[0], number)
    baselines = answers[fold.number, None]["scored"][turn]
    return Stretch(
        test=bounds[number]["test"],
        trained=fold.bounds["train"],
        num=baselines["num"],
        policies={seed: answers[fold.number, seed]["scored"][turn]["metrics"]["policy"] for seed in seeds},
        epochs={seed: answers[fold.number, seed]["epochs"] for seed in seeds},
        baselines=baselines["metrics"],
    )


def _notes(config: Config, stage: str, lacks: str, num: int) -> list[Finding]:
    """What a reader must know of how it was done."""
    prepare, found = config.preprocess, []
    if lacks:
        text = f"Of the folds asked for {num} fit the window that was tuned: for one more, {lacks}."
        found.append(Finding(severity="advice", text=text, advice=f"evaluate.backtest.folds: {num}"))
    if stage != "train":
        what = {
            "tune": "went on from the trained policy's weights, while the backtest's begin at their first step",
            "plan": "saw synthetic sequences, too, which the backtest's do not",
        }[stage]
        found.append(Finding(severity="info", text=f"The policy of '{stage}' {what}."))
    if not prepare.causal and prepare.impute in ("mean", "median"):
        text = f"Gaps hold the {prepare.impute} of the run's training part, which ends later than those of the older stretches."
        found.append(Finding(severity="advice", text=text, advice="preprocess.causal: true"))
    return found


def _at(config: Config, path: str) -> Any:
    section, _, field = path.partition(".")
    return getattr(getattr(config, section), field)
