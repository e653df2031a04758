"""A policy on disk and off it: the same answers, and clear words for what it cannot read."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ray.config import Config, with_values
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import ColumnScale
from lstm_ray.data.store import load_scaler, load_segments, read_segments
from lstm_ray.data.timeline import grid
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.network import build
from lstm_ray.model.policy import Classification, Forecast, Policy, SeriesInput
from lstm_ray.model.views import members
from lstm_ray.run_dir import RunDir
from tests import made
from tests.data.test_store import split_run
from tests.model.test_highway import stirred
from tests.test_architecture import BLOCK, python

SCHEMA = made.schema_of(target=["load", "heat"], past=["wind"], known=["price"])
SEGMENTS = made.segments_of([240, 100], schema=SCHEMA)
CONFIG = made.make_config(model__quantiles=[0.1, 0.5, 0.9], model__dropout=0.5)
DAYS = made.sequences_of([12, 3, 7, 4, 10, 12])


@pytest.fixture(scope="module")
def policy() -> Policy:
    return made.random_policy(CONFIG, SEGMENTS)


@pytest.fixture
def given_series() -> SeriesInput:
    return made.series_input(SEGMENTS, 100, 12, 6)


def forecast(policy: Policy, *series: SeriesInput) -> list[Forecast]:
    found = policy.predict(series)
    assert all(isinstance(answer, Forecast) for answer in found)
    return found  # type: ignore[return-value]


def complaint(policy: Policy, series: SeriesInput) -> str:
    with pytest.raises(InputError) as caught:
        policy.predict([series])
    return str(caught.value)


def with_column(series: SeriesInput, name: str, values: Any) -> SeriesInput:
    return replace(series, columns={**series.columns, name: values})


def ahead(series: SeriesInput, values: Any) -> SeriesInput:
    return replace(series, future={"price": values})


def test_a_policy_survives_its_round_trip_to_the_bit(policy: Policy, tmp_path: Path, given_series: SeriesInput) -> None:
    policy.facts["validation"] = {"mae": 0.1}
    version = policy.save(tmp_path)
    loaded = Policy.load(tmp_path)
    assert (loaded.version, loaded.config, loaded.schema) == (version, policy.config, policy.schema)
    assert (loaded.scaler, loaded.facts) == (policy.scaler, {"validation": {"mae": 0.1}})
    for name, weight in policy.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], weight)
    [first], [second] = forecast(policy, given_series), forecast(loaded, given_series)
    np.testing.assert_array_equal(first.values_HCQ, second.values_HCQ)
    assert {file.name for file in tmp_path.iterdir()} == {"policy.json", "weights.safetensors"}
    assert loaded.save(tmp_path / "again") == version


def test_a_version_names_weights_and_facts(policy: Policy, tmp_path: Path) -> None:
    other = made.random_policy(made.make_config(seed=8, model__quantiles=[0.1, 0.5, 0.9]), SEGMENTS)
    with_facts = Policy(policy.config, policy.schema, policy.scaler, policy.network.state_dict(), {"a": 1})
    versions = {p.save(tmp_path / str(i)) for i, p in enumerate((policy, other, with_facts))}
    assert len(versions) == 3


@settings(max_examples=60)
@given(st.sampled_from(["policy.json", "weights.safetensors"]), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_an_altered_byte_is_refused(
    tmp_path_factory: pytest.TempPathFactory, file: str, where: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("policy")
    made.random_policy(CONFIG, SEGMENTS).save(folder)
    before = (folder / file).read_bytes()
    content = bytearray(before)
    content[int(where * len(content))] ^= 1 << bit
    (folder / file).write_bytes(content)
    if file == "policy.json" and _parses_to(content, before):
        return  # white space alone differs
    with pytest.raises(InputError, match=str(folder)):
        Policy.load(folder)


def _parses_to(content: bytes | bytearray, other: bytes) -> bool:
    try:
        return bool(json.loads(content) == json.loads(other))
    except ValueError:
        return False


def test_a_newer_format_is_refused_by_its_number(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    content = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(InputError, match="has policy format 99, this version reads 2, 3 and 4"):
        Policy.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\xff", b"{}"])
def test_a_file_that_is_no_policy_is_refused(policy: Policy, tmp_path: Path, content: bytes) -> None:
    policy.save(tmp_path)
    (tmp_path / "policy.json").write_bytes(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        Policy.load(tmp_path)


@pytest.mark.parametrize("missing", ["policy.json", "weights.safetensors"])
def test_a_missing_file_is_refused(policy: Policy, tmp_path: Path, missing: str) -> None:
    policy.save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match="holds no readable policy"):
        Policy.load(tmp_path)


def test_predicting_series_equals_forecasting_windows(policy: Policy) -> None:
    origins = np.array([20, 100, 233, 300])
    expected_MHCQ = policy.forecast_windows(SEGMENTS, origins)
    found = forecast(policy, *(made.series_input(SEGMENTS, int(row), 12, 6, f"w{row}") for row in origins))
    assert expected_MHCQ.shape == (4, 6, 2, 3)
    for answer, expected_HCQ, row in zip(found, expected_MHCQ, origins, strict=True):
        # The made-up segments mark a tenth of their values as not measured; a caller's series has none such.
        assert answer.name == f"w{row}"
        assert answer.warnings == []
        np.testing.assert_array_equal(answer.times, SEGMENTS.times(row + np.arange(1, 7)))
        assert expected_HCQ.shape == answer.values_HCQ.shape
    measured = replace(SEGMENTS, observed_RC=np.ones_like(SEGMENTS.observed_RC))
    np.testing.assert_allclose([a.values_HCQ for a in found], policy.forecast_windows(measured, origins), rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 512])
def test_forecasts_do_not_depend_on_the_batch(policy: Policy, batch: int) -> None:
    origins = np.array([20, 100, 233, 300])
    whole = policy.forecast_windows(SEGMENTS, origins)
    np.testing.assert_allclose(policy.forecast_windows(SEGMENTS, origins, batch), whole, rtol=1e-5)
    assert policy.forecast_windows(SEGMENTS, origins[:0]).shape == (0, 6, 2, 3)


def test_a_raw_series_with_holes_is_read_as_training_reads_it(config: Config, tmp_path: Path) -> None:
    run = split_run(config, tmp_path / "run")
    segments, _ = load_segments(run)
    policy = Policy(config, segments.schema, load_scaler(run), build(config, segments.schema).state_dict())
    raw = grid.regular(grid.load(config.data), made.HOUR).filter(pl.col("series") == "b")
    assert read_segments(run).height == segments.bounds[-1]
    # The second segment of b starts at step 110; the hours before 50 and the rows of empty load lie in the first.
    for origin_step in (53, 60, 80):
        seen = raw[: origin_step + 1]
        columns = {name: seen[name].to_list() for name in ("load", "wind")}
        assert None in columns["load"][-12:]
        [found] = forecast(policy, SeriesInput(seen["time"].to_list(), columns, name="b"))
        expected_HCQ = policy.forecast_windows(segments, np.array([segments.bounds[1] + origin_step]))[0]
        np.testing.assert_allclose(found.values_HCQ, expected_HCQ, rtol=1e-5)
        assert "of 12 values of 'load' were missing and filled" in found.warnings[0]


def test_a_longer_history_than_needed_is_read_from_its_newest_end(policy: Policy) -> None:
    [short], [long] = (forecast(policy, made.series_input(SEGMENTS, 100, n, 6)) for n in (12, 40))
    np.testing.assert_array_equal(short.values_HCQ, long.values_HCQ)
    np.testing.assert_array_equal(short.times, long.times)


def test_a_hole_at_the_start_is_filled_from_what_came_before(policy: Policy) -> None:
    long = made.series_input(SEGMENTS, 100, 13, 6)
    rest = list(np.asarray(long.columns["load"])[2:])

    def answer(before: float, first: float | None) -> list[float]:
        [found] = forecast(policy, with_column(long, "load", [before, first, *rest]))
        return found.values_HCQ.ravel().tolist()

    assert answer(18.0, None) != answer(22.0, None)
    assert answer(18.0, 20.0) == answer(22.0, 20.0)


def test_missing_and_far_values_are_warned_of(policy: Policy, given_series: SeriesInput) -> None:
    wind = [np.nan, None, *list(given_series.columns["wind"])[2:-1], 1000.0]  # type: ignore[arg-type]
    [found] = forecast(policy, ahead(with_column(given_series, "wind", wind), [None, *[20.0] * 5]))
    assert found.warnings[:2] == [
        "2 of 12 values of 'wind' were missing and filled",
        "1 of 6 values of 'price' ahead were missing and filled",
    ]
    assert found.warnings[2].startswith("'wind' reaches ")
    assert len(found.warnings) == 3
    assert np.isfinite(found.values_HCQ).all()


def test_a_missing_known_value_ahead_keeps_the_last_one(policy: Policy, given_series: SeriesInput) -> None:
    last = float(np.asarray(given_series.columns["price"])[-1])
    [filled] = forecast(policy, ahead(given_series, [None] * 6))
    [meant] = forecast(policy, ahead(given_series, [last] * 6))
    np.testing.assert_array_equal(filled.values_HCQ, meant.values_HCQ)


BAD: list[tuple[Callable[[SeriesInput], SeriesInput], str]] = [
    (lambda s: with_column(s, "wind", [1.0] * 11), "column 'wind' has shape (11,); send 12 values, one a step"),
    (lambda s: with_column(s, "wind", [[1.0]] * 12), "column 'wind' has shape (12, 1); send 12 values"),
    (lambda s: with_column(s, "wind", ["calm"] * 12), "column 'wind' holds something that is no number"),
    (lambda s: with_column(s, "wind", [np.inf] * 12), "column 'wind' holds an infinite value; send finite numbers"),
    (lambda s: with_column(s, "wind", [1e300] * 12), "column 'wind' holds 1e+300; send finite numbers"),
    (lambda s: with_column(s, "heat", [1e30] * 12), "column 'heat' reaches "),
    (
        lambda s: with_column(s, "rain", [1.0] * 12),
        "'rain' is no input of this policy; it reads load, heat, wind, price",
    ),
    (
        lambda s: replace(s, columns={"load": [1.0] * 12}),
        "column 'heat' is missing; send 12 values, null where unknown",
    ),
    (lambda s: replace(s, future={}), "future: column 'price' is missing; send 6 values"),
    (lambda s: replace(s, future={"price": [1.0] * 5}), "future: column 'price' has shape (5,); send 6 values"),
    (lambda s: replace(s, future={"price": [1e30] * 6}), "column 'price' reaches "),
    (lambda s: replace(s, future={"load": [1.0] * 6}), "future: 'load' is no input of this policy; it reads price"),
    (lambda s: replace(s, times=[]), "has no time stamps; send its history"),
    (lambda s: replace(s, times=list(s.times)[1:]), "has 11 steps of history; send at least 12"),
    (lambda s: replace(s, times=["soon"] * 12), "send ISO 8601 in UTC, or integer steps"),
    (lambda s: replace(s, times=[None] * 12), "send ISO 8601 in UTC, or integer steps"),
]


@pytest.mark.parametrize(("spoil", "words"), BAD, ids=[words for _, words in BAD])
def test_what_cannot_be_read_is_named(
    policy: Policy, given_series: SeriesInput, spoil: Callable[[SeriesInput], SeriesInput], words: str
) -> None:
    message = complaint(policy, replace(spoil(given_series), name="turbine"))
    assert "series 'turbine'" in message
    assert words in message


def test_steps_out_of_order_or_left_out_are_named(policy: Policy, given_series: SeriesInput) -> None:
    times = list(given_series.times)
    for given_times in ([*times[:5], *times[6:], times[-1] + timedelta(hours=1)], [*times[:5], times[4], *times[5:-1]]):
        message = complaint(policy, replace(given_series, times=given_times))
        assert f"times: '{np.datetime64(given_times[4])}' is followed by '{np.datetime64(given_times[5])}'" in message
        assert "send every step in order, with null where a value is missing" in message


def test_without_series_there_is_nothing_to_predict(policy: Policy) -> None:
    with pytest.raises(InputError, match="no series given"):
        policy.predict([])


def test_time_stamps_may_be_written_in_many_ways(policy: Policy, given_series: SeriesInput) -> None:
    moments = [time.replace(tzinfo=UTC) for time in given_series.times]
    abroad = timezone(timedelta(hours=-5, minutes=-30))
    ways: list[list[Any]] = [
        [moment.replace(tzinfo=None) for moment in moments],
        [moment.isoformat() for moment in moments],
        [moment.isoformat().replace("+00:00", "Z") for moment in moments],
        [moment.astimezone(abroad) for moment in moments],
        [moment.astimezone(abroad).isoformat() for moment in moments],
        [str(moment.astimezone(abroad)) for moment in moments],
        list(np.array([moment.replace(tzinfo=None) for moment in moments], dtype="datetime64[ns]")),
    ]
    for times in ways:
        [found] = forecast(policy, replace(given_series, times=times))
        assert found.times[0] == np.datetime64(moments[-1].replace(tzinfo=None) + timedelta(hours=1))


def test_days_alone_are_time_stamps_too() -> None:
    schema = SCHEMA.model_copy(update={"step": 24 * made.HOUR})
    policy = made.random_policy(CONFIG, replace(SEGMENTS, schema=schema))
    series = made.series_input(SEGMENTS, 100, 12, 6)
    days = [f"2024-03-{day:02d}" for day in range(1, 13)]
    [found] = forecast(policy, replace(series, times=days))
    assert found.times[0] == np.datetime64("2024-03-13")


@pytest.mark.parametrize("times", [list(range(5, 17)), [str(step) for step in range(5, 17)], np.arange(5, 17)])
def test_integer_steps_are_a_time_axis(times: Any) -> None:
    segments = made.segments_of(schema=made.schema_of(is_time=False))
    policy = made.random_policy(made.make_config(), segments)
    series = replace(made.series_input(segments, 16, 12, 6), times=times)
    [found] = forecast(policy, series)
    assert found.times.tolist() == list(range(17, 23))
    measured = replace(segments, observed_RC=np.ones_like(segments.observed_RC))
    np.testing.assert_allclose(found.values_HCQ, policy.forecast_windows(measured, np.array([16]))[0], rtol=1e-5)


@pytest.mark.parametrize(
    "times", [[step + 0.4 for step in range(12)], [2**70 + n for n in range(12)], [datetime.min] * 12]
)
def test_steps_that_are_no_integers_are_refused(times: list[Any]) -> None:
    segments = made.segments_of(schema=made.schema_of(is_time=False))
    policy = made.random_policy(made.make_config(), segments)
    assert "integer steps" in complaint(policy, replace(made.series_input(segments, 16, 12, 6), times=times))


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
@pytest.mark.parametrize("both_ways", [False, True])
def test_classifying_series_equals_classifying_sequences(pooling: str, both_ways: bool) -> None:
    config = made.classify_config(model__pooling=pooling, model__bidirectional=both_ways)
    policy = made.random_policy(config, DAYS)
    expected_MK = policy.class_probabilities(DAYS, np.arange(6))
    np.testing.assert_allclose(expected_MK.sum(1), 1, rtol=1e-5)
    found = policy.predict([whole_sequence(DAYS, item) for item in range(6)])
    for answer, expected_K in zip(found, expected_MK, strict=True):
        assert isinstance(answer, Classification)
        np.testing.assert_allclose(answer.probabilities, expected_K, rtol=1e-5)
    np.testing.assert_allclose(policy.class_probabilities(DAYS, np.arange(6), batch=1), expected_MK, rtol=1e-5)


def whole_sequence(segments: Segments, item: int) -> SeriesInput:
    rows = np.arange(segments.bounds[item], segments.bounds[item + 1])
    return SeriesInput(segments.times(rows).tolist(), {"load": segments.past_RP[rows, 0]}, name=segments.series[item])


def test_a_sequence_longer_than_the_history_is_read_from_its_newest_end() -> None:
    policy = made.random_policy(made.classify_config(window__history=8), DAYS)
    whole = whole_sequence(DAYS, 0)
    newest = SeriesInput(whole.times[-8:], {"load": np.asarray(whole.columns["load"])[-8:]})
    [first], [second] = policy.predict([whole]), policy.predict([newest])
    assert isinstance(first, Classification)
    assert isinstance(second, Classification)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_a_policy_counts_its_parameters(policy: Policy) -> None:
    buffers = {name for name, _ in policy.network.named_buffers()}
    weights = [value for name, value in policy.network.state_dict().items() if name not in buffers]
    assert policy.num_parameters == sum(value.numel() for value in weights)
    assert policy.quantiles == [0.1, 0.5, 0.9]
    assert made.random_policy(made.make_config(), SEGMENTS).quantiles == [0.5]


def test_a_policy_reads_a_saved_run_of_its_own(tmp_path: Path, policy: Policy) -> None:
    run = RunDir(tmp_path / "run")
    policy.save(tmp_path / "saved")
    run.publish(tmp_path / "saved", "policy")
    with run.local_copy("policy") as folder:
        assert Policy.load(folder).config == policy.config


CATEGORIES = {"kind": ["shop", "store"], "town": ["Ulm"]}


@pytest.fixture(scope="module")
def sorted_policy() -> Policy:
    """A policy with two categorical columns."""
    schema = SCHEMA.model_copy(update={"categories": CATEGORIES})
    codes = np.array([[1, 1], [2, 0]])
    return made.random_policy(
        made.make_config(data__categorical=["kind", "town"]), replace(SEGMENTS, schema=schema, category_SK=codes)
    )


def test_categories_reach_the_network_as_they_do_in_training(sorted_policy: Policy) -> None:
    measured = np.ones_like(SEGMENTS.observed_RC)
    codes = np.array([[2, 1], [1, 0]])
    whole = replace(SEGMENTS, schema=sorted_policy.schema, category_SK=codes, observed_RC=measured)
    expected = sorted_policy.forecast_windows(whole, np.array([100, 300]))
    series = [
        replace(made.series_input(SEGMENTS, 100, 12, 6), static={"kind": "store", "town": "Ulm"}),
        replace(made.series_input(SEGMENTS, 300, 12, 6), static={"kind": "shop", "town": "Bonn"}),
    ]
    first, second = forecast(sorted_policy, *series)
    np.testing.assert_allclose([first.values_HCQ, second.values_HCQ], expected, rtol=1e-4)
    assert first.warnings == []
    assert second.warnings == ["'town' is 'Bonn', which training did not see; it is read as an unseen value"]
    other = forecast(sorted_policy, replace(series[0], static={"kind": "shop", "town": "Ulm"}))[0]
    assert not np.allclose(other.values_HCQ, first.values_HCQ)


@pytest.mark.parametrize(
    ("static", "words"),
    [
        ({"kind": "shop"}, r"static: column 'town' is missing; send one of its values, such as \['Ulm'\]"),
        ({"kind": "shop", "town": 3}, "static: column 'town' holds 3; send text"),
        (
            {"kind": "shop", "town": "Ulm", "sort": "x"},
            "static: 'sort' is no input of this policy; it reads kind, town",
        ),
    ],
)
def test_categories_that_cannot_be_read_are_refused(sorted_policy: Policy, static: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        sorted_policy.predict([replace(made.series_input(SEGMENTS, 100, 12, 6), static=static)])


def test_a_policy_of_logarithms_answers_in_the_datas_units_and_survives_its_round_trip(tmp_path: Path) -> None:
    plain = made.random_policy(CONFIG, SEGMENTS)
    scaler = made.in_logarithms(plain.scaler, 0.4, 3.0, 0.2)
    policy = Policy(CONFIG, SCHEMA, scaler, plain.network.state_dict())
    rows = np.array([100, 150])
    found = policy.forecast_windows(SEGMENTS, rows)
    # The network's own answer to logarithms, raised again.
    transformed = replace(SEGMENTS, target_RC=np.log(SEGMENTS.target_RC + 0.4))
    as_values = plain.scaler.model_copy(update={"target": ColumnScale(mean=[3.0, 3.0], deviation=[0.2, 0.2])})
    inner = Policy(CONFIG, SCHEMA, as_values, plain.network.state_dict())
    np.testing.assert_allclose(found, np.exp(inner.forecast_windows(transformed, rows)) - 0.4, rtol=1e-4)
    policy.save(tmp_path)
    np.testing.assert_array_equal(Policy.load(tmp_path).forecast_windows(SEGMENTS, rows), found)


@pytest.fixture(scope="module")
def joint_policy() -> Policy:
    """A policy of two kinds of two members each, every part of it at random."""
    config = made.make_config(
        model__normalisation="auto", model__linear="average", model__members=2, model__quantiles=[0.1, 0.5, 0.9]
    )
    weights = stirred(config, SCHEMA).state_dict()
    weights["weight_E"] = torch.tensor([0.25, 0.5, 0.0, 0.25])
    weights["members.1.highway.share"] = torch.tensor(0.0)
    return Policy(config, SCHEMA, made.scaler_of(SEGMENTS), weights)


def test_a_policy_of_several_networks_answers_with_their_weighted_mean(joint_policy: Policy) -> None:
    rows = np.array([100, 150, 300])
    own = []
    for index, view in enumerate(members(joint_policy.config)):
        prefix = f"members.{index}."
        weights = {n.removeprefix(prefix): v for n, v in joint_policy.network.state_dict().items() if prefix in n}
        alone = Policy(with_values(view, {"model.members": 1}), SCHEMA, joint_policy.scaler, weights)
        own.append(alone.forecast_windows(SEGMENTS, rows))
    expected = 0.25 * own[0] + 0.5 * own[1] + 0.25 * own[3]
    assert np.ptp(own, axis=0).max() > 0.1
    assert expected.shape == (3, 6, 2, 3)
    np.testing.assert_allclose(joint_policy.forecast_windows(SEGMENTS, rows), expected, rtol=1e-4)


def test_a_policy_of_several_networks_survives_its_round_trip(
    joint_policy: Policy, tmp_path: Path, given_series: SeriesInput
) -> None:
    joint_policy.save(tmp_path)
    loaded = Policy.load(tmp_path)
    assert loaded.config == joint_policy.config
    for name, weight in joint_policy.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], weight), name
    [first], [second] = forecast(joint_policy, given_series), forecast(loaded, given_series)
    np.testing.assert_array_equal(first.values_HCQ, second.values_HCQ)
    code = (
        f"{BLOCK}import numpy as np, torch\nfrom lstm_ray.model.policy import Policy, SeriesInput\n"
        f"torch.set_num_threads(1)\nseries = SeriesInput({given_series.times!r}, "
        f"{ {name: np.asarray(v).tolist() for name, v in given_series.columns.items()} }, "
        f"{ {name: np.asarray(v).tolist() for name, v in given_series.future.items()} })\n"
        f"print(Policy.load({str(tmp_path)!r}).predict([series])[0].values_HCQ.ravel().tolist())"
    )
    code = code.replace("datetime.datetime", "__import__('datetime').datetime")
    answer = python(code)
    assert answer.returncode == 0, answer.stderr
    np.testing.assert_allclose(ast.literal_eval(answer.stdout), first.values_HCQ.ravel(), rtol=1e-5)


def test_a_policy_of_several_classifiers_answers_by_their_mean_logits(tmp_path: Path) -> None:
    config = made.classify_config(model__members=3, window__history=12)
    policy = made.random_policy(config, DAYS)
    policy.save(tmp_path)
    loaded, rows = Policy.load(tmp_path), np.arange(6)
    found = policy.class_probabilities(DAYS, rows)
    np.testing.assert_array_equal(loaded.class_probabilities(DAYS, rows), found)
    logits = []
    for index in range(3):
        prefix = f"members.{index}."
        weights = {n.removeprefix(prefix): v for n, v in policy.network.state_dict().items() if prefix in n}
        alone = Policy(with_values(config, {"model.members": 1}), DAYS.schema, policy.scaler, weights)
        logits.append(np.log(alone.class_probabilities(DAYS, rows)))
    odds = np.exp(np.mean(logits, axis=0))
    np.testing.assert_allclose(found, odds / odds.sum(1, keepdims=True), rtol=1e-4)


def test_a_policy_of_classifiers_and_a_ridge_answers_alike_by_sequence_and_by_series(tmp_path: Path) -> None:
    """And each as if it were the only one that was asked."""
    config = made.classify_config(model__linear="average", model__members=2, window__history=12)
    parts: Boundaries = {"train": (0, 24 * 4), "validation": (24 * 4, 24 * 6), "test": (24 * 6, 24 * 7)}
    weights = made.random_policy(config, DAYS).network.state_dict()
    scaler = made.scaler_of(DAYS)
    [*_, solved] = closed_forms(config, DAYS.scaled(scaler), parts)
    weights |= {f"members.2.{name}": torch.from_numpy(value) for name, value in solved.items()}
    # Temperatures: weights need not add up to 1.
    weights["weight_E"] = torch.tensor([0.5, 0.5, 8.0])
    policy = Policy(config, DAYS.schema, scaler, weights)
    rows = np.arange(6)
    expected_MK = policy.class_probabilities(DAYS, rows)
    without = Policy(config, DAYS.schema, scaler, weights | {"weight_E": torch.tensor([0.5, 0.5, 0.0])})
    assert np.abs(without.class_probabilities(DAYS, rows) - expected_MK).min() > 0.01, "the ridge is heard"
    np.testing.assert_allclose(policy.class_probabilities(DAYS, rows, batch=1), expected_MK, rtol=1e-5)
    for answer, expected_K in zip(
        policy.predict([whole_sequence(DAYS, one) for one in rows]), expected_MK, strict=True
    ):
        assert isinstance(answer, Classification)
        np.testing.assert_allclose(answer.probabilities, expected_K, rtol=1e-5)
    policy.save(tmp_path)
    np.testing.assert_array_equal(Policy.load(tmp_path).class_probabilities(DAYS, rows), expected_MK)


def test_a_distribution_is_told_by_any_quantiles_and_a_head_by_its_own_alone() -> None:
    policy = made.random_policy(
        made.make_config(model__distribution="gaussian", model__quantiles=[0.1, 0.5, 0.9]), SEGMENTS
    )
    rows = np.array([40, 90])
    assert policy.path_levels[:2] == [0.02, 0.05]
    many = policy.forecast_windows(SEGMENTS, rows, levels=policy.path_levels)
    assert (np.diff(many) > 0).all()
    own = [policy.path_levels.index(level) for level in policy.quantiles]
    np.testing.assert_allclose(many[..., own], policy.forecast_windows(SEGMENTS, rows), rtol=1e-5)
    learned = made.random_policy(made.make_config(model__quantiles=[0.1, 0.5, 0.9]), SEGMENTS)
    assert learned.path_levels == [0.1, 0.5, 0.9]
    with pytest.raises(AssertionError, match="learned"):
        learned.forecast_windows(SEGMENTS, rows, levels=[0.2, 0.5])
