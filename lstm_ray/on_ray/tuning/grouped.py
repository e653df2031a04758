"""A leg that a group of Ray Train workers trains (tune.workers): with the same checkpoints and losses as in one process.

Ray Tune is told of an epoch before the next one starts, and a leg that it stops ends its group itself: of one that is
killed, Ray would keep the workers' places for a while, and on a small cluster the next group would wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
import ray.train
import torch
from ray import tune as ray_tune
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.model.training import EpochRecord, Training
from lstm_ray.model.trial import begin_trial, keeping_facts, loss_of
from lstm_ray.on_ray.reading import Batches
from lstm_ray.on_ray.tuning.legs import Leg
from lstm_ray.on_ray.tuning.running import Given, Told, failed, told, told_before
from lstm_ray.on_ray.workers import EndAtOnce, Group, user_error

GROUP = "group"
"""Folder of Ray's own, in that of a leg."""
LOOK_SECONDS = 1.0
"""How often a trial that waits for an epoch looks whether its group still lives."""


class GroupTrial(ray_tune.Trainable):
    """A leg, an epoch a step. It takes no CPU itself."""

    def setup(self, config: dict, given: Given | None = None, segments: list | None = None) -> None:
        assert given is not None, "every trial is given this"
        assert segments is not None
        self.given, self.segments = given, segments
        self._begin(config)

    def _begin(self, asked: dict) -> None:
        self.told = self._tell(self.given.leg(asked))
        self.last: Told = {}

    def step(self) -> Told:
        line = next(self.told, None)
        if line is None:
            return self.last | {"done": True}
        self.last = line
        return line

    def cleanup(self) -> None:
        self.told.close()

    def reset_config(self, new_config: dict) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def _tell(self, leg: Leg) -> Generator[Told, None, None]:
        """What there is to tell of a leg, an epoch at a time; where it is closed, the group ends with its epoch."""
        own = leg.place(self.given.folder)
        if (known := told_before(own)) is not None:
            yield from known
            return
        epoch = 0
        judge: Any = Judge.remote()  # type: ignore[attr-defined]
        with ThreadPoolExecutor(1) as pool:
            group = pool.submit(_train, self.given, self.segments, leg, judge)
            try:
                while True:
                    waiting = judge.next.remote()
                    while not (ready := ray.wait([waiting], timeout=LOOK_SECONDS)[0]) and not group.done():
                        pass
                    if not ready:
                        group.result()
                        return
                    line = ray.get(waiting)
                    epoch = line["epoch"]
                    yield line
                    judge.answer.remote(True)
            except InputError as error:
                yield failed(own, epoch, error)
            finally:
                judge.answer.remote(False)


@ray.remote(num_cpus=0)
class Judge:
    """Stands between a group and its trial: the first worker tells of an epoch and waits to be told to go on."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[Told] = asyncio.Queue()
        self.answers: asyncio.Queue[bool] = asyncio.Queue()

    async def ask(self, line: Told) -> bool:
        await self.lines.put(line)
        return await self.answers.get()

    async def next(self) -> Told:
        return await self.lines.get()

    async def answer(self, going: bool) -> None:
        await self.answers.put(going)


def _train(given: Given, segments: list, leg: Leg, judge: Any) -> None:
    """Run a group to its end. Raises InputError where the user's input was wrong, else what Ray raises."""
    own = leg.place(given.folder)
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"given": given, "segments": segments, "leg": leg, "judge": judge},
        scaling_config=ScalingConfig(
            num_workers=given.config.tune.workers,
            use_gpu=ray.cluster_resources().get("GPU", 0) >= given.config.tune.workers,
            resources_per_worker={"CPU": given.cpus},
        ),
        run_config=RunConfig(
            name=GROUP,
            storage_path=str(own),
            # Tune tries the whole leg again.
            failure_config=FailureConfig(max_failures=0),
            callbacks=[EndAtOnce()],
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise user_error(error) from error


def _worker(asked: dict[str, Any]) -> None:
    """What each worker of a group runs: ``trial.run_trial``, every batch shared."""
    given, leg, judge = asked["given"], asked["leg"], asked["judge"]
    torch.set_num_threads(1)
    group, config, own = Group.here(), given.trial(leg), leg.place(given.folder)
    scaled = ray.get(asked["segments"][0])
    batches = Batches(scaled, given.bounds, config, group.device, group.rank, group.world)

    def measure(training: Training) -> float:
        return loss_of(training, batches.held_out(), config, group.add_up)

    training, facts = begin_trial(
        config,
        scaled,
        given.bounds,
        given.weights,
        own,
        lambda: group.closed_forms(config, scaled, given.bounds),
        measure,
        scaler=given.scaler,
        goes_on_from=leg.before(given.folder),
        base=given.base,
        device=group.device,
    )
    group.agreed(training)

    def ask(line: Told) -> bool:
        going = ray.get(judge.ask.remote(line)) if group.rank == 0 else None
        answer: bool = broadcast_from_rank_zero(going)
        return answer and (leg.until is None or line["epoch"] < leg.until)

    keep = checkpoint.kept(training, own, lambda record: True)
    keep_facts = keeping_facts(facts, own, lambda record: True)

    def remember(record: EpochRecord) -> bool:
        if group.rank == 0:
            keep(record)
            keep_facts(record)
        return ask(told(record))

    # A leg that goes on tells again what it told before.
    if all(ask(told(record)) for record in training.records):
        group.fit(training, config, batches, remember)
