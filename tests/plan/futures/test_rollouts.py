"""Rollouts against a plain loop, and what may and may not change a path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.parts import PARTS
from lstm_ray.data.quality.clean import Cleaning
from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.schema import Own
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.errors import InputError
from lstm_ray.model.residuals import Residuals
from lstm_ray.plan.futures import rollouts
from lstm_ray.plan.futures.draws import rows_drawn
from lstm_ray.plan.futures.rollouts import PredictFn
from lstm_ray.plan.futures.starts import World, actual_after, rollout_origins, some_origins, start_of
from lstm_ray.plan.what_if.scenarios import under
from lstm_ray.sections.scenario import ScenarioConfig
from tests import made

SCHEMA = made.schema_of(known=["price"])
SEGMENTS = made.segments_of([240, 150], [0, 90], schema=SCHEMA)
CONFIG = made.make_config(data__known=["price"], plan__steps=15)
ORIGINS = np.array([30, 77, 300])
H, S = 6, 15


def scenario(**values: Any) -> ScenarioConfig:
    return ScenarioConfig.model_validate({"name": "s", "column": "wind", "operation": "shift", "value": 3} | values)


def roll(predict: PredictFn, world: World, origin_M: NDArray, one: ScenarioConfig | None, paths: int) -> NDArray:
    start = under(start_of(world, origin_M), one, world)
    return rollouts.roll(predict, world, start, paths)


def world_of(config: Config = CONFIG, segments: Segments = SEGMENTS, levels: tuple[float, ...] = (0.5,)) -> World:
    return World(segments, made.scaler_of(segments), config, library_of(levels))


def library_of(levels: tuple[float, ...] = (0.5,), number: int = 7) -> Residuals:
    """Errors of windows that begin at any step after the others', a horizon apart, of no series that is known."""
    score_RHC = np.random.default_rng(5).normal(size=(number, H, 1)).astype(np.float32)
    step_R = 1_000 + H * np.arange(number)
    return Residuals(levels, score_RHC, step_R, np.zeros(number, np.int64), ["somebody"])


def drawn_rows(world: World, origin_M: NDArray, paths: int, blocks: int = 3) -> NDArray:
    start, config = start_of(world, origin_M), world.config
    assert world.residuals is not None
    return rows_drawn(world.residuals, start.step_M, start.series, paths, blocks, config.window.season, config.seed)


def linear(batch: Batch, own: Own | None = None) -> NDArray:
    """A forecast that is plain arithmetic, so that no batch size rounds it: last load, mean wind, and the prices."""
    scaler = made.scaler_of(SEGMENTS)
    load = np.float32(batch.target_BTC[:, -H - 1, :] * scaler.target_deviation + scaler.target_mean)
    wind = batch.past_BTP[:, -H - 1, :1] * np.float32(scaler.past.deviation[0]) + np.float32(scaler.past.mean[0])
    price = batch.known_BTK[:, -H:, :1] * np.float32(scaler.known.deviation[0]) + np.float32(scaler.known.mean[0])
    median_BHC: NDArray = (load + wind)[:, None, :] + price
    return median_BHC[..., None]


def test_a_rollout_starts_from_a_history_as_a_network_may_see_it_and_truth_stays() -> None:
    target_RC = SEGMENTS.target_RC.copy()
    target_RC[30] = 900
    spiked = replace(SEGMENTS, target_RC=target_RC, observed_RC=np.ones_like(target_RC))
    mask = Cleaning(method="hampel", action="mask", deviations=6, steps=12, filling=Filling())
    world = world_of(segments=spiked)
    scaler = made.scaler_of(SEGMENTS)
    dirty, clean = (
        roll(linear, replace(world, scaler=scaler.model_copy(update={"cleaning": cleaning})), ORIGINS[:1], None, 1)
        for cleaning in (None, mask)
    )
    np.testing.assert_allclose(dirty - clean, np.full((1, 1, S, 1), target_RC[30] - target_RC[29]), rtol=1e-4)
    assert actual_after(spiked, np.array([29]), 1)[0] == 900


