"""Finished runs read back, and the cases that all of them answered. Knows run directories; knows no policy.

Legend: M common cases, K contenders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel

from lstm_ray.data.schema import Schema
from lstm_ray.data.store import load_schema
from lstm_ray.errors import InputError
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.told import CASES, METRICS
from lstm_ray.run_dir import RunDir

SERIES, TIME = "series_id", "time"
KEY = [SERIES, TIME]
YARDSTICK = "last_value"
"""A baseline that nothing is fitted for: of the same data it makes the same errors in every run."""
ALIKE = 1e-3
"""Share by which its errors may differ, for they are sums of 32-bit numbers."""


class _Metrics(BaseModel):
    """``evaluate/metrics.json``, as far as runs are held against each other by it."""

    task: str
    policy: str
    num_windows: int
    metrics: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    window: dict[str, int] = {}
    confusion: dict[str, Any] = {}


@dataclass(frozen=True)
class Finished:
    """One evaluated run."""

    name: str
    uri: str
    told: _Metrics
    config: dict[str, Any]
    """As ``config.yaml`` holds it."""
    schema: Schema
    cases: pl.DataFrame
    """``evaluate/cases.parquet``."""
    num_parameters: int | None
    training_seconds: float
    """Of the training, and of the stage that the chosen policy is from."""

    @property
    def asks(self) -> dict[str, object]:
        """What two runs must share, that their errors be of one kind."""
        data = self.config.get("data") or {}
        asks: dict[str, object] = {"task": self.told.task, "step": self.schema.step}
        if self.told.task == "forecast":
            return asks | {"data.target": self.schema.target, "window.horizon": self.told.window.get("horizon")}
        return asks | {"data.label": data.get("label"), "classes": self.schema.classes}


@dataclass(frozen=True)
class Matched:
    """Every contender's error in each case that all of them answered."""

    task: str
    names: list[str]
    """[K] runs, then baselines of the first run."""
    num_runs: int
    error_MK: NDArray
    """Mean absolute error of a window (of a step's value), or 1 for a class told wrong."""
    step_M: NDArray
    """Number of each case's origin (first step, step) on the common time axis."""
    time_M: NDArray
    series_M: NDArray
    """Index into ``series``."""
    series: list[str]
    dependence: int
    """Steps apart from which cases share nothing that they are told from; 1 for whole sequences."""
    horizon: int
    left_out: dict[str, int]
    """Cases of each run that another run did not answer."""

    @property
    def unit(self) -> str:
        return {"forecast": "windows", "classify": "sequences", "label": "labelled steps"}[self.task]


def read(places: Sequence[str]) -> list[Finished]:
    """The runs, each with a name of its own. Raises InputError where one was not evaluated, or one is named twice."""
    if len(places) < 2:
        raise InputError(f"found {len(places)} run; name at least two run directories to compare")
    names = _names(places)
    return [_read(place, name) for place, name in zip(places, names, strict=True)]


def matched(runs: Sequence[Finished], *, baselines: bool = True) -> Matched:
    """The cases that all runs answered, by series and time.

    Args:
        baselines: those of the first run that answered every one of these cases join in.

    Raises:
        InputError: the runs' errors are of different kinds, or they have no case in common.
    """
    _require_alike(runs)
    frames = [run.cases.drop_nulls(POLICY).select(*KEY, pl.col(POLICY).alias(f"run {k}")) for k, run in enumerate(runs)]
    common = reduce(lambda one, other: one.join(other, on=KEY, how="inner"), frames).sort(TIME, SERIES)
    if not common.height:
        spans = "; ".join(f"'{run.name}' {' to '.join(map(str, _ends(run.cases)))}" for run in runs)
        raise InputError(
            f"the runs have no test case in common ({spans}): evaluate them on the same source with the same split"
        )
    _require_same_truth(runs)
    columns = {run.name: common[f"run {k}"].to_numpy() for k, run in enumerate(runs)}
    if baselines:
        others = common.join(runs[0].cases, on=KEY, how="left", maintain_order="left")
        whole = [name for name in runs[0].cases.columns if name not in (*KEY, POLICY) and not others[name].null_count()]
        columns |= {name.replace("_", " "): others[name].to_numpy() for name in whole}
    schema, task = runs[0].schema, runs[0].told.task
    ticks = schema.ticks(common[TIME].to_numpy())
    names, index = np.unique(common[SERIES].to_numpy().astype(np.str_), return_inverse=True)
    horizon = int(runs[0].told.window.get("horizon", 1))
    reach = {"forecast": horizon, "classify": 1}.get(task, max(run.told.window.get("history", 1) for run in runs))
    return Matched(
        task=task,
        names=list(columns),
        num_runs=len(runs),
        error_MK=np.stack([values.astype(np.float64) for values in columns.values()], axis=1),
        step_M=(ticks - ticks.min()) // schema.step,
        time_M=common[TIME].to_numpy(),
        series_M=index,
        series=names.tolist(),
        dependence=int(reach),
        horizon=horizon,
        left_out={run.name: frame.height - common.height for run, frame in zip(runs, frames, strict=True)},
    )


