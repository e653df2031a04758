"""A stream's forecast is that of the same policy which reads everything since the stream began."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.quality.clean import Cleaning
from lstm_ray.data.schema import Fence, Scaler, SeriesUnits
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.conformal import Conformal
from lstm_ray.model.consistency import HELD
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.model.stream_state import State
from lstm_ray.model.streaming import OutOfStepError, again, begin, can_stream, forecast, heard, observe
from tests import made

HISTORY, PATCH, HORIZON = 12, 4, 6
TOLERANCE = HELD["stream"].most
"""In training deviations."""
KINDS: dict[str, dict[str, Any]] = {
    "default network": {},
    "classic": {"window__patch": 1},
    "one patch": {"window__patch": 12},
    "two kinds of network": {"model__normalisation": "auto", "model__linear": "average"},
    "members": {"model__members": 3, "model__normalisation": "mean_deviation", "model__linear": "trained"},
    "ridge beside": {"model__normalisation": "last", "model__linear": "residual", "model__normalisation_steps": 3},
    "unnormalised": {"model__normalisation": "none"},
    "deep": {"model__layers": 3, "model__residual": True, "model__layer_norm": True},
    "joint": {"model__channels": "joint", "data__target": ["load", "heat"]},
    "two targets": {"data__target": ["load", "heat"], "window__lags": [6, 24]},
    "changes": {"model__difference": 1, "model__normalisation": "mean_deviation"},
    "changes over a season beside a ridge": {
        "model__difference": 6,
        "model__linear": "average",
        "model__normalisation": "mean_deviation",
    },
    "changes of one whole patch": {"window__patch": 12, "model__difference": 6, "window__lags": [24]},
    "lags": {"window__lags": [6, 31], "model__normalisation": "mean_deviation"},
    "lags of changes": {"window__lags": [6], "model__difference": 1},
    "distribution": {"model__distribution": "student_t"},
    "quantiles": {"model__quantiles": [0.1, 0.5, 0.9], "model__output": "softplus"},
    "many known": {"data__known": [f"k{n}" for n in range(20)]},
    "static": {"data__static": ["price"]},
    "seasonal filling": {"preprocess__impute": "seasonal"},
    "constant filling": {"preprocess__impute": "constant", "preprocess__impute_value": 7.0},
    "categories": {"data__categorical": ["kind"]},
}
CLEANED: dict[str, tuple[str, str]] = {
    f"{method} {action}": (method, action) for method in ("z", "hampel") for action in ("clip", "mask")
}


def segments_of(config: Config, steps: int = 160) -> Segments:
    known = [*config.data.known, *config.data.static] or ["price"]
    schema = made.schema_of(target=config.data.target, known=known)
    if config.data.categorical:
        schema = schema.model_copy(update={"categories": {"kind": ["shop", "store"]}})
    found = made.segments_of((steps,), schema=schema)
    return replace(found, category_SK=np.ones((1, len(schema.categories)), np.int64))


def policy_of(config: Config, segments: Segments, scaler: Scaler | None = None, seed: int = 0) -> Policy:
    """Every weight is random, those that start at 0 too."""
    network = build(config, segments.schema)
    random = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(w.shape, generator=random) * 0.2 for name, w in network.state_dict().items()}
    for name, kept in network.state_dict().items():
        if name.endswith(("weight_E", "share", "unit_C", "spread_C", "zero_C", "change_C")):
            weights[name] = kept + 0.25 if name.endswith("share") else kept
    return Policy(config, segments.schema, scaler or made.scaler_of(segments), weights)


def holed(segments: Segments, constant: bool = False) -> dict[str, NDArray]:
    """Every column, float64, with gaps of some steps; a value of the past stays away for long. Known ones may be constant."""
    random = np.random.default_rng(3)
    schema = segments.schema
    columns = [segments.target_RC, segments.past_RP, segments.known_RK[:, : len(schema.known)]]
    values = np.concatenate(columns, axis=1).astype(np.float64)
    if constant:
        values[:, -len(schema.known) :] = 20.5
    values[random.random(values.shape) < 0.08] = np.nan
    values[70:74, : len(schema.target)] = np.nan
    values[25:90, len(schema.target)] = np.nan
    values[0, : len(schema.target)] = 20
    return dict(zip([*schema.target, *schema.past, *schema.known], values.T, strict=True))


class Reader:
    """One series that a stream and a stateless policy both read."""

    def __init__(self, policy: Policy, segments: Segments, columns: dict[str, NDArray], name: str = "s0") -> None:
        self.policy, self.columns, self.name = policy, columns, name
        self.times = segments.times(np.arange(int(segments.bounds[1])))
        self.static = dict.fromkeys(segments.schema.categories, "store")

    def sent(self, first: int, end: int) -> SeriesInput:
        ahead = {name: self.columns[name][end : end + HORIZON] for name in self.policy.schema.known}
        columns = {name: values[first:end] for name, values in self.columns.items()}
        return SeriesInput(self.times[first:end], columns, ahead, self.name, self.static)  # type: ignore[arg-type]

    def observe(self, state: State, first: int, end: int) -> State:
        item = self.sent(first, end)
        return observe(self.policy, state, item.times, item.columns)

    def require_equal(self, state: State, first: int, end: int) -> None:
        item, patch = self.sent(first, end), self.policy.config.window.patch
        [expected] = self.policy.reading((end - first) // patch * patch).predict([item])
        found = forecast(self.policy, state, item.future)
        deviation_C1 = self.policy.scaler.target_deviation[:, None]
        away = np.abs(found.values_HCQ - expected.values_HCQ) / deviation_C1
        assert away.max() <= TOLERANCE, f"{away.max():.2g} deviations after {end - first} steps"
        np.testing.assert_array_equal(found.times, expected.times)
        np.testing.assert_allclose(found.mean_HC, expected.mean_HC, atol=TOLERANCE * deviation_C1.max())

    def follow(self, first: int, begins: int, end: int) -> None:
        state = begin(self.policy, self.sent(first, begins))
        self.require_equal(state, first, begins)
        for step in range(begins, end):
            state = self.observe(state, step, step + 1)
            self.require_equal(state, first, step + 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("begins", [HISTORY, HISTORY + 3, 60])
def test_a_stream_equals_reading_everything_since_it_began(kind: str, begins: int) -> None:
    config = made.make_config(**({"data__known": ["price"]} if "static" not in kind else {}) | KINDS[kind])
    segments = segments_of(config)
    policy = policy_of(config, segments)
    Reader(policy, segments, holed(segments, kind == "static")).follow(0, begins, begins + 4 * PATCH + 1)


@pytest.mark.parametrize("kind", CLEANED)
@pytest.mark.parametrize("impute", ["forward", "seasonal"])
def test_outliers_are_read_as_a_stateless_policy_reads_them(kind: str, impute: Any) -> None:
    method, action = CLEANED[kind]
    prepare: dict[str, Any] = {"preprocess__outliers": action, "preprocess__outlier_method": method}
    config = made.make_config(**prepare, preprocess__impute=impute, preprocess__outlier_steps=8)
    segments = segments_of(made.make_config(data__known=["price"]))
    fences: Any = {role: Fence(low=[18.0], high=[22.5]) for role in ("target", "past", "known")}
    cleaning = Cleaning.of(config.preprocess, config.window)
    scaler = made.scaler_of(segments).model_copy(
        update={"cleaning": cleaning, "fences": fences if method == "z" else None}
    )
    columns = holed(segments)
    columns["load"][30:120:7] += 30
    reader = Reader(policy_of(config, segments, scaler), segments, columns)
    reader.follow(0, 40, 40 + 4 * PATCH)
    state = begin(reader.policy, reader.sent(0, 60))
    [expected] = reader.policy.predict([reader.sent(0, 60)])
    assert forecast(reader.policy, state, reader.sent(0, 60).future).warnings == expected.warnings
    assert any("outlier" in words for words in expected.warnings)


def test_calibrated_intervals_are_those_of_a_request() -> None:
    config = made.make_config(model__quantiles=[0.1, 0.5, 0.9], data__known=["price"])
    segments = segments_of(config)
    policy = policy_of(config, segments)
    shift = np.tile(np.array([0.3, 0.0, 0.4], np.float32), (HORIZON, 1, 1))
    policy.calibration = Conformal((0.1, 0.5, 0.9), shift, np.full(1, 0.01, np.float32), 100, 0)
    Reader(policy, segments, holed(segments)).follow(0, HISTORY, HISTORY + 6)


def test_units_of_a_known_series_are_trainings_and_of_another_those_it_began_with() -> None:
    config = made.make_config(data__known=["price"], preprocess__scale_by="series")
    segments = segments_of(config)
    units = SeriesUnits(of={"s0": [21.0, 3.0]}, scale="standard", steps=HISTORY)
    policy = policy_of(config, segments, made.scaler_of(segments).model_copy(update={"series": units}))
    columns = holed(segments)
    Reader(policy, segments, columns).follow(0, 20, 34)
    other = Reader(policy, segments, columns, name="new")
    state = begin(policy, other.sent(0, HISTORY))
    other.require_equal(state, 0, HISTORY)
    later = other.observe(state, HISTORY, 40)
    assert later.own is state.own


def test_several_steps_at_once_are_those_steps_one_by_one_and_a_repeated_one_changes_nothing() -> None:
    config = made.make_config(data__known=["price"])
    segments = segments_of(config)
    reader = Reader(policy_of(config, segments), segments, holed(segments))
    first = begin(reader.policy, reader.sent(0, 20))
    at_once, one = reader.observe(first, 20, 31), first
    for step in range(20, 31):
        one = reader.observe(one, step, step + 1)
    for name in ("before", "after", "given_RF", "filled_RF"):
        np.testing.assert_array_equal(getattr(at_once, name), getattr(one, name))
    assert reader.observe(one, 27, 31) is one
    further = reader.observe(one, 28, 33)
    assert further.steps == 33


def test_skipped_steps_are_missing_ones() -> None:
    config = made.make_config(data__known=["price"])
    segments = segments_of(config)
    columns = holed(segments)
    for values in columns.values():
        values[22:25] = np.nan
    reader = Reader(policy_of(config, segments), segments, columns)
    state = reader.observe(begin(reader.policy, reader.sent(0, 22)), 25, 26)
    assert state.steps == 26
    reader.require_equal(state, 0, 26)


def test_a_stream_that_is_read_again_from_bytes_goes_on_as_it_was() -> None:
    config = made.make_config(data__known=["price"], data__categorical=["kind"])
    segments = segments_of(config)
    reader = Reader(policy_of(config, segments), segments, holed(segments))
    state = begin(reader.policy, reader.sent(0, 30))
    kept = state.to_bytes()
    reader.require_equal(reader.observe(State.of_bytes(kept), 30, 36), 0, 36)
    assert abs(len(kept) - state.num_bytes) < 2_000
    spoilt = bytearray(kept)
    spoilt[len(kept) // 2] ^= 1
    with pytest.raises(InputError, match="was altered"):
        State.of_bytes(bytes(spoilt))


def test_another_policy_begins_a_stream_again_from_its_rows() -> None:
    config = made.make_config(data__known=["price"])
    segments = segments_of(config)
    reader = Reader(policy_of(config, segments), segments, holed(segments))
    state = begin(reader.policy, reader.sent(0, 30))
    successor = Reader(policy_of(config, segments, seed=1), segments, reader.columns)
    rows = len(state.given_RF)
    successor.require_equal(again(successor.policy, state), 30 - rows, 30)
    other = made.make_config(data__known=["price", "more"])
    with pytest.raises(InputError, match="other columns"):
        again(policy_of(other, segments_of(other)), state)
    longer = made.make_config(data__known=["price"], window__history=100)
    with pytest.raises(InputError, match="send at least 100"):
        again(policy_of(longer, segments), state)


def at(reader: Reader, step: int, **columns: Any) -> tuple[Any, dict[str, Any]]:
    item = reader.sent(step, step + 1)
    return item.times, {**item.columns, **columns}


def test_what_does_not_follow_is_refused_with_words() -> None:
    config = made.make_config(data__known=["price"])
    segments = segments_of(config)
    reader = Reader(policy_of(config, segments), segments, holed(segments))
    policy, state = reader.policy, begin(reader.policy, reader.sent(40, 60))
    refused: list[tuple[type[InputError], str, Any, dict[str, Any]]] = [
        (OutOfStepError, "read with other values", *at(reader, 59, load=[99.0])),
        (OutOfStepError, "older than what is kept", *at(reader, 20)),
        (OutOfStepError, "cut a series", *at(reader, 90)),
        (InputError, "no ascending steps", [reader.times[60] + np.timedelta64(5, "m")], at(reader, 60)[1]),
        (InputError, "no step was sent", [], {name: [] for name in reader.columns}),
        (InputError, "column 'wind' is missing", at(reader, 60)[0], {"load": [1.0], "price": [1.0]}),
        (InputError, "is no input", *at(reader, 60, snow=[1.0])),
        (InputError, "too far to compute with", *at(reader, 60, load=[1e30])),
    ]
    for kind, words, times, columns in refused:
        with pytest.raises(kind, match=words):
            observe(policy, state, times, columns)
    nothing = {name: [np.nan] for name in reader.columns}
    for step in range(60, 66):
        state = observe(policy, state, reader.times[step : step + 1], nothing)  # type: ignore[arg-type]
    with pytest.raises(OutOfStepError, match="without a target"):
        heard(policy, state, reader.times[66:67], nothing)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="column 'price' is missing"):
        forecast(policy, state)


def test_a_history_that_is_too_short_since_its_last_gap_begins_no_stream() -> None:
    config = made.make_config(data__known=["price"])
    segments = segments_of(config)
    columns = holed(segments)
    columns["load"][20:30] = np.nan
    reader = Reader(policy_of(config, segments), segments, columns)
    with pytest.raises(InputError, match="since the last gap of more than 6"):
        begin(reader.policy, reader.sent(0, 35))
    columns["load"][52:60] = np.nan
    with pytest.raises(InputError, match="hold no target"):
        begin(reader.policy, reader.sent(0, 60))
    state = begin(reader.policy, reader.sent(0, 50))
    assert state.steps == 20
    reader.require_equal(state, 30, 50)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model__attention": True}, "attention"),
        ({"preprocess__impute": "mean"}, "'mean' fills from all"),
        ({"preprocess__impute": "linear", "preprocess__causal": False}, "later steps"),
    ],
)
def test_policies_that_keep_no_states_say_why(values: dict[str, Any], words: str) -> None:
    config = made.make_config(**values)
    segments = segments_of(made.make_config())
    policy = policy_of(config, segments)
    assert words in can_stream(policy)
    with pytest.raises(InputError, match="keeps no streams"):
        begin(policy, made.series_input(segments, 30, 12, 6))


def test_classes_and_labels_are_not_streamed() -> None:
    policy = made.random_policy(made.classify_config(), made.sequences_of([12] * 8))
    assert "classify" in can_stream(policy)
