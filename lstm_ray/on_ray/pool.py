"""Actors that each hold one world, and a policy where there is one, and the bounded queue that feeds them. Knows no stage.

Ray itself could start a lost actor again and repeat its tasks; but it would do so for ever where a task is what kills it, and
hand tasks to an actor for which there is no CPU. So actors are replaced here, where attempts are counted, and an actor is
given work once it is up.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfDiskError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)

from lstm_ray import log, progress
from lstm_ray.errors import InputError
from lstm_ray.model.stored import POLICY
from lstm_ray.on_ray import cluster, resources
from lstm_ray.sections.resources import NOTHING_SAID, ResourcesConfig, Stage
from lstm_ray.serving.bundle import Packed, pack, unpack

WAITING = 2
"""Tasks an actor has at a time: one it works on and one that waits, so that it never idles and nothing piles up."""
ATTEMPTS = 3
"""Actors that may be lost with the same task, or one after the other before they are up, until it is given up."""
PATIENCE_SECONDS = 15.0
"""For which no actor is up, until one is started that works beside whoever holds the CPUs."""
LOST = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError, OutOfDiskError, ObjectLostError)
"""What Ray raises where an answer will not come, or was lost with the machine that held it."""
MOST_SAID = 300
"""Characters of Ray's own words that are passed on."""
MEND = "lower plan.paths or plan.actors, or give each node more memory; the same command goes on after what is done"
"""What to do where actors are lost, unless the pool is told of something else."""


class Worker:
    """Holds one policy or none, and the world without a copy where Ray keeps it in its object store. Runs as a Ray actor, or
    as is."""

    def __init__(self, files: Packed | None, world: Any, given: Mapping[str, log.Fact] | None = None) -> None:
        if given is not None:
            cluster.work_for(given, actor=ray.get_runtime_context().get_actor_id())
            log.say("an actor is up")
        torch.set_num_threads(1)
        self.policy, self.world = None if files is None else unpack(files), world

    def is_up(self) -> bool:
        return True

    def do(self, function: Callable[..., Any], given: Sequence[Any]) -> Any:
        """``function(policy, world, *given)``."""
        return function(self.policy, self.world, *given)


@dataclass(eq=False)
class Member:
    """One actor of a pool."""

    actor: Any
    cpus: float
    """That it asks for."""
    losses: int
    """Actors lost in its place before they were up."""
    todo: list[ray.ObjectRef] = field(default_factory=list)
    """Answers that are waited for."""
    is_trying: bool = False
    """It works on a task that an actor was lost at, and on no other: should it be lost as well, it is known at what."""


