"""Whatever axis a run lies on, new rows follow its old ones, and the joined table is cut where they begin."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from lstm_ray.config import Config
from lstm_ray.data.store import load_schema, load_segments
from lstm_ray.lifecycle import run_stages
from lstm_ray.live.rows import RowStore
from lstm_ray.monitor.traffic import Rows
from lstm_ray.registry.folder import at
from lstm_ray.retrain import disk, work
from lstm_ray.retrain.ground import of
from lstm_ray.retrain.state import CHAMPION, CONFIG, State
from lstm_ray.run_dir import RunDir
from lstm_ray.serving.bundle import find
from tests.retrain import worlds

OLD, NEW = 300, 60
BERLIN = ZoneInfo("Europe/Berlin")


def local(step: int) -> str:
    """Hours on the clock of Berlin, over the night in which it was set."""
    at = datetime(2024, 3, 20, tzinfo=ZoneInfo("UTC")) + timedelta(hours=step)
    return at.astimezone(BERLIN).replace(tzinfo=None).isoformat()


AXES = {
    "hours of a zone": (local, {"data__time_zone": "Europe/Berlin", "data__frequency": "1h"}),
    "days of a zone": (
        lambda step: (datetime(2023, 1, 1) + timedelta(days=step)).isoformat(),
        {"data__time_zone": "Europe/Berlin", "data__frequency": "1d"},
    ),
    "months": (lambda step: f"{1970 + step // 12}-{step % 12 + 1:02d}-15", {"data__frequency": "1mo"}),
    "whole numbers": (lambda step: str(1_000 + 5 * step), {}),
    "Unix seconds": (lambda step: str(1_700_000_000 + 3_600 * step), {}),
}


def write(file: Path, first: int, steps: int, name: object) -> Path:
    random = np.random.default_rng(first)
    lines = ["site,when,load,wind"]
    for step in range(first, first + steps):
        wave = 20 + 3 * np.sin(2 * np.pi * step / 6) + random.normal(0, 0.2)
        lines.append(f"a,{name(step)},{wave:.4f},{random.normal():.4f}")  # type: ignore[operator]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("axis", list(AXES))
def test_new_rows_of_files_and_of_a_server_follow_the_old_ones(tmp_path: Path, axis: str) -> None:
    name, values = AXES[axis]
    config = worlds.config_of(write(tmp_path / "old.csv", 0, OLD, name), train__max_epochs=1, **values)
    run, folder = tmp_path / "run", tmp_path / "run" / "retrain" / "0001"
    run_stages(config, RunDir(run), ["train"])
    ground, schema = of(run, find(run)), load_schema(RunDir(run))
    # A server counts as the run's axis does.
    store = RowStore(at(run) / "rows.sqlite", 1e9, 1_000)
    tick_T = schema.axis_start + schema.step * np.arange(OLD + NEW - 2, OLD + NEW)
    store.add([Rows("a", tick_T, np.array([[50.0, 0.0], [51.0, 0.0]]))], ["load", "wind"], 10**15)
    store.close()
    folder.mkdir(parents=True)
    data = [str(write(tmp_path / "new.csv", OLD, NEW - 2, name))]
    state = State(number=1, reasons=["by hand"], data=data, champion=ground.champion.version, pace=ground.pace)
    joined = work.join(ground, folder, state)
    assert (joined.old, joined.new, joined.changed) == (OLD, NEW, 0)
    (folder / CHAMPION).mkdir()
    for file, content in find(run).items():
        (folder / CHAMPION / file).write_bytes(content)
    run_stages(disk.read(folder / CONFIG, Config), RunDir(folder), ["split"])
    segments, bounds = load_segments(RunDir(folder))
    assert segments.bounds.tolist() == [0, OLD + NEW]
    assert segments.target_RC[-2:, 0].tolist() == [50.0, 51.0]
    assert bounds["test"] == (OLD + NEW - 18, OLD + NEW)
    assert bounds["validation"] == (OLD + NEW - 27, OLD + NEW - 18)
    assert segments.weight_R is not None
    slice_ = work.slice_of(ground)
    first, end = ((tick - schema.axis_start) // schema.step for tick in (slice_.first, slice_.end))
    assert np.flatnonzero(segments.weight_R == 0).tolist() == list(range(first, end))
    assert end == OLD
