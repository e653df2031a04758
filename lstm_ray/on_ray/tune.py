"""Tuning as a stage: Ray Tune trains other settings from the trained weights, ASHA stops the poor ones early.

Every trial keeps its own checkpoints below the stage's directory. A search that was killed is started anew with the
same trials: those that were whole pass their epochs to the scheduler again within moments, the others go on from their
newest checkpoint. Ray's own record of the search is not read, for it holds pickles and may lag behind by many epochs.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune as ray_tune
from ray.tune.schedulers import ASHAScheduler

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.feed import class_weights
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.trial_figures import figures
from lstm_ray.evaluate.trials import Search, Trial, findings, summary, table
from lstm_ray.evaluate.validation import validation_metrics
from lstm_ray.model import checkpoint
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.training import EpochRecord, Training, start
from lstm_ray.model.trial import draw, run_trial, trial_config
from lstm_ray.model.warm_start import warm_start
from lstm_ray.on_ray import cluster
from lstm_ray.on_ray.train import threads
from lstm_ray.run_dir import Report, RunDir, StageDir, digest

TRIALS, RAY_TUNE, POLICY, WHOLE = "trials", "ray_tune", "policy", "whole"
REDUCTION = 3
"""ASHA lets about one trial in this many pass each rung."""
TOP = 3
"""Trials with the lowest loss whose metrics are measured before one is chosen."""
SWITCHES = {
    # Trials are recorded here; CSV, JSON and TensorBoard files of Tune's own would cost more than the report itself.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune would answer Ctrl-C with a search that looks finished.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # A snapshot of the search at its end is enough: nothing reads it.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def tune(config: Config, run: RunDir, work: StageDir) -> Report:
    """Search ``tune.space``, going on from what a killed attempt left behind.

    Leaves ``policy/``: the best on validation of all trials and of the trained policy as it was.

    Raises:
        InputError: the space cannot be searched, or every trial failed.
    """
    settings = draw(config)
    segments, bounds = load_segments(run)
    with run.local_copy(f"train/{POLICY}") as folder:
        base = Policy.load(folder)
    ended = search(config, settings, segments.scaled(base.scaler), bounds, base, work.path)
    with threads(1):
        found, policies = _measured(config, settings, ended, base, segments, bounds, work.path)
    if not policies:
        raise InputError(f"all {len(found)} trials of tune failed; the first: {found[0].failure}")
    before = base.facts["validation"]
    result = Search(config.answers, before, found, asked=config.tune.trials, budget=config.tune.max_epochs)
    policy = policies.get(result.winner.number, base) if result.winner else base
    policy.facts["validation"] = result.validation
    policy.save(work.path / POLICY)
    work.write_figures(figures(result))
    for leftover in (TRIALS, RAY_TUNE):
        shutil.rmtree(work.path / leftover)
    return Report(
        stage="tune",
        summary=summary(result),
        findings=findings(result),
        validation=result.validation,
        tables=[table(result)],
        trials=[asdict(trial) | {"start": trial.origin} for trial in found],
        best_trial=result.winner.number if result.winner else None,
        best_config=result.winner.settings if result.winner else {},
    )


def search(
    config: Config,
    settings: Sequence[Mapping[str, Any]],
    scaled: Segments,
    bounds: Boundaries,
    base: Policy,
    folder: Path,
) -> list[dict[str, Any]]:
    """Run the trials on the cluster; each leaves its checkpoints below the folder, which all nodes must see.

    Returns:
        What each trial reported last, and ``failure`` with the reason where it failed.
    """
    cluster.ensure()
    # Tune would say of every trial that it finds no log files, which SWITCHES turn off.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    shutil.rmtree(folder / RAY_TUNE, ignore_errors=True)
    folders = [folder_of(folder, number, chosen) for number, chosen in enumerate(settings, start=1)]
    trainable = ray_tune.with_parameters(
        _trial,
        configs=[trial_config(config, chosen).model_dump(mode="json") for chosen in settings],
        scaled=scaled,
        bounds=bounds,
        weights=dict(base.network.state_dict()),
        base=base.config.model_dump(mode="json"),
        folders=[str(own) for own in folders],
    )
    with progress.bar("tune", len(settings) * config.tune.max_epochs) as advance, _environment(SWITCHES):
        watch = _Progress(advance, folders, config.tune.max_epochs)
        grid = _tuner(trainable, config, len(settings), folder / RAY_TUNE, watch).fit()
    assert len(grid) == len(settings), f"{len(grid)} of {len(settings)} trials ended"
    ended: list[dict[str, Any]] = [{} for _ in settings]
    for result in (grid[index] for index in range(len(grid))):
        assert result.config is not None, "Tune keeps a trial's config"
        ended[result.config["trial"]] = dict(result.metrics or {})
        if result.error is not None:
            ended[result.config["trial"]]["failure"] = str(result.error).strip().splitlines()[-1]
    return ended


def _tuner(
    trainable: Callable[..., None], config: Config, num_trials: int, folder: Path, watch: ray_tune.Callback
) -> ray_tune.Tuner:
    """Trials by number, in order, a few at a time in processes that are used again."""
    budget = config.tune.max_epochs
    concurrency = max(1, min(config.tune.concurrency, cluster.num_cpus(), num_trials))
    asha = ASHAScheduler(
        time_attr="epoch",
        max_t=budget,
        grace_period=min(config.tune.grace_epochs, budget),
        reduction_factor=REDUCTION,
    )
    return ray_tune.Tuner(
        ray_tune.with_resources(trainable, _resources(concurrency)),
        param_space={"trial": ray_tune.grid_search(list(range(num_trials)))},
        tune_config=ray_tune.TuneConfig(
            metric="validation_loss",
            mode="min",
            scheduler=asha,
            max_concurrent_trials=concurrency,
            reuse_actors=True,
        ),
        run_config=ray_tune.RunConfig(
            name="search",
            storage_path=str(folder),
            callbacks=[watch],
            # A process that dies once is bad luck; its trial goes on from its checkpoint.
            failure_config=ray_tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )


def folder_of(folder: Path, number: int, settings: Mapping[str, Any]) -> Path:
    """Where a trial keeps its checkpoints. Other settings have another folder."""
    return folder / TRIALS / f"{number:03d}-{digest(settings)[:8]}"


class _Progress(ray_tune.Callback):
    """Moves the bar, and marks trials that ended as planned so that a killed search does not train them further."""

    def __init__(self, advance: Callable[[str], None], folders: list[Path], epochs: int) -> None:
        self.advance, self.folders, self.epochs = advance, folders, epochs
        self.seen = [0] * len(folders)

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        words = f"trial {trial.config['trial'] + 1}, validation loss {result['validation_loss']:.4f}"
        self._move(trial.config["trial"], result.get("epoch", 0), words)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        number = trial.config["trial"]
        if "failure" not in trial.last_result:
            (self.folders[number] / WHOLE).touch()
        self._move(number, self.epochs, f"trial {number + 1} ended")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._move(trial.config["trial"], self.epochs, f"trial {trial.config['trial'] + 1} failed")

    def _move(self, number: int, epoch: int, words: str) -> None:
        while self.seen[number] < epoch:
            self.seen[number] += 1
            self.advance(words)

    def __getstate__(self) -> dict[str, Any]:
        # Tune saves its callbacks, and a terminal's bar cannot be saved.
        return {}


def _trial(
    given: dict[str, int],
    *,
    configs: list,
    scaled: Segments,
    bounds: Boundaries,
    weights: dict,
    base: dict,
    folders: list[str],
) -> None:
    """What a trial's process runs: one trial, an epoch reported at a time."""
    torch.set_num_threads(1)
    number = given["trial"]
    folder = Path(folders[number])
    folder.mkdir(parents=True, exist_ok=True)

    def say(record: EpochRecord, start_loss: float | None) -> bool:
        line = {"epoch": record.epoch + 1, "validation_loss": record.validation_loss, "start_loss": start_loss}
        ray_tune.report(line)
        return True

    config = Config.model_validate(configs[number])
    try:
        whole = (folder / WHOLE).exists()
        run_trial(config, scaled, bounds, weights, folder, say, whole=whole, base=Config.model_validate(base))
    except InputError as error:
        # Without an epoch the scheduler passes it over; raised, Tune would train it a second time.
        ray_tune.report({"validation_loss": math.inf, "failure": str(error)})


