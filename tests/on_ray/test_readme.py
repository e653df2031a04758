"""What the README tells a user to type at a served policy, typed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from lstm_ray.on_ray.serve import running
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle
from tests import made
from tests.serving import services

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8000"


def commands() -> str:
    """The indented lines of every block of the README that asks the server."""
    blocks = re.findall(r"(?:^    .+\n(?:^.+\n)*?)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    return dedent("\n".join(block for block in blocks if ADDRESS in block or "request.json" in block))


def test_every_curl_of_the_readme_is_answered(local_ray: None, tmp_path: Path) -> None:
    policy = made.random_policy(made.make_config(model__quantiles=[0.1, 0.5, 0.9]), services.segments(known=False))
    policy.save(tmp_path / "policy")
    script = commands()
    assert script.count("curl") >= 6
    with running(
        bundle.pack(tmp_path / "policy"), DeployConfig(port=0, streams_dir=str(tmp_path / "streams"))
    ) as served:
        # Where an answer is none, the script ends.
        typed = script.replace(ADDRESS, served.url).replace("curl -s", "curl -sS --fail-with-body -w '\\n'")
        found = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", typed],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert found.returncode == 0, found.stdout + found.stderr
    answers = [json.loads(line) for line in found.stdout.splitlines() if line.strip()]
    assert {len(a["forecasts"]) for a in answers if "forecasts" in a} == {1}
    assert answers[-1]["id"] == "roof"


@pytest.mark.parametrize("name", ["page.png", "report.png"])
def test_the_readme_shows_pictures_that_are_there(name: str) -> None:
    assert f"(.assets/{name})" in (ROOT / "README.md").read_text()
    assert (ROOT / ".assets" / name).stat().st_size > 10_000
