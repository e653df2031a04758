"""A policy's network behind FastAPI and uvicorn as one would write it in an afternoon: one process, a request at a time.

It reads the same JSON and answers in the same shape; it checks types, and neither times, names, gaps nor ranges. To be run in
a process of its own. Shapes: L history, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from lstm_ray.model.network import forecaster
from lstm_ray.model.policy import Policy


class Series(BaseModel):
    times: list[str]
    columns: dict[str, list[float]]


class Request(BaseModel):
    series: list[Series]


def app(policy: Policy) -> FastAPI:
    """One route, POST /forecast."""
    found = FastAPI()

    @found.post("/forecast")
    async def forecast(request: Request) -> dict[str, Any]:
        return {"forecasts": [_told(forecast_one(policy, one), policy, one) for one in request.series]}

    return found


def serve(folder: str, port: int) -> None:
    """Answer until the process is ended."""
    torch.set_num_threads(1)
    uvicorn.run(app(Policy.load(Path(folder))), port=port, log_level="warning", access_log=False)


def forecast_one(policy: Policy, one: Series) -> np.ndarray:
    """[H, C, Q] in the data's own units: the arrays, the network, and back."""
    schema, scaler, window = policy.schema, policy.scaler, policy.config.window
    horizon = window.horizon

    def read(names: list[str], role: Any) -> torch.Tensor:
        values_LC = np.array([one.columns[name] for name in names], np.float32).reshape(len(names), len(one.times)).T
        return torch.from_numpy(np.pad(scaler.scale(values_LC, role), ((0, horizon), (0, 0)))[None].astype(np.float32))

    target_BTC, past_BTP = read(schema.target, "target"), read(schema.past, "past")
    observed_BTC = torch.ones_like(target_BTC)
    observed_BTC[:, -horizon:] = 0
    start = np.datetime64(one.times[0].rstrip("Z"), "us")
    times_T = start + np.arange(target_BTC.shape[1]) * np.timedelta64(schema.step, "us")
    known_BTK = torch.from_numpy(schema.calendar_features(times_T)[None].astype(np.float32))
    category_BS = torch.zeros(1, 0, dtype=torch.int64)
    with torch.inference_mode():
        raw_BNHCP = policy.network(target_BTC, observed_BTC, past_BTP, known_BTK, category_BS)[:, -1:]
        scaled_HCQ = forecaster(policy.network).forecast(raw_BNHCP)[0, 0].numpy()
    return scaler.unscale(scaled_HCQ[None], quantile_axis=True)[0]


def _told(values_HCQ: np.ndarray, policy: Policy, one: Series) -> dict[str, Any]:
    last = np.datetime64(one.times[-1].rstrip("Z"), "s")
    step = np.timedelta64(policy.schema.step, "us")
    times = [
        f"{time}Z" for time in (last + step * np.arange(1, len(values_HCQ) + 1)).astype("datetime64[s]").astype(str)
    ]
    targets = {
        name: {str(level): values_HCQ[:, c, q].tolist() for q, level in enumerate(policy.quantiles)}
        for c, name in enumerate(policy.schema.target)
    }
    return {"times": times, "targets": targets}