def _resources(concurrency: int) -> dict[str, float]:
    """One trial's share of the CPUs and GPUs that are free now, at most one of each, so that whoever holds the rest of a
    small cluster cannot keep the search waiting."""
    free = ray.available_resources()
    share = {kind: min(1.0, math.floor(100 * free.get(kind, 0.0) / concurrency) / 100) for kind in ("CPU", "GPU")}
    # Where nothing is free a trial shares what others hold; Tune wants to be asked for something, so for one byte.
    return {"cpu": share["CPU"], "gpu": share["GPU"], "memory": 1.0}


def _measured(
    config: Config,
    settings: Sequence[dict[str, Any]],
    ended: Sequence[Mapping[str, Any]],
    base: Policy,
    segments: Segments,
    bounds: Boundaries,
    folder: Path,
) -> tuple[list[Trial], dict[int, Policy]]:
    """The trials as numbers, and the policies and metrics of the TOP with the lowest loss."""
    found: list[Trial] = []
    trainings: dict[int, Training] = {}
    weights_K = class_weights(segments, bounds, config)
    for number, (chosen, last) in enumerate(zip(settings, ended, strict=True), start=1):
        trial = trial_config(config, chosen)
        network = build(trial, segments.schema)
        share = warm_start(network, base.network.state_dict())
        training = start(network, trial, class_weight_K=weights_K)
        checkpoint.load_newest(training, folder_of(folder, number, chosen))
        losses = [record.validation_loss for record in training.records]
        failure = last.get("failure") or ("" if losses else "its checkpoints are damaged or missing")
        if not failure:
            trainings[number] = training
        found.append(Trial(number, chosen, share, last.get("start_loss"), losses, failure))
    policies = {}
    for number in sorted(trainings, key=lambda number: trainings[number].best_loss)[:TOP]:
        weights = trainings[number].best_weights
        policies[number] = Policy(trial_config(config, settings[number - 1]), segments.schema, base.scaler, weights)
        found[number - 1].metrics.update(validation_metrics(policies[number], segments, bounds))
    return found, policies


@contextmanager
def _environment(switches: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that Tune reads, and put back what was there."""
    before = {name: os.environ.get(name) for name in switches}
    os.environ.update(switches)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
