"""How a shadow's answer lies beside the champion's to the same request. Knows their JSON; knows no HTTP server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np

from lstm_ray.model.policy import Policy
from lstm_ray.monitor.traffic import Compared


def comparing(policy: Policy) -> Callable[[bytes, bytes], Compared]:
    """What holds the champion's answer against this policy's, both the JSON of one route.

    Medians and values are told apart in this policy's training deviations, classes by whether they are the same.
    """
    schema, scaler = policy.schema, policy.scaler

    def forecast(champion: Any, own: Any) -> Compared:
        found = Compared()
        for c, target in enumerate(schema.target):
            pairs = zip(champion["forecasts"], own["forecasts"], strict=True)
            medians = [(a["targets"][target]["median"], b["targets"][target]["median"]) for a, b in pairs]
            found.add(_values(medians, float(scaler.target_deviation[c])))
        return found

    def classify(champion: Any, own: Any) -> Compared:
        pairs = zip(champion["classifications"], own["classifications"], strict=True)
        return _classes(([a["label"]], [b["label"]]) for a, b in pairs)

    def label(champion: Any, own: Any) -> Compared:
        pairs = [(a["labels"], b["labels"]) for a, b in zip(champion["labellings"], own["labellings"], strict=True)]
        return _classes(pairs) if schema.classes else _values(pairs, scaler.label.deviation[0] if scaler.label else 1.0)

    compare = {"forecast": forecast, "classify": classify, "label": label}[policy.config.task]
    return lambda champion, own: compare(json.loads(champion), json.loads(own))


def _values(pairs: Iterable[tuple[list[float], list[float]]], deviation: float) -> Compared:
    a, b = (np.array(list(chain.from_iterable(side)), dtype=np.float64) for side in zip(*pairs, strict=True))
    return Compared(num_values=len(a), difference=float(np.abs(a - b).sum()) / deviation)


def _classes(pairs: Iterable[tuple[list[str], list[str]]]) -> Compared:
    flat = [pair for a, b in pairs for pair in zip(a, b, strict=True)]
    return Compared(num_classes=len(flat), num_same=sum(a == b for a, b in flat))
