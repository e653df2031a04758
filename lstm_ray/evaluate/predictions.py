"""All that a policy answers of the test part in Parquet, beside what came; forecasts batch by batch as they are made.

Forecasts: one row for each window and target: ``series_id``, ``origin`` (time of the last step seen, or its number),
``target``, ``actual`` and one column for each quantile (``q0.5``), the last ones lists with a value for each step ahead; what
was not measured is null. Classes: ``series_id``, ``time``, ``actual``, ``predicted`` and a probability for each class
(``p_CLASS``). Values of steps: ``series_id``, ``time``, ``actual``, ``predicted``.

Legend: M windows, sequences or steps, H horizon, C target channels, Q quantiles, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.gather import ahead

Write = Callable[[NDArray, NDArray, Sequence[float]], None]
"""Takes origins [M], forecasts [M, H, C, Q] and their levels."""
NAMES = ["series_id", "origin", "target"]
"""Columns that rows are found by."""
ROWS_PER_GROUP = 4_096
"""Rows that are gathered before they are written: what the processor's cache holds."""


@contextmanager
def writer(out: Path | None, segments: Segments) -> Iterator[Write]:
    """What takes forecasts; the file is there once the block ends without an error. Without ``out`` it drops them."""
    if out is None:
        yield lambda origins_M, forecast_MHCQ, quantiles: None
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary, names_S = out.with_suffix(".tmp"), pa.array(segments.series, pa.string())
    stream: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []

    def flush() -> None:
        assert stream is not None
        stream.write_table(pa.concat_tables(waiting))
        waiting.clear()

    def write(origins_M: NDArray, forecast_MHCQ: NDArray, quantiles: Sequence[float]) -> None:
        nonlocal stream
        waiting.append(_table(segments, names_S, origins_M, forecast_MHCQ, quantiles))
        if stream is None:
            # Forecasts repeat neither bytes nor values, and nobody looks for one by its value: all that Parquet could do for
            # them costs more than the forecast.
            stream = pq.ParquetWriter(
                temporary, waiting[0].schema, use_dictionary=NAMES, write_statistics=NAMES, compression="none"
            )
        if sum(table.num_rows for table in waiting) >= ROWS_PER_GROUP:
            flush()

    try:
        yield write
        if stream is not None:
            if waiting:
                flush()
            stream.close()
            temporary.rename(out)
    finally:
        if stream is not None:
            stream.close()
        temporary.unlink(missing_ok=True)


def _table(
    segments: Segments, names_S: pa.Array, origins_M: NDArray, forecast_MHCQ: NDArray, quantiles: Sequence[float]
) -> pa.Table:
    schema, horizon = segments.schema, forecast_MHCQ.shape[1]
    of_M = segments.series_of(origins_M)
    one = len(of_M) > 0 and of_M[0] == of_M[-1]
    series = pa.repeat(names_S[int(of_M[0])], len(of_M)) if one else names_S.take(pa.array(of_M))
    times = pa.array(segments.times(origins_M))
    actual_MHC, observed_MHC = (
        ahead(values, origins_M, horizon) for values in (segments.target_RC, segments.observed_RC)
    )
    tables = []
    for c, target in enumerate(schema.target):
        columns = {
            "series_id": series,
            "origin": times,
            "target": pa.repeat(pa.scalar(target), len(origins_M)),
            "actual": _lists(actual_MHC[..., c], horizon, observed_MHC[..., c] == 0),
        }
        columns |= {f"q{q:g}": _lists(forecast_MHCQ[:, :, c, i], horizon) for i, q in enumerate(quantiles)}
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _lists(values_MH: NDArray, horizon: int, hidden_MH: NDArray | None = None) -> pa.FixedSizeListArray:
    flat = np.ascontiguousarray(values_MH, dtype=np.float32).reshape(-1)
    values = pa.array(flat, mask=hidden_MH.reshape(-1) if hidden_MH is not None and hidden_MH.any() else None)
    return pa.FixedSizeListArray.from_arrays(values, horizon)


def where(segments: Segments, segment_M: NDArray, times_M: NDArray) -> dict[str, pa.Array]:
    """The columns that name cases: the series of each one's segment, and its time."""
    names = np.asarray(segments.series, dtype=np.str_)
    return {"series_id": pa.array(names[segment_M]), "time": pa.array(times_M)}


def keep_classes(
    out: Path, where: Mapping[str, pa.Array], label_M: NDArray, probabilities_MK: NDArray, classes: Sequence[str]
) -> None:
    """Write each case's class, the likeliest one and every class's probability."""
    names = pa.array(classes, pa.string())
    columns = {
        "actual": names.take(pa.array(label_M)),
        "predicted": names.take(pa.array(probabilities_MK.argmax(axis=1))),
        **{f"p_{name}": pa.array(probabilities_MK[:, k].astype(np.float32)) for k, name in enumerate(classes)},
    }
    _write(out, pa.table({**where, **columns}))


def keep_values(out: Path, where: Mapping[str, pa.Array], label_M: NDArray, value_M: NDArray) -> None:
    """Write each step's value and what was told of it."""
    _write(out, pa.table({**where, "actual": pa.array(label_M), "predicted": pa.array(value_M.astype(np.float32))}))


def _write(out: Path, table: pa.Table) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".tmp")
    pq.write_table(table, temporary)
    temporary.rename(out)
