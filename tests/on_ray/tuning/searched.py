"""A search in a process of its own, to be killed: ``python searched.py WAVES RUN FOLDER VALUES``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from lstm_ray.data.store import load_segments
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.tuning.searching import search
from lstm_ray.run_dir import RunDir
from tests.on_ray.worlds import small_config


def main(file: Path, run: Path, folder: Path, values: dict[str, Any]) -> None:
    segments, bounds = load_segments(RunDir(run))
    base = Policy.load(run / "train/policy")
    found = search(small_config(file, **values), segments.scaled(base.scaler), bounds, base, folder)
    lines = [asdict(one) | {"folder": str(one.folder)} for one in found]
    (folder / "found.json").write_text(json.dumps(lines))


if __name__ == "__main__":
    main(*(Path(given) for given in sys.argv[1:4]), json.loads(sys.argv[4]))
