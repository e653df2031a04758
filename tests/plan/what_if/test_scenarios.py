"""What a scenario changes in what is known at an origin, and what is refused before a rollout begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.config import Config
from lstm_ray.data.quality.impute import Filling, fill
from lstm_ray.errors import InputError
from lstm_ray.plan.futures.starts import Start, World, start_of
from lstm_ray.plan.what_if.scenarios import require_possible, under, under_rows
from lstm_ray.sections.scenario import ScenarioConfig
from tests import made

SCHEMA = made.schema_of(past=("wind", "rain"), known=("price",))
SEGMENTS = made.segments_of([240, 150], [0, 90], schema=SCHEMA)
ORIGINS = np.array([30, 77, 300])
CHANGES: list[dict[str, Any]] = [
    {"operation": "shift", "value": 2.0, "steps": 5},
    {"operation": "scale", "value": 2.0},
    {"operation": "set", "value": 2.0, "first": -3, "steps": 3},
    {"operation": "ramp", "value": 2.0, "steps": 6},
    {"operation": "shock", "value": 2.0, "first": -5, "half_life": 2.0},
    {"operation": "replay", "steps": 4, "source": 9},
    {"operation": "missing", "steps": 4},
    {"operation": "noise", "value": 2.0},
    {"operation": "shift", "value": 2.0, "between": ["2024-03-02", "2024-03-04"]},
]


def config_of(*scenarios: dict[str, Any], **values: Any) -> Config:
    named = [{"name": f"s{i}", "column": "wind"} | one for i, one in enumerate(scenarios)]
    roles = {"data__past": ["wind", "rain"], "data__known": ["price"], "plan__steps": 15}
    return made.make_config(**(roles | {"plan__scenarios": named} | values))


def scenario(**values: Any) -> ScenarioConfig:
    given: dict[str, Any] = {"operation": "shift", "value": 2} | values
    if given["operation"] in ("replay", "missing"):
        del given["value"]
    return config_of(given).plan.scenarios[0]


def world_of(**values: Any) -> World:
    return World(SEGMENTS, made.scaler_of(SEGMENTS), config_of(**values))


def changed_fields(start: Start, base: Start) -> set[str]:
    names = ("target_MXC", "observed_MLC", "past_MLP", "known_MTK", "past_ahead_MAP")
    return {
        n for n in names if (getattr(start, n) is None) != (getattr(base, n) is None)
        or (getattr(base, n) is not None and not np.array_equal(getattr(start, n), getattr(base, n)))
    }  # fmt: skip


@pytest.mark.parametrize("column", ["load", "wind", "price"])
@pytest.mark.parametrize("one", CHANGES, ids=str)
def test_every_operation_changes_its_column_alone_and_each_origin_as_if_alone(one: dict[str, Any], column: str) -> None:
    world = world_of(window__lags=[20])
    base = start_of(world, ORIGINS)
    found = under(base, scenario(**one, column=column), world)
    fields = {"load": {"target_MXC", "observed_MLC"}, "wind": {"past_MLP", "past_ahead_MAP"}, "price": {"known_MTK"}}
    assert changed_fields(found, base) & fields[column]
    assert not changed_fields(found, base) - fields[column]
    np.testing.assert_array_equal(found.past_MLP[..., 1], base.past_MLP[..., 1])
    np.testing.assert_array_equal(found.known_MTK[..., 1:], base.known_MTK[..., 1:])
    for m in range(3):
        alone = under(start_of(world, ORIGINS[m : m + 1]), scenario(**one, column=column), world)
        for name in fields[column] - ({"past_ahead_MAP"} if alone.past_ahead_MAP is None else set()):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(found, name)[m])


@pytest.mark.parametrize(
    "one", [{"series": ["nobody"]}, {"value": 0}, {"between": ["2031-01-01", "2031-01-02"]}], ids=str
)
def test_a_scenario_that_reaches_nothing_changes_nothing(one: dict[str, Any]) -> None:
    world = world_of()
    base = start_of(world, ORIGINS)
    assert not changed_fields(under(base, scenario(**one), world), base)
    assert under(base, None, world) is base


def test_past_inputs_beyond_the_origin_are_told_where_a_change_reaches_them_alone() -> None:
    world = world_of()
    base = start_of(world, ORIGINS)
    goes_on = base.past_with_ahead(6, 18)[:, 12:]
    behind = under(base, scenario(steps=5), world)
    assert behind.past_ahead_MAP is None
    # A season that was changed is repeated as changed.
    np.testing.assert_allclose(
        behind.past_with_ahead(6, 18)[:, 12:, 0] - goes_on[..., 0], np.tile([0, 2, 2, 2, 2, 2], (3, 3)), atol=1e-5
    )
    ahead = under(base, scenario(first=3, steps=4), world)
    assert ahead.past_ahead_MAP is not None
    np.testing.assert_array_equal(ahead.past_MLP, base.past_MLP)
    np.testing.assert_array_equal(ahead.past_ahead_MAP[..., 1], goes_on[..., 1])
    expected = np.zeros(18)
    expected[2:6] = 2
    np.testing.assert_allclose(ahead.past_ahead_MAP[..., 0] - goes_on[..., 0], np.tile(expected, (3, 1)), atol=1e-5)
    across = under(base, scenario(first=-1, steps=4), world)
    assert across.past_ahead_MAP is not None
    both = np.concatenate([across.past_MLP, across.past_ahead_MAP], axis=1)[..., 0]
    expected = np.zeros(30)
    expected[10:14] = 2
    np.testing.assert_allclose(both - base.past_with_ahead(6, 18)[..., 0], np.tile(expected, (3, 1)), atol=1e-5)


def test_a_column_that_is_constant_in_a_series_changes_as_a_whole() -> None:
    world = world_of(data__known=[], data__static=["price"])
    base = start_of(world, ORIGINS)
    one = config_of({"column": "price", "operation": "shift", "value": 2}, data__known=[], data__static=["price"])
    found = under(base, one.plan.scenarios[0], world)
    np.testing.assert_allclose((found.known_MTK - base.known_MTK)[..., 0], 2, atol=1e-5)
    require_possible(one, SEGMENTS, made.PARTS)


def test_changes_made_together_are_made_one_after_the_other() -> None:
    world = world_of()
    base = start_of(world, ORIGINS)
    also = [
        {"column": "wind", "operation": "scale", "value": 10, "steps": 2},
        {"column": "price", "operation": "set", "value": 1},
        {"column": "rain", "operation": "shift", "value": 5, "first": 1},
    ]
    found = under(base, scenario(steps=3, also=also), world)
    wind = base.past_MLP[..., 0].copy()
    wind[:, -3:] += 2
    wind[:, -2:] *= 10
    np.testing.assert_allclose(found.past_MLP[..., 0], wind, rtol=1e-6)
    assert (found.known_MTK[:, 12:, 0] == 1).all()
    assert found.past_ahead_MAP is not None
    # The wind was not told beyond the origin: its last season, as changed, goes on.
    np.testing.assert_allclose(found.past_ahead_MAP[:, :6, 0], wind[:, -6:], rtol=1e-6)
    np.testing.assert_allclose(found.past_ahead_MAP[:, :6, 1], base.past_MLP[:, -6:, 1] + 5, rtol=1e-6)


def test_a_stretch_of_the_same_series_is_replayed_from_before_the_history_with_what_was_measured_of_it() -> None:
    world = world_of()
    found = under(
        start_of(world, np.array([100, 300])),
        scenario(column="load", operation="replay", steps=5, source=40),
        world,
    )
    for m, origin in enumerate((100, 300)):
        rows = np.arange(origin - 44, origin - 39)
        np.testing.assert_array_equal(found.target_MXC[m, -5:], SEGMENTS.target_RC[rows])
        np.testing.assert_array_equal(found.observed_MLC[m, -5:], SEGMENTS.observed_RC[rows])
    early = scenario(column="load", operation="replay", steps=5, source=65)
    with pytest.raises(
        InputError, match=r"'s0': what is copied begins at 2024-03-04 09.* series 's1' .* from 2024-03-04 18:00"
    ):
        under(start_of(world, np.array([100, 300])), early, world)


def test_a_target_that_is_missing_is_filled_from_before_the_history_and_unobserved() -> None:
    world = world_of(preprocess__impute="mean")
    found = under(start_of(world, ORIGINS), scenario(column="load", operation="missing", first=-11, steps=4), world)
    for m, origin in enumerate(ORIGINS):
        begins = 240 if origin > 240 else 0
        values = SEGMENTS.target_RC[begins : origin + 1].copy()
        values[-12:-8] = np.nan
        filled = fill(values, np.array([0, len(values)]), Filling(how="mean", season=6))
        np.testing.assert_allclose(found.target_MXC[m], filled[-12:], rtol=1e-6)
        assert not found.observed_MLC[m, :4].any()
        np.testing.assert_array_equal(found.observed_MLC[m, 4:], SEGMENTS.observed_RC[origin - 7 : origin + 1])


def test_noise_is_the_same_from_every_origin_that_sees_it() -> None:
    world = world_of()
    origins = np.array([77, 80])
    base = start_of(world, origins)
    noise = under(base, scenario(operation="noise"), world).past_MLP[..., 0] - base.past_MLP[..., 0]
    np.testing.assert_allclose(noise[0, 3:], noise[1, :-3], atol=1e-5)
    assert noise.std() > 1


@pytest.mark.parametrize(("steps", "series", "rows"), [(None, [], 180), (5, [], 5), (5, ["s2"], 0)])
def test_a_scenario_changes_the_newest_steps_of_the_stretches_that_it_names(
    steps: int | None, series: list[str], rows: int
) -> None:
    segments = made.labelled_of((240, 60, 200), (0, 100, 30))
    config = made.label_config(
        plan__scenarios=[
            {"name": "more", "column": "load", "operation": "shift", "value": 3, "steps": steps, "series": series}
        ]
    )
    items = np.array([[0, 140, 180], [1, 280, 300], [2, 410, 450]])
    found = under_rows(segments, config.plan.scenarios[0], items, config)
    moved = (found.past_RP - segments.past_RP)[:, 0]
    assert np.flatnonzero(moved[:240]).tolist() == list(range(180 - rows, 180))
    np.testing.assert_allclose(moved[moved != 0], 3, atol=1e-4)
    np.testing.assert_array_equal(found.observed_RC, segments.observed_RC)
    assert under_rows(segments, None, items, config) is segments


def test_a_sequence_may_be_told_without_what_was_measured_and_with_a_line_over_its_stretch() -> None:
    segments = made.labelled_of((240,))
    changes = {"name": "s", "column": "load", "operation": "missing", "steps": 10}
    also = [{"column": "load", "operation": "ramp", "value": 40, "first": -39, "steps": 4}]
    config = made.label_config(plan__scenarios=[changes | {"also": also}])
    found = under_rows(segments, config.plan.scenarios[0], np.array([[0, 140, 180]]), config)
    assert not found.observed_RC[170:180].any()
    np.testing.assert_array_equal(found.observed_RC[:170], segments.observed_RC[:170])
    assert (found.past_RP[170:180] == segments.past_RP[169]).all()
    np.testing.assert_allclose((found.past_RP - segments.past_RP)[140:145, 0], [10, 20, 30, 40, 0], atol=1e-4)
    np.testing.assert_array_equal(found.past_RP[180:], segments.past_RP[180:])


def refused(one: dict[str, Any], expected: str, **values: Any) -> None:
    with pytest.raises(InputError, match=expected):
        require_possible(config_of(one, **values), SEGMENTS, made.PARTS)


SHIFT: dict[str, Any] = {"operation": "shift", "value": 1}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (SHIFT | {"series": ["s3"]}, r"'s0': series 's3' is not in the data; did you mean 's1'|'s0'"),
        (
            SHIFT | {"between": ["2025-01-01", "2025-01-02"]},
            r"outside the data; the data spans 2024-03-01 00:00:00 to 2024-03-10 23",
        ),
        (SHIFT | {"between": ["2024-03-02T00:10", "2024-03-02T00:50"]}, r"holds no step of the data"),
        (SHIFT | {"between": ["3", "4"]}, r"between is '3'; write an ISO date"),
        (
            SHIFT | {"between": ["2024-03-01", "2024-03-02"]},
            r"rollouts of the validation part read 'wind' from 2024-03-06 08:00:00 to",
        ),
        (SHIFT | {"first": -30, "steps": 2}, r"changes up to step -29, but the policy reads from step -11 on"),
        ({"operation": "replay", "source": "2025-01-01"}, r"source 2025-01-01 lies outside the data"),
        ({"operation": "replay", "source": "2024-03-06T23:00"}, r"source 2024-03-06T23:00 is not before the stretch"),
        ({"operation": "replay", "source": 0}, r"source 0 is not before the stretch"),
        (
            {"operation": "replay", "source": 60, "steps": 3},
            r"begins at 2024-03-04 .* 's1' is known without a break from 2024-03-04 18",
        ),
        ({"operation": "replay", "source": "2024-03-02", "steps": 3}, r"series 's1'"),
        (SHIFT | {"also": [SHIFT | {"column": "rain", "series": ["x"]}]}, r"series 'x'"),
    ],
    ids=str,
)
def test_a_scenario_about_what_is_not_there_is_refused_before_any_work(one: dict[str, Any], expected: str) -> None:
    refused(one, expected)


LATE = SHIFT | {"between": ["2024-03-07", "2024-03-08"]}
DATED = {"operation": "replay", "source": "2024-03-02", "steps": 3, "series": ["s0"]}


@pytest.mark.parametrize("one", [*CHANGES[:-1], LATE, DATED], ids=str)
@pytest.mark.parametrize("column", ["load", "wind", "price"])
def test_what_is_there_is_let_through(one: dict[str, Any], column: str) -> None:
    require_possible(config_of(one | {"column": column}), SEGMENTS, made.PARTS)


def test_what_is_refused_is_what_a_rollout_would_refuse() -> None:
    """The first origin of each series is the hardest to copy for: what passes there, passes everywhere."""
    world = world_of()
    for source in range(30, 90):
        config = config_of({"operation": "replay", "source": source, "steps": 3})
        try:
            require_possible(config, SEGMENTS, made.PARTS)
            passes = True
        except InputError:
            passes = False
        first = np.array([139, 240 + 139 - 90])
        try:
            under(start_of(world, first), config.plan.scenarios[0], world)
            assert passes
        except InputError:
            assert not passes


def test_a_changed_start_is_a_new_one() -> None:
    world = world_of()
    base, again = start_of(world, ORIGINS), start_of(world, ORIGINS)
    for one in CHANGES:
        for column in ("load", "wind", "price"):
            under(base, scenario(**one, column=column), world)
    assert not changed_fields(base, again)
    told = replace(base, past_ahead_MAP=np.zeros((3, 18, 2), np.float32))
    found = under(told, scenario(first=1, steps=1), world)
    assert found.past_ahead_MAP is not None
    assert found.past_ahead_MAP.sum() == 6