class Pool:
    """Actors that share one copy of a policy's files and of the world.

    Args:
        version: of the policy.
        start: starts one actor that asks for so many CPUs.
        size: how many to start.
        cpus: CPUs that each asks for.
        mend: what to do where actors are lost, in words.
    """

    def __init__(self, version: str, start: Callable[[float], Any], size: int, cpus: float, mend: str = MEND) -> None:
        self.version, self.size, self._start, self._mend = version, size, start, mend
        self._up: list[Member] = []
        self._starting: dict[ray.ObjectRef, Member] = {}
        """By what tells that it is up."""
        for _ in range(size):
            self._begin(cpus)

    @property
    def members(self) -> list[Any]:
        """The actors, up or not."""
        return [member.actor for member in (*self._up, *self._starting.values())]

    def each(
        self, function: Callable[..., Any], tasks: Sequence[Sequence[Any]], actors: int | None = None
    ) -> Iterator[tuple[int, Any]]:
        """``function(policy, world, *task)`` for every task: its number and its answer, as they come, each once.

        A few tasks are under way at a time, and the next is handed out when an answer was taken: what is slow to take
        answers holds the actors back. The task of a lost actor is repeated: its answer depends on the task alone.

        Args:
            actors: that work on them, at most; None: all.

        Raises:
            InputError: as the function raised it (OSError, too), or a task has cost ATTEMPTS actors.
        """
        waiting, losses = deque(range(len(tasks))), Counter[int]()
        running: dict[ray.ObjectRef, tuple[int, Member]] = {}
        try:
            while waiting or running:
                while waiting and (member := self._next(len(waiting), actors, losses[waiting[0]] > 0)):
                    number = waiting.popleft()
                    answer = member.actor.do.remote(function, tasks[number])
                    running[answer] = number, member
                    member.todo.append(answer)
                if (done := self._first_of(running)) is None:
                    continue
                number, member = running.pop(done)
                try:
                    found = self._got(done)
                except LOST as error:
                    losses[number] += 1
                    self._lost(member, done)
                    if losses[number] == ATTEMPTS:
                        raise self._given_up(f"task {number + 1} of {len(tasks)}", error) from None
                    waiting.appendleft(number)
                    continue
                member.todo.remove(done)
                yield number, found
        finally:
            for answer, (_, member) in running.items():
                member.todo.remove(answer)

    def end(self) -> None:
        """End the actors."""
        for actor in self.members:
            ray.kill(actor)

    def _next(self, num_waiting: int, actors: int | None, trying: bool) -> Member | None:
        """Who gets the next task. One that is tried again waits for an actor that has none; so do the last, which may be
        long."""
        most = WAITING if num_waiting > self.size and not trying else 1
        free = [member for member in self._up[:actors] if len(member.todo) < (1 if member.is_trying else most)]
        found = min(free, key=lambda member: len(member.todo), default=None)
        if found is not None:
            found.is_trying = trying
        return found

    def _first_of(self, running: Mapping[ray.ObjectRef, Any]) -> ray.ObjectRef | None:
        """The first answer that is there; None where there is an actor more, or one less."""
        # Of what is there the first is taken: actors, which would be passed over where answers keep coming.
        seconds = None if self._up else PATIENCE_SECONDS
        done, _ = ray.wait([*self._starting, *running], num_returns=1, timeout=seconds)
        if done and done[0] in running:
            return done[0]
        if done:
            self._joined(done[0])
        elif all(member.cpus for member in self._starting.values()):
            progress.note(
                f"no actor came up in {PATIENCE_SECONDS:g} s, maybe for want of a free CPU: others wait for one, and one works "
                "beside what holds them"
            )
            self._begin(0.0)
        return None

    def _joined(self, is_up: ray.ObjectRef) -> None:
        """An actor is up, or was lost before."""
        member = self._starting.pop(is_up)
        try:
            self._got(is_up)
        except LOST as error:
            if getattr(error, "actor_init_failed", False):
                # What Python raised there it would raise again.
                raise InputError(f"no actor can hold the policy: {str(error).splitlines()[-1]}") from None
            if member.losses + 1 == ATTEMPTS:
                raise self._given_up("each actor that was to hold the policy", error) from None
            self._begin(member.cpus, member.losses + 1)
        else:
            self._up.append(member)

    def _lost(self, member: Member, answer: ray.ObjectRef) -> None:
        """Replace an actor of which an answer will not come."""
        member.todo.remove(answer)
        log.say("the answer of an actor was lost; its task is repeated", "warning")
        if member in self._up:
            self._up.remove(member)
            # Where an answer alone was lost, its actor lives on and would hold its CPU.
            ray.kill(member.actor)
            self._begin(member.cpus)

    def _begin(self, cpus: float, losses: int = 0) -> None:
        actor = self._start(cpus)
        self._starting[actor.is_up.remote()] = Member(actor, cpus, losses)

    def _got(self, answer: ray.ObjectRef) -> Any:
        """The answer. Raises InputError and OSError as the function raised them, and InputError where it found no memory."""
        try:
            return ray.get(answer)
        except RayTaskError as error:
            if isinstance(error.cause, InputError | OSError):
                raise error.cause from None
            if isinstance(error.cause, MemoryError):
                raise InputError(f"an actor found no memory ({error.cause}); {self._mend}") from None
            raise

    def _given_up(self, what: str, error: Exception) -> InputError:
        """Of Ray's words, those that say why."""
        said = " ".join(line for line in str(error).splitlines() if line.strip() and not line.startswith("\t"))
        return InputError(
            f"{what} was lost {ATTEMPTS} times, most often for want of memory ({said[:MOST_SAID]}); {self._mend}"
        )


@contextmanager
def actor_pool(
    folder: Path | Packed | None,
    world: Any,
    actors: int,
    cpus: float = 1.0,
    *,
    share_gpus: bool = False,
    mend: str = MEND,
    asks: ResourcesConfig = NOTHING_SAID,
    stage: Stage = "plan",
) -> Iterator[Pool]:
    """Actors that each hold the policy in ``folder``, at most as many as the cluster could hold; they end with the block.

    Args:
        folder: of this process's machine, or the policy's files, which the actors are sent. None: they hold the world alone.
        world: what all of them read.
        cpus: that each actor asks for, unless ``asks`` says otherwise.
        share_gpus: they also ask for the GPUs that there are, in equal shares, where all of them can have one; else they see
            none.
        mend: what to do where actors are lost, in words.
        asks: what each actor is given, where something is said of the stage.

    Raises InputError where no node that could hold one comes.
    """
    cluster.ensure()
    asked = resources.process(asks, stage, resources.GRAIN)
    resources.wait_for(asked, 1, asks)
    asked = resources.process(asks, stage, min(cpus, resources.largest(asked)))
    files = pack(folder) if isinstance(folder, Path) else folder
    shared = ray.put(files), ray.put(world)
    remote = ray.remote(max_restarts=0, max_task_retries=0)(Worker)
    size = max(1, min(actors, resources.held(asked)))
    if share_gpus and asks.of(stage).gpus is None:
        asked = resources.with_gpus(asked, size, resources.nodes())
    version = "" if files is None else json.loads(files[POLICY])["version"]

    def start(own: float) -> Any:
        return remote.options(**asked.with_cpus(own).options()).remote(*shared, log.context())

    pool = Pool(version, start, size, asked.cpus, mend)
    try:
        yield pool
    finally:
        if ray.is_initialized():
            pool.end()
