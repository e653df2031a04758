"""Synthetic sequences come from the training part alone, and keep all that a training sequence has beside its values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.config import Config
from lstm_ray.data.feed import of_items
from lstm_ray.data.parts import PARTS, Boundaries
from lstm_ray.data.schema import Scaler, SeriesUnits
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.plan.experience.making import after_histories, kinds_of, of_futures, real_of, shares, variants_of
from lstm_ray.plan.experience.synthetic import Synthetic, num_synthetic, together
from lstm_ray.plan.futures.starts import rollout_origins
from tests import made

VARIANTS = ["jitter", "time_warp", "mixup", "recombine"]
SEGMENTS = made.segments_of([240, 150], [0, 90], schema=made.schema_of(known=["price"]))
DAYS = made.sequences_of([12, 9, 12, 5, 12, 7])
DAY_PARTS: Boundaries = {"train": (0, 96), "validation": (96, 120), "test": (120, 144)}


def forecast_config(**values: object) -> Config:
    return made.make_config(**({"plan__steps": 15, "data__known": ["price"]} | values))


def real(segments: Segments = SEGMENTS, config: Config | None = None, scaler: Scaler | None = None) -> Any:
    config = config or forecast_config()
    scaler = scaler or made.scaler_of(segments)
    return real_of(segments, segments.scaled(scaler), scaler, made.PARTS, config)


def futures(origins: np.ndarray, steps: int = 15) -> np.ndarray:
    return np.random.default_rng(0).normal(20, 3, size=(len(origins), steps, 1)).astype(np.float32)


def every_kind(segments: Segments, config: Config, scaler: Scaler) -> dict[str, Synthetic]:
    here = real(segments, config, scaler)
    origins = rollout_origins(segments, made.PARTS, "train", config, 9)
    found = {kind: variants_of(here, kind, 9) for kind in VARIANTS}
    return found | {"rollouts": of_futures(here, scaler, origins, futures(origins))}


def test_a_synthetic_segment_is_its_history_and_then_its_future() -> None:
    config = forecast_config()
    origins = rollout_origins(SEGMENTS, made.PARTS, "train", config, 9)
    future = futures(origins)
    found = after_histories(SEGMENTS, origins, future, config.window)
    assert np.diff(found.bounds).tolist() == [12 + 15] * 9
    for m, origin in enumerate(origins):
        rows, history = slice(found.bounds[m], found.bounds[m + 1]), slice(origin - 11, origin + 1)
        np.testing.assert_array_equal(found.target_RC[rows][:12], SEGMENTS.target_RC[history])
        np.testing.assert_array_equal(found.target_RC[rows][12:], future[m])
        np.testing.assert_array_equal(found.observed_RC[rows][:12], SEGMENTS.observed_RC[history])
        assert found.observed_RC[rows][12:].all()
        np.testing.assert_array_equal(found.known_RK[rows], SEGMENTS.known_RK[origin - 11 : origin + 16])
        # A season is 6 steps, and the future 15.
        season = SEGMENTS.past_RP[origin - 5 : origin + 1]
        np.testing.assert_array_equal(found.past_RP[rows][12:], np.concatenate([season, season, season[:3]]))
        np.testing.assert_array_equal(found.past_RP[rows][:12], SEGMENTS.past_RP[history])
        assert found.series[m] == SEGMENTS.series[int(SEGMENTS.series_of(origins[m : m + 1])[0])]
    assert found.target_RC.dtype == found.observed_RC.dtype == np.float32


def test_synthetic_sequences_lie_within_the_training_part() -> None:
    first, end = made.PARTS["train"]
    for kind, found in every_kind(SEGMENTS, forecast_config(), made.scaler_of(SEGMENTS)).items():
        assert (found.segments.first_step >= first).all(), kind
        assert (found.segments.first_step + np.diff(found.segments.bounds) <= end).all(), kind


@pytest.mark.parametrize("kind", VARIANTS)
def test_what_lies_beyond_the_training_part_changes_no_synthetic_value(kind: str) -> None:
    """A canary: were any later row read, these would show it."""
    later = SEGMENTS.steps(np.arange(390)) >= made.PARTS["train"][1]
    changed = {
        name: np.where(later[:, None], np.float32(1e6), getattr(SEGMENTS, name))
        for name in ("target_RC", "past_RP", "known_RK")
    }
    changed["observed_RC"] = np.where(later[:, None], np.float32(0), SEGMENTS.observed_RC)
    scaler = made.scaler_of(SEGMENTS)
    before = variants_of(real(scaler=scaler), kind, 9).segments
    after = variants_of(real(replace(SEGMENTS, **changed), scaler=scaler), kind, 9).segments
    for name in ("target_RC", "past_RP", "known_RK", "observed_RC", "bounds", "first_step"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name), err_msg=name)
    rows = np.isclose(before.target_RC[:, 0], 1e6)
    assert not rows.any()


@pytest.mark.parametrize("kind", VARIANTS)
def test_the_same_seed_makes_the_same_sequences_and_none_of_them_is_real(kind: str) -> None:
    found, again = (variants_of(real(), kind, 9) for _ in range(2))
    np.testing.assert_array_equal(found.segments.target_RC, again.segments.target_RC)
    other = variants_of(real(config=forecast_config(seed=8)), kind, 9)
    assert other.segments.target_RC.shape != found.segments.target_RC.shape or not np.array_equal(
        other.segments.target_RC, found.segments.target_RC
    )
    scaled = SEGMENTS.scaled(made.scaler_of(SEGMENTS))
    for m in range(9):
        values = found.segments.target_RC[found.segments.bounds[m] : found.segments.bounds[m + 1], 0]
        first = SEGMENTS.bounds[found.source_M[m]] + found.segments.first_step[m]
        first -= SEGMENTS.first_step[found.source_M[m]]
        itself = scaled.target_RC[first : first + len(values), 0]
        assert (values != itself).mean() > 0.5, "its own rows, changed"
        assert abs(values.mean() - itself.mean()) < 1
    assert set(found.kind_M) == {kind}
    assert np.isfinite(found.segments.target_RC).all()


@pytest.mark.parametrize("dealt", [False, True])
@pytest.mark.parametrize("own_scale", [False, True])
def test_lags_weights_scales_and_dealt_parts_survive(dealt: bool, own_scale: bool) -> None:
    """Sequences of every kind are cut as real ones: with as far back as lags ask for, each row's weight and its units."""
    config = forecast_config(window__lags=[6, 20])
    weight_R = (1 + np.arange(390, dtype=np.float32)) / 400
    segments = replace(SEGMENTS, weight_R=weight_R, category_SK=np.array([[1], [2]]))
    if dealt:
        segments = replace(segments, part_S=np.array([PARTS.index("train"), PARTS.index("test")], np.int8))
    scaler = made.scaler_of(segments)
    if own_scale:
        units = SeriesUnits(of={"s0": [10.0, 2.0], "s1": [50.0, 5.0]}, scale="standard", steps=12)
        scaler = scaler.model_copy(update={"series": units})
    here = real(segments, config, scaler)
    scaled = segments.scaled(scaler)
    origins = here.items.number_MW
    for kind, found in every_kind(segments, config, scaler).items():
        batch = here.items.cut(found.segments, found.number_MW)
        assert batch.weight_BT.shape == batch.target_BTC.shape[:2], kind
        assert 0 < batch.weight_BT.max() <= weight_R.max()
        assert (batch.origin_BN.sum(1) > 0).all()
        # The last four columns are of two lags: a value each, and whether it is there.
        assert batch.known_BTK.shape[2] == SEGMENTS.known_RK.shape[1] + 4
        begins = found.segments.first_step + found.number_MW[:, 0] - found.segments.bounds[:-1]
        reaches = begins - 20 >= segments.first_step[found.source_M]
        np.testing.assert_array_equal(batch.known_BTK[:, 0, -1], reaches, err_msg=kind)
        for m in range(len(found)):
            rows = slice(found.segments.bounds[m], found.segments.bounds[m + 1])
            start = found.number_MW[m, 0]
            lagged = found.segments.target_RC[start - 6] if start - 6 >= rows.start else np.zeros(1)
            np.testing.assert_array_equal(batch.known_BTK[m, 0, -4], lagged[0], err_msg=kind)
            assert found.segments.category_SK[m].tolist() == [found.source_M[m] + 1]
        if dealt:
            assert set(found.source_M) == {0}, f"{kind} of a series that is dealt to the test part"
            assert found.segments.part_S is not None
            assert set(found.segments.part_S) == {PARTS.index("train")}
        if own_scale:
            assert found.own is not None
            zeros = np.array([10.0, 50.0])[found.source_M]
            np.testing.assert_array_equal(found.own.zero_BC[:, 0], zeros)
            level = scaled.target_RC[origins[:, 0]].mean()
            assert abs(batch.target_BTC.mean() - level) < 4
    everything = together(list(every_kind(segments, config, scaler).values()), here.items.num_rows)
    assert len(everything) == 45
    assert everything.segments.bounds[-1] == len(everything.segments.target_RC) == len(everything.segments.weight_R)
    alone = [here.items.cut(one.segments, one.number_MW) for one in every_kind(segments, config, scaler).values()]
    joined = here.items.cut(everything.segments, everything.number_MW)
    for name, values in vars(joined).items():
        np.testing.assert_array_equal(values, np.concatenate([vars(one)[name] for one in alone]), err_msg=name)


