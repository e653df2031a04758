"""What a scenario does to the inputs of one or many series. Knows columns; knows no models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Schema
from lstm_ray.errors import InputError, nearest
from lstm_ray.plan.starts import Start
from lstm_ray.sections.plan import ScenarioConfig

OPERATIONS: Mapping[str, Callable[[NDArray, float], NDArray]] = {
    "shift": np.add,
    "scale": np.multiply,
    "set": lambda values, value: np.full_like(values, value),
}


def under(start: Start, scenario: ScenarioConfig | None, schema: Schema) -> Start:
    """What would be known under a scenario; None changes nothing."""
    if scenario is None:
        return start
    hit_M = np.array([touches(scenario, name) for name in start.series])
    target_MXC, past_MLP, known_MTK = (v.copy() for v in (start.target_MXC, start.past_MLP, start.known_MTK))
    target_MXC[hit_M] = changed(target_MXC[hit_M], schema.target, scenario)
    past_MLP[hit_M] = changed(past_MLP[hit_M], schema.past, scenario)
    ahead = known_MTK[:, past_MLP.shape[1] :]
    ahead[hit_M] = changed_future(ahead[hit_M], schema.known, scenario)
    return replace(start, target_MXC=target_MXC, past_MLP=past_MLP, known_MTK=known_MTK)


def changed(values_TF: NDArray, columns: Sequence[str], scenario: ScenarioConfig) -> NDArray:
    """A copy in which the scenario's column differs in its newest ``steps`` rows (all, where steps is None).

    Args:
        values_TF: steps by columns, in the data's own units; leading axes (series, paths) are allowed.
        columns: names along the last axis. A scenario whose column is not among them changes nothing.
    """
    result = values_TF.copy()
    if scenario.column not in columns:
        return result
    rows = slice(-scenario.steps if scenario.steps else None, None)
    index = list(columns).index(scenario.column)
    result[..., rows, index] = OPERATIONS[scenario.operation](result[..., rows, index], scenario.value or 0.0)
    return result


def changed_future(known_HK: NDArray, columns: Sequence[str], scenario: ScenarioConfig) -> NDArray:
    """The same for columns known ahead: the scenario's first ``steps`` rows of the future."""
    flipped = np.flip(known_HK, axis=-2)
    return np.flip(changed(flipped, columns, scenario), axis=-2)


def require_known_series(scenarios: Sequence[ScenarioConfig], series: Sequence[str]) -> None:
    """Raises InputError where a scenario names a series that is not in the data: it would change nothing, unnoticed."""
    for scenario in scenarios:
        for name in scenario.series:
            if name not in series:
                raise InputError(
                    f"plan.scenarios '{scenario.name}': series '{name}' is not in the data{nearest(name, series)}"
                )


def touches(scenario: ScenarioConfig, series: str) -> bool:
    """Whether the scenario changes this series. ``series`` in the YAML names it as the tables do."""
    return not scenario.series or series in scenario.series
