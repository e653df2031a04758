"""A leg that a group of Ray Train workers trains (tune.workers): with the same checkpoints and losses as in one process.

Ray Tune is told of an epoch before the next one starts, and a leg that it stops ends its group itself: of one that is
killed, Ray would keep the workers' places for a while, and on a small cluster the next group would wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune as ray_tune
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2.api.config import ScalingConfig

from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.model.training import EpochRecord, Training
from lstm_ray.model.trial import begin_trial, keeping_facts, loss_of
from lstm_ray.on_ray.folder import Copy
from lstm_ray.on_ray.reading import Batches
from lstm_ray.on_ray.tuning.legs import Leg
from lstm_ray.on_ray.tuning.running import Given, Told, failed, told, told_before
from lstm_ray.on_ray.workers import Group, run

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
        self.told = self._tell(asked)
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

    def _tell(self, asked: dict) -> Generator[Told, None, None]:
        """What there is to tell of a leg, an epoch at a time; where it is closed, the group ends with its epoch."""
        with self.given.leg(asked) as (_, own):
            known = told_before(own.path)
        if known is not None:
            yield from known
            return
        epoch = 0
        judge: Any = Judge.remote()  # type: ignore[attr-defined]
        with ThreadPoolExecutor(1) as pool:
            group = pool.submit(_train, self.given, self.segments, asked, judge)
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
                with self.given.leg(asked) as (_, own):
                    line = failed(own, epoch, error)
                yield line
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


def _train(given: Given, segments: list, asked: dict, judge: Any) -> None:
    """Run a group to its end. Raises InputError where the user's input was wrong, else what Ray raises."""
    assert given.asked is not None, "the search says what each worker of a group is given"
    scaled_to = ScalingConfig(num_workers=given.config.tune.workers, **given.asked.scaling())
    told = {"given": given, "segments": segments, "asked": asked, "judge": judge}
    # Where a worker is lost Tune tries the whole leg again.
    run(_worker, told, scaled_to, given.config.resources, "tune", 0)


def _worker(told_to: dict[str, Any]) -> None:
    """What each worker of a group runs: ``trial.run_trial``, every batch shared."""
    given: Given = told_to["given"]
    torch.set_num_threads(1)
    with given.leg(told_to["asked"]) as (leg, own), given.before(leg) as before:
        _train_share(given, leg, own, before, ray.get(told_to["segments"][0]), told_to["judge"])


def _train_share(given: Given, leg: Leg, own: Copy, before: Path | None, scaled: Segments, judge: Any) -> None:
    group, config = Group.here(), given.trial(leg)
    batches = Batches(scaled, given.bounds, config, group.device, group.rank, group.world)

    def measure(training: Training) -> float:
        return loss_of(training, batches.held_out(), config, group.add_up)

    training, facts = begin_trial(
        config,
        scaled,
        given.bounds,
        given.weights,
        own.path,
        lambda: group.closed_forms(config, scaled, given.bounds),
        measure,
        scaler=given.scaler,
        goes_on_from=before,
        base=given.base,
        device=group.device,
    )
    group.agreed(training)

    def ask(line: Told) -> bool:
        going = ray.get(judge.ask.remote(line)) if group.rank == 0 else None
        answer: bool = broadcast_from_rank_zero(going)
        return answer and (leg.until is None or line["epoch"] < leg.until)

    keep = checkpoint.kept(training, own.path, keeping_facts(facts, own.path, lambda record: True))

    def remember(record: EpochRecord) -> bool:
        if group.rank == 0:
            keep(record)
            own.keep()
        return ask(told(record))

    # A leg that goes on tells again what it told before.
    if all(ask(told(record)) for record in training.records):
        group.fit(training, config, batches, remember)
