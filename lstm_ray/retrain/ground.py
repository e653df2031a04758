"""What a challenger stands on: its champion, the table that this was trained on, and the rows that are new. Trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from lstm_ray.config import Config
from lstm_ray.config_file import load
from lstm_ray.data.schema import Schema
from lstm_ray.data.source.files import roles
from lstm_ray.data.store import SplitFile, load_schema
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from lstm_ray.live.reading import count
from lstm_ray.live.rows import FILE
from lstm_ray.live.table import frame
from lstm_ray.model import stored
from lstm_ray.model.policy import Policy
from lstm_ray.registry.folder import at
from lstm_ray.retrain import rows
from lstm_ray.retrain.derived import Pace, asked
from lstm_ray.retrain.rows import KEY_TICK
from lstm_ray.retrain.state import State, attempts, folder_of
from lstm_ray.retrain.stretches import Stretches, stretches
from lstm_ray.run_dir import RunDir
from lstm_ray.sections.data import DataConfig


@dataclass(frozen=True)
class Ground:
    """One champion's."""

    run: Path
    champion: Policy
    files: stored.Files
    """The champion's."""
    origin: State | None
    """The attempt that the champion is from; None: it is the run's own."""
    config: Config
    """As ``derived.asked``; its data are the champion's table."""
    brought: DataConfig
    """How files with new rows are read: as the run's own."""
    schema: Schema
    old_end: int
    """Tick at which the champion's table ends."""

    @property
    def store(self) -> Path:
        """Rows that a server of the run keeps."""
        return at(self.run) / FILE

    @property
    def pace(self) -> Pace:
        if self.origin is not None:
            return self.origin.pace
        train = self.champion.config.train
        return Pace(learning_rate=train.learning_rate, max_epochs=train.max_epochs)

    def num_new(self, since: int = 0) -> int:
        """Rows in the store after the champion's table, that came or changed after the change of this number."""
        return count(self.store, since, self.old_end)

    def old(self) -> Iterator[pl.DataFrame]:
        """The champion's table, piece by piece."""
        return rows.of_source(self.config, self.schema)

    def new(self, sources: Sequence[str]) -> tuple[pl.DataFrame, Stretches, int]:
        """Rows told since the champion's table was made, in ``rows.newest``, how they are cut, and how many were of no series.

        Raises InputError where there are too few.
        """
        config, schema, strange = self.config, self.schema, 0
        parts = []
        if self.store.exists():
            live, strange = rows.of_store(frame(self.store), config, schema)
            parts.append(live)
        # What somebody names is newer than what a server happened to see.
        if (named := rows.of_files(config, self.brought, schema, sources)) is not None:
            parts.append(named)
        if not parts:
            raise InputError(
                f"there are no new rows: no server has kept any in '{self.store}', and no file is named; name some with --data"
            )
        window, longest = config.window, (config.preprocess.max_gap_steps + 1) * schema.step
        needed = (window.history + (window.horizon if config.task == "forecast" else 0) - 1) * schema.step
        new = rows.without_strays(rows.newest(parts), self.old_end - schema.step, longest, needed)
        later = new.filter(pl.col(KEY_TICK) >= self.old_end)[KEY_TICK]
        if later.is_empty():
            raise InputError(
                f"of {new.height:,} rows none is after the champion's table, which ends before "
                f"{schema.of_ticks(np.array([self.old_end]))[0]}; bring newer ones"
            )
        first, last = int(later.min()), int(later.max())  # type: ignore[arg-type]
        return new, stretches(first, last, self.old_end, config, schema.step), strange


def of(run: Path, files: stored.Files, overrides: Sequence[str] = ()) -> Ground:
    """What the champion in these files stands on.

    Raises InputError where the run cannot be retrained.
    """
    if not (run / "preprocess").exists():
        raise InputError(f"'{run}' is no run that was trained; run its YAML first")
    if wrong := [one for one in overrides if not one.startswith("retrain.")]:
        raise InputError(
            f"--set {wrong[0]}: a challenger is trained as its champion was; --set takes fields of the section retrain alone"
        )
    champion = Policy.of(files)
    own = load(run / "config.yaml", overrides)
    config = asked(champion.config, own)
    origin = next((one for one in reversed(attempts(folder_of(run))) if one.challenger == champion.version), None)
    if origin is None or origin.joined is None:
        config = config.model_copy(update={"data": grid.resolved(own).data})
        schema, end = (
            load_schema(RunDir(run)),
            RunDir(run).read_model("split/boundaries.json", SplitFile).parts["test"][1],
        )
        old_end = schema.axis_start + end * schema.step
        origin = None
    else:
        schema, old_end = load_schema(RunDir(folder_of(run) / origin.name)), origin.joined.cut.end
    rows.require_joinable(config)
    return Ground(run, champion, files, origin, config, roles(own.data), schema, old_end)