def differences(runs: Sequence[Finished]) -> list[tuple[str, list[Any]]]:
    """The fields of the YAML in which runs differ, each with its value in every run; None where a run lacks it."""
    flat = [dict(_flat(run.config)) for run in runs]
    fields = sorted({field for one in flat for field in one} - {"name"})
    values = {field: [one.get(field) for one in flat] for field in fields}
    return [(field, found) for field, found in values.items() if any(value != found[0] for value in found[1:])]


def _ends(cases: pl.DataFrame) -> tuple[Any, Any]:
    """First and last time."""
    times = cases[TIME].sort()
    return (times[0], times[-1]) if len(times) else ("nothing", "nothing")


def _names(places: Sequence[str]) -> list[str]:
    """The last part of each path, or as much of it as tells the runs apart."""
    runs = [RunDir(place) for place in places]
    # However a directory is spelled, and over whatever links, it is one run.
    parts = [(str(run.local.resolve()) if run.local else run.uri.rstrip("/")).split("/") for run in runs]
    if twice := [place for place, number in Counter("/".join(part) for part in parts).items() if number > 1]:
        raise InputError(f"the run '{twice[0]}' is named twice; name different run directories")
    depth = 1
    while len({"/".join(part[-depth:]) for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def _read(place: str, name: str) -> Finished:
    run = RunDir(place)
    if not run.exists(f"evaluate/{METRICS}"):
        raise InputError(f"'{place}' holds no evaluated run (no evaluate/{METRICS}); run its stage 'evaluate' first")
    if not run.exists(f"evaluate/{CASES}"):
        raise InputError(
            f"'{place}' was evaluated by an older version, which kept no errors by case; run its stage 'evaluate' again with "
            "--force"
        )
    told = run.read_model(f"evaluate/{METRICS}", _Metrics)
    with run.local_copy("evaluate") as folder:
        try:
            cases = pl.read_parquet(folder / CASES)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise run.damaged(f"evaluate/{CASES}", str(error).partition("\n")[0]) from None
    reports = {stage: run.report(stage) for stage in ("train", "evaluate", told.policy)}
    seconds = {stage: found.wall_seconds for stage, found in reports.items() if found and stage != "evaluate"}
    extra = reports["evaluate"].model_extra if reports["evaluate"] else None
    config = yaml.safe_load(run.read_bytes("config.yaml")) if run.exists("config.yaml") else {}
    return Finished(
        name=name,
        uri=run.uri,
        told=told,
        config=config or {},
        schema=load_schema(run),
        cases=cases,
        num_parameters=(extra or {}).get("num_parameters"),
        training_seconds=sum(seconds.values()),
    )


def _require_alike(runs: Sequence[Finished]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for what, value in run.asks.items():
            if value != first.asks.get(what):
                raise InputError(
                    f"the runs' errors are not of one kind: {what} is {first.asks.get(what)} in '{first.name}' and {value} in "
                    f"'{run.name}'; compare runs that answer the same question"
                )


def _require_same_truth(runs: Sequence[Finished]) -> None:
    """Where the last value's errors are not the same, what came is not: another unit, or another table."""
    held = [run for run in runs if YARDSTICK in run.cases.columns]
    for run in held[1:]:
        both = (
            held[0].cases.join(run.cases, on=KEY, suffix=" other").select(YARDSTICK, f"{YARDSTICK} other").drop_nulls()
        )
        one, other = both[YARDSTICK].to_numpy(), both[f"{YARDSTICK} other"].to_numpy()
        off = np.abs(one - other) > ALIKE * np.maximum(np.abs(one), np.abs(other))
        # A history that was imputed in another way ends in another value here and there.
        if off.mean() > 0.5:
            factor = float(np.median(other[one > 0] / one[one > 0])) if (one > 0).any() else float("nan")
            raise InputError(
                f"'{held[0].name}' and '{run.name}' were not tested on the same values: the last value's errors differ in "
                f"{off.mean():.0%} of their common windows, by a factor of {factor:.3g}; compare runs on one table in one unit"
            )


def _flat(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        return [pair for key, value in tree.items() for pair in _flat(value, f"{path}.{key}" if path else str(key))]
    return [(path, tree)]
