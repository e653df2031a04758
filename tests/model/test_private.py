"""Steps of differential privacy: gradients shortened and noised as the formula says, whoever is taken taken by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.feed import Items, all_batches, of_items, planned, steps_per_epoch
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.network import build
from lstm_ray.model.objective import Objective
from lstm_ray.model.private import Private, units_of
from lstm_ray.model.spending import Account
from lstm_ray.model.training import Training, fit, start
from tests import made

KEY = bytes(range(32))
PLAIN = made.make_config()
CONFIG = made.make_config(train__private={"epsilon": 8.0})
HUGE = 1e9


def world(config: Config = CONFIG, lengths: list[int] | None = None) -> tuple[Segments, Items]:
    """Scaled, all of it measured: sequences then count alike."""
    segments = made.segments_of(lengths or [240, 240, 240])
    scaled = segments.scaled(made.scaler_of(segments))
    scaled = replace(scaled, observed_RC=np.ones_like(scaled.observed_RC))
    return scaled, planned(scaled, made.PARTS, "train", config)


def private_of(items: Items, scaled: Segments, key: bytes = KEY, **changes: float) -> Private:
    units = units_of(items, scaled)
    account = Account(len(units), rate=1.0, sigma=0.0, clip_norm=HUGE, delta=1e-5)
    return Private(replace(account, **changes), units, key)  # type: ignore[arg-type]


def objective_of(scaled: Segments, config: Config = CONFIG) -> Objective:
    torch.manual_seed(config.seed)
    network = build(config, scaled.schema)
    return Objective(config, network, network)


def gradient(objective: Objective) -> torch.Tensor:
    return torch.cat([w.grad.flatten() for w in objective.network.parameters() if w.grad is not None])


def ordinary(objective: Objective, scaled: Segments, items: Items, chosen: np.ndarray) -> torch.Tensor:
    """Of the mean loss of some items."""
    lesson = objective.lesson(of_items(items, scaled).cut(chosen))
    objective.network.zero_grad()
    loss = sum(objective.losses(lesson), torch.zeros(())) / objective.weight(lesson)
    loss.backward()
    return gradient(objective)


def full(items: Items) -> np.ndarray:
    """Items whose every origin teaches."""
    origins_M = items.number_MW[:, 2]
    return np.flatnonzero(origins_M == origins_M.max())


def test_without_noise_and_with_nothing_shortened_it_is_the_ordinary_gradient() -> None:
    scaled, items = world()
    objective, chosen = objective_of(scaled), full(world()[1])[:3]
    private = private_of(items, scaled)
    sums = private.backward(objective, of_items(items, scaled).cut(chosen), 0)
    found = gradient(objective)
    torch.testing.assert_close(found, ordinary(objective, scaled, items, chosen), rtol=1e-4, atol=1e-6)
    lesson = objective.lesson(of_items(items, scaled).cut(chosen))
    assert float(sums[1]) == float(objective.weight(lesson))


def test_every_gradient_is_shortened_and_the_noise_is_of_sigma_clip_norms() -> None:
    scaled, items = world()
    objective, batch, clip = objective_of(scaled), of_items(items, scaled).cut(np.arange(3)), 1e-3
    alone = [ordinary(objective, scaled, items, np.array([item])) for item in range(3)]
    expected = sum((g * min(1.0, clip / float(g.norm())) for g in alone), torch.zeros(()))
    private_of(items, scaled, clip_norm=clip).backward(objective, batch, 0)
    assert any(g.norm() > clip for g in alone)
    torch.testing.assert_close(gradient(objective) * 3, expected, rtol=1e-3, atol=1e-8)
    private_of(items, scaled, clip_norm=clip, sigma=2.0).backward(objective, batch, 0)
    noise = gradient(objective) * 3 - expected
    assert noise.std() == pytest.approx(2 * clip, rel=0.1)
    assert abs(float(noise.mean())) < 0.2 * clip


def test_one_series_that_lies_far_off_moves_a_step_by_no_more_than_its_share() -> None:
    scaled, items = world()
    objective, clip = objective_of(scaled), 0.01
    items_of = of_items(items, scaled)
    batch = items_of.cut(np.arange(3))
    wild = batch.target_BTC.copy()
    wild[1] *= 1e6
    found = []
    for one in (batch, replace(batch, target_BTC=wild), replace(batch, origin_BN=batch.origin_BN * [[1], [0], [1]])):
        private_of(items, scaled, clip_norm=clip, sigma=1.0).backward(objective, one, 4)
        found.append(gradient(objective))
    apart = [float((one - found[2]).norm()) for one in found[:2]]
    assert max(apart) <= clip / 3 * 1.001, "with it or without, over the number taken on average"
    assert apart[1] == pytest.approx(clip / 3, rel=0.01), "so far off that nothing else would bound it"


def test_a_step_that_takes_nobody_is_noise_alone() -> None:
    scaled, items = world()
    private = private_of(items, scaled, rate=1e-12, sigma=1e-12, clip_norm=1.0)
    (batch,) = private.batches(of_items(items, scaled), 1)(0)
    objective = objective_of(scaled)
    sums = private.backward(objective, batch, 0)
    assert sums.tolist() == [0, 0]
    assert 0 < gradient(objective).abs().max() < 100


def test_each_series_is_taken_by_chance_and_of_it_any_sequence() -> None:
    """Two segments of one series are one unit."""
    scaled, items = world(lengths=[200, 200, 200, 200])
    scaled = replace(scaled, series=["a", "b", "c", "a"])
    units = units_of(items, scaled)
    assert len(units) == 3
    assert units.count_U.sum() == items.num_items
    private, steps = private_of(items, scaled, rate=0.3), 3_000
    of_series = np.array(scaled.series)[scaled.series_of(items.number_MW[:, 0])]
    taken = [private.chosen(step) for step in range(steps)]
    for name in "abc":
        share = np.mean([(of_series[chosen] == name).sum() for chosen in taken])
        assert share == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / steps))
        assert all((of_series[chosen] == name).sum() <= 1 for chosen in taken)
    pairs = np.mean([{"a", "b"} <= set(of_series[chosen]) for chosen in taken])
    assert pairs == pytest.approx(0.09, abs=0.025), "each on its own"
    sizes = np.bincount([len(chosen) for chosen in taken], minlength=4) / steps
    assert sizes == pytest.approx([0.343, 0.441, 0.189, 0.027], abs=0.035), "as many as chance has it"
    counts = np.bincount(np.concatenate(taken), minlength=items.num_items)[of_series == "a"]
    assert counts.var() == pytest.approx(counts.mean(), rel=0.6), "every sequence of a series alike"


def trained(scaled: Segments, items: Items, config: Config, private: Private | None) -> Training:
    torch.manual_seed(config.seed)
    training = start(build(config, scaled.schema), config)
    held_out = of_items(planned(scaled, made.PARTS, "validation", config), scaled)
    steps = steps_per_epoch(items, config)
    reads = private.batches(of_items(items, scaled), steps) if private is not None else lambda epoch: iter(())
    fit(training, config, reads, lambda: all_batches(held_out, config), steps, private=private)
    return training


def test_the_same_key_trains_the_same_and_another_does_not() -> None:
    config = made.make_config(
        train__private={}, train__max_epochs=1, model__dropout=0.3, train__augment={"jitter": 0.1}
    )
    scaled, items = world(config)
    keys = (KEY, KEY, bytes(32))
    found = [trained(scaled, items, config, private_of(items, scaled, k, sigma=1.0, clip_norm=0.1)) for k in keys]
    first, again, other = (one.network.state_dict() for one in found)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_noise_cannot_be_drawn_again_from_what_is_public() -> None:
    scaled, items = world()
    units = units_of(items, scaled)
    account = Account(len(units), rate=0.5, sigma=1.0, clip_norm=1.0, delta=1e-5)
    draws = {Private(account, units)._number("noise", 0) for _ in range(4)}
    assert len(draws) == 4


def test_weights_of_rows_count_before_a_gradient_is_shortened() -> None:
    scaled, items = world()
    scaled = replace(scaled, weight_R=np.full(len(scaled.target_RC), 0.25, np.float32))
    objective = objective_of(scaled)
    private_of(items, scaled).backward(objective, of_items(items, scaled).cut(np.arange(3)), 0)
    light = gradient(objective)
    scaled = replace(scaled, weight_R=None)
    private_of(items, scaled).backward(objective, of_items(items, scaled).cut(np.arange(3)), 0)
    torch.testing.assert_close(light, gradient(objective) * 0.25, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", ["classify", "label"])
def test_classes_and_labels_are_learned_in_private_too(kind: str) -> None:
    make = made.classify_config if kind == "classify" else made.label_config
    config = make(train__private={}, train__max_epochs=1)
    segments = made.sequences_of([12] * 16) if kind == "classify" else made.labelled_of([240, 240])
    scaled = segments.scaled(made.scaler_of(segments))
    parts = (
        {"train": (0, 24 * 16), "validation": (24 * 8, 24 * 16), "test": (0, 0)} if kind == "classify" else made.PARTS
    )
    items = planned(scaled, parts, "train", config)
    assert len(units_of(items, scaled)) == len(set(scaled.series))
    private = private_of(items, scaled, rate=0.5, sigma=0.5, clip_norm=1.0)
    for batch in private.batches(of_items(items, scaled), 3)(0):
        objective = objective_of(scaled, config)
        assert torch.isfinite(private.backward(objective, batch, 0)).all()
        assert torch.isfinite(gradient(objective)).all()


def test_a_loop_without_an_account_refuses() -> None:
    scaled, items = world()
    with pytest.raises(InputError, match=r"train\.private is set, and only the stage 'train'"):
        trained(scaled, items, CONFIG, None)
    assert PLAIN.train.private is None