def test_paths_equal_a_plain_loop() -> None:
    """One origin and one path at a time, with the policy that training leaves."""
    levels = (0.1, 0.5, 0.9)
    policy = made.random_policy(made.make_config(data__known=["price"], model__quantiles=list(levels)), SEGMENTS)
    world = world_of(levels=levels)
    assert world.residuals is not None
    row_MWN = drawn_rows(world, ORIGINS, 2)
    found_MWSC = roll(policy.forecast_batch, world, ORIGINS, None, 2)
    assert found_MWSC.shape == (3, 2, S, 1)
    for m, origin in enumerate(ORIGINS):
        history = slice(origin - 11, origin + 1)
        ahead = slice(origin + 1, origin + 19)
        for path in range(2):
            target = list(SEGMENTS.target_RC[history])
            observed = [*SEGMENTS.observed_RC[history], *np.ones((18, 1), np.float32)]
            wind = [*SEGMENTS.past_RP[history], *np.tile(SEGMENTS.past_RP[history][-6:], (3, 1))]
            for block in range(3):
                one = Segments(
                    target_RC=np.asarray(target[-12:], np.float32),
                    observed_RC=np.asarray(observed[block * 6 :][:12], np.float32),
                    past_RP=np.asarray(wind[block * 6 : block * 6 + 12], np.float32),
                    known_RK=np.concatenate([SEGMENTS.known_RK[history], SEGMENTS.known_RK[ahead]])[block * 6 :][:18],
                    bounds=np.array([0, 12]),
                    series=["one"],
                    first_step=np.array([0]),
                    label=None,
                    schema=SCHEMA,
                    category_SK=np.zeros((1, 0), np.int64),
                )
                batch = _one_window(one, policy.scaler)
                low_HC, middle_HC, high_HC = np.moveaxis(policy.forecast_batch(batch)[0], -1, 0)
                score_HC = world.residuals.score_RHC[row_MWN[m, path, block]]
                side_HC = np.where(score_HC > 0, high_HC - middle_HC, middle_HC - low_HC)
                target += list(middle_HC + score_HC / 1.2815516 * side_HC)
            np.testing.assert_allclose(found_MWSC[m, path], target[12 : 12 + S], rtol=1e-4)


def _one_window(one: Segments, scaler: Any) -> Batch:
    pad = ((0, H), (0, 0))
    known = np.concatenate([scaler.scale(one.known_RK[:, :1], "known"), one.known_RK[:, 1:]], axis=1)
    return Batch(
        np.pad(scaler.scale(one.target_RC, "target"), pad)[None],
        np.pad(one.observed_RC, pad)[None],
        np.pad(scaler.scale(one.past_RP, "past"), pad)[None],
        known.astype(np.float32)[None],
        np.ones((1, 1), np.float32),
        np.zeros(1, np.int64),
        np.zeros((1, 0), np.int64),
        np.zeros((1, 0), np.float32),
        np.zeros((1, 0), np.float32),
    )


@pytest.mark.parametrize("one", [None, scenario(), scenario(column="price", steps=3)], ids=str)
def test_paths_do_not_depend_on_how_the_origins_are_dealt_out(one: ScenarioConfig | None) -> None:
    whole = roll(linear, world_of(), ORIGINS, one, 4)
    apart = [roll(linear, world_of(), ORIGINS[m : m + 1], one, 4) for m in range(3)]
    np.testing.assert_array_equal(whole, np.concatenate(apart))
    np.testing.assert_array_equal(whole[::-1], roll(linear, world_of(), ORIGINS[::-1], one, 4))
    np.testing.assert_array_equal(whole, roll(linear, world_of(), ORIGINS, one, 4))


def test_paths_depend_on_the_seed_the_origin_and_the_path() -> None:
    first = roll(linear, world_of(), ORIGINS, None, 4)
    other = roll(linear, world_of(CONFIG.model_copy(update={"seed": 8})), ORIGINS, None, 4)
    assert (first != other).any()
    around = first - first.mean(1, keepdims=True)
    assert len({tuple(np.round(path.ravel(), 3)) for origin in around for path in origin}) == 12


@pytest.mark.parametrize(
    "one",
    [scenario(series=["nobody"]), scenario(value=0), scenario(operation="scale", value=1)],
    ids=str,
)
def test_a_scenario_that_touches_nothing_makes_no_difference(one: ScenarioConfig) -> None:
    np.testing.assert_array_equal(roll(linear, world_of(), ORIGINS, one, 3), roll(linear, world_of(), ORIGINS, None, 3))


