"""A canary: the future of a table is changed, and nothing that a network reads of its past may change by a bit."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.data.windows import Segments, cut_windows, origins
from lstm_ray.sections.prepare import PreprocessConfig
from tests import made
from tests.data.staged import staged

CHANGED = 100
"""First step of the future; every series that has a past has a measured value there, in the one world and in the other."""
STEPS, TRAIN = 140, 70


def options(name: str) -> tuple[str, ...]:
    """All that a field of ``preprocess`` may be."""
    found: tuple[str, ...] = get_args(PreprocessConfig.model_fields[name].annotation)
    return found


def past_and_future(seed: int, later: int, *, labels: str | None = None) -> pl.DataFrame:
    """Hourly series with gaps, missing values and outliers; ``later`` draws what happens from step CHANGED on, whether values,
    holes or outliers, rows at the end or other series."""
    before, after = np.random.default_rng(seed), np.random.default_rng([seed, later])
    rows = []
    for name, first in (("a", 0), ("b", 5), ("c", 30)):
        level = 10.0 * (1 + before.integers(1, 30))
        hole = int(before.integers(40, 60))
        for step in range(first, STEPS + int(after.integers(0, 40))):
            random = before if step < CHANGED else after
            load, wind, price = level * random.lognormal(0, 0.3, 3)
            values = [load * (30 if random.random() < 0.05 else 1), wind, price]
            # The last steps before the future are often missing, and filled by what only the past knows.
            holes = random.random(3) < (0.6 if CHANGED - 3 <= step < CHANGED else 0.15)
            if step == CHANGED:
                holes[:] = False
            gone = random.random() < 0.05 or (step < CHANGED and hole <= step < hole + 9)
            if step in (CHANGED, first) or not gone:
                rows.append([name, step, *(None if h else v for h, v in zip(holes, values, strict=True)), level])
    for step in range(CHANGED, CHANGED + 30) if later else ():
        rows.append(["new", step, *after.lognormal(8, 1, 3).tolist(), 1e6])
    frame = pl.DataFrame(rows, schema=["site", "step", "load", "wind", "price", "size"], orient="row")
    when = pl.lit(made.START.astype("datetime64[us]")) + pl.duration(hours=pl.col("step"))
    frame = frame.with_columns(when=when, step_=pl.col("step")).drop("step")
    return _labelled(frame, labels, seed) if labels else frame.drop("step_")


def _labelled(frame: pl.DataFrame, labels: str, seed: int) -> pl.DataFrame:
    """With a class of every step, or of every series."""
    by = pl.col("step_") * 7 + seed if labels == "label" else pl.col("site").rank("dense")
    kind = pl.when(by % 3 < 1).then(pl.lit("up")).otherwise(pl.lit("down"))
    return frame.with_columns(state=kind).drop("step_")


def forecast_config(**preprocess: Any) -> Config:
    roles = {"target": ["load"], "past": ["wind"], "known": ["price"], "static": ["size"]}
    return made.make_config(
        data={"source": "unused", "series_id": ["site"], "time": "when", **roles},
        preprocess={"engine": "polars", "max_gap_steps": 6, "calendar": ["hour", "weekday", "month"], **preprocess},
        split={"train": TRAIN, "validation": 20},
        window={"history": 12, "horizon": 6, "patch": 4, "season": 6, "lags": [6, 24]},
    )


def read(config: Config, table: pl.DataFrame, folder: Path) -> Segments:
    """What a network reads of a table."""
    run = staged(config, table, folder)
    return load_segments(run)[0].scaled(load_scaler(run))


def rows_before(segments: Segments, step: int) -> dict[str, np.ndarray]:
    """All that was read before a step."""
    rows = np.arange(segments.bounds[-1])
    early = segments.steps(rows) < step
    names = ("target_RC", "observed_RC", "past_RP", "known_RK")
    found = {name: getattr(segments, name)[early] for name in names}
    found["step"] = segments.steps(rows[early])
    found["series"] = np.array(segments.series, dtype="U8")[segments.series_of(rows[early])]
    return found


def windows_before(segments: Segments, step: int, config: Config) -> dict[str, np.ndarray]:
    """What is read at origins before a step: histories, and of the horizon what is known ahead without being given."""
    window = config.window
    whole = {"train": (0, 0), "validation": (0, 10_000), "test": (0, 0)}
    origin_M = origins(segments, whole, "validation", window)  # type: ignore[arg-type]
    origin_M = origin_M[segments.steps(origin_M) < step]
    batch = cut_windows(segments, origin_M, window)
    given = len(config.data.known)
    found = {name: getattr(batch, name)[:, : window.history] for name in ("target_BTC", "observed_BTC", "past_BTP")}
    found["known"] = batch.known_BTK[:, : window.history]
    found["ahead"] = batch.known_BTK[:, window.history :, given:]
    assert len(origin_M) > 60
    return found


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(one[name].shape == other[name].shape and one[name].tobytes() == other[name].tobytes() for name in one)


CAUSAL = [how for how in options("impute") if how != "linear"]
"""A line is drawn to the value after a gap; ``test_config`` has it that it is refused where filling must be causal."""


@pytest.mark.parametrize(("impute", "outliers"), list(product(CAUSAL, options("outliers"))))
def test_nothing_read_of_the_past_changes_with_the_future(impute: str, outliers: str, tmp_path: Path) -> None:
    """Every way to fill with every transform and scale, and with every way to treat outliers; of all four, a third."""
    pairs = list(product(options("transform"), options("scale")))
    turn = CAUSAL.index(impute) + options("outliers").index(outliers)
    for number, (transform, scale) in enumerate(pairs[turn % 3 :: 3]):
        # What is fitted on all series together, and no scale at all, are refused by series.
        own_units = transform in ("auto", "none", "log1p") and scale != "none"
        config = forecast_config(
            impute=impute,
            outliers=outliers,
            outlier_method=options("outlier_method")[(turn + number) % 3],
            outlier_deviations=3.0,
            transform=transform,
            scale=scale,
            scale_by=options("scale_by")[(turn + number // 3) % 3] if own_units else "column",
        )
        worlds = [read(config, past_and_future(turn, later), tmp_path / f"{number}-{later}") for later in (0, 1)]
        assert same(*(rows_before(world, CHANGED) for world in worlds)), config.preprocess
        assert same(*(windows_before(world, CHANGED, config) for world in worlds)), config.preprocess
        assert all(np.isfinite(world.target_RC).all() for world in worlds)


@pytest.mark.parametrize("labels", ["label", "classify"])
@pytest.mark.parametrize("impute", CAUSAL)
def test_nothing_read_to_tell_labels_changes_with_the_future(impute: str, labels: str, tmp_path: Path) -> None:
    preprocess = {
        "engine": "polars",
        "max_gap_steps": 6,
        "impute": impute,
        "outliers": "mask",
        "outlier_deviations": 3.0,
    }
    data = {"source": "unused", "series_id": ["site"], "time": "when", "past": ["load", "wind"], "label": "state"}
    make = made.label_config if labels == "label" else made.classify_config
    # Whole sequences belong to the part they begin in: a to train, b to validation, c to test.
    split = {"train": TRAIN if labels == "label" else 3, "validation": 20}
    kind = {"label_kind": "class"} if labels == "label" else {}
    config = make(data=data | kind, preprocess=preprocess, split=split)
    worlds = [read(config, past_and_future(3, later, labels=labels), tmp_path / str(later)) for later in (0, 1)]
    early = [rows_before(world, CHANGED) for world in worlds]
    assert same(*early)
    assert len(early[0]["step"]) > 150


@pytest.mark.parametrize("name", ["load", "wind", "price"])
def test_the_canary_sees_a_change_of_the_past(name: str, tmp_path: Path) -> None:
    config, table = forecast_config(), past_and_future(1, 0)
    when = pl.lit(made.START.astype("datetime64[us]")) + pl.duration(hours=CHANGED - 20)
    moved = table.with_columns(
        pl.when(pl.col("when") == when).then(pl.col(name) + 1).otherwise(pl.col(name)).alias(name)
    )
    worlds = [read(config, one, tmp_path / str(number)) for number, one in enumerate((table, moved))]
    assert not same(*(rows_before(world, CHANGED) for world in worlds))
    assert not same(*(windows_before(world, CHANGED, config) for world in worlds))
    assert same(*(rows_before(world, CHANGED - 20) for world in worlds))


def test_the_canary_sees_a_line_drawn_into_the_future(tmp_path: Path) -> None:
    config = forecast_config(impute="linear", causal=False)
    worlds = [read(config, past_and_future(1, later), tmp_path / str(later)) for later in (0, 1)]
    assert not same(*(rows_before(world, CHANGED) for world in worlds))
    assert same(*(rows_before(world, CHANGED - 10) for world in worlds))


def test_the_canary_sees_a_scaler_of_all_the_data(tmp_path: Path) -> None:
    """Where training reaches into what changed, all that is scaled by it moves."""
    config = forecast_config()
    config = config.model_copy(update={"split": config.split.model_copy(update={"train": CHANGED + 10})})
    worlds = [read(config, past_and_future(1, later), tmp_path / str(later)) for later in (0, 1)]
    assert not same(*(rows_before(world, CHANGED) for world in worlds))
