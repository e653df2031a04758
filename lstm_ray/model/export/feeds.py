"""What a graph is fed: its inputs by name, and a caller's series as their arrays. NumPy alone.

Everything is in the data's own units and on the policy's regular grid, gaps filled as ``filling`` says and marked. Shapes as in
``graph``; X steps that a caller sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import lagged_steps
from lstm_ray.data.scaling.units import beside
from lstm_ray.data.timeline import calendar
from lstm_ray.model.policy import Policy
from lstm_ray.model.request import SeriesInput, Told

Feeds = dict[str, NDArray]
BATCH, STEPS, AHEAD = "batch", "steps", "steps + horizon"
"""Axes of any length: sequences, steps of a history (whole patches), and those with the horizon behind them."""


@dataclass(frozen=True)
class Input:
    """One input of a graph."""

    name: str
    shape: tuple[str | int, ...]
    columns: list[str]
    """Of its last axis."""
    words: str
    dtype: str = "float32"


def calendar_columns(policy: Policy) -> list[str]:
    schema = policy.schema
    return calendar.names(schema.calendar) + ["holiday"] * bool(schema.holidays)


def inputs_of(policy: Policy) -> list[Input]:
    """The inputs that a policy's graph has, in order."""
    schema, window, forecasts = policy.schema, policy.config.window, policy.config.task == "forecast"
    long, targets = AHEAD if forecasts else STEPS, schema.target
    of_steps = "history and horizon" if forecasts else "the sequence"
    observed = "1 where a value was measured, 0 where it was filled in"
    inside = "1 for steps of the sequence, 0 for padding: behind it to whole patches"
    if policy.config.task == "label":
        inside = (
            "1 for steps of the series, 0 for padding: before it to whole patches, behind it to the longest of a batch"
        )
    found = [
        Input("target", (BATCH, STEPS, len(targets)), targets, "history; NaN is read as a typical value")
        if forecasts
        else None,
        None if forecasts else Input("inside", (BATCH, STEPS), [], inside),
        Input("past", (BATCH, STEPS, len(schema.past)), schema.past, "past inputs; NaN is read as a typical value")
        if schema.past
        else None,
        Input("observed", (BATCH, STEPS, len(schema.observed)), schema.observed, observed)
        if schema.observed and policy.config.task != "classify"
        else None,
        Input("known", (BATCH, long, len(schema.known)), schema.known, f"known and static columns over {of_steps}")
        if schema.known
        else None,
        Input("calendar", (BATCH, long, len(names)), names, f"of each step's time over {of_steps}, as 'calendar' tells")
        if (names := calendar_columns(policy))
        else None,
        Input(
            "lags",
            (BATCH, long, len(window.lags), len(targets)),
            targets,
            f"targets {window.lags} steps before each step of history and horizon; NaN where none is known",
        )
        if window.lags
        else None,
        Input(
            "category",
            (BATCH, len(schema.categories)),
            list(schema.categories),
            "codes, as 'categories' tells",
            "int64",
        )
        if schema.categories
        else None,
    ]
    if policy.scaler.series is not None:
        of_series = "of each series' targets, as 'series_units' tells"
        found += [
            Input("zero", (BATCH, len(targets)), targets, f"zero {of_series}"),
            Input("unit", (BATCH, len(targets)), targets, f"unit {of_series}"),
        ]
    return [one for one in found if one is not None]


def feeds(policy: Policy, series: Sequence[SeriesInput]) -> Feeds:
    """Some series as a graph's inputs, read as ``Policy.predict`` reads them. Raises InputError as it does.

    Forecasts are told from the policy's own history; ``Policy.reading`` makes one of a longer one.
    """
    task = policy.config.task
    horizon = policy.config.window.horizon if task == "forecast" else 0
    told = [
        policy.requests.told(item, f"series '{item.name or at}'", horizon, whole=task == "label")
        for at, item in enumerate(series)
    ]
    every = _forecast(policy, told) if task == "forecast" else _sequences(policy, told)
    return {one.name: every[one.name]() for one in inputs_of(policy)}


def _forecast(policy: Policy, told: Sequence[Told]) -> dict[str, Callable[[], NDArray]]:
    schema, kept, channels = policy.schema, policy.config.window.history, len(policy.schema.target)
    long = kept + policy.config.window.horizon
    own = beside([one.own for one in told if one.own is not None])
    return {
        "target": lambda: _floats([one.filled_TF[-kept:, :channels] for one in told]),
        "past": lambda: _floats([one.filled_TF[-kept:, channels:] for one in told]),
        "observed": lambda: _floats([one.observed_LF[:, :channels] for one in told]),
        "known": lambda: _floats([one.known_XK[-long:] for one in told]),
        "calendar": lambda: _floats(
            [schema.calendar_features(np.concatenate([one.time_T[-kept:], one.time_A])) for one in told]
        ),
        "lags": lambda: _floats([_lags(policy, one, long) for one in told]),
        "category": lambda: np.concatenate([one.category_BS for one in told]),
        "zero": lambda: np.zeros(0) if own is None else own.zero_BC,
        "unit": lambda: np.zeros(0) if own is None else own.unit_BC,
    }


def _lags(policy: Policy, told: Told, steps: int) -> NDArray:
    """[L + H, J, C], NaN where a lag was not sent."""
    lags, channels = policy.config.window.lags, len(policy.schema.target)
    target_XC = np.pad(told.filled_TF[:, :channels], ((0, len(told.time_A)), (0, 0)))
    present_1X = (np.arange(len(target_XC)) >= told.first)[None]
    found_TJC = lagged_steps(target_XC[None], present_1X, lags, steps)[0].reshape(steps, len(lags), channels + 1)
    return np.where(found_TJC[..., -1:] > 0, found_TJC[..., :-1], np.float32(np.nan))


def _sequences(policy: Policy, told: Sequence[Told]) -> dict[str, Callable[[], NDArray]]:
    """Sequences of any lengths, padded: labelled ones end with a whole patch, others begin with one."""
    schema, patch, num_past = policy.schema, policy.config.window.patch, len(policy.schema.past)
    lengths = [len(one.observed_LF) for one in told]
    leads = [-length % patch if policy.config.task == "label" else 0 for length in lengths]
    steps = max(-(-length // patch) * patch for length in lengths)

    def padded(parts: Sequence[NDArray]) -> NDArray:
        ends = zip(parts, leads, strict=True)
        return _floats([np.pad(part, ((lead, steps - lead - len(part)), (0, 0))) for part, lead in ends])

    return {
        "inside": lambda: padded([np.ones((length, 1)) for length in lengths])[..., 0],
        "past": lambda: padded([one.filled_TF[-n:] for one, n in zip(told, lengths, strict=True)]),
        "observed": lambda: padded([one.observed_LF[:, :num_past] for one in told]),
        "known": lambda: padded([one.known_XK[-n:] for one, n in zip(told, lengths, strict=True)]),
        "calendar": lambda: padded(
            [schema.calendar_features(one.time_T[-n:]) for one, n in zip(told, lengths, strict=True)]
        ),
        "category": lambda: np.concatenate([one.category_BS for one in told]),
    }


def _floats(parts: Sequence[NDArray]) -> NDArray:
    return np.stack(parts).astype(np.float32)