def test_scenarios_are_compared_on_the_same_draws() -> None:
    base = roll(linear, world_of(), ORIGINS, None, 3)
    shifted = roll(linear, world_of(), ORIGINS, scenario(value=3), 3)
    # Wind is read at every block's origin, three times in fifteen steps, and its last season goes on.
    expected = np.repeat([3.0, 6.0, 9.0], H)[:S]
    np.testing.assert_allclose((shifted - base)[..., 0], np.broadcast_to(expected, (3, 3, S)), atol=1e-3)


def test_a_scenario_of_one_series_leaves_the_others_alone() -> None:
    base = roll(linear, world_of(), ORIGINS, None, 2)
    found = roll(linear, world_of(), ORIGINS, scenario(series=["s1"]), 2)
    np.testing.assert_array_equal(found[:2], base[:2])
    assert (found[2] != base[2]).all()


def test_the_target_and_the_known_future_may_change_too() -> None:
    base = roll(linear, world_of(), ORIGINS, None, 1)
    load = roll(linear, world_of(), ORIGINS, scenario(column="load", value=2, steps=1), 1)
    np.testing.assert_allclose(load - base, np.full_like(base, 2), atol=1e-3)
    price = roll(linear, world_of(), ORIGINS, scenario(column="price", value=2, steps=4), 1)
    # Four steps ahead are dearer; the later blocks start from the sixth step, which is not.
    expected = [2.0] * 4 + [0.0] * 11
    np.testing.assert_allclose((price - base)[0, 0, :, 0], expected, atol=1e-3)


def test_errors_are_drawn_as_whole_trajectories() -> None:
    world = world_of()
    found = roll(linear, world, ORIGINS, None, 20)
    assert world.residuals is not None
    none = replace(world.residuals, score_RHC=np.zeros_like(world.residuals.score_RHC))
    plain = roll(linear, replace(world, residuals=none), ORIGINS, None, 1)
    drawn = (found - plain)[:, :, :H].reshape(-1, H)
    known = {tuple(np.round(trajectory[:, 0], 2)) for trajectory in world.residuals.score_RHC}
    seen = {tuple(np.round(path, 2)) for path in drawn}
    assert seen <= known
    assert len(seen) == 7


def test_beyond_its_segment_the_calendar_goes_on_and_known_columns_keep_their_last_value() -> None:
    seen: list[Batch] = []

    def spy(batch: Batch, own: Own | None) -> NDArray:
        seen.append(batch)
        return linear(batch)

    origin = 235
    roll(spy, world_of(), np.array([origin]), None, 1)
    steps = np.arange(origin - 11, origin + 19)
    known = np.concatenate([seen[0].known_BTK[0], seen[1].known_BTK[0, -H:], seen[2].known_BTK[0, -H:]])
    np.testing.assert_allclose(known[:, 1:], SCHEMA.calendar_features(SCHEMA.times(steps)), atol=1e-6)
    scaler = made.scaler_of(SEGMENTS)
    price = scaler.scale(SEGMENTS.known_RK[np.minimum(steps, 239), :1], "known")
    np.testing.assert_allclose(known[:, :1], price, atol=1e-6)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("number", [1, 5, 10_000])
def test_origins_are_spread_over_a_part_with_whole_rollouts_inside(part: Any, number: int) -> None:
    found = rollout_origins(SEGMENTS, made.PARTS, part, CONFIG, number)
    first, end = made.PARTS[part]
    assert 1 <= len(found) <= number
    assert len(set(found)) == len(found)
    steps = SEGMENTS.steps(found)
    assert (steps + 1 >= first).all()
    assert (steps + S < end).all()
    assert (SEGMENTS.series_of(found) == SEGMENTS.series_of(found + S)).all()
    assert (SEGMENTS.series_of(found) == SEGMENTS.series_of(found - 11)).all()
    every = rollout_origins(SEGMENTS, made.PARTS, part, CONFIG, 10_000)
    if number == 5:
        assert found[[0, -1]].tolist() == every[[0, -1]].tolist()
        assert np.ptp(np.diff(np.searchsorted(every, found))) <= 1


def test_series_start_together_where_that_is_asked_for() -> None:
    found = rollout_origins(SEGMENTS, made.PARTS, "validation", CONFIG, 20, together=True)
    steps, counts = np.unique(SEGMENTS.steps(found), return_counts=True)
    assert (counts == 2).all()
    assert len(steps) == 10
    assert steps[-1] - steps[0] == 140 + 40 - S - 1 - 139, "from the first that fits to the last"


