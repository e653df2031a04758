"""What the cases of chaos work on: a table of known content, its config, and a run of it that nothing disturbed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from lstm_ray.benchmark.chaos.outcome import Missed
from lstm_ray.benchmark.chaos.work import Work, command
from lstm_ray.on_ray.nodes import Nodes
from lstm_ray.run_dir import digest

STEPS, HISTORY, HORIZON, FILES = 400, 48, 12, 4
CALM = "calm"
AFTER = {"train": "split", "tune": "train", "plan": "train"}
"""Stages of which undisturbed runs begin with another's: what it left is not made again."""
TREE = {
    "name": "chaos",
    "data": {"series_id": ["name"], "time": "time", "target": ["load"], "past": ["wind"], "frequency": "1h"},
    "preprocess": {"engine": "polars"},
    "window": {"history": HISTORY, "horizon": HORIZON, "patch": 12},
    "model": {"hidden": 8, "dropout": 0.0},
    "train": {"precision": "float32", "batch": 8, "origins": 5, "max_epochs": 6, "patience": 6, "learning_rate": 0.005},
    "plan": {
        "scenarios": [{"name": "more wind", "column": "wind", "operation": "shift", "value": 1.0}],
        "synthetic": None,
    },
}


@dataclass(frozen=True)
class World:
    """A folder with a table and its config."""

    folder: Path

    @classmethod
    def at(cls, folder: Path, num_series: int = 24, by_time: bool = False) -> World:
        """The world of so many series, made where it is not there yet.

        Args:
            by_time: whether a file holds a stretch of time of all series, and not all of some series.
        """
        world = cls(folder / f"world-{num_series}{'-by-time' * by_time}")
        if not world.config.exists():
            world.table.mkdir(parents=True)
            table = waves(num_series)
            rows = pl.int_range(pl.len())
            part = rows % STEPS * FILES // STEPS if by_time else rows * FILES // table.height
            for number in range(FILES):
                table.filter(part == number).write_parquet(world.table / f"part-{number:03d}.parquet")
            tree = TREE | {"data": {**TREE["data"], "source": str(world.table / "*.parquet")}}  # type: ignore[dict-item]
            world.config.write_text(yaml.safe_dump(tree, sort_keys=False))
        return world

    @property
    def config(self) -> Path:
        return self.folder / "chaos.yaml"

    @property
    def table(self) -> Path:
        return self.folder / "table"

    def words(self, nodes: Nodes, stage: str, run: Path, *changes: str) -> list[str]:
        """The command of a stage on the cluster; changes are ``SECTION.FIELD=VALUE``."""
        settings = [f"--set={change}" for change in changes]
        return [stage, str(self.config), "--run-dir", str(run), "--address", nodes.address, *settings]

    @contextmanager
    def working(self, nodes: Nodes, stage: str, run: Path, *changes: str) -> Iterator[Work]:
        """That stage at work; every start of it writes to a log of its own, ``RUN-N.log``."""
        logs = len(list(run.parent.glob(f"{run.name}-*.log")))
        log = run.parent / f"{run.name}-{logs}.log"
        with command(self.words(nodes, stage, run, *changes), nodes.environment, log) as work:
            yield work

    def calm(self, nodes: Nodes, stage: str, *changes: str) -> Path:
        """A run directory in which the stage ended with nobody disturbing it, made once for a stage and its changes."""
        run = self.folder / f"{CALM}-{stage}-{digest(changes)[:8]}"
        if not (run / stage / "report.json").exists():
            if stage in AFTER:
                self.before(nodes, AFTER[stage], run)
            with self.working(nodes, stage, run, *changes) as work:
                if work.ended():
                    raise Missed(f"{stage} fails where nothing disturbs it: {work.said}")
        return run

    def before(self, nodes: Nodes, stage: str, run: Path) -> Path:
        """A new run directory in which everything up to and with the stage has run."""
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.calm(nodes, stage), run)
        return run


def waves(num_series: int) -> pl.DataFrame:
    """Hourly daily waves with noise, series after series: ``name``, ``time``, ``load``, ``wind``."""
    random, at = np.random.default_rng(num_series), np.arange(STEPS)
    time = np.datetime64("2024-01-01T00", "us") + at * np.timedelta64(1, "h")
    phase_S1 = np.arange(num_series)[:, None]
    load_ST = 20 + 3 * np.sin(2 * np.pi * at / 24 + phase_S1) + random.normal(0, 0.3, (num_series, STEPS))
    return pl.DataFrame(
        {
            "name": np.repeat([f"s{number:05d}" for number in range(num_series)], STEPS),
            "time": np.tile(time, num_series),
            "load": load_ST.ravel(),
            "wind": random.normal(size=load_ST.size),
        }
    )
