"""The memory of a training, measured in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STEPS_PER_BATCH = 6_800
TRAIN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from lstm_ray.data.feed import all_batches, source, steps_per_epoch, train_batches
from lstm_ray.model.network import build
from lstm_ray.model.training import fit, start
from tests import made

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

history, batch = int(sys.argv[2]), int(sys.argv[3])
targets = [f"c{index}" for index in range(7)]
segments = made.segments_of((8000,), schema=made.schema_of(target=targets, past=()))
parts = {"train": (0, 6400), "validation": (6400, 7400), "test": (7400, 8000)}
config = made.make_config(
    data__target=targets, data__past=[], window__history=history, window__horizon=96, window__patch=1, window__season=24,
    model__hidden=128, train__batch=batch, train__origins=24, train__max_epochs=1,
)
items, held_out = (source(segments, parts, part, config) for part in ("train", "validation"))
training = start(build(config, segments.schema), config)
fit(training, config, lambda epoch: train_batches(items, config, epoch), lambda: all_batches(held_out, config),
    steps_per_epoch(items, config))
print(json.dumps({"steps": batch * (history + 23 + 96), "peak": status("VmHWM"), "num": items.num_windows}))
"""


def peak(history: int) -> dict[str, int]:
    """A training whose batches hold about STEPS_PER_BATCH steps whatever the history."""
    batch = round(STEPS_PER_BATCH / (history + 23 + 96))
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", TRAIN, root, str(history), str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak memory from /proc")
@pytest.mark.timeout(500)
def test_ten_times_the_history_takes_less_than_a_fifth_more_memory() -> None:
    short, long = peak(96), peak(960)
    assert long["steps"] == pytest.approx(short["steps"], rel=0.1)
    assert min(short["num"], long["num"]) > 4_000
    assert long["peak"] < 1.2 * short["peak"]
