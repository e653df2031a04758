"""Gaps cut or filled, nothing looked up ahead of time, and scaling that sees the training part alone."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.config import Config
from lstm_ray.data import grid
from lstm_ray.data.impute import forward_fill
from lstm_ray.data.schema import Schema
from lstm_ray.data.segments import fit_scaler, make_schema, make_segments, with_categories
from lstm_ray.data.store import to_segments
from lstm_ray.errors import InputError
from tests.made import frame_of, label_config, make_config, schema_of

MAYBE = st.lists(st.one_of(st.none(), st.integers(0, 9).map(float)), min_size=4, max_size=30)
NUMBERS = schema_of(known=["price"], is_time=False)


def segments_of(frame: pl.DataFrame, schema: Schema = NUMBERS, **preprocess: Any) -> pl.DataFrame:
    config = make_config(**{f"preprocess__{name}": value for name, value in preprocess.items()})
    return make_segments(grid.regular(frame, 1), schema, config)


def three(load: list[float | None], wind: list[float | None], price: list[float | None]) -> pl.DataFrame:
    return frame_of(load=load, wind=wind, price=price)


def cut_by_hand(load: list[float | None], max_gap: int) -> list[tuple[int, int]]:
    """First and after-last step of each segment, told by walking over the runs of missing values."""
    found: list[tuple[int, int]] = []
    step, joins = 0, False
    for missing, run in groupby(load, key=lambda value: value is None):
        length = len(list(run))
        if missing:
            joins = joins and length <= max_gap
        else:
            first = found.pop()[0] if joins else step
            found.append((first, step + length))
            joins = True
        step += length
    return found


@given(MAYBE, st.integers(0, 5))
def test_segments_are_what_lies_between_long_gaps(load: list[float | None], max_gap: int) -> None:
    made = segments_of(three(load, [1.0] * len(load), [1.0] * len(load)), max_gap_steps=max_gap)
    bounds = made.group_by("segment", maintain_order=True).agg(pl.col("step").min(), pl.col("step").max().alias("last"))
    assert [(first, last + 1) for _, first, last in bounds.rows()] == cut_by_hand(load, max_gap)
    for _, group in made.group_by("segment"):
        assert (group["step"].diff().drop_nulls() == 1).all()
    assert made["observed:load"].to_list() == [load[step] is not None for step in made["step"]]
    assert made["load"].null_count() == 0


@given(MAYBE, st.data())
def test_filling_forward_is_the_same_in_polars_and_in_numpy(load: list[float | None], data: st.DataObject) -> None:
    others = st.lists(st.one_of(st.none(), st.integers(0, 9).map(float)), min_size=len(load), max_size=len(load))
    frame = three(load, data.draw(others), data.draw(others))
    for _, group in segments_of(frame, max_gap_steps=2).group_by("segment"):
        steps = group["step"].to_list()
        raw = frame[steps].select("load", "wind", "price").to_numpy().astype(np.float64)
        np.testing.assert_array_equal(group.select("load", "wind", "price").to_numpy(), forward_fill(raw))


@given(MAYBE, st.integers(1, 29), st.sampled_from([-1e9, 5.5, 1e9]))
def test_a_value_changes_nothing_that_was_prepared_before_it(
    load: list[float | None], step: int, canary: float
) -> None:
    step = min(step, len(load) - 1)
    wind = [value if index % 3 else None for index, value in enumerate(load)]
    before = segments_of(three(load, wind, load))

    def later(values: list[float | None]) -> list[float | None]:
        return [v if i < step or v is None else canary for i, v in enumerate(values)]

    after = segments_of(three(later(load), later(wind), later(load)))
    assert after.filter(pl.col("step") < step).equals(before.filter(pl.col("step") < step))


@given(MAYBE)
def test_linear_filling_draws_a_line_through_targets_and_known_columns_alone(load: list[float | None]) -> None:
    made = segments_of(three(load, load, load), impute="linear", max_gap_steps=2)
    at = [step for step, value in enumerate(load) if value is not None]
    known = [value for value in load if value is not None]
    line = np.interp(made["step"].to_numpy(), at, known) if at else np.empty(0)
    np.testing.assert_allclose(made["load"].to_numpy(), line, rtol=1e-12)
    np.testing.assert_allclose(made["price"].to_numpy(), line, rtol=1e-12)
    forward = segments_of(three(load, load, load), max_gap_steps=2)
    assert made["wind"].equals(forward["wind"]), "a past input is filled without looking ahead"


def test_a_gap_counts_where_every_target_is_missing() -> None:
    frame = frame_of(load=[1, None, None, 2], other=[None, 5, None, None], wind=[1] * 4)
    schema = schema_of(target=["load", "other"], is_time=False)
    made = segments_of(frame, schema, max_gap_steps=0)
    assert made["segment"].n_unique() == 2
    assert made["step"].to_list() == [0, 1, 3]
    assert made["observed:other"].to_list() == [False, True, False]
    assert made["other"].to_list() == [None, 5.0, None], "nothing is filled across a cut"


def test_series_never_fill_each_other() -> None:
    frame = pl.concat(
        [frame_of(load=[1, 2], wind=[7, 7]).with_columns(series=pl.lit("a")), frame_of(load=[3, 4], wind=[None, 8])]
    )
    made = segments_of(frame, schema_of(is_time=False))
    assert made["series"].to_list() == ["a", "a", "all", "all"]
    assert made["wind"].to_list() == [7.0, 7.0, None, 8.0]


def test_static_columns_reach_into_gaps() -> None:
    frame = frame_of(load=[1, None, 2], wind=[1, 1, 1], price=[5, None, 5])
    assert segments_of(frame)["price"].to_list() == [5.0, 5.0, 5.0]


def scaled_frame(seed: int = 0) -> tuple[pl.DataFrame, Schema, Config]:
    random = np.random.default_rng(seed)
    holes = [None if random.random() < 0.2 else float(v) for v in random.normal(50, 7, 60)]
    frame = segments_of(three(holes, random.normal(-3, 2, 60).tolist(), random.normal(0, 1e3, 60).tolist()))
    return frame, NUMBERS, make_config()


def test_the_scaler_is_the_mean_and_deviation_of_measured_training_values() -> None:
    frame, schema, config = scaled_frame()
    scaler = fit_scaler(frame.lazy(), schema, 40, config)
    train = frame.filter(pl.col("step") < 40)
    measured = train.filter("observed:load")["load"].to_numpy()
    assert len(measured) < train.height
    for scale, values in (
        (scaler.target, measured),
        (scaler.past, train["wind"].to_numpy()),
        (scaler.known, train["price"].to_numpy()),
    ):
        np.testing.assert_allclose([scale.mean[0], scale.deviation[0]], [values.mean(), values.std()], rtol=1e-8)
    assert scaler.limit is None


def test_the_scaler_never_sees_validation() -> None:
    frame, schema, config = scaled_frame()
    later = [pl.when(pl.col("step") < 40).then(c).otherwise(pl.lit(1e9)).alias(c) for c in ("load", "wind", "price")]
    assert fit_scaler(frame.with_columns(later).lazy(), schema, 40, config) == fit_scaler(
        frame.lazy(), schema, 40, config
    )
    assert fit_scaler(frame.lazy(), schema, 60, config) != fit_scaler(frame.lazy(), schema, 40, config)


def test_clipping_limits_inputs_to_the_configured_deviations() -> None:
    frame, schema, _ = scaled_frame()
    config = make_config(preprocess__outliers="clip", preprocess__outlier_deviations=2.0)
    scaler = fit_scaler(frame.lazy(), schema, 40, config)
    scaled = scaler.scale(np.array([[1e6], [-1e6], [np.nan], [scaler.target.mean[0]]]), "target")
    np.testing.assert_allclose(scaled[:, 0], [2, -2, 0, 0], atol=1e-6)


def labelled(kinds: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"series": ["x", "x", "y", "y"], "time": [0, 1, 2, 3], "load": [1.0, 2.0, 3.0, 4.0], "kind": kinds}
    )


def classify(frame: pl.DataFrame) -> Schema:
    tree = {"source": "x", "series_id": ["day"], "time": "when", "past": ["load"], "label": "kind"}
    return make_schema(frame, 1, Config.model_validate({"name": "c", "task": "classify", "data": tree}))


def test_classes_are_the_sorted_labels() -> None:
    schema = classify(labelled(["up", "up", "down", "down"]))
    assert schema.classes == ["down", "up"]
    assert (schema.axis_start, schema.step, schema.is_time, schema.calendar) == (0, 1, False, [])


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["up", "down", "up", "up"], "'kind' changes inside 1 sequences, such as 'x'"),
        (["up", "up", "up", "up"], r"one class only, \['up'\]; a classifier needs two"),
        (["up", "up", None, None], "'kind' is missing in 2 rows; fill or drop them"),
    ],
)
def test_labels_that_teach_nothing_are_refused(kinds: list[str | None], words: str) -> None:
    with pytest.raises(InputError, match=words):
        classify(labelled(kinds))


def test_series_that_share_no_grid_are_refused() -> None:
    frame = pl.DataFrame({"series": ["a", "a", "b", "b"], "time": [0, 10, 5, 15], "load": [1.0] * 4, "wind": [1.0] * 4})
    with pytest.raises(InputError, match="2 rows of 'when' lie between the grid's steps"):
        make_schema(frame, 10, make_config())


LOG = {"preprocess__transform": "log"}


def test_logarithms_are_fitted_on_measured_training_values_beside_the_raw_statistics() -> None:
    random = np.random.default_rng(3)
    holes = [None if random.random() < 0.2 else float(v) for v in np.exp(random.normal(3, 1, 60))]
    frame = segments_of(three(holes, [1.0] * 60, [1.0] * 60))
    scaler = fit_scaler(frame.lazy(), NUMBERS, 40, make_config(**LOG))
    measured = frame.filter((pl.col("step") < 40) & pl.col("observed:load"))["load"].to_numpy()
    assert scaler.log is not None
    np.testing.assert_allclose(scaler.log.offset, [0.02 * measured.mean()], rtol=1e-6)
    logarithm = np.log(measured + scaler.log.offset[0])
    np.testing.assert_allclose(
        [scaler.log.mean[0], scaler.log.deviation[0]], [logarithm.mean(), logarithm.std()], rtol=1e-6
    )
    plain = fit_scaler(frame.lazy(), NUMBERS, 40, make_config())
    assert scaler.model_copy(update={"log": None}) == plain
    later = frame.with_columns(pl.when(pl.col("step") < 40).then("load").otherwise(pl.lit(-1e9)).alias("load"))
    assert fit_scaler(later.lazy(), NUMBERS, 40, make_config(**LOG)) == scaler


def test_the_offset_of_logarithms_does_not_drown_small_series() -> None:
    sizes = {"a": 10.0, "b": 1000.0, "c": 100_000.0}
    frame = pl.concat(
        [
            frame_of(load=[s, s, 0.0], wind=[0.0] * 3, price=[0.0] * 3).with_columns(series=pl.lit(n))
            for n, s in sizes.items()
        ]
    )
    scaler = fit_scaler(segments_of(frame).lazy(), NUMBERS, 3, make_config(**LOG))
    assert scaler.log is not None
    assert scaler.log.offset[0] == pytest.approx(0.02 * 1000 * 2 / 3)


def test_a_negative_value_in_training_has_no_logarithm() -> None:
    frame = segments_of(three([3.0, -2.5, 4.0], [1.0] * 3, [1.0] * 3))
    with pytest.raises(InputError, match=r"transform is log, but target 'load' holds -2.5 in the training part"):
        fit_scaler(frame.lazy(), NUMBERS, 3, make_config(**LOG))
    assert fit_scaler(frame.lazy(), NUMBERS, 1, make_config(**LOG)).log is not None


def test_targets_that_are_all_zero_have_a_logarithm() -> None:
    frame = segments_of(three([0.0] * 3, [1.0] * 3, [1.0] * 3))
    scaler = fit_scaler(frame.lazy(), NUMBERS, 3, make_config(**LOG))
    assert np.isfinite(scaler.scale(np.zeros((1, 1)), "target")).all()


def of_kinds(*kinds: str | None) -> pl.DataFrame:
    """A series of two steps for each kind, one after another in time."""
    num = len(kinds)
    return pl.DataFrame(
        {
            "series": [f"s{i // 2}" for i in range(num)],
            "time": list(range(num)),
            "load": [float(i) for i in range(num)],
            "wind": [0.0] * num,
            "kind": kinds,
        }
    )


def test_known_categories_are_those_of_series_that_begin_in_the_training_part() -> None:
    config, frame = make_config(data__categorical=["kind"]), of_kinds("up", "up", "down", None, "new", "new")
    schema = make_schema(frame, 1, config)
    segments = make_segments(grid.regular(frame, 1), schema, config)
    assert segments["kind"].to_list() == ["up", "up", "down", "down", "new", "new"]
    found = with_categories(schema, segments.lazy(), 3, config)
    assert found.categories == {"kind": ["down", "up"]}
    assert to_segments(segments, found).category_SK.tolist() == [[2], [1], [0]]
    assert to_segments(segments, found).words(2) == {"kind": "(unseen)"}
    assert to_segments(segments, found).words(0) == {"kind": "up"}


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (
            ("up", "down", "up", "up"),
            "'kind' changes inside 1 series, such as 's0'.*constant within one data.series_id",
        ),
        (("up", "up", None, None), "'kind' is empty in 1 series, such as 's1'; fill it"),
    ],
)
def test_a_category_that_moves_or_is_empty_is_refused(kinds: tuple[str | None, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_schema(of_kinds(*kinds), 1, make_config(data__categorical=["kind"]))


WIDE_SERIES = {"a": (1.0, 0.0), "b": (4.0, 0.0), "c": (10.0, 0.0)}
"""Size of each series, and what is taken off its smallest value."""


def sized(series: dict[str, tuple[float, float]], after: float = 0.0) -> pl.DataFrame:
    """Segments of 8 steps of each size, 6 of them to learn from and the others ``after`` more; one value is missing."""
    shape = np.array([0.5, 1.5, 1.0, 1.0, 0.5, 1.5, 1.0, 1.0])
    frames = []
    for name, (size, less) in series.items():
        values: list[float | None] = list(size * shape + after * (np.arange(8) >= 6))
        values[0] = size * 0.5 - less
        frames.append(three([*values[:3], None, *values[4:]], [0.0] * 8, [0.0] * 8).with_columns(series=pl.lit(name)))
    return segments_of(pl.concat(frames))


def is_log(frame: pl.DataFrame, **values: Any) -> bool:
    config = make_config(**({"preprocess__transform": "auto"} | values))
    return fit_scaler(frame.lazy(), NUMBERS, 6, config).log is not None


def test_series_that_differ_tenfold_in_size_are_learned_as_logarithms() -> None:
    assert is_log(sized(WIDE_SERIES))
    assert make_config().preprocess.transform == "auto"
    assert not is_log(sized(WIDE_SERIES), preprocess__transform="none")


@pytest.mark.parametrize(
    "series",
    [
        {"a": (1.0, 0.0)},
        {"a": (1.0, 0.0), "b": (9.5, 0.0)},
        WIDE_SERIES | {"a": (1.0, 0.5)},
        WIDE_SERIES | {"a": (1.0, 3.0)},
        {f"s{index}": (1.0, 0.0) for index in range(30)} | {"one": (1000.0, 0.0)},
    ],
    ids=["one series", "similar sizes", "a zero", "a negative value", "one large series of many"],
)
def test_other_targets_are_learned_as_they_are(series: dict[str, tuple[float, float]]) -> None:
    assert not is_log(sized(series))


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ({"model__output": "softplus"}, False),
        ({"model__output": "relu"}, False),
        ({"model__distribution": "negative_binomial"}, False),
        ({"model__distribution": "gaussian"}, True),
    ],
    ids=str,
)
def test_a_network_that_speaks_the_targets_own_units_learns_no_logarithms(values: dict[str, Any], log: bool) -> None:
    assert is_log(sized(WIDE_SERIES), **values) == log


def test_what_follows_the_training_part_does_not_choose_the_transform() -> None:
    assert is_log(sized(WIDE_SERIES, after=-100.0))
    assert not is_log(sized({"a": (1.0, 0.0), "b": (2.0, 0.0)} | {"c": (3.0, 0.0)}, after=100.0))
    grows = sized({"a": (1.0, 0.0), "b": (2.0, 0.0)}).with_columns(
        load=pl.when((pl.col("series") == "b") & (pl.col("step") >= 6)).then(1e4).otherwise("load")
    )
    assert not is_log(grows)


def test_values_that_were_filled_in_do_not_choose_the_transform() -> None:
    frame = sized(WIDE_SERIES)
    filled = pl.when(pl.col("observed:load")).then("load").otherwise(0.0)
    assert is_log(frame.with_columns(load=filled))


def test_every_target_must_ask_for_logarithms() -> None:
    schema = schema_of(target=["load", "heat"], known=["price"], is_time=False)
    wide = sized(WIDE_SERIES)
    config = make_config(data__target=["load", "heat"])
    for heat, log in ((pl.col("load") * 2, True), (pl.lit(3.0), False)):
        both = wide.with_columns(heat.alias("heat"), pl.col("observed:load").alias("observed:heat"))
        assert (fit_scaler(both.lazy(), schema, 6, config).log is not None) == log


def test_sequences_to_classify_have_no_target_to_transform() -> None:
    frame = labelled(["up", "up", "down", "down"])
    schema = classify(frame)
    tree = {"source": "x", "series_id": ["day"], "time": "when", "past": ["load"], "label": "kind"}
    config = Config.model_validate({"name": "c", "task": "classify", "data": tree})
    segments = make_segments(grid.regular(frame, 1), schema, config)
    assert fit_scaler(segments.lazy(), schema, 4, config).log is None


def labelled_frame(
    load: list[float | None], label: list[Any], kind: pl.DataType | type[pl.DataType] = pl.String
) -> pl.DataFrame:
    return frame_of(load=load).with_columns(pl.Series("state", label, dtype=kind))  # type: ignore[arg-type]


def steps_config(kind: str = "class", **values: Any) -> Config:
    return label_config(data__label_kind=kind, data__series_id=[], data__time=None, preprocess__calendar=[], **values)


def test_a_steps_label_is_never_filled_and_past_inputs_say_which_were_measured() -> None:
    load = [None, 1.0, None, 3.0, 4.0, None]
    frame = labelled_frame(load, ["a", None, "b", None, "a", "b"])
    schema = make_schema(frame, 1, steps_config())
    found = make_segments(grid.regular(frame, 1), schema, steps_config())
    assert found["step"].to_list() == [1, 2, 3, 4], "steps before the first input and after the last say nothing"
    assert found["state"].to_list() == [None, "b", None, "a"]
    assert found["load"].to_list() == [1.0, 1.0, 3.0, 4.0]
    assert found["observed:load"].to_list() == [True, False, True, True]
    arrays = to_segments(found, schema)
    np.testing.assert_array_equal(arrays.label_R, np.array([np.nan, 1, np.nan, 0], np.float32))
    assert arrays.observed_RC.tolist() == [[1], [0], [1], [1]]
    assert arrays.label is None


def test_a_long_run_without_any_input_cuts_a_labelled_series() -> None:
    load = [1.0, *[None] * 3, 2.0]
    frame = labelled_frame(load, ["a", "b", "b", "b", "a"])
    for limit, segments in ((3, 1), (2, 2)):
        config = steps_config(preprocess__max_gap_steps=limit)
        found = make_segments(grid.regular(frame, 1), make_schema(frame, 1, config), config)
        assert found["segment"].n_unique() == segments


def test_classes_of_steps_are_sorted_and_whole_numbers_by_size() -> None:
    def classes(label: list[Any]) -> list[str]:
        return make_schema(labelled_frame([1.0] * len(label), label), 1, steps_config()).classes

    assert classes(["run", "idle", None, "run"]) == ["idle", "run"]
    assert classes(["10", "9", "2"]) == ["2", "9", "10"]
    assert classes(["10", "9.5", "x"]) == ["10", "9.5", "x"]


def test_labels_of_steps_that_cannot_be_learned_are_refused() -> None:
    for label, words in (([None, None], "no values at all"), (["a", "a"], "one class only")):
        with pytest.raises(InputError, match=f"label 'state' has {words}"):
            make_schema(labelled_frame([1.0, 2.0], label), 1, steps_config())
    many = [f"c{i}" for i in range(1001)]
    with pytest.raises(InputError, match="1001 different classes, more than 1000"):
        make_schema(labelled_frame([1.0] * 1001, many), 1, steps_config())


def test_values_of_steps_are_scaled_by_the_training_part_alone_and_never_clipped() -> None:
    frame = labelled_frame([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, None, 3.0, 1000.0, None], pl.Float64)
    config = steps_config("value", preprocess__outliers="clip")
    schema = make_schema(frame, 1, config)
    assert schema.classes == []
    found = make_segments(grid.regular(frame, 1), schema, config)
    scaler = fit_scaler(found.lazy(), schema, 3, config)
    assert scaler.label is not None
    assert (scaler.label.mean, scaler.label.deviation) == ([2.0], [1.0])
    label_R = to_segments(found, schema).scaled(scaler).label_R
    np.testing.assert_allclose(label_R, [-1, np.nan, 1, 998, np.nan])
    np.testing.assert_allclose(scaler.unscale_label(np.array([-1.0, 998.0])), [1, 1000])
    with pytest.raises(InputError, match="label 'state' has no values in the training part"):
        fit_scaler(found.filter(pl.col("step") != 0).lazy(), schema, 2, config)


def test_classes_of_steps_are_not_scaled() -> None:
    frame = labelled_frame([1.0, 2.0, 3.0], ["a", "b", "a"])
    config = steps_config(preprocess__outliers="clip")
    schema = make_schema(frame, 1, config)
    found = make_segments(grid.regular(frame, 1), schema, config)
    label_R = to_segments(found, schema).scaled(fit_scaler(found.lazy(), schema, 3, config)).label_R
    assert label_R is not None
    assert label_R.tolist() == [0, 1, 0]