def test_a_first_block_is_forecast_once_for_all_paths_and_a_later_one_for_each() -> None:
    asked: list[int] = []

    def spy(batch: Batch, own: Own | None) -> NDArray:
        asked.append(len(batch.target_BTC))
        return linear(batch)

    roll(spy, world_of(), ORIGINS, None, 5)
    assert asked == [3, 15, 15]


def test_a_rollout_may_be_shorter_than_the_worlds_and_have_a_seed_of_its_own() -> None:
    world = world_of()
    start = start_of(world, ORIGINS)
    whole = rollouts.roll(linear, world, start, 4)
    np.testing.assert_array_equal(rollouts.roll(linear, world, start, 4, seed=CONFIG.seed, steps=S), whole)
    # Which windows are followed hangs on how far they reach.
    short = rollouts.roll(linear, world, start, 4, steps=5)
    assert short.shape == (3, 4, 5, 1)
    assert (rollouts.roll(linear, world, start, 4, seed=CONFIG.seed + 1) != whole).any()


def test_origins_whose_futures_cannot_be_sampled_are_named_before_they_are_asked_for() -> None:
    library = replace(library_of(), step_R=np.arange(60, 67), names=["s0"])
    world = replace(world_of(), residuals=library)
    rollouts.require_errors(world, np.array([30, 300]))
    with pytest.raises(InputError, match=r"series 's0', step 58"):
        rollouts.require_errors(world, np.array([30, 58]))


def test_a_part_too_short_for_a_rollout_has_no_origins() -> None:
    config = made.make_config(plan__steps=50)
    assert len(rollout_origins(SEGMENTS, made.PARTS, "validation", config, 5)) == 0


def test_what_followed_is_read_from_the_data() -> None:
    actual, observed = actual_after(SEGMENTS, ORIGINS, 4)
    for m, origin in enumerate(ORIGINS):
        np.testing.assert_array_equal(actual[m], SEGMENTS.target_RC[origin + 1 : origin + 5])
        np.testing.assert_array_equal(observed[m], SEGMENTS.observed_RC[origin + 1 : origin + 5])


def test_a_part_without_room_for_a_rollout_is_named() -> None:
    bounds = {**made.PARTS, "validation": (140, 150)}
    with pytest.raises(InputError, match=r"validation part, 10 steps, has no room for a rollout of 15; set plan.steps"):
        some_origins(SEGMENTS, bounds, "validation", CONFIG, 4)


def lagged(batch: Batch, own: object = None) -> NDArray:
    """A forecast that is the only lag, in the data's own units; -1 where it is not there."""
    scaler = made.scaler_of(SEGMENTS)
    lag_BHC, there_BH1 = batch.known_BTK[:, -H:, -2:-1], batch.known_BTK[:, -H:, -1:]
    return np.where(there_BH1 > 0, lag_BHC * scaler.target_deviation + scaler.target_mean, -1)[..., None]


@pytest.mark.parametrize("lag", [6, 8, 20])
def test_lags_that_reach_into_a_rollout_read_what_was_simulated(lag: int) -> None:
    world = world_of(made.make_config(data__known=["price"], plan__steps=15, window__lags=[lag]))
    found_MWSC = roll(lagged, world, ORIGINS, None, 2)
    row_MWN = drawn_rows(world, ORIGINS, 2)
    assert world.residuals is not None
    for m, origin in enumerate(ORIGINS):
        first = SEGMENTS.bounds[SEGMENTS.series_of(ORIGINS[m : m + 1])[0]]
        for path in range(2):
            going = list(SEGMENTS.target_RC[first : origin + 1, 0])
            for step in range(18):
                error = world.residuals.score_RHC[row_MWN[m, path, step // 6], step % 6, 0]
                going.append((going[-lag] if len(going) >= lag else -1) + error)
            np.testing.assert_allclose(found_MWSC[m, path, :, 0], going[-18:][:S], rtol=1e-4, atol=1e-4)


def test_a_scenario_of_a_target_moves_its_lags_too() -> None:
    config = made.make_config(data__known=["price"], plan__steps=6, window__lags=[20])
    base = roll(lagged, world_of(config), ORIGINS, None, 1)
    moved = roll(lagged, world_of(config), ORIGINS, scenario(column="load", value=2), 1)
    np.testing.assert_allclose((moved - base)[ORIGINS > 35], 2.0, atol=1e-4)
