"""Gaps cut or filled, and nothing looked up ahead of time."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.config import Config
from lstm_ray.data.preparing.segments import checked, classes_of, labels_in, make_schema, make_segments
from lstm_ray.data.preparing.segments import schema_of as schema_from
from lstm_ray.data.quality.impute import forward_fill
from lstm_ray.data.scaling.fit import categories_of, fit_scaler, sums_of
from lstm_ray.data.schema import Schema
from lstm_ray.data.store import to_segments
from lstm_ray.data.timeline import grid
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
def test_linear_filling_draws_a_line_through_every_column_and_repeats_its_last_value(load: list[float | None]) -> None:
    made = segments_of(three(load, load, load), impute="linear", causal=False, max_gap_steps=2)
    at = [step for step, value in enumerate(load) if value is not None]
    known = [value for value in load if value is not None]
    line = np.interp(made["step"].to_numpy(), at, known) if at else np.empty(0)
    for name in ("load", "wind", "price"):
        np.testing.assert_allclose(made[name].to_numpy(), line, rtol=1e-12)


@given(MAYBE, st.integers(1, 29), st.sampled_from(["forward", "seasonal", "mean", "median", "zero", "constant"]))
def test_causal_filling_is_the_same_whatever_the_future_holds(load: list[float | None], step: int, how: str) -> None:
    wind = [value if index % 3 else None for index, value in enumerate(load)]
    later = [v if i < step or v is None else 1e9 for i, v in enumerate(load)]
    found = [segments_of(three(x, wind, x), impute=how).filter(pl.col("step") < step) for x in (load, later)]
    assert found[0].equals(found[1])


def test_means_that_are_not_causal_are_those_of_the_series_training_part() -> None:
    frame = pl.concat(
        [
            three([1, None, 3, None, 1e9], [1] * 5, [1] * 5).with_columns(series=pl.lit("a")),
            three([5, None, None, None, 7], [1] * 5, [1] * 5).with_columns(series=pl.lit("b")),
        ]
    )
    config = make_config(preprocess__impute="mean", preprocess__causal=False, preprocess__max_gap_steps=2)
    dealt = frame.with_columns(part=pl.lit(0))
    made = make_segments(dealt, NUMBERS, config, (pl.col("step") < 4) & (pl.col("part") == 0))
    assert made["load"].to_list() == [1.0, 2.0, 3.0, 2.0, 1e9, 5.0, 7.0]
    alone = make_segments(frame, NUMBERS, config)
    assert alone["load"].to_list()[1] == pytest.approx((1 + 3 + 1e9) / 3)


KINDS = ["forward", "seasonal", "mean", "median", "zero", "constant", "linear"]


@given(
    st.lists(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=12), min_size=2, max_size=5),
    st.data(),
    st.sampled_from(KINDS),
    st.integers(0, 3),
)
def test_blocks_of_whole_series_make_the_segments_of_the_whole_table(
    loads: list[list[float | None]], data: st.DataObject, how: str, max_gap: int
) -> None:
    frames = [
        three(load, load[::-1], load).with_columns(
            series=pl.lit(f"s{i}"), kind=pl.lit(f"k{i}"), time=pl.col("time") + i, worth=pl.lit(2.0)
        )
        for i, load in enumerate(loads)
    ]
    config = make_config(
        data__categorical=["kind"],
        data__weight="worth",
        preprocess__impute=how,
        preprocess__causal=how != "linear",
        preprocess__max_gap_steps=max_gap,
    )
    whole = make_segments(pl.concat(frames), NUMBERS, config)
    cut = data.draw(st.integers(1, len(frames) - 1))
    blocks = [make_segments(pl.concat(part), NUMBERS, config) for part in (frames[:cut], frames[cut:])]
    assert pl.concat(blocks).equals(whole)


def test_weights_go_with_their_rows_and_are_1_where_nobody_told_them() -> None:
    frame = three([1, 2, None, 4, None], [1] * 5, [1] * 5).with_columns(worth=pl.Series([3.0, 0.0, None, 2.0, 9.0]))
    config = make_config(data__weight="worth", preprocess__impute="zero")
    assert make_segments(frame, NUMBERS, config)["worth"].to_list() == [3.0, 0.0, 1.0, 2.0]
    with pytest.raises(
        InputError, match=r"weight 'worth' is below 0 in 1 rows, such as -2 at .* of series '.*'; use 0 or above"
    ):
        make_schema(frame.with_columns(worth=pl.Series([3.0, 0.0, None, -2.0, 9.0])), 1, config)


def test_a_static_columns_gaps_hold_its_own_value_whatever_the_rule() -> None:
    config = make_config(preprocess__impute="zero", data__static=["price"])
    frame = three([1, None, 2], [1, None, 1], [5, None, 5])
    made = make_segments(frame, NUMBERS, config)
    assert made.select("load", "wind", "price").rows() == [(1, 1, 5), (0, 0, 5), (2, 1, 5)]


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


def test_static_columns_are_known_before_their_first_value_and_across_long_gaps() -> None:
    frame = frame_of(load=[1, 2, None, None, 3, 4], wind=[1] * 6, price=[None, 5, 5, 5, None, None])
    config = make_config(preprocess__max_gap_steps=1, data__static=["price"])
    made = make_segments(frame, NUMBERS, config)
    assert made["segment"].n_unique() == 2
    assert made["price"].to_list() == [5.0] * 4
    other = pl.concat([frame, frame.with_columns(series=pl.lit("b"), price=pl.lit(None, pl.Float64))])
    assert make_segments(other, NUMBERS, config)["price"].to_list() == [5.0] * 4 + [None] * 4


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


def test_facts_of_blocks_make_the_schema_of_the_whole_table() -> None:
    tree = {"source": "x", "series_id": ["day"], "time": "when", "past": ["load"], "label": "kind"}
    config = Config.model_validate({"name": "c", "task": "classify", "data": tree})
    frame = labelled(["up", "up", "down", "down"])
    blocks = [frame[:2], frame[2:]]
    for block in blocks:
        checked(block, config)
    labels = pl.concat([labels_in(block, config) for block in blocks])
    assert schema_from(config, 1, False, 0, 3, classes_of(labels, config)) == make_schema(frame, 1, config)


def test_values_of_steps_have_no_classes_to_join() -> None:
    config = steps_config("value")
    frame = labelled_frame([1.0, 2.0, 3.0], [None, 7.0, 8.0], pl.Float64)
    labels = labels_in(frame, config)
    assert len(labels) == 1
    assert classes_of(labels, config) == []
    with pytest.raises(InputError, match="label 'state' has no values at all"):
        classes_of(labels_in(frame[:1], config), config)


def test_series_that_share_no_grid_are_refused() -> None:
    frame = pl.DataFrame({"series": ["a", "a", "b", "b"], "time": [0, 10, 5, 15], "load": [1.0] * 4, "wind": [1.0] * 4})
    with pytest.raises(InputError, match="2 rows of 'when' lie between the grid's steps"):
        make_schema(frame, 10, make_config())


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
    categories = categories_of(sums_of(segments, pl.col("step") < 3, schema, config))
    found = schema.model_copy(update={"categories": categories})
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
    scaler = fit_scaler(found, schema, pl.col("step") < 3, config)
    assert scaler.label is not None
    assert (scaler.label.mean, scaler.label.deviation) == ([2.0], [1.0])
    label_R = to_segments(found, schema).scaled(scaler).label_R
    np.testing.assert_allclose(label_R, [-1, np.nan, 1, 998, np.nan])
    np.testing.assert_allclose(scaler.unscale_label(np.array([-1.0, 998.0])), [1, 1000])
    with pytest.raises(InputError, match="label 'state' has no values in the training part"):
        fit_scaler(found.filter(pl.col("step") != 0), schema, pl.col("step") < 2, config)


def test_classes_of_steps_are_not_scaled() -> None:
    frame = labelled_frame([1.0, 2.0, 3.0], ["a", "b", "a"])
    config = steps_config(preprocess__outliers="clip")
    schema = make_schema(frame, 1, config)
    found = make_segments(grid.regular(frame, 1), schema, config)
    label_R = to_segments(found, schema).scaled(fit_scaler(found, schema, pl.col("step") < 3, config)).label_R
    assert label_R is not None
    assert label_R.tolist() == [0, 1, 0]
