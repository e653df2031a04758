"""A forecast's errors by declared groups of series: what ``evaluate.groups`` judges, from scores. Knows a view; no model.

Legend: N series, G groups, C target channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.evaluate import groups
from lstm_ray.evaluate.forecasts.metrics import ForecastSums
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import series_names
from lstm_ray.evaluate.groups import Errors, Grouping
from lstm_ray.evaluate.told import Told

MORE = ("mase", "bias", "coverage")
"""Told beside the error, where there is one: whether a group is only larger, which way it errs, and whether intervals hold."""


def by_group(view: View, config: Config) -> list[Told]:
    """One part of the evaluation; none where no groups are declared."""
    settings = config.evaluate
    if not settings.groups:
        return []
    found = groups.groupings(view.segments, settings.groups, config.data.series_id)
    scores, one = view.scores[view.policy], len(view.deviation_C) == 1
    # Of several targets each counts in its own deviations.
    error_M = scores.absolute_M if one else np.nan_to_num(scores.scaled_M) * scores.count_M
    errors = Errors(
        error_M,
        scores.count_M,
        view.segments.series_of(view.origins_M),
        view.segments.steps(view.origins_M),
        max(view.window.horizon, view.window.season),
        "mean absolute error" if one else "mean absolute error in training deviations",
        "windows",
        more={grouping.column: _more(view, grouping) for grouping in found},
    )
    return [groups.told(errors, found, settings.max_gap)]


def _more(view: View, grouping: Grouping) -> dict[str, NDArray]:
    """Further metrics of each group, [G]: sums of its series divided once."""
    names, series_S = series_names(view.segments)
    group_N = np.zeros(len(names), np.int64)
    group_N[series_S] = grouping.index_S
    sums = view.sums(view.policy, "series")

    def grouped(value_NC: NDArray) -> NDArray:
        found_GC = np.zeros((len(grouping.values), value_NC.shape[1]))
        np.add.at(found_GC, group_N, value_NC)
        return found_GC

    columns = ForecastSums(sums.quantiles, {name: grouped(value) for name, value in sums.sums.items()}).columns()
    return {name: columns[name] for name in MORE if name in columns}
