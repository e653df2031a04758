"""Actors that each hold one policy and one copy of the world, and the queue that feeds them. Knows no stage."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import cluster
from lstm_ray.plan.starts import World

WAITING = 2
"""Tasks an actor has at a time: one it works on and one that waits, so that it never idles and nothing piles up."""


class Worker:
    """Holds one policy. Runs as a Ray actor, where the world comes from the object store without a copy, or as it is."""

    def __init__(self, policy_folder: str) -> None:
        torch.set_num_threads(1)
        self.policy = Policy.load(policy_folder)

    def do(self, function: Callable[..., Any], world: World, given: Sequence[Any]) -> Any:
        """``function(policy, world, *given)``."""
        return function(self.policy, world, *given)


@dataclass(frozen=True)
class Pool:
    """Actors, and the world that they share one copy of."""

    members: list[Any]
    world: ray.ObjectRef

    def each(self, function: Callable[..., Any], tasks: Sequence[Sequence[Any]]) -> Iterator[tuple[int, Any]]:
        """``function(policy, world, *task)`` for every task: its number and its answer, as they come, each once.

        A few tasks are under way at a time, and the next is handed out when an answer was taken: what is slow to take
        answers holds the actors back.
        """
        waiting = deque(range(len(tasks)))
        free = deque(self.members * WAITING)
        running: dict[ray.ObjectRef, tuple[int, Any]] = {}
        while waiting or running:
            while waiting and free:
                number, actor = waiting.popleft(), free.popleft()
                running[actor.do.remote(function, self.world, tasks[number])] = number, actor
            (done,), _ = ray.wait(list(running), num_returns=1)
            number, actor = running.pop(done)
            free.append(actor)
            yield number, ray.get(done)


@contextmanager
def actor_pool(folder: Path, world: World, actors: int) -> Iterator[Pool]:
    """Actors that each hold the policy in ``folder``; they end with the block.

    A lost actor is started again and its task repeated: what it answers depends on seed and task alone, so none differs.
    """
    cluster.ensure()
    remote = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(Worker)
    started: list[Any] = [remote.remote(str(folder)) for _ in range(max(1, min(actors, cluster.num_cpus())))]
    try:
        yield Pool(started, ray.put(world))
    finally:
        for actor in started:
            ray.kill(actor)
