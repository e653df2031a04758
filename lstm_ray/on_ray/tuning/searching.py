"""A search of settings on the cluster: Ray Tune runs the legs of trials, a few at a time.

A search that was killed is started anew: settings that were written down are tried first, legs that were whole pass their
epochs to the scheduler again within moments, the others go on from their newest checkpoint. Ray's own record of the search
is not read, for it holds pickles and may lag behind by many epochs.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune as ray_tune
from ray.exceptions import RayActorError
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import Searcher

from lstm_ray import log, progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import cluster, metrics, resources
from lstm_ray.on_ray.folder import Folder, shared
from lstm_ray.on_ray.tuning import legs, population, tpe
from lstm_ray.on_ray.tuning.legs import Ended, Leg
from lstm_ray.on_ray.tuning.running import Given, run_leg
from lstm_ray.on_ray.tuning.tpe import Tried
from lstm_ray.space import Settings, draw

RAY_TUNE = "ray_tune"
REDUCTION = 3
"""ASHA lets about one trial in this many pass each rung."""
FEWEST = 3
"""Trials whose losses give a median to stop others by."""
DIED = "its process died twice (out of memory, or killed)"
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


def search(config: Config, scaled: Segments, bounds: Boundaries, base: Policy, folder: Path) -> list[Ended]:
    """Try settings from ``tune.space``; trials leave their checkpoints below the folder, on this machine.

    Raises:
        InputError: the space cannot be searched, or the cluster has fewer CPUs than a trial has workers.
    """
    cluster.ensure()
    concurrency = _concurrency(config)
    # Tune would say of every trial that it finds no log files, which SWITCHES turn off.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    shutil.rmtree(folder / RAY_TUNE, ignore_errors=True)
    with shared(folder) as everywhere:
        searcher, grid = _tuned(config, scaled, bounds, base, everywhere, concurrency)
    failures: dict[int, dict[int, str]] = {}
    for result in (grid[index] for index in range(len(grid))):
        if result.error is not None:
            assert result.config is not None, "Tune keeps a trial's config"
            own = failures.setdefault(result.config["trial"], {})
            own[result.config["generation"] or 0] = _reason(result.error)
    return [legs.ended(folder, own, failures.get(own[-1].number, {})) for own in searcher.legs()]


def _tuned(
    config: Config, scaled: Segments, bounds: Boundaries, base: Policy, folder: Folder, concurrency: int
) -> tuple[_Legs, ray_tune.ResultGrid]:
    """Have Ray Tune run the legs; what comes of them is in the folder, and what kept one from saying so in Tune's results."""
    weights = dict(base.network.state_dict())
    given = Given(
        config, bounds, base.config, base.scaler, weights, folder, _worker(config, concurrency), log.context()
    )
    # In a list it is handed on as a reference: whoever needs the values maps them where they lie.
    trainable = ray_tune.with_parameters(_runner(config), given=given, segments=[ray.put(scaled)])
    is_population = config.tune.scheduler == "pbt"
    num_trials = len(draw(config)) if config.tune.search != "optuna" else config.tune.trials
    with progress.bar("tune", num_trials * config.tune.max_epochs) as advance, _environment(SWITCHES):
        shown = _Shown(advance, num_trials, config.tune.max_epochs)
        searcher: _Generations | _OneByOne = (_Generations if is_population else _OneByOne)(config, folder.path, shown)
        grid = ray_tune.Tuner(
            ray_tune.with_resources(trainable, _resources(config, concurrency)),
            tune_config=ray_tune.TuneConfig(
                metric="validation_loss",
                mode="min",
                search_alg=searcher,
                scheduler=_scheduler(config),
                num_samples=num_trials * (population.num_generations(config) if is_population else 1),
                max_concurrent_trials=concurrency,
                reuse_actors=True,
            ),
            run_config=ray_tune.RunConfig(
                name="search",
                storage_path=str(folder.path / RAY_TUNE),
                # A process that dies once is bad luck; its trial goes on from its checkpoint.
                failure_config=ray_tune.FailureConfig(max_failures=1),
                # Legs keep checkpoints of their own.
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    return searcher, grid


def _runner(config: Config) -> Any:
    if not config.tune.workers:
        return run_leg
    # Ray Train takes a second to import, which trials in one process need not wait for.
    from lstm_ray.on_ray.tuning.grouped import GroupTrial

    return GroupTrial


def _concurrency(config: Config) -> int:
    """Trials at the same time: never more than the nodes could hold, each process with a CPU unless resources.tune says
    otherwise.

    Raises InputError where nodes that could hold one trial do not come.
    """
    asked, each = _process(config), max(config.tune.workers, 1)
    resources.wait_for(asked, each, config.resources)
    return max(1, min(config.tune.concurrency, resources.held(asked) // each, config.tune.trials))


def _process(config: Config) -> resources.Process:
    """One worker of a group, with a GPU where there are enough for a group, or else one trial, which shares what there is."""
    asked, workers = resources.process(config.resources, "tune", 1.0), config.tune.workers
    gpus = float(bool(workers) and resources.total("GPU", asked) >= workers)
    return resources.process(config.resources, "tune", 1.0, gpus)


def _scheduler(config: Config) -> TrialScheduler:
    budget, grace = config.tune.max_epochs, min(config.tune.grace_epochs, config.tune.max_epochs)
    if config.tune.scheduler == "asha":
        return ASHAScheduler(time_attr="epoch", max_t=budget, grace_period=grace, reduction_factor=REDUCTION)
    if config.tune.scheduler == "median":
        # Never to make room for another: a trial that has to wait would lose its process.
        return MedianStoppingRule(
            time_attr="epoch", grace_period=grace, min_samples_required=FEWEST, min_time_slice=budget + 1
        )
    return FIFOScheduler()


def _resources(config: Config, concurrency: int) -> ray_tune.PlacementGroupFactory:
    """One trial's share of the CPUs and GPUs that are free now, at most one of each, so that whoever holds the rest of a
    small cluster cannot keep the search waiting. A group's workers ask for CPUs of their own."""
    # Where nothing is free a trial shares what others hold; Tune wants to be asked for something, so for one byte.
    if config.tune.workers:
        return ray_tune.PlacementGroupFactory([{"memory": 1.0}])
    free, asked, given = resources.free_nodes(), _process(config), config.resources.tune
    if given.cpus is None:
        asked = resources.derived(asked, concurrency, 1.0, found=free)
        asked = asked if resources.held(asked, free) >= concurrency else asked.with_cpus(0.0)
    if given.gpus is None:
        asked = resources.with_gpus(asked, concurrency, free)
    labels: Any = {"bundle_label_selector": [dict(asked.labels)]} if asked.labels else {}
    return ray_tune.PlacementGroupFactory([{"memory": 1.0, **asked.bundle()}], **labels)


def _worker(config: Config, concurrency: int) -> resources.Process:
    """What each worker of a group asks for, at most a CPU: groups share what is free now, as processes do."""
    asked, num = _process(config), concurrency * max(config.tune.workers, 1)
    if config.resources.tune.cpus is not None:
        return asked
    return resources.derived(asked, num, 1.0, found=resources.free_nodes())


def _reason(error: Exception) -> str:
    if isinstance(error, RayActorError) or "ActorDiedError" in str(error):
        return DIED
    return str(error).strip().splitlines()[-1]


class _Shown:
    """The bar: how many trials ended and failed, and the best loss so far."""

    def __init__(self, advance: Callable[[str], None], num_trials: int, epochs: int) -> None:
        self.advance, self.num_trials, self.epochs = advance, num_trials, epochs
        self.seen: dict[int, int] = {}
        self.ended: set[int] = set()
        self.failed: set[int] = set()
        self.best = (math.inf, 0)

    def epoch(self, number: int, epoch: int, loss: float) -> None:
        self.best = min(self.best, (loss, number))
        self._move(number, epoch)

    def end(self, number: int, failed: bool) -> None:
        self.ended.add(number)
        self.failed |= {number} if failed else set()
        metrics.tell("trials", 1, outcome="failed" if failed else "whole")
        self._move(number, self.epochs)

    def _move(self, number: int, epoch: int) -> None:
        failed = f", {len(self.failed)} of them failed" if self.failed else ""
        loss, best = self.best
        words = f"{len(self.ended)} of {self.num_trials} trials ended{failed}"
        words += f"; best validation loss {loss:.4f}, trial {best}" if best else ""
        while self.seen.get(number, 0) < epoch:
            self.seen[number] = self.seen.get(number, 0) + 1
            self.advance(words)


class _Legs(Searcher):
    """Hands legs to Tune, each written down before it starts, and hears what comes of them."""

    def __init__(self, config: Config, folder: Path, shown: _Shown) -> None:
        super().__init__()
        self.config, self.folder, self.shown = config, folder, shown
        self.running: dict[str, Leg] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        leg = self.next_leg()
        if not isinstance(leg, Leg):
            return leg
        leg.begin(self.folder)
        self.running[trial_id] = leg
        return {"trial": leg.number, "generation": leg.generation}

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        leg = self.running[trial_id]
        if "failure" not in result and "kept_loss" in result:
            self.shown.epoch(leg.number, result["epoch"], result["kept_loss"])
            self.heard(leg, result["epoch"], result["kept_loss"])

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        leg = self.running.pop(trial_id)
        failed = error or "failure" in (result or {})
        if not error:
            legs.mark_whole(leg.place(self.folder))
        if self.ends(leg, failed):
            self.shown.end(leg.number, failed)

    def next_leg(self) -> Leg | str | None:
        """A leg to start now; None: later; FINISHED: there are no more."""
        raise NotImplementedError

    def heard(self, leg: Leg, epoch: int, loss: float) -> None:
        """A leg told of an epoch."""

    def ends(self, leg: Leg, failed: bool) -> bool:
        """A leg ended; returns whether its trial did."""
        raise NotImplementedError

    def legs(self) -> list[list[Leg]]:
        """Those of every trial that began, in order."""
        raise NotImplementedError

    def save(self, checkpoint_path: str) -> None:
        """Nothing: legs are on disk."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        # Tune saves its searcher, and a terminal's bar cannot be saved.
        return {}


class _OneByOne(_Legs):
    """A trial is one leg; its settings are those written down, or else drawn, or proposed from the trials before."""

    def __init__(self, config: Config, folder: Path, shown: _Shown) -> None:
        super().__init__(config, folder, shown)
        self.drawn = draw(config)
        self.tried: list[Tried] = []

    def next_leg(self) -> Leg | str | None:
        number = len(self.tried) + 1
        if number > self.config.tune.trials:
            return Searcher.FINISHED
        leg = Leg.read(self.folder, number)
        if leg is None:
            if (settings := self._settings(number)) is None:
                return Searcher.FINISHED
            leg = Leg(number, settings)
        self.tried.append(Tried(leg.settings))
        return leg

    def _settings(self, number: int) -> Settings | None:
        if self.config.tune.search == "optuna" and number > 1:
            return tpe.propose(self.config, number, self.tried)
        return self.drawn[number - 1] if number <= len(self.drawn) else None

    def heard(self, leg: Leg, epoch: int, loss: float) -> None:
        self.tried[leg.number - 1].losses[epoch] = loss

    def ends(self, leg: Leg, failed: bool) -> bool:
        tried = self.tried[leg.number - 1]
        tried.ended, tried.failed = True, failed
        return True

    def legs(self) -> list[list[Leg]]:
        return [[Leg(number, tried.settings)] for number, tried in enumerate(self.tried, 1)]


class _Generations(_Legs):
    """A trial has a leg in each generation of a population; a generation starts when the one before has ended."""

    def __init__(self, config: Config, folder: Path, shown: _Shown) -> None:
        super().__init__(config, folder, shown)
        self.generations = population.read_generations(folder)
        if not self.generations:
            self._add(population.first(config))
        self.waiting = list(self.generations[-1])

    def next_leg(self) -> Leg | str | None:
        if not self.waiting:
            if self.running:
                return None
            following = population.following(self.config, self.folder, self.generations[-1])
            if not following:
                return Searcher.FINISHED
            self._add(following)
            self.waiting = list(following)
        return self.waiting.pop(0)

    def _add(self, generation: list[Leg]) -> None:
        population.write_generation(self.folder, generation)
        self.generations.append(generation)

    def ends(self, leg: Leg, failed: bool) -> bool:
        return leg.until == self.config.tune.max_epochs

    def legs(self) -> list[list[Leg]]:
        return [list(own) for own in zip(*self.generations, strict=True)]


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
