"""One block of whole series, from its raw table to a part: a Parquet file that tells what it holds. Starts no Ray.

A part depends on the policy and the block's rows alone, so that whoever makes it again makes the same.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lstm_ray.config import Config
from lstm_ray.data.histories import Histories
from lstm_ray.data.preparing.newest import Newest
from lstm_ray.data.preparing.unseen import require_same_grid
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.model.together import input_of, read_together
from lstm_ray.on_ray.forecasting import tables
from lstm_ray.on_ray.forecasting.tables import WARNINGS
from lstm_ray.serving.fallback import is_finite

SERIES_AT_A_TIME = 512
MAX_LISTED = 1_000
"""Series without a prediction that are named; of more it is told how many."""
TOLD = b"lstm_ray.told"
"""Of a part's Parquet metadata, what it tells of itself."""
NOT_FINITE = "the policy predicts values that are not finite; look for values far from what it was trained on"


@dataclass(frozen=True)
class Told:
    """What some parts hold; all of it adds up."""

    num_series: int = 0
    num_rows: int = 0
    num_warned: int = 0
    num_skipped: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    """Of the series that are not predicted MAX_LISTED at most, and why."""

    def __add__(self, other: Told) -> Told:
        return Told(
            self.num_series + other.num_series,
            self.num_rows + other.num_rows,
            self.num_warned + other.num_warned,
            self.num_skipped + other.num_skipped,
            [*self.skipped, *other.skipped][:MAX_LISTED],
        )


def roles_of(policy: Policy, source: str | list[str]) -> Config:
    """The policy's config for another source, of which neither labels nor weights are read, nor anything that splits it."""
    data = policy.config.data.model_copy(update={"source": source, "label": None, "label_kind": "auto", "weight": None})
    split = policy.config.split.model_copy(update={"by": "time", "group": None})
    return policy.config.model_copy(update={"data": data, "split": split})


def part_of(policy: Policy, config: Config, table: pa.Table) -> tuple[bytes, Told]:
    """Whole series, as read, to a part, and what it tells of itself. There may be none of them.

    Raises InputError where the rows are not what the roles say, or lie on another grid than the policy's.
    """
    if not table.num_rows:
        return _written(policy, [], 0)
    return part_of_typed(policy, config, grid.typed(table, config.data))


def part_of_typed(policy: Policy, config: Config, frame: pl.DataFrame) -> tuple[bytes, Told]:
    """``part_of`` rows that are typed already."""
    require_same_grid(frame, config.data, policy.schema)
    rows = grid.resampled(frame, policy.schema.step, config.data)
    newest = Newest(rows, config, policy.schema, policy.scaler)
    none = tables.schema_of(policy).empty_table(), {newest.names[s]: why for s, why in newest.reasons.items()}
    return _written(policy, chain([none], predicted(policy, newest)), len(newest.names))


def _written(policy: Policy, found: Iterable[tuple[pa.Table, dict[str, str]]], num: int) -> tuple[bytes, Told]:
    """Tables of predictions, and what is wrong with other series, of so many together."""
    content, told = io.BytesIO(), Told()
    with pq.ParquetWriter(content, tables.schema_of(policy), compression="zstd", compression_level=1) as writer:
        for table, refused in found:
            told += _skipped(refused)
            if table.num_rows:
                told += _counted(table)
                writer.write_table(table)
        assert told.num_series + told.num_skipped == num, "each series has its forecast or a reason"
        if policy.config.task == "forecast":
            each = policy.config.window.horizon * len(policy.schema.target)
            assert told.num_rows == told.num_series * each, "one row for each series, step and target"
        writer.add_key_value_metadata({TOLD: json.dumps(asdict(told))})
    return content.getvalue(), told


def told_by(file: Any) -> Told:
    """What a part tells of itself. Raises pa.ArrowException, OSError, KeyError or ValueError where it is no whole part."""
    found = json.loads((pq.read_metadata(file).metadata or {})[TOLD])
    return Told(**found)


def predicted(policy: Policy, newest: Newest) -> Iterator[tuple[pa.Table, dict[str, str]]]:
    """Predictions of some series at a time, and what is wrong with those that have none."""
    one = _forecast if policy.config.task == "forecast" else _answered
    for histories in newest.histories(SERIES_AT_A_TIME):
        yield one(policy, histories)


def _forecast(policy: Policy, histories: Histories) -> tuple[pa.Table, dict[str, str]]:
    read = read_together(policy.requests, histories)
    names, last_S, warnings = read.histories.names, read.histories.last_S, read.warnings
    if not names:
        return tables.schema_of(policy).empty_table(), read.refused
    values_SHCQ = policy.forecast_batch(read.batch, read.own)
    finite_S = np.isfinite(values_SHCQ).all((1, 2, 3))
    refused = read.refused | {names[s]: NOT_FINITE for s in np.flatnonzero(~finite_S)}
    if not finite_S.all():
        kept = np.flatnonzero(finite_S)
        names, warnings = [names[s] for s in kept], [warnings[s] for s in kept]
        last_S, values_SHCQ = last_S[kept], values_SHCQ[kept]
    return tables.forecasts(policy, names, last_S, values_SHCQ, warnings), refused


def _answered(policy: Policy, histories: Histories) -> tuple[pa.Table, dict[str, str]]:
    """Classes of whole sequences, or labels of all their steps."""
    inputs = [input_of(histories, s, policy.schema) for s in range(len(histories.names))]
    refused: dict[str, str] = {}
    try:
        found: list[Any] = _named(policy, inputs)
    except InputError:
        # Each on its own, so that a wrong one spoils no other's answer.
        found = []
        for item in inputs:
            try:
                found += _named(policy, [item])
            except InputError as error:
                refused[item.name] = str(error)
    refused |= {one.name: NOT_FINITE for one in found if not is_finite(one)}
    found = [one for one in found if one.name not in refused]
    if not found:
        return tables.schema_of(policy).empty_table(), refused
    table = tables.classified if policy.config.task == "classify" else tables.labelled
    return table(policy, found), refused


def _named(policy: Policy, inputs: Sequence[SeriesInput]) -> list[Any]:
    """Answers under the series' own names, also where one is empty: a number in its place might be another's."""
    answers: list[Any] = list(policy.predict(inputs))
    return [replace(one, name=item.name) for one, item in zip(answers, inputs, strict=True)]


def _skipped(reasons: dict[str, str]) -> Told:
    listed = [{"series": name, "reason": reason} for name, reason in reasons.items()]
    return Told(num_skipped=len(listed), skipped=listed[:MAX_LISTED])


def _counted(table: pa.Table) -> Told:
    """Of a table whose series each lie in one run."""
    frame = pl.DataFrame(table.select([SERIES, WARNINGS]))
    return Told(
        num_series=frame[SERIES].n_unique(),
        num_rows=frame.height,
        num_warned=frame.filter(pl.col(WARNINGS) != "")[SERIES].n_unique(),
    )
