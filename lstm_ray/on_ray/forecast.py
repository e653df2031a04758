"""Batch forecasts: new rows in, one Parquet file out, by actors that hold the policy. Ray Data spreads whole series."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import torch

from lstm_ray.data.lags import reach
from lstm_ray.data.preparing.unseen import require_same_grid
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Classification, Forecast, Labelling, Policy, SeriesInput
from lstm_ray.on_ray import cluster
from lstm_ray.run_dir import to_json
from lstm_ray.serving.bundle import Packed, find, unpack
from lstm_ray.serving.service import Asked, answer

ROWS_PER_BLOCK = 250_000
"""Rows that an actor predicts from at a time; a series is never cut."""
SERIES_PER_BATCH = 512
MAX_LISTED = 1_000
"""Series without a prediction that the summary names; of more it tells how many."""
MAX_BEFORE = 10_000
"""Steps before a history that are read for what they tell of it, at most."""
AHEAD = "ahead"
"""Column that tells rows of the future from those of the history."""
WARNINGS, REFUSED = "warnings", "refused"


@dataclass(frozen=True)
class Prepared:
    """What goes to the actors, and what cannot."""

    rows: pl.DataFrame
    """Of each series that can be predicted, its newest history and the future that is known."""
    skipped: list[dict[str, str]]
    """Series and reason."""


def forecast_files(run: str | Path, data: str | list[str], out: str | Path) -> dict[str, Any]:
    """Predict what follows the last step of every series of some files.

    The columns have the same names and roles as in training. A series ends at its last step with a measured target; rows
    after it hold the known inputs of the horizon. One row is written for every series, step and target (for every sequence
    that is classified, or every step that is labelled), sorted. A series that cannot be predicted is named in the summary.

    Args:
        run: a run directory, or a policy's folder.
        data: as ``data.source`` in the YAML.
        out: Parquet file to write, whole or not at all. Its summary goes beside it, to ``OUT.summary.json``.

    Returns:
        The summary: ``{"policy", "out", "num_series", "num_rows", "num_warned", "num_skipped", "skipped"}``.

    Raises:
        InputError: no policy or no data there, or no series that can be predicted.
    """
    files = find(run)
    policy = unpack(files)
    out = Path(out)
    if out.is_dir():
        raise InputError(f"--out '{out}' is a directory; name a file such as {out / 'forecasts.parquet'}")
    prepared = prepare(data, policy)
    skipped = list(prepared.skipped)
    predicted: set[str] = set()
    warned: set[str] = set()
    num_rows = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{uuid4().hex[:8]}.tmp")
    try:
        with pq.ParquetWriter(temporary, _schema(policy)) as writer:
            for table in _predicted(prepared.rows, files, policy):
                found = pl.from_arrow(table)
                assert isinstance(found, pl.DataFrame)
                refused = found.filter(pl.col(REFUSED).is_not_null())
                skipped += [{"series": row[SERIES], "reason": row[REFUSED]} for row in refused.iter_rows(named=True)]
                found = found.filter(pl.col(REFUSED).is_null()).drop(REFUSED)
                predicted.update(found[SERIES])
                warned.update(found.filter(pl.col(WARNINGS) != "")[SERIES])
                num_rows += found.height
                writer.write_table(found.to_arrow().cast(_schema(policy)))
        if not predicted:
            reasons = "; ".join(f"'{item['series']}': {item['reason']}" for item in skipped[:3])
            raise InputError(f"none of the {len(skipped)} series of {data!r} can be predicted, such as {reasons}")
        summary = {
            "policy": policy.version,
            "out": str(out),
            "num_series": len(predicted),
            "num_rows": num_rows,
            "num_warned": len(warned),
            "num_skipped": len(skipped),
            "skipped": skipped[:MAX_LISTED],
        }
        os.replace(temporary, out)
        out.with_name(f"{out.name}.summary.json").write_bytes(to_json(summary))
    finally:
        temporary.unlink(missing_ok=True)
    return summary


def prepare(data: str | list[str], policy: Policy) -> Prepared:
    """Read new rows with the policy's roles and cut each series to what a prediction needs.

    Raises InputError where the files do not hold what the roles say, or lie on another grid than the policy's.
    """
    schema, window, roles = policy.schema, policy.config.window, policy.config.data
    forecast = policy.config.task == "forecast"
    frame = grid.load(roles.model_copy(update={"source": data, "label": None, "label_kind": "auto", "weight": None}))
    require_same_grid(frame, roles, schema)
    frame = grid.on_grid(frame, schema.step, roles)
    horizon = window.horizon if forecast and schema.known else 0
    if horizon:
        frame = _extended(frame, horizon, schema.step)
        frame = frame.with_columns(pl.col(roles.static).forward_fill().backward_fill().over(SERIES))
    frame = frame.with_columns(pl.col(c).forward_fill().backward_fill().over(SERIES) for c in schema.categories)
    measured = pl.any_horizontal(pl.col(c).is_not_null() for c in schema.target) if forecast else pl.lit(True)
    step = pl.int_range(pl.len()).over(SERIES)
    frame = frame.with_columns(_lead=step - pl.when(measured).then(step).otherwise(None).max().over(SERIES))
    frame = frame.with_columns(pl.col("_lead").gt(0).alias(AHEAD))
    oldest = pl.col("_lead").min() if policy.config.task == "label" else _oldest(policy)
    frame = frame.with_columns(_near=pl.col("_lead").is_between(oldest, horizon))
    facts = frame.group_by(SERIES, maintain_order=True).agg(
        (pl.col("_near") & ~pl.col(AHEAD)).sum().alias("_steps"),
        *(pl.col(c).filter(pl.col("_near") & pl.col(AHEAD)).count() for c in (roles.known if horizon else [])),
    )
    reasons = {row[SERIES]: reason for row in facts.iter_rows(named=True) if (reason := _reason(row, policy))}
    rows = frame.filter(pl.col("_near") & ~pl.col(SERIES).is_in(list(reasons)))
    rows = rows.select(SERIES, TIME, *schema.target, *schema.past, *schema.known, AHEAD, *schema.categories)
    return Prepared(rows, [{"series": name, "reason": reason} for name, reason in reasons.items()])


def predict_block(policy: Policy, rows: pl.DataFrame) -> pl.DataFrame:
    """Predict whole series (``Prepared.rows``); a series that the policy refuses becomes one row that says why."""
    inputs = [_input(part, policy) for part in rows.partition_by(SERIES, maintain_order=True)]
    answers: list[Any] = []
    for first in range(0, len(inputs), SERIES_PER_BATCH):
        answers += answer(policy, [Asked([item]) for item in inputs[first : first + SERIES_PER_BATCH]])
    refused = {
        item.name: str(found) for item, found in zip(inputs, answers, strict=True) if isinstance(found, InputError)
    }
    good = [found[0] for found in answers if not isinstance(found, InputError)]
    table = TABLES[policy.config.task](good, policy)
    told = pl.DataFrame(
        {SERIES: list(refused), REFUSED: list(refused.values())}, {SERIES: pl.String, REFUSED: pl.String}
    )
    kinds = pl.from_arrow(_schema(policy).empty_table())
    assert isinstance(kinds, pl.DataFrame)
    return pl.concat([kinds, table, told], how="diagonal_relaxed")


class _Predictor:
    """An actor of Ray Data that holds the policy."""

    def __init__(self, files: Packed) -> None:
        torch.set_num_threads(1)
        self._policy = unpack(files)

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = pl.from_arrow(block)
        assert isinstance(rows, pl.DataFrame)
        return predict_block(self._policy, rows).to_arrow(compat_level=pl.CompatLevel.oldest())


def _predicted(rows: pl.DataFrame, files: Packed, policy: Policy) -> Iterator[pa.Table]:
    """The rows' predictions, in order."""
    if rows.is_empty():
        return
    cluster.ensure()
    window = policy.config.window
    number = rows[SERIES].n_unique()
    most = max(1, ROWS_PER_BLOCK // max(window.history + window.horizon, rows.height // number))
    per_block = min(most, -(-number // cluster.num_cpus()))
    numbered = rows.with_columns(_block=pl.col(SERIES).rle_id() // per_block)
    parts = numbered.partition_by("_block", maintain_order=True, include_key=False)
    blocks = [part.to_arrow(compat_level=pl.CompatLevel.oldest()) for part in parts]
    dataset = ray.data.from_arrow(blocks)
    dataset.context.execution_options.preserve_order = True
    actors = min(len(blocks), cluster.num_cpus())
    predicted = dataset.map_batches(
        _Predictor,
        fn_constructor_args=(files,),
        batch_format="pyarrow",
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
    )
    yield from predicted.iter_batches(batch_format="pyarrow", batch_size=None)


def _extended(frame: pl.DataFrame, horizon: int, step: int) -> pl.DataFrame:
    """Every series with as many further, empty steps, so that each has its whole horizon."""
    end = pl.col(TIME).max().cast(pl.Int64)
    ends = frame.group_by(SERIES, maintain_order=True).agg(end)
    more = ends.select(SERIES, pl.int_ranges(pl.col(TIME) + step, pl.col(TIME) + step * (horizon + 1), step)).explode(
        TIME
    )
    more = more.with_columns(pl.col(TIME).cast(frame.schema[TIME]))
    return pl.concat([frame, more], how="diagonal").sort(SERIES, TIME)


def _oldest(policy: Policy) -> pl.Expr:
    """The first step of each series, counted from its last, that a prediction needs: what it reads, what fills gaps in that,
    and what tells outliers, as in training. Inputs may be missing for longer than targets are: what is sent begins at a value
    of each column."""
    prepare, window = policy.config.preprocess, policy.config.window
    filling, lead = Filling.of(prepare, window), pl.col("_lead")
    filled = filling.reach(prepare.max_gap_steps)
    read = 1 - reach(window) - lookback(policy.scaler)
    oldest = read - (MAX_BEFORE if filled is None else filled)
    columns = [*policy.schema.target, *policy.schema.past, *policy.schema.known]
    told = [lead.filter(pl.col(c).is_not_null() & (lead <= read)).max().over(SERIES) - (filled or 0) for c in columns]
    return pl.min_horizontal(pl.lit(oldest), *told).clip(oldest - MAX_BEFORE, oldest)


def _reason(facts: dict[str, Any], policy: Policy) -> str:
    """Why a series cannot be predicted, or nothing."""
    if policy.config.task != "forecast":
        return ""
    steps, history = facts["_steps"], policy.config.window.history
    if steps == 0:
        return "no target was ever measured"
    if steps < history:
        return f"{steps} steps of history, and the policy needs {history}"
    for name in policy.config.data.known:
        if not facts[name]:
            return f"known column '{name}' has no value over the horizon; add rows after the last measured target"
    return ""


def _input(part: pl.DataFrame, policy: Policy) -> SeriesInput:
    schema = policy.schema
    past, ahead = part.filter(~pl.col(AHEAD)), part.filter(pl.col(AHEAD))
    columns = {name: past[name].to_numpy() for name in (*schema.target, *schema.past, *schema.known)}
    future = {name: ahead[name].to_numpy() for name in schema.known}
    static = {name: word for name in schema.categories if (word := past[name][-1]) is not None}
    return SeriesInput(schema.of_ticks(past[TIME].to_physical().to_numpy()), columns, future, part[SERIES][0], static)  # type: ignore[arg-type]


def _forecast(found: list[Forecast], policy: Policy) -> pl.DataFrame:
    targets, own = policy.schema.target, policy.quantiles
    if not found:
        return pl.DataFrame()
    length = policy.config.window.horizon * len(targets)
    values_RQ = np.concatenate([f.values_HCQ.reshape(length, len(own)) for f in found]).astype(np.float64)
    quantiles = {f"q{q:g}": values_RQ[:, i] for i, q in enumerate(own) if q != 0.5}
    return pl.DataFrame(
        {
            SERIES: np.repeat([f.name for f in found], length),
            TIME: np.concatenate([np.repeat(f.times, len(targets)) for f in found]),
            "target": np.tile(targets, len(found) * policy.config.window.horizon),
            "median": values_RQ[:, own.index(0.5)],
            **quantiles,
            WARNINGS: np.repeat(["; ".join(f.warnings) for f in found], length),
        }
    )


def _classified(found: list[Classification], policy: Policy) -> pl.DataFrame:
    classes = policy.schema.classes
    if not found:
        return pl.DataFrame()
    probabilities_MK = np.stack([c.probabilities for c in found]).astype(np.float64)
    return pl.DataFrame(
        {
            SERIES: [c.name for c in found],
            "class": [classes[k] for k in probabilities_MK.argmax(axis=1)],
            **{f"probability {name}": probabilities_MK[:, k] for k, name in enumerate(classes)},
            WARNINGS: ["; ".join(c.warnings) for c in found],
        }
    )


def _labelled(found: list[Labelling], policy: Policy) -> pl.DataFrame:
    classes = policy.schema.classes
    if not found:
        return pl.DataFrame()
    lengths = [len(one.times) for one in found]
    answer_MA = np.concatenate([one.answer_LA for one in found]).astype(np.float64)
    told: dict[str, Any] = {"value": answer_MA[:, 0]}
    if classes:
        told = {"class": [classes[k] for k in answer_MA.argmax(axis=1)]}
        told |= {f"probability {name}": answer_MA[:, k] for k, name in enumerate(classes)}
    return pl.DataFrame(
        {
            SERIES: np.repeat([one.name for one in found], lengths),
            TIME: np.concatenate([one.times for one in found]),
            **told,
            WARNINGS: np.repeat(["; ".join(one.warnings) for one in found], lengths),
        }
    )


TABLES: dict[str, Callable[[list[Any], Policy], pl.DataFrame]] = {
    "forecast": _forecast,
    "classify": _classified,
    "label": _labelled,
}
"""By task."""


def _schema(policy: Policy) -> pa.Schema:
    """The columns of the file that is written."""
    task = policy.config.task
    if policy.schema.classes:
        values = ["class", *(f"probability {name}" for name in policy.schema.classes)]
    elif task == "label":
        values = ["value"]
    else:
        values = ["median", *(f"q{q:g}" for q in policy.quantiles if q != 0.5)]
    kinds = [(name, pa.string() if name == "class" else pa.float64()) for name in values]
    time = pa.timestamp("us") if policy.schema.has_dates else pa.int64()
    key = {"forecast": [(TIME, time), ("target", pa.string())], "classify": [], "label": [(TIME, time)]}[task]
    return pa.schema([(SERIES, pa.string()), *key, *kinds, (WARNINGS, pa.string())])
