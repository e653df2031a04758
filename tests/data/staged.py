"""A table through the stages that prepare it, in this process."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lstm_ray.config import Config, parse
from lstm_ray.data.stage import split
from lstm_ray.on_ray.ingest import preprocess
from lstm_ray.run_dir import REPORT, Report, RunDir


def staged(config: Config, table: pl.DataFrame, folder: Path) -> RunDir:
    """The run directory that preprocessing and splitting a table leave; the config's source is set to it."""
    folder.mkdir(parents=True)
    table.write_parquet(folder / "table.parquet")
    tree = config.model_dump()
    tree["data"]["source"] = str(folder / "table.parquet")
    config, run = parse(tree), RunDir(folder / "run")
    for name, stage in (("preprocess", preprocess), ("split", split)):
        with run.stage(name, "0" * 64) as work:
            work.write_json(REPORT, stage(config, run, work))
    return run


def report(run: RunDir) -> Report:
    """What the split stage said."""
    found = run.report("split")
    assert found is not None
    return found
