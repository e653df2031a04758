"""What is fitted comes from the training part alone: other rows are changed, and no statistic changes by a digit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config, parse
from lstm_ray.data.store import DEALT, load_segments
from lstm_ray.data.timeline import calendar
from tests.data.staged import staged
from tests.e2e import test_parity as parity

SPLITS: list[dict[str, Any]] = [
    {},
    {"train": 60, "validation": 30},
    {"by": "order", "train": 4, "validation": 1},
    {"by": "group", "group": "block", "train": 0.4, "validation": 0.3},
]


def table(seed: int) -> pl.DataFrame:
    """Six series in six groups, of two words each."""
    twice = [parity.table(seed + more).with_columns(pl.col("site", "kind") + str(more)) for more in (0, 1)]
    return pl.concat(twice).with_columns(block=pl.col("site"))


def changed(frame: pl.DataFrame, kept: pl.Expr, whole_series: bool) -> pl.DataFrame:
    """Other values and, where whole series are not in training, words in every row that is not kept. Where something was
    measured stays: it tells where segments end."""
    draw = pl.int_range(pl.len())
    columns = [
        pl.when(kept).then(pl.col(c)).otherwise(-99 * pl.col(c) - draw).alias(c)
        for c in ("load", "heat", "wind", "price", *(["size"] if whole_series else []))
    ]
    words = [pl.when(kept).then(pl.col("kind")).otherwise(pl.lit("new")).alias("kind")] if whole_series else []
    return frame.with_columns(*columns, *words)


def config_of(seed: int, split: dict[str, Any], causal: bool) -> Config:
    tree = parity.drawn(seed).model_dump()
    tree["split"] |= split
    tree["seed"] = 3
    tree["data"]["categorical"] = ["kind"]
    tree["preprocess"] |= {"causal": causal}
    return parse(tree)


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_rows_outside_the_training_part_tell_nothing(seed: int, split: dict[str, Any], tmp_path: Path) -> None:
    config, frame = config_of(seed, split, causal=seed % 4 > 0), table(seed)
    if not config.preprocess.causal and config.preprocess.impute == "seasonal":
        return  # looks ahead, as it was asked to
    run = staged(config, frame, tmp_path / "one")
    segments, parts = load_segments(run)
    if segments.part_S is not None:
        with run.local_copy("preprocess") as path:
            dealt = pl.read_parquet(path / DEALT)
        mine = dealt.filter(pl.col("part") == "train")["series"].to_list()
        assert 0 < len(mine) < 6
        kept = pl.col("site").is_in(mine)
    else:
        end = segments.schema.times(np.array([parts["train"][1]]))
        kept = pl.col("when") < calendar.local(end, config.data.time_zone)[0]
    other = staged(config, changed(frame, kept, segments.part_S is not None), tmp_path / "other")
    for name in ("scaler.json", "schema.json"):
        found = []
        for one in (run, other):
            with one.local_copy("preprocess") as path:
                found.append((path / name).read_text())
        assert found[0] == found[1], config.preprocess
