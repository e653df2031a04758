"""A policy that learned nothing: trained on a table whose targets were shuffled in time. Bundled as any other."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lstm_ray.config import Config, with_values
from lstm_ray.data.store import load_segments
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.deploy import write_bundle
from lstm_ray.report.card.facts import facts_of
from lstm_ray.run_dir import RunDir
from lstm_ray.serving.bundle import Packed

TABLE, RUN, BUNDLE = "shuffled.parquet", "run", "policy"


def shuffled(table: pl.DataFrame, series_id: list[str], targets: list[str], seed: int) -> pl.DataFrame:
    """Each series' targets in a random order of time; nothing leads to them any more."""
    mixed = [pl.col(target).shuffle(seed + number) for number, target in enumerate(targets)]
    return table.with_columns(column.over(series_id) if series_id else column for column in mixed)


def trained_on_shuffled(config: Config, folder: Path) -> Packed:
    """The files of a policy with the config's recipe; ``data.source`` is one Parquet file."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pl.read_parquet(str(config.data.source))
    shuffled(table, config.data.series_id, config.data.target, config.seed).write_parquet(folder / TABLE)
    config, run = with_values(config, {"data.source": str(folder / TABLE)}), RunDir(folder / RUN)
    run_stages(config, run, ["evaluate"])
    with run.local_copy("evaluate/policy") as place:
        policy = Policy.load(place)
    segments, bounds = load_segments(run)
    return write_bundle(
        folder / BUNDLE, policy, segments, bounds, facts_of(run, run.read_json("evaluate/metrics.json"))
    )
