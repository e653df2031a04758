"""What the network reads looks back alone: levels, time since a value was observed, and embeddings."""

from __future__ import annotations

import pytest
import torch

from lstm_ray.model.inputs import (
    UNSEEN_SHARE,
    Categories,
    embedding_width,
    statistics,
    steps_since_observed,
    trailing_mean,
)

L, P, T = 12, 4, 24
KINDS = ["none", "last", "mean", "mean_deviation"]


def wandering() -> torch.Tensor:
    return torch.randn(2, T, 2, generator=torch.Generator().manual_seed(0)).cumsum(1) / 3


@pytest.mark.parametrize("length", [1, 3, 12, 50])
def test_the_trailing_mean_is_that_of_the_newest_steps(length: int) -> None:
    values_BTC = wandering()
    expected = [values_BTC[:, max(0, t + 1 - length) : t + 1].mean(1) for t in range(T)]
    torch.testing.assert_close(trailing_mean(values_BTC, length), torch.stack(expected, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_level_is_taken_out_at_the_origin(kind: str) -> None:
    values_BTC = wandering()
    level_BNC, scale_BNC = statistics(values_BTC, P, kind, 8)
    assert level_BNC.shape == (2, T // P, 2)
    for n in range(T // P):
        seen = values_BTC[:, max(0, (n + 1) * P - 8) : (n + 1) * P]
        zero, one = torch.zeros(2, 2), torch.ones(2, 2)
        level, scale = {
            "none": (zero, one),
            "last": (seen[:, -1], one),
            "mean": (seen.mean(1), one),
            "mean_deviation": (seen.mean(1), seen.std(1, correction=0)),
        }[kind]
        torch.testing.assert_close(level_BNC[:, n], level, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scale_BNC[:, n], scale, rtol=1e-3, atol=1e-4)


def test_a_flat_history_does_not_blow_its_noise_up() -> None:
    _, scale_BNC = statistics(torch.full((1, L, 2), 3.0), P, "mean_deviation", L)
    torch.testing.assert_close(scale_BNC, torch.full_like(scale_BNC, 0.05))


@pytest.mark.parametrize("patch", [1, 4])
def test_steps_since_a_value_was_observed_are_counted_from_each_patch_s_end(patch: int) -> None:
    observed_BTC = (torch.rand(3, T, 2, generator=torch.Generator().manual_seed(0)) > 0.8).float()
    observed_BTC[0, :, 0] = 0
    found_BNC = steps_since_observed(observed_BTC, patch, 7)
    for b, n, c in ((b, n, c) for b in range(3) for n in range(T // patch) for c in range(2)):
        seen = observed_BTC[b, : (n + 1) * patch, c].flip(0).nonzero()
        nearest = int(seen[0]) if len(seen) else 99
        assert found_BNC[b, n, c] == min(7, nearest, (n + 1) * patch)


def test_a_value_not_seen_in_training_has_a_slot_that_training_fills() -> None:
    torch.manual_seed(0)
    tables = Categories({"region": ["a", "b", "c"], "kind": ["x"]})
    codes_BK = torch.ones(4000, 2, dtype=torch.long)
    assert torch.equal(tables.eval()(None, 5), tables(torch.zeros(5, 2, dtype=torch.long), 5))
    assert tables(codes_BK, 4000).unique(dim=0).shape == (1, tables.width)
    tables.train()(codes_BK, 4000).sum().backward()
    for table in tables.tables:
        hidden, shown = table.weight.grad[:2, 0].tolist()
        assert hidden == pytest.approx(4000 * UNSEEN_SHARE, rel=0.3)
        assert hidden + shown == 4000


def test_an_embedding_grows_slowly_with_its_column() -> None:
    widths = [embedding_width(size) for size in (2, 8, 50, 400, 10_000)]
    assert widths == sorted(widths)
    assert (widths[0], widths[-1]) == (2, 32)
