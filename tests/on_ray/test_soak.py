"""What the suite serve measures with Ray, for seconds: behaviour alone, no speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_ray.benchmark import batches, soak, swaps, tables, untrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved policy."""
    found = tmp_path_factory.mktemp("policy")
    untrained.save(str(found))
    return found


def test_a_policy_bears_load_without_an_error(local_ray: None, folder: Path) -> None:
    found = soak.soaked(str(folder), connections=4, seconds=2.0)
    assert len(found["pieces"]) == soak.PIECES
    assert sum(piece["errors"] for piece in found["pieces"]) == 0
    assert all(piece["requests"] > 0 for piece in found["pieces"])
    assert all(piece["replica_bytes"] > 50_000_000 for piece in found["pieces"])
    assert min(found["first_p99_ms"], found["last_p99_ms"]) > 0


def test_many_series_are_forecast_once_each(local_ray: None, folder: Path, tmp_path: Path) -> None:
    tables.write(tmp_path / "table", 20, untrained.config().window.history, "series")
    found = batches.ours(str(folder), str(tmp_path / "table"), str(tmp_path / "out.parquet"))
    assert found["wrong"] == 0
    assert found["seconds"] > 0


def test_a_swap_under_load_fails_no_request(
    local_ray: None, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained.save(str(tmp_path), seed=untrained.SEED + 1)
    monkeypatch.setattr(swaps, "CONNECTIONS", 4)
    found = swaps.swapped(str(folder), str(tmp_path), seconds=4.0)
    assert (found["errors"], found["kinds"]) == (0, [])
    assert found["requests"] > 0
