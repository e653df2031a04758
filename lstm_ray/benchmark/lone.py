"""What one caller waits for in Python, on one thread. To be called in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from lstm_ray.benchmark import untrained
from lstm_ray.model import streaming

Answer = TypeVar("Answer")
WARM_UP = 20
OBSERVE, TOLD, STATELESS = "observe", "forecast from the state", "policy.predict"


def predict_ms(windows: list[dict[str, int]], repeats: int) -> list[list[float]]:
    """Milliseconds of each ``policy.predict([series])``, for each window (``untrained.config``), asked in turns."""
    torch.set_num_threads(1)
    found: list[list[float]] = [[] for _ in windows]
    configs = [untrained.config(**window) for window in windows]
    policies = [untrained.policy(config) for config in configs]
    for number in range(repeats):
        for times, config, policy in zip(found, configs, policies, strict=True):
            times.append(_milliseconds(policy.predict, [untrained.series(config, number)])[0])
    return [times[WARM_UP:] for times in found]


def stream_ms(histories: list[int], repeats: int) -> dict[str, list[list[float]]]:
    """Milliseconds of a stream's one step, of a forecast from its state, and of one that reads the history again: for each
    length of the policy's history, in turns."""
    torch.set_num_threads(1)
    found: dict[str, list[list[float]]] = {name: [[] for _ in histories] for name in (OBSERVE, TOLD, STATELESS)}
    configs = [untrained.config(history=history) for history in histories]
    policies = [untrained.policy(config) for config in configs]
    series = [untrained.series(config, 0, config.window.history + repeats) for config in configs]
    states = [
        streaming.begin(policy, untrained.part(one, 0, history))
        for policy, one, history in zip(policies, series, histories, strict=True)
    ]
    for number in range(repeats):
        for h, (history, policy) in enumerate(zip(histories, policies, strict=True)):
            end = history + number + 1
            new, whole = untrained.part(series[h], end - 1, end), untrained.part(series[h], number + 1, end)
            took, states[h] = _milliseconds(streaming.observe, policy, states[h], new.times, new.columns)
            found[OBSERVE][h].append(took)
            found[TOLD][h].append(_milliseconds(streaming.forecast, policy, states[h])[0])
            found[STATELESS][h].append(_milliseconds(policy.predict, [whole])[0])
    return {name: [times[WARM_UP:] for times in of] for name, of in found.items()}


def _milliseconds(call: Callable[..., Answer], *given: Any) -> tuple[float, Answer]:
    began = time.perf_counter()
    answer = call(*given)
    return 1000 * (time.perf_counter() - began), answer
