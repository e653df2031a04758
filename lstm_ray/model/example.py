"""A series that a policy can be asked about, made up from its training statistics alone. Knows no HTTP."""

from __future__ import annotations

import numpy as np

from lstm_ray.data.lags import reach
from lstm_ray.model.policy import Policy
from lstm_ray.model.request import SeriesInput


def example(policy: Policy) -> SeriesInput:
    """A series that the policy answers: targets wave about their training mean, others stay at it. Nothing real is in it."""
    schema, window, scaler = policy.schema, policy.config.window, policy.scaler
    horizon = window.horizon if policy.config.task == "forecast" else 0
    past = reach(window)
    steps = np.arange(past + horizon)
    columns: dict[str, list[float]] = {}
    wave_T1 = 0.5 * np.sin(2 * np.pi * steps / window.season)[:, None]
    centre = scaler.scale(np.array([scaler.centre("target")], dtype=np.float32), "target")
    target_TC = scaler.unscale(centre + wave_T1.astype(np.float32) * scaler.spread("target"))
    for name, values_T in zip(schema.target, target_TC.T, strict=True):
        columns[name] = [float(f"{value:.5g}") for value in values_T]
    for inputs, scale in ((schema.past, scaler.past), (schema.known, scaler.known)):
        for name, mean in zip(inputs, scale.mean, strict=True):
            columns[name] = [float(f"{mean:.5g}")] * len(steps)
    return SeriesInput(
        times=schema.times(steps)[:past],  # type: ignore[arg-type]
        columns={name: values[:past] for name, values in columns.items()},
        future={name: columns[name][past:] for name in schema.known} if horizon else {},
        name="example",
        static={name: values[0] for name, values in schema.categories.items()},
    )
