"""Each change of training sequences: what it does, what it leaves alone, and that the same draw comes again."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lstm_ray.config import Config
from lstm_ray.data.feed import source
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import IGNORED
from lstm_ray.model.augment import augmented, real_lengths
from lstm_ray.model.network import build
from lstm_ray.model.objective import Lesson, Objective
from lstm_ray.sections.train import AugmentConfig
from tests import made

SEGMENTS = made.segments_of([140, 25], schema=made.schema_of(target=["load", "other"], known=["price"]))
DAYS = made.sequences_of([12, 9, 5, 11] * 6)
DAY_PARTS: Boundaries = {"train": (0, 24 * 24), "validation": (24 * 24, 24 * 25), "test": (24 * 25, 24 * 26)}
ALL: dict[str, float] = {
    "jitter": 0.3,
    "scaling": 0.3,
    "magnitude_warp": 0.3,
    "time_warp": 0.3,
    "window_slice": 0.3,
    "masking": 0.4,
    "mixup": 1.0,
}
KEY = (7, 1, 2, 0)


def forecast_config() -> Config:
    return made.make_config(data__target=["load", "other"], data__known=["price"])


def lesson_of(config: Config) -> Lesson:
    if config.task == "classify":
        segments, items = DAYS, source(DAYS, DAY_PARTS, "train", config)
        batch = items.cut(np.arange(items.num_items))
        batch.label_B[-1] = IGNORED
    else:
        segments, items = SEGMENTS, source(SEGMENTS, made.PARTS, "train", config)
        batch = items.cut(np.arange(items.num_items)).silent_after(items.num_items - 1)
    network = build(config, segments.schema)
    return Objective(config, network, network).lesson(batch)


CONFIGS = {"forecast": forecast_config(), "classify": made.classify_config()}


def changed(task: str, key: tuple[int, ...] = KEY, **values: float) -> tuple[Lesson, Lesson, Tensor]:
    """A lesson before and after, and its real lengths."""
    before = lesson_of(CONFIGS[task])
    after = augmented(before, AugmentConfig(**values), CONFIGS[task].window, key)
    return before, after, real_lengths(before, CONFIGS[task].window)


def tensors(lesson: Lesson) -> dict[str, Tensor]:
    return {field.name: getattr(lesson, field.name) for field in fields(lesson)}


def differing(before: Lesson, after: Lesson) -> set[str]:
    return {name for name, value in tensors(before).items() if not torch.equal(value, tensors(after)[name])}


@pytest.mark.parametrize("task", CONFIGS)
def test_without_augmentation_a_lesson_is_left_as_it_is(task: str) -> None:
    before, after, _ = changed(task)
    assert after is before


@pytest.mark.parametrize("task", CONFIGS)
def test_lengths_end_where_padding_begins(task: str) -> None:
    config = CONFIGS[task]
    lesson = lesson_of(config)
    found = real_lengths(lesson, config.window).tolist()
    if task == "classify":
        assert found[:-1] == ([12, 9, 5, 11] * 6)[:-1]
    else:
        newest = [int(row.nonzero().max()) for row in lesson.origin_BN[:-1]]
        assert found[:-1] == [12 + 4 * n + 6 for n in newest]
        assert min(found[:-1]) < max(found)
    assert found[-1] == 0


@pytest.mark.parametrize("task", CONFIGS)
@pytest.mark.parametrize("name", ALL)
def test_each_change_keeps_padding_and_what_is_not_its_own(task: str, name: str) -> None:
    before, after, length_B = changed(task, **{name: ALL[name]})
    read = {"past_BTP"} if task == "classify" else {"past_BTP", "target_BTC"}
    truth = set() if task == "classify" else {"truth_BTC"}
    masks = set() if task == "classify" else {"observed_BTC", "measured_BTC"}
    allowed = {
        "jitter": read,
        "scaling": read | truth,
        "magnitude_warp": read | truth,
        "time_warp": read | truth | masks | {"known_BTK"},
        "window_slice": read | truth | masks | {"known_BTK"},
        "masking": read | ({"observed_BTC"} & masks),
        "mixup": read | truth | masks | {"known_BTK", "other_B", "share_B"},
    }[name]
    found = differing(before, after)
    assert read <= found <= allowed
    padding_BT = torch.arange(before.known_BTK.shape[1]) >= length_B[:, None]
    assert padding_BT.any()
    for part, value in tensors(after).items():
        assert torch.isfinite(value).all(), part
        if value.ndim == 3:
            assert torch.equal(value[padding_BT], tensors(before)[part][padding_BT]), part


@pytest.mark.parametrize("task", CONFIGS)
def test_the_same_key_draws_the_same_changes_and_any_other_key_others(task: str) -> None:
    _, first, _ = changed(task, **ALL)
    assert not differing(first, changed(task, **ALL)[1])
    for place in range(4):
        key = tuple(value + (index == place) for index, value in enumerate(KEY))
        assert "past_BTP" in differing(first, changed(task, key, **ALL)[1])


def test_jitter_is_noise_of_the_asked_deviation_on_inputs_and_never_on_the_truth() -> None:
    before, after, length_B = changed("forecast", jitter=0.3)
    inside_BT = torch.arange(before.known_BTK.shape[1]) < length_B[:, None]
    noise = (after.target_BTC - before.target_BTC)[inside_BT]
    assert float(noise.std()) == pytest.approx(0.3, rel=0.1)
    assert float(noise.mean()) == pytest.approx(0, abs=0.03)
    assert torch.equal(after.truth_BTC, before.target_BTC)


@pytest.mark.parametrize("name", ["scaling", "magnitude_warp", "time_warp", "window_slice", "mixup"])
def test_history_and_future_are_bent_together(name: str) -> None:
    _, after, _ = changed("forecast", **{name: ALL[name]})
    assert torch.equal(after.truth_BTC, after.target_BTC)


def test_scaling_is_one_factor_for_each_sequence_and_column() -> None:
    before, after, length_B = changed("forecast", scaling=0.2)
    factors = []
    for b, length in enumerate(length_B.tolist()):
        for c in range(2):
            ratio = after.target_BTC[b, :length, c] / before.target_BTC[b, :length, c]
            if length:
                torch.testing.assert_close(ratio, ratio[:1].expand(length), rtol=1e-4, atol=1e-4)
                factors.append(float(ratio[0]))
    assert float(np.std(factors)) == pytest.approx(0.2, rel=0.35)
    assert len({round(factor, 5) for factor in factors}) == len(factors)


def test_a_magnitude_curve_is_smooth() -> None:
    before, after, length_B = changed("forecast", magnitude_warp=0.2)
    for b, length in enumerate(length_B.tolist()[:-1]):
        ratio = (after.target_BTC[b, :length, 0] / before.target_BTC[b, :length, 0]).double()
        assert float(ratio.std()) > 0.01
        assert float(ratio.diff().abs().max()) < 0.2


def ramps(task: str) -> Lesson:
    """Sequences whose every column tells its step."""
    lesson = lesson_of(CONFIGS[task])
    length_B = real_lengths(lesson, CONFIGS[task].window)
    step_BT1 = (
        torch.arange(lesson.known_BTK.shape[1]) * (torch.arange(lesson.known_BTK.shape[1]) < length_B[:, None])
    )[..., None].float()
    # Step 0 of a padded sequence must not look like padding.
    step_BT1 = step_BT1 + (step_BT1 > 0) + (torch.arange(step_BT1.shape[1])[:, None] == 0)
    wide = {n: step_BT1.expand_as(v) for n, v in tensors(lesson).items() if v.ndim == 3 and n[:3] not in ("obs", "mea")}
    return replace(lesson, **wide)


@pytest.mark.parametrize("task", CONFIGS)
@pytest.mark.parametrize(("name", "size"), [("time_warp", 0.5), ("window_slice", 0.4)])
def test_time_runs_on_at_another_speed_within_the_sequence(task: str, name: str, size: float) -> None:
    before = ramps(task)
    after = augmented(before, AugmentConfig(**{name: size}), CONFIGS[task].window, KEY)
    length_B = real_lengths(before, CONFIGS[task].window)
    moved = 0.0
    for b, length in enumerate(length_B.tolist()):
        if length < 2:
            continue
        clock, own = after.known_BTK[b, :length, 0], before.known_BTK[b, :length, 0]
        assert (clock.diff() > 0).all()
        assert own[0] <= clock[0]
        assert clock[-1] <= own[-1] + 1e-4
        torch.testing.assert_close(after.past_BTP[b, :length, 0], clock)
        moved += float((clock - own).abs().max())
        if name == "time_warp":
            torch.testing.assert_close(clock[[0, -1]], own[[0, -1]], rtol=1e-4, atol=1e-4)
        else:
            torch.testing.assert_close(clock.diff(), clock.diff()[:1].expand(length - 1), rtol=1e-3, atol=1e-3)
            assert float(clock[-1] - clock[0]) >= (1 - size) * (length - 1) - 1e-3
    assert moved > 1


def test_a_step_between_two_counts_where_both_were_measured() -> None:
    before, after, length_B = changed("forecast", time_warp=0.3)
    assert set(after.measured_BTC.unique().tolist()) == {0.0, 1.0}
    inside = torch.arange(before.known_BTK.shape[1]) < length_B[:, None]
    assert after.measured_BTC[inside].mean() < before.measured_BTC[inside].mean()
    everywhere = replace(before, measured_BTC=torch.ones_like(before.measured_BTC))
    found = augmented(everywhere, AugmentConfig(time_warp=0.3), CONFIGS["forecast"].window, KEY)
    assert found.measured_BTC.all()


def test_masking_hides_steps_from_the_network_and_not_from_the_loss() -> None:
    before, after, length_B = changed("forecast", masking=0.4)
    before_observed = torch.ones_like(before.observed_BTC)
    after = augmented(
        replace(before, observed_BTC=before_observed), AugmentConfig(masking=0.4), CONFIGS["forecast"].window, KEY
    )
    assert torch.equal(after.truth_BTC, before.truth_BTC)
    assert torch.equal(after.measured_BTC, before.measured_BTC)
    hidden_BT = after.observed_BTC[..., 0] == 0
    inside_BT = torch.arange(hidden_BT.shape[1]) < length_B[:, None]
    assert float(hidden_BT[inside_BT].float().mean()) == pytest.approx(0.4, abs=0.1)
    assert not hidden_BT[:, 0].any()
    runs = []
    for b, t in hidden_BT.nonzero().tolist():
        assert torch.equal(after.target_BTC[b, t], after.target_BTC[b, t - 1])
        assert torch.equal(after.past_BTP[b, t], after.past_BTP[b, t - 1])
        runs.append(bool(hidden_BT[b, t - 1]))
    assert np.mean(runs) > 0.7, "hidden steps lie in runs"
    seen = ~hidden_BT
    assert torch.equal(after.target_BTC[seen], before.target_BTC[seen])


def test_mixup_blends_each_sequence_with_another_and_their_labels_as_much() -> None:
    before, after, length_B = changed("classify", mixup=1.0)
    mixed = (after.share_B < 1).nonzero()[:, 0].tolist()
    assert len(mixed) > len(length_B) / 4
    for b in range(len(length_B)):
        own, share = before.past_BTP[b, :, 0], float(after.share_B[b])
        assert 0.5 <= share <= 1
        if b not in mixed:
            assert torch.equal(after.past_BTP[b, :, 0], own)
            assert after.other_B[b] == before.label_B[b]
            continue
        partner = (after.past_BTP[b, :, 0] - share * own) / (1 - share)
        length = int(length_B[b])
        matches = [
            p
            for p in range(len(length_B))
            if torch.allclose(before.past_BTP[p, :length, 0], partner[:length], rtol=1e-2, atol=1e-2)
        ]
        assert after.other_B[b] in [before.label_B[p] for p in matches]
        assert all(length_B[p] >= length for p in matches)
    assert IGNORED not in after.other_B[mixed]


def test_the_loss_of_mixed_labels_is_mixed_as_much() -> None:
    config = made.classify_config()
    network = build(config, DAYS.schema)
    objective = Objective(config, network, network, torch.tensor([0.5, 2.0]))
    _, after, _ = changed("classify", mixup=1.0)
    found = float(next(objective.losses(after)).detach())
    plain = [replace(after, label_B=label, other_B=label) for label in (after.label_B, after.other_B)]
    own, other = (
        torch.stack([next(objective.losses(part)).detach() for part in lesson.parts(len(after.label_B))])
        for lesson in plain
    )
    assert found == pytest.approx(float((after.share_B * own + (1 - after.share_B) * other).sum()), rel=1e-5)
    weights = [[0.5, 2.0, 0.0][label] for label in after.label_B.clamp_min(-1)]
    others = [[0.5, 2.0, 0.0][label] for label in after.other_B.clamp_min(-1)]
    share = after.share_B.numpy()
    assert float(objective.weight(after)) == pytest.approx(
        float((share * weights + (1 - share) * others).sum()), rel=1e-5
    )


def test_a_mixed_value_counts_where_both_were_measured() -> None:
    before, after, _ = changed("forecast", mixup=1.0)
    assert after.measured_BTC.sum() < before.measured_BTC.sum()
    assert (after.measured_BTC <= before.measured_BTC).all()
    assert torch.equal(after.origin_BN, before.origin_BN)


@pytest.mark.parametrize("task", CONFIGS)
def test_everything_at_once_is_learned_from(task: str) -> None:
    config = CONFIGS[task]
    network = build(config, (DAYS if task == "classify" else SEGMENTS).schema)
    objective = Objective(config, network, network)
    _, after, _ = changed(task, **ALL)
    for loss in objective.losses(after):
        loss.backward()
    gradients: list[Any] = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)
