"""A disk that fills up is one clear error, and the run directory stays as it was."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import yaml

from tests import made

LIMIT_BYTES = 6_000


def run_cli(arguments: list[str], limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def no_room() -> None:
        # A file that grows beyond this fails as one on a full disk does.
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", "from lstm_ray.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=no_room, timeout=120)


def test_a_disk_that_fills_up_is_named_and_what_was_there_stands(tmp_path: Path) -> None:
    made.write_table(tmp_path / "t.csv", 1200)
    config, run = tmp_path / "c.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(made.config_tree(str(tmp_path / "t.csv"))))
    arguments = ["split", str(config), "--run-dir", str(run)]
    assert run_cli(arguments).returncode == 0
    made_before = [*(run / "preprocess").rglob("*"), *(run / "split").rglob("*")]
    kept = {file: file.read_bytes() for file in made_before if file.is_file()}
    full = run_cli([*arguments, "--set", "preprocess.max_gap_steps=2"], LIMIT_BYTES)
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert "the stage 'preprocess' found no room to write" in full.stderr
    assert "make room on that disk" in full.stderr.replace("\n", " ")
    assert all(file.read_bytes() == content for file, content in kept.items())
    again = run_cli([*arguments, "--set", "preprocess.max_gap_steps=2"])
    assert again.returncode == 0, again.stderr
