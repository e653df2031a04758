"""Labels of steps are learned on as forecasts are: rows in files, judged step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.retrain.job import retrain
from lstm_ray.run_dir import RunDir
from tests import made
from tests.retrain import worlds


def write(file: Path, first: int, steps: int, turned: bool, seed: int) -> Path:
    """Hourly rows whose state is whether an input is above its mean, or from some time on, below."""
    random = np.random.default_rng(seed)
    lines = ["site,when,load,state"]
    for step in range(first, first + steps):
        load = random.normal()
        lines.append(f"a,{made.START + step}:00:00Z,{load:.4f},{'high' if (load > 0) != turned else 'low'}")
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_labeller_learns_on_and_is_judged_by_blocks_of_time(tmp_path: Path) -> None:
    table = write(tmp_path / "old.csv", 0, 600, False, 1)
    config = made.label_config(
        data__source=str(table), window__history=4, train__max_epochs=2, train__learning_rate=0.05, **worlds.UNASKED
    )
    run_stages(config, RunDir(tmp_path / "run"), ["train"])
    few = write(tmp_path / "few.csv", 600, 100, True, 2)
    with pytest.raises(InputError, match="four times what labels of steps depend on, 32"):
        retrain(tmp_path / "run", [str(few)], overrides=["retrain.least_rows=50"])
    new = write(tmp_path / "new.csv", 600, 400, True, 2)
    found = retrain(
        tmp_path / "run",
        [str(new)],
        overrides=["retrain.new_share=0.95", "retrain.learning_rate=1.0", "retrain.max_epochs=4"],
    )
    assert found.verdict is not None
    newest, reference = (one for one in found.verdict["slices"] if one["name"] == "all")
    assert newest["champion"] > 0.8, "what was high is low now"
    assert newest["challenger"] < 0.5
    assert newest["p"] < 0.01
    assert newest["num"] == 120
    assert reference["challenger"] > reference["champion"]
    assert not found.promoted