def test_a_variant_holds_as_many_windows_as_the_item_it_is_made_from() -> None:
    here = real()
    found = variants_of(here, "jitter", here.items.num_items)
    np.testing.assert_array_equal(found.number_MW[:, 2], here.items.number_MW[:, 2])
    copied = here.items.cut(found.segments, found.number_MW)
    truth = of_items(here.items, here.scaled).cut(np.arange(here.items.num_items))
    for name in ("known_BTK", "observed_BTC", "origin_BN", "category_BS"):
        np.testing.assert_array_equal(getattr(copied, name), getattr(truth, name), err_msg=name)
    assert 0.05 < (copied.target_BTC - truth.target_BTC).std() < 0.15


def test_a_stride_thins_the_windows_of_a_rollout_as_it_does_those_of_the_data() -> None:
    config = forecast_config(window__stride=8, plan__steps=22)
    origins = rollout_origins(SEGMENTS, made.PARTS, "train", config, 9)
    here = real(config=config)
    found = of_futures(here, made.scaler_of(SEGMENTS), origins, futures(origins, 22))
    # 22 steps hold origins at 0, 4, ..., 16 with 6 steps ahead of each; every second teaches.
    assert found.number_MW[:, 2].tolist() == [3] * 9
    assert here.items.cut(found.segments, found.number_MW).origin_BN.sum(1).tolist() == [3.0] * 9


