"""Callers' series of other lengths, to try a graph on. NumPy alone.

Values are repeated, so a longer series is none that was ever measured; what matters is that policy and graph read the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.model.export.feeds import Feeds, feeds
from lstm_ray.model.policy import Classification, Forecast, Policy
from lstm_ray.model.request import SeriesInput

LEAST = 3
"""Patches of a sequence to classify or label, at least; shorter ones are padded. A graph that is traced with fewer takes
some of its lengths for constants."""
BATCHES = (1, 3, 16)


@dataclass(frozen=True)
class Trial:
    """One request to a graph, and the policy's answers to it."""

    feeds: Feeds
    answers: list[NDArray]
    """Of each series; the newest steps of a graph's where it answers every step."""
    steps: int


def least(policy: Policy) -> int:
    """Patches of a graph's sequences, at least."""
    window = policy.config.window
    return window.history // window.patch if policy.config.task == "forecast" else LEAST


def of_length(item: SeriesInput, steps: int, policy: Policy) -> SeriesInput:
    """The newest ``steps`` of a series; before its first they begin again from its last one."""
    given, schema = len(item.times), policy.schema
    at = np.arange(given - steps, given) % given
    last = int(policy.requests.ticks(item.times[-1:], f"series '{item.name}'")[0])
    return SeriesInput(
        times=schema.of_ticks(last + schema.step * np.arange(1 - steps, 1)),  # type: ignore[arg-type]
        columns={name: np.asarray(values, dtype=np.float64)[at] for name, values in item.columns.items()},
        future=item.future,
        name=item.name,
        static=item.static,
    )


def traced(policy: Policy, item: SeriesInput) -> Feeds:
    """What a graph is traced with: two sequences, longer than any that a policy reads."""
    patch, patches = (
        policy.config.window.patch,
        max(least(policy), policy.config.window.history // policy.config.window.patch),
    )
    steps = (patches + 3) * patch
    return _read(policy, [item, item], steps)[0]


def trials(policy: Policy, series: Sequence[SeriesInput], batches: Sequence[int] = BATCHES) -> Iterator[Trial]:
    """Requests of other sizes and lengths than a graph was traced with."""
    window = policy.config.window
    longest = window.history
    if policy.config.task == "label":
        # What is told in one go; a policy reads longer series in parts.
        longest = min(longest, policy.config.train.origins * window.patch)
    others = (
        [longest + window.patch, 2 * longest]
        if policy.config.task == "forecast"
        else [longest // 2, LEAST * window.patch]
    )
    for steps in sorted(
        {max(1, min(size, longest) if policy.config.task != "forecast" else size) for size in (longest, *others)}
    ):
        for batch in batches:
            some = [series[at % len(series)] for at in range(batch)]
            fed, asked, items = _read(policy, some, steps)
            yield Trial(fed, [answer_of(found) for found in asked.predict(items)], steps)


def answer_of(found: object) -> NDArray:
    """The numbers of a prediction."""
    if isinstance(found, Forecast):
        return found.values_HCQ
    return found.probabilities if isinstance(found, Classification) else found.answer_LA  # type: ignore[attr-defined]


def _read(policy: Policy, some: Sequence[SeriesInput], steps: int) -> tuple[Feeds, Policy, list[SeriesInput]]:
    """Series of a length as a graph is fed with them, and the policy that reads as much of them."""
    asked, length = policy, steps
    if policy.config.task == "forecast":
        asked = policy.reading(-(-steps // policy.config.window.patch) * policy.config.window.patch)
        length = reach(asked.config.window)
    items = [of_length(item, length, policy) for item in some]
    return padded(feeds(asked, items), policy), asked, items


def padded(fed: Feeds, policy: Policy) -> Feeds:
    """With as many patches as a graph reads at least."""
    if policy.config.task == "forecast":
        return fed
    short = LEAST * policy.config.window.patch - fed["inside"].shape[1]
    if short <= 0:
        return fed
    behind = {name: [(0, 0), (0, short)] + [(0, 0)] * (values.ndim - 2) for name, values in fed.items()}
    return {name: values if name == "category" else np.pad(values, behind[name]) for name, values in fed.items()}
