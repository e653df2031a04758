"""What an ONNX file's inputs and answer mean, as JSON beside it, with a program that asks it. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.schema import MIN_OWN, NORMAL_QUARTILES
from lstm_ray.model.example import example
from lstm_ray.model.export.feeds import Input, feeds
from lstm_ray.model.export.lengths import answer_of, least, padded
from lstm_ray.model.policy import Policy

CALENDAR = {
    "hour": "2 pi times the share of the day that has passed",
    "weekday": "2 pi times the share of the week, from Monday 00:00, that has passed",
    "month": "2 pi times the months since January, 0 to 11, by 12",
}
"""The angle of which a cycle's columns are sine and cosine."""
EXAMPLE = '''"""Asks NAME with onnxruntime and NumPy alone; run it beside the file."""
import json

import numpy as np
import onnxruntime

told = json.load(open("NAME.json", encoding="utf-8"))
session = onnxruntime.InferenceSession("NAME", providers=["CPUExecutionProvider"])
# Each input in the data's own units, in the order of its columns; null is NaN. Here the made-up sample, twice in one batch.
feeds = {}
for one in told["inputs"]:
    values = np.array(told["sample"]["inputs"][one["name"]], dtype=one["dtype"])
    feeds[one["name"]] = np.concatenate([values, values])
    print(one["name"], one["shape"], feeds[one["name"]].shape, one["columns"])
answer = session.run([told["output"]["name"]], feeds)[0]
expected = np.array(told["sample"]["answer"])
print(told["output"]["name"], told["output"]["shape"], answer.shape, told["output"]["columns"])
print("largest difference from the policy:", np.abs(answer - expected).max())
'''


def write(policy: Policy, file: Path, inputs: Sequence[Input], output: str, shape: Sequence[str | int]) -> None:
    """``policy.onnx.json`` and ``policy.onnx.py`` beside ``policy.onnx``."""
    told = described(policy, inputs, output, shape)
    file.with_name(f"{file.name}.json").write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")
    file.with_name(f"{file.name}.py").write_text(EXAMPLE.replace("NAME", file.name), encoding="utf-8")


def described(policy: Policy, inputs: Sequence[Input], output: str, shape: Sequence[str | int]) -> dict[str, Any]:
    """Inputs, answer, steps, and what a caller computes: calendar, fillings, codes, units. Nothing of it is a training row."""
    config, schema, window = policy.config, policy.schema, policy.config.window
    unit = "month" if schema.in_months else "microsecond" if schema.is_time else "unit of the integer steps"
    forecasts = config.task == "forecast"
    return {
        "policy": policy.version,
        "task": config.task,
        "inputs": [asdict(one) for one in inputs],
        "output": {
            "name": output,
            "shape": list(shape),
            "columns": schema.target if forecasts else schema.classes or [schema.label],
            "quantiles": policy.quantiles if forecasts else None,
            "words": "in the data's own units"
            if forecasts or not schema.classes
            else "probabilities, in the order of columns",
        },
        "steps": {
            "length": schema.step,
            "unit": unit,
            "patch": window.patch,
            "history": window.history,
            "least": least(policy) * window.patch,
            "horizon": window.horizon if forecasts else 0,
            "words": "'steps' is any whole number of patches from 'least' on; 'history' is what Policy.predict reads",
        },
        "calendar": {
            "cycles": {cycle: CALENDAR[cycle] for cycle in schema.calendar},
            "clock": schema.time_zone or "the times' own" if schema.local_clock else schema.time_zone or "UTC",
            "holidays": schema.holidays,
        },
        "filling": {
            **Filling.of(config.preprocess, window).model_dump(),
            "max_gap_steps": config.preprocess.max_gap_steps,
        },
        "categories": {
            name: {value: code + 1 for code, value in enumerate(v)} for name, v in schema.categories.items()
        },
        "series_units": _series_units(policy),
        "sample": _sample(policy),
        "example": EXAMPLE.replace("NAME", "policy.onnx").splitlines(),
    }


def _series_units(policy: Policy) -> dict[str, Any] | None:
    """How the inputs zero and unit come about, where each series has its own units."""
    own, transform = policy.scaler.series, policy.scaler.transform
    if own is None:
        return None
    zero, unit = policy.scaler.units("target")
    measures = {
        "standard": "mean and deviation",
        "robust": f"median and the distance of the quartiles by {NORMAL_QUARTILES}",
        "minmax": "least value and distance to the greatest",
    }
    return {
        "of": own.of,
        "words": f"'of' holds the zeros and then the units of a known series' targets; of another, {measures[own.scale]} "
        f"of the measured values among its newest {own.steps} steps, where there are {MIN_OWN}, else 'else'",
        "transform": None
        if transform is None
        else f"values are first transformed: {transform.kind}, {transform.model_dump()}",
        "else": [*map(float, zero), *map(float, unit)],
    }


def _sample(policy: Policy) -> dict[str, Any]:
    """A made-up series and the policy's answer to it."""
    item = example(policy)
    fed = padded(feeds(policy, [item]), policy)
    [found] = policy.predict([item])
    inputs = {name: _plain(values.tolist()) for name, values in fed.items()}
    return {"inputs": inputs, "answer": [answer_of(found).tolist()]}


def _plain(values: Any) -> Any:
    """Nested lists with None for NaN, which JSON does not know."""
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return None if values != values else values