@pytest.mark.parametrize("kind", ["jitter", "time_warp", "mixup"])
def test_sequences_to_classify_keep_their_class_and_length(kind: str) -> None:
    config = made.classify_config(plan__synthetic={"kinds": [kind]})
    scaler = made.scaler_of(DAYS)
    here = real_of(DAYS, DAYS.scaled(scaler), scaler, DAY_PARTS, config)
    found = variants_of(here, kind, 12)
    assert DAYS.label is not None
    assert found.segments.label is not None
    assert found.segments.label.tolist() == DAYS.label[found.source_M].tolist()
    assert set(found.source_M) <= {0, 1, 2, 3}, "of the training part"
    assert np.diff(found.segments.bounds).tolist() == np.diff(DAYS.bounds)[found.source_M].tolist()
    batch = here.items.cut(found.segments, found.number_MW)
    assert batch.past_BTP.shape == (12, 12, 1)
    assert batch.label_B.tolist() == found.segments.label.tolist()
    if kind == "mixup":
        slope = [np.polyfit(np.arange(5), row[:5, 0], 1)[0] for row in batch.past_BTP]
        assert (np.sign(slope) == 2 * batch.label_B - 1).all(), "a blend of two that rise rises"


def test_labelled_steps_keep_their_labels() -> None:
    segments = made.labelled_of([240])
    config, scaler = made.label_config(), made.scaler_of(segments)
    here = real_of(segments, segments.scaled(scaler), scaler, made.PARTS, config)
    found = variants_of(here, "jitter", here.items.num_items)
    copied = here.items.cut(found.segments, found.number_MW)
    truth = of_items(here.items, here.scaled).cut(np.arange(here.items.num_items))
    for name in ("label_BT", "observed_BTC", "origin_BN"):
        np.testing.assert_array_equal(getattr(copied, name), getattr(truth, name), err_msg=name)
    assert 0.05 < (copied.past_BTP - truth.past_BTP).std() < 0.15


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.9])
def test_the_synthetic_share_is_the_configured_one_in_equal_kinds(fraction: float) -> None:
    config = forecast_config(plan__synthetic={"fraction": fraction, "kinds": ["jitter", "mixup"]})
    here = real(config=config)
    count = num_synthetic(here.items, config)
    assert count >= 1
    assert abs(count / (count + here.items.num_items) - fraction) < 1 / here.items.num_items
    kinds = shares(here)
    assert sum(kinds.values()) == max(2, count)
    assert abs(kinds["jitter"] - kinds["mixup"]) <= 1


def test_each_task_has_its_own_kind_where_none_is_named() -> None:
    tasks = [made.make_config(), made.classify_config(), made.label_config()]
    assert [kinds_of(config) for config in tasks] == [["rollouts"], ["jitter"], ["jitter"]]


@pytest.mark.parametrize(("kind", "words"), [("recombine", "5 seasons"), ("mixup", "train.origins lower")])
def test_a_training_part_too_short_for_a_kind_says_so(kind: str, words: str) -> None:
    short = made.segments_of([29], schema=made.schema_of(known=["price"]))
    parts: Boundaries = {"train": (0, 29), "validation": (29, 29), "test": (29, 29)}
    config, scaler = forecast_config(window__season=6), made.scaler_of(short)
    here = real_of(short, short.scaled(scaler), scaler, parts, config)
    with pytest.raises(InputError, match=words):
        variants_of(here, kind, 1)
    lonely = made.sequences_of([12, 9])
    scaler = made.scaler_of(lonely)
    here = real_of(
        lonely,
        lonely.scaled(scaler),
        scaler,
        {"train": (0, 48), "validation": (0, 48), "test": (0, 48)},
        made.classify_config(),
    )
    with pytest.raises(InputError, match="no class has two"):
        variants_of(here, "mixup", 1)


def test_series_without_past_or_known_columns_are_imagined_too() -> None:
    alone = made.segments_of([240], schema=made.schema_of(past=(), calendar=()))
    config, scaler = made.make_config(plan__steps=15), made.scaler_of(alone)
    for kind, found in every_kind(alone, config, scaler).items():
        assert (found.segments.past_RP.shape[1], found.segments.known_RK.shape[1]) == (0, 0), kind
