"""What travels with a job."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from ray._private.runtime_env import packaging

from lstm_ray.cli import app
from lstm_ray.errors import InputError
from lstm_ray.on_ray.submit import require_small, shipped

ROOT = Path(__file__).parents[2]
MOST_BYTES = 5_000_000


def test_the_copy_of_this_repository_is_small_and_holds_what_jobs_need(tmp_path):
    found = shipped(ROOT)
    assert sum(found.values()) < MOST_BYTES
    assert {path.parts[0] for path in found} == {"lstm_ray", "jobs", "configs", "README.md", "pyproject.toml"}
    needed = [*ROOT.glob("jobs/*.py"), *ROOT.glob("configs/*.yaml")]
    needed += [path for path in ROOT.glob("lstm_ray/**/*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT) for path in needed} <= set(found)
    archive = tmp_path / "sent.zip"
    packaging.create_package(str(ROOT), archive, include_gitignore=True, excludes=[".git", "__pycache__"])
    assert archive.stat().st_size < MOST_BYTES, "what Ray itself packs"


def test_a_working_directory_that_ray_would_refuse_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "large.bin").write_bytes(bytes(3000))
    (tmp_path / "left_out.bin").write_bytes(bytes(9000))
    (tmp_path / ".rayignore").write_text("left_out.bin\n")
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", 2000)
    with pytest.raises(InputError, match=r"large\.bin .*\.rayignore"):
        require_small(tmp_path)
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", 4000)
    require_small(tmp_path)


def test_whatever_has_a_file_in_jobs_can_be_submitted_by_name():
    commands = typer.main.get_command(app).commands
    jobs = {file.stem.replace("_", "-") for file in (ROOT / "jobs").glob("*.py")} - {"lifecycle"}
    assert {"run", *jobs} <= set(commands)
