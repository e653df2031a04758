"""What a policy carries to sample futures from: kept whole, thinned fairly, and trusted only where its hash fits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.model.residuals import Residuals
from lstm_ray.serving import bundle
from tests import made

SEGMENTS = made.segments_of()


def library() -> Residuals:
    """Two series at every third of 90 steps."""
    score_RHC = np.random.default_rng(1).normal(size=(60, 6, 1)).astype(np.float32)
    return Residuals(
        (0.1, 0.5, 0.9), score_RHC, np.repeat(3 * np.arange(30), 2), np.tile([0, 1], 30), ["harbour", "hill"]
    )


def policy() -> Policy:
    return made.random_policy(made.make_config(model__quantiles=[0.1, 0.5, 0.9]), SEGMENTS)


def test_residuals_survive_the_round_trip_and_change_the_version(tmp_path: Path) -> None:
    plain = policy().save(tmp_path)
    carrying = policy()
    carrying.residuals = library()
    version = carrying.save(tmp_path)
    assert version != plain
    assert set(bundle.pack(tmp_path)) == {"policy.json", "weights.safetensors", "residuals.safetensors"}
    for again in (Policy.load(tmp_path), bundle.unpack(bundle.pack(tmp_path)), bundle.unpack(bundle.find(tmp_path))):
        assert again.version == version
        assert again.residuals is not None
        assert (again.residuals.levels, again.residuals.names) == (library().levels, library().names)
        for name, values in library().arrays().items():
            np.testing.assert_array_equal(again.residuals.arrays()[name], values)


def test_a_policy_without_residuals_leaves_none_behind_and_loads(tmp_path: Path) -> None:
    carrying = policy()
    carrying.residuals = library()
    carrying.save(tmp_path)
    policy().save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"policy.json", "weights.safetensors"}
    assert "residuals" not in json.loads((tmp_path / "policy.json").read_text())
    assert Policy.load(tmp_path).residuals is None


def test_altered_or_missing_residuals_are_refused(tmp_path: Path) -> None:
    carrying = policy()
    carrying.residuals = library()
    carrying.save(tmp_path)
    file = tmp_path / "residuals.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="was altered"):
        Policy.load(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match=r"residuals\.safetensors"):
        Policy.load(tmp_path)


def test_a_thinned_library_is_spread_over_all_times() -> None:
    found = library().thinned(10, 1_000_000)
    assert len(found.step_R) == 10
    assert found.times[[0, -1]].tolist() == [0, 87]
    assert np.ptp(np.diff(found.times)) <= 3
    rows = np.flatnonzero(np.isin(library().step_R, found.times))[::2]
    np.testing.assert_array_equal(found.score_RHC, library().score_RHC[rows])
    assert found.names == ["harbour"]
    assert len(library().thinned(60, 5 * 6).step_R) == 5
    assert len(library().thinned(60, 1_000_000).step_R) == 60


def test_a_series_finds_its_trajectories_in_order_of_time() -> None:
    assert library().rows_of("hill").tolist() == list(range(1, 60, 2))
    assert library().rows_of("nobody").tolist() == []
