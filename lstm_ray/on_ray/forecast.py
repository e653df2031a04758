"""Batch forecasts: tables of any size in, Parquet out, by blocks of whole series. Small ones are forecast in this process;
Ray is imported where a cluster is named or the table is large."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

from lstm_ray import __version__, progress
from lstm_ray.config import Config
from lstm_ray.data.preparing.blocks import BLOCK_ROWS, WHOLE_BYTES, pieces_of
from lstm_ray.data.source import files as source
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.model.threads import threads
from lstm_ray.on_ray.forecasting import tables
from lstm_ray.on_ray.forecasting.here import Here
from lstm_ray.on_ray.forecasting.predicting import Told, roles_of
from lstm_ray.on_ray.forecasting.writing import Out
from lstm_ray.serving.bundle import find, unpack

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk, a quota and a limit on files answer with."""


def forecast_files(run: str | Path, data: str | list[str], out: str | Path) -> dict[str, Any]:
    """Predict what follows the last step of every series of some files.

    The columns have the same names and roles as in training. A series ends at its last step with a measured target; rows
    after it hold the known inputs of the horizon. One row is written for every series, step and target (for every sequence
    that is classified, or every step that is labelled), series after series. A series that cannot be predicted is named in
    the summary. A command that was killed goes on after its finished parts when it is given again.

    Args:
        run: a run directory, or a policy's folder.
        data: as ``data.source`` in the YAML.
        out: a folder to write ``part-*.parquet`` and ``_summary.json`` to, on any filesystem that pyarrow opens; or a file
            that ends in .parquet, whose summary goes beside it, to ``OUT.summary.json``.

    Returns:
        The summary: ``{"policy", "out", "num_series", "num_rows", "num_parts", "num_warned", "num_skipped", "skipped",
        "seconds", "series_per_second"}``, the last two of this process's own work.

    Raises:
        InputError: no policy or no data there, rows that do not fit it, or no series that can be predicted.
    """
    # Blocks are forecast side by side, and each by one thread: small products lose more by waiting than they gain.
    with threads(1):
        return _forecast(run, data, out)


def _forecast(run: str | Path, data: str | list[str], out: str | Path) -> dict[str, Any]:
    began = time.monotonic()
    files = find(run)
    policy, place = unpack(files), Out(out)
    config = roles_of(policy, data)
    pieces = pieces_of(config)
    spreads = bool(os.environ.get("RAY_ADDRESS")) or sum(piece.num_bytes for piece in pieces) >= WHOLE_BYTES
    key = _key(policy, config, spreads)
    try:
        summary = place.begin(key)
    except OSError as error:
        raise InputError(f"--out '{out}' cannot be written: {error}; name a folder that is yours to write to") from None
    if summary is not None:
        progress.note(f"'{out}' holds all of these forecasts already: nothing is done")
        return summary
    try:
        if spreads:
            # Only now, so that a small table never waits for Ray.
            from lstm_ray.on_ray.forecasting.spread import Spread

            blocks: Here | Spread = Spread(files, config, pieces)
        else:
            blocks = Here(files, config, pieces)
        before = sum((told for told in place.done.values()), Told())
        _write(blocks, place)
        total = sum((place.done[number] for number in sorted(place.done)), Told())
        if not total.num_series:
            reasons = "; ".join(f"'{item['series']}': {item['reason']}" for item in total.skipped[:3])
            place.drop()
            raise InputError(f"none of the {total.num_skipped} series of {data!r} can be predicted, such as {reasons}")
        seconds = time.monotonic() - began
        summary = vars(total) | {
            "policy": policy.version,
            "out": str(out),
            "summary": place.summary,
            "num_parts": len(place.done),
            "seconds": round(seconds, 3),
            "series_per_second": round((total.num_series - before.num_series) / seconds, 1),
        }
        place.end(tables.schema_of(policy), summary)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(
            f"--out '{out}' has no room for more ({error.strerror}); make room: the same command goes on after the "
            f"{len(place.done)} parts that are finished"
        ) from None
    finally:
        if not place.done:
            place.drop()
    return summary


def words_of(summary: dict[str, Any]) -> str:
    """The summary as a line on a terminal."""
    words = f"{summary['num_rows']:,} rows of {summary['num_series']:,} series in {summary['out']}"
    words += f" ({summary['seconds']:,.1f} s, {summary['series_per_second']:,.0f} series/s)"
    if summary["num_warned"]:
        words += f"; {summary['num_warned']:,} series have warnings"
    if summary["num_skipped"]:
        words += f"; {summary['num_skipped']:,} series could not be predicted, {summary['summary']} says why"
    return words


def _write(blocks: Any, place: Out) -> None:
    """Every part that is not there yet."""
    missing = [number for number in range(len(blocks)) if number not in place.done]
    if place.done:
        progress.note(f"going on after {len(place.done)} of {len(blocks)} finished parts")
    began, series = time.monotonic(), 0
    with progress.bar("forecasting", len(missing)) as move:
        for number, content, told in blocks.parts(missing):
            place.write(number, content, told)
            series += told.num_series
            move(f"{series / (time.monotonic() - began):,.0f} series/s")


def _key(policy: Policy, config: Config, spreads: bool) -> dict[str, Any]:
    """What a part depends on."""
    return {
        "policy": policy.version,
        "files": source.stamp(config.data),
        "engine": "cluster" if spreads else "here",
        "block_rows": BLOCK_ROWS,
        "version": __version__,
    }
