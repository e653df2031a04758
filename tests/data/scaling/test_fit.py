"""Statistics of the training part: the same from any blocks, and what each scale and transform makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lstm_ray.config import Config
from lstm_ray.data.preparing.segments import make_schema, make_segments
from lstm_ray.data.scaling import fit, sums
from lstm_ray.data.scaling.fit import fit_scaler
from lstm_ray.data.schema import Schema
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from tests.made import frame_of, make_config, schema_of

NUMBERS = schema_of(known=["price"], is_time=False)


def before(step: int) -> pl.Expr:
    """The training part."""
    return pl.col("step") < step


def segments_of(frame: pl.DataFrame, schema: Schema = NUMBERS) -> pl.DataFrame:
    return make_segments(grid.regular(frame, 1), schema, make_config())


def three(load: list[float | None], wind: list[float | None], price: list[float | None]) -> pl.DataFrame:
    return frame_of(load=load, wind=wind, price=price)


def scaled_frame(seed: int = 0) -> tuple[pl.DataFrame, Schema, Config]:
    random = np.random.default_rng(seed)
    holes = [None if random.random() < 0.2 else float(v) for v in random.normal(50, 7, 60)]
    frame = segments_of(three(holes, random.normal(-3, 2, 60).tolist(), random.normal(0, 1e3, 60).tolist()))
    return frame, NUMBERS, make_config()


def test_the_scaler_is_the_mean_and_deviation_of_measured_training_values() -> None:
    frame, schema, config = scaled_frame()
    scaler = fit_scaler(frame, schema, before(40), config)
    train = frame.filter(pl.col("step") < 40)
    measured = train.filter("observed:load")["load"].to_numpy()
    assert len(measured) < train.height
    for scale, values in (
        (scaler.target, measured),
        (scaler.past, train["wind"].to_numpy()),
        (scaler.known, train["price"].to_numpy()),
    ):
        np.testing.assert_allclose([scale.mean[0], scale.deviation[0]], [values.mean(), values.std()], rtol=1e-8)
    assert (scaler.fences, scaler.cleaning, scaler.transform, scaler.series, scaler.read) == (
        None,
        None,
        None,
        None,
        {},
    )


def test_the_scaler_never_sees_validation() -> None:
    frame, schema, config = scaled_frame()
    later = [pl.when(pl.col("step") < 40).then(c).otherwise(pl.lit(1e9)).alias(c) for c in ("load", "wind", "price")]
    assert fit_scaler(frame.with_columns(later), schema, before(40), config) == fit_scaler(
        frame, schema, before(40), config
    )
    assert fit_scaler(frame, schema, before(60), config) != fit_scaler(frame, schema, before(40), config)


def test_clipping_limits_inputs_to_the_configured_deviations() -> None:
    frame, schema, _ = scaled_frame()
    config = make_config(preprocess__outliers="clip", preprocess__outlier_deviations=2.0)
    scaler = fit_scaler(frame, schema, before(40), config)
    scaled = scaler.scale(np.array([[1e6], [-1e6], [np.nan], [scaler.target.mean[0]]]), "target")
    np.testing.assert_allclose(scaled[:, 0], [2, -2, 0, 0], atol=1e-6)


LOG = {"preprocess__transform": "log"}


def test_logarithms_are_fitted_on_measured_training_values_beside_the_raw_statistics() -> None:
    random = np.random.default_rng(3)
    holes = [None if random.random() < 0.2 else float(v) for v in np.exp(random.normal(3, 1, 60))]
    frame = segments_of(three(holes, [1.0] * 60, [1.0] * 60))
    scaler = fit_scaler(frame, NUMBERS, before(40), make_config(**LOG))
    measured = frame.filter((pl.col("step") < 40) & pl.col("observed:load"))["load"].to_numpy()
    assert scaler.transform is not None
    np.testing.assert_allclose(scaler.transform.offset, [0.02 * measured.mean()], rtol=1e-6)
    logarithm = np.log(measured + scaler.transform.offset[0])
    units = scaler.read["target"]
    np.testing.assert_allclose([units.zero[0], units.unit[0]], [logarithm.mean(), logarithm.std()], rtol=1e-8)
    assert (units.typical, units.spread) == (units.zero, units.unit)
    plain = fit_scaler(frame, NUMBERS, before(40), make_config())
    assert scaler.model_copy(update={"transform": None, "read": {}}) == plain
    later = frame.with_columns(pl.when(pl.col("step") < 40).then("load").otherwise(pl.lit(-1e9)).alias("load"))
    assert fit_scaler(later, NUMBERS, before(40), make_config(**LOG)) == scaler


def test_the_offset_of_logarithms_does_not_drown_small_series() -> None:
    sizes = {"a": 10.0, "b": 1000.0, "c": 100_000.0}
    frame = pl.concat(
        [
            frame_of(load=[s, s, 0.0], wind=[0.0] * 3, price=[0.0] * 3).with_columns(series=pl.lit(n))
            for n, s in sizes.items()
        ]
    )
    scaler = fit_scaler(segments_of(frame), NUMBERS, before(3), make_config(**LOG))
    assert scaler.transform is not None
    assert scaler.transform.offset[0] == pytest.approx(0.02 * 1000 * 2 / 3)


def test_a_negative_value_in_training_has_no_logarithm() -> None:
    frame = segments_of(three([3.0, -2.5, 4.0], [1.0] * 3, [1.0] * 3))
    with pytest.raises(InputError, match=r"transform is log, but target 'load' holds -2.5 in the training part"):
        fit_scaler(frame, NUMBERS, before(3), make_config(**LOG))
    assert fit_scaler(frame, NUMBERS, before(1), make_config(**LOG)).transform is not None


def test_targets_that_are_all_zero_have_a_logarithm() -> None:
    frame = segments_of(three([0.0] * 3, [1.0] * 3, [1.0] * 3))
    scaler = fit_scaler(frame, NUMBERS, before(3), make_config(**LOG))
    assert np.isfinite(scaler.scale(np.zeros((1, 1)), "target")).all()


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
    return fit_scaler(frame, NUMBERS, before(6), config).transform is not None


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
        assert (fit_scaler(both, schema, before(6), config).transform is not None) == log


def test_sequences_to_classify_have_no_target_to_transform() -> None:
    columns = {"series": ["x", "x", "y", "y"], "time": [0, 1, 2, 3], "load": [1.0, 2.0, 3.0, 4.0]}
    frame = pl.DataFrame(columns).with_columns(kind=pl.Series(["up", "up", "down", "down"]))
    tree = {"source": "x", "series_id": ["day"], "time": "when", "past": ["load"], "label": "kind"}
    config = Config.model_validate({"name": "c", "task": "classify", "data": tree})
    schema = make_schema(frame, 1, config)
    segments = make_segments(grid.regular(frame, 1), schema, config)
    assert fit_scaler(segments, schema, before(4), config).transform is None


EVERY_SCALE = [
    {},
    {"scale": "robust"},
    {"scale": "minmax"},
    {"scale": "none"},
    {"scale": "standard", "scale_by": "all"},
    {"scale": "robust", "scale_by": "all", "transform": "yeo_johnson"},
    {"scale": "minmax", "transform": "box_cox"},
    {"transform": "log"},
    {"transform": "log1p", "scale": "robust"},
    {"scale_by": "series", "transform": "log1p"},
    {"scale_by": "series", "scale": "robust"},
    {"scale_by": "series", "scale": "minmax"},
    {"outliers": "clip", "outlier_method": "iqr", "outlier_deviations": 3.0},
    {"outliers": "mask"},
]
MANY = schema_of(target=["load", "heat"], past=["wind"], known=["price"], is_time=False)


def many_series(num: int, seed: int = 0, steps: int = 40) -> pl.DataFrame:
    """Segments of series of unequal lengths and sizes, all above 0; a tenth of the targets is not measured."""
    random = np.random.default_rng(seed)
    frames = []
    for index in range(num):
        length = steps + index
        size = 10.0 ** random.uniform(0, 3)
        frame = pl.DataFrame({"series": [f"s{index:04d}"] * length, "segment": np.zeros(length, np.int32)})
        columns = {name: size * np.exp(random.normal(0, 0.5, length)) for name in ("load", "heat", "wind", "price")}
        observed = {f"observed:{name}": random.random(length) > 0.1 for name in ("load", "heat")}
        frames.append(frame.with_columns(step=np.arange(length), **columns, **observed))
    return pl.concat(frames)


def config_of(**preprocess: Any) -> Config:
    return make_config(data__target=["load", "heat"], **{f"preprocess__{k}": v for k, v in preprocess.items()})


@pytest.mark.parametrize("preprocess", EVERY_SCALE, ids=str)
@given(data=st.data())
@settings(max_examples=6, deadline=None)
def test_any_blocks_of_whole_series_give_the_same_scaler(preprocess: dict[str, Any], data: st.DataObject) -> None:
    frame, config = many_series(7), config_of(**preprocess)
    whole = fit_scaler(frame, MANY, before(30), config)
    dealt = data.draw(st.lists(st.integers(0, 3), min_size=7, max_size=7))
    names = frame["series"].unique(maintain_order=True).to_list()
    blocks = [
        frame.filter(pl.col("series").is_in([n for n, b in zip(names, dealt, strict=True) if b == k])) for k in range(4)
    ]
    order = data.draw(st.permutations(range(4)))
    found = fit.merged([fit.sums_of(blocks[k], before(30), MANY, config) for k in order])
    assert fit.scaler_of(found, MANY, config) == whole


def test_a_sample_of_blocks_is_the_sample_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "SAMPLE_ROWS", 50)
    frame, config = many_series(9), config_of(scale="robust")
    whole = fit.sums_of(frame, before(30), MANY, config).sample
    parts = [fit.sums_of(part, before(30), MANY, config) for _, part in frame.group_by("series")]
    found = fit.merged(parts).sample
    assert whole is not None
    assert found is not None
    assert len(whole.hash_N) == len(found.hash_N) == 50
    first, second = np.argsort(whole.hash_N), np.argsort(found.hash_N)
    np.testing.assert_array_equal(whole.values_NF[first], found.values_NF[second])
    assert len({int(value // 1e-6) for value in whole.values_NF[:, 2]}) == 50
    exact = fit_scaler(frame, MANY, before(30), config).read["past"]
    monkeypatch.setattr(sums, "SAMPLE_ROWS", 10**6)
    all_of_it = fit_scaler(frame, MANY, before(30), config).read["past"]
    values = frame.filter(before(30))["wind"].to_numpy()
    np.testing.assert_allclose(all_of_it.zero, [np.median(values)], rtol=1e-8)
    assert exact != all_of_it


@given(st.lists(st.floats(-1e6, 1e6, width=32), max_size=60), st.integers(0, 60))
def test_moments_of_parts_are_those_of_the_whole(values: list[float], cut: int) -> None:
    whole = np.array(values, dtype=np.float64)
    merged = sums.Moments.of([whole[:cut]], True).merge(sums.Moments.of([whole[cut:]], True))
    assert merged.count_F[0] == len(values)
    if len(values):
        tolerance = 1e-12 * max(1.0, np.abs(whole).max())
        np.testing.assert_allclose(merged.mean_F, whole.mean(), rtol=1e-12, atol=tolerance)
        np.testing.assert_allclose(merged.squares_F, ((whole - whole.mean()) ** 2).sum(), rtol=1e-9, atol=tolerance**2)
        assert (merged.low_F[0], merged.high_F[0]) == (whole.min(), whole.max())


def test_a_large_mean_does_not_drown_a_small_deviation() -> None:
    values = 1e8 + np.random.default_rng(0).normal(size=10_000)
    parts = [sums.Moments.of([part], False) for part in np.split(values, 10)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    np.testing.assert_allclose(np.sqrt(merged.squares_F / 10_000), values.std(), rtol=1e-9)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=80), st.integers(0, 80))
def test_a_sketch_stands_for_its_values_under_any_smooth_function(values: list[float], cut: int) -> None:
    whole = np.array(values, dtype=np.float64)
    points_N, weight_N = sums.Sketch.of(whole[:cut]).merge(sums.Sketch.of(whole[cut:])).points()
    assert weight_N.sum() == len(values)
    for function in (np.asarray, np.square, np.arcsinh, lambda x: np.log1p(np.abs(x))):
        np.testing.assert_allclose(weight_N @ function(points_N), function(whole).sum(), rtol=1e-7, atol=1e-6)


def test_a_column_that_never_varies_or_never_comes_is_left_in_its_units() -> None:
    frame = segments_of(three([5.0] * 4, [None] * 4, [7.0] * 4))
    scaler = fit_scaler(frame, NUMBERS, before(4), make_config())
    assert (scaler.target.mean, scaler.target.deviation) == ([5.0], [1.0])
    assert (scaler.past.mean, scaler.past.deviation) == ([0.0], [1.0])


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_units_do_not_decide_what_is_constant(unit: float) -> None:
    load = [5.0 * unit, (5.0 + 1e-3) * unit, (5.0 - 1e-3) * unit]
    scaler = fit_scaler(segments_of(three(load, [3.0 * unit] * 3, load)), NUMBERS, before(3), make_config())
    assert scaler.past.deviation == [1.0]
    np.testing.assert_allclose(scaler.target.deviation, [np.std(load)], rtol=1e-6)


def measured_of(frame: pl.DataFrame, name: str, end: int = 30) -> np.ndarray:
    return frame.filter(before(end) & pl.col(f"observed:{name}"))[name].to_numpy()


def test_a_robust_scale_is_the_median_and_the_normal_quartile_range() -> None:
    frame = many_series(5)
    scaler = fit_scaler(frame, MANY, before(30), config_of(scale="robust", transform="none"))
    for c, name in enumerate(("load", "heat")):
        values = measured_of(frame, name)
        quarter, median, last = np.quantile(values, (0.25, 0.5, 0.75))
        assert scaler.read["target"].zero[c] == pytest.approx(median, rel=1e-8)
        assert scaler.read["target"].unit[c] == pytest.approx((last - quarter) / 1.349, rel=1e-8)
        assert scaler.target.mean[c] == pytest.approx(values.mean(), rel=1e-8), "its own statistics stay"


def test_where_half_the_values_are_alike_a_robust_scale_keeps_the_deviation() -> None:
    frame = segments_of(three([0.0] * 9 + [1.0, 3.0], [1.0] * 11, [1.0] * 11))
    scaler = fit_scaler(frame, NUMBERS, before(11), make_config(preprocess__scale="robust"))
    assert scaler.read["target"].unit == pytest.approx([np.std([0.0] * 9 + [1.0, 3.0])])


def test_minmax_leads_from_0_to_1_and_missing_values_to_the_mean() -> None:
    frame = many_series(5)
    scaler = fit_scaler(frame, MANY, before(30), config_of(scale="minmax", transform="none"))
    values = np.stack([measured_of(frame, "load")] * 2, axis=1)
    scaled = scaler.scale(values.astype(np.float32), "target")[:, 0]
    np.testing.assert_allclose([scaled.min(), scaled.max()], [0, 1], atol=1e-6)
    missing = scaler.scale(np.array([[np.nan, np.nan]], np.float32), "target")
    np.testing.assert_allclose(missing[0, 0], scaled.mean(), rtol=1e-5)
    np.testing.assert_allclose(scaler.reach(missing, "target"), 0, atol=1e-5)


def test_scale_none_leaves_every_column_as_it_is() -> None:
    frame = many_series(3)
    scaler = fit_scaler(frame, MANY, before(30), config_of(scale="none", transform="none"))
    values = frame.select("load", "heat").to_numpy().astype(np.float32)
    np.testing.assert_array_equal(scaler.scale(values, "target"), values)
    np.testing.assert_array_equal(scaler.unscale(values), values)
    np.testing.assert_allclose(scaler.centre("target"), scaler.target.mean, rtol=1e-6)


def test_one_scale_for_all_columns_of_a_role_pools_their_values() -> None:
    frame = many_series(4)
    scaler = fit_scaler(frame, MANY, before(30), config_of(scale_by="all", transform="none"))
    values = np.concatenate([measured_of(frame, name) for name in ("load", "heat")])
    units = scaler.read["target"]
    np.testing.assert_allclose([*units.zero, *units.unit], np.repeat([values.mean(), values.std()], 2), rtol=1e-8)
    assert scaler.read["past"].zero == pytest.approx(scaler.past.mean)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("box_cox", lambda values: stats.boxcox(values)),
        ("yeo_johnson", lambda values: stats.yeojohnson(values / values.std())),
        ("log1p", lambda values: (np.log1p(values), 0.0)),
    ],
)
def test_powers_are_those_of_scipy(kind: str, reference: Any) -> None:
    values = np.random.default_rng(4).normal(10, 2, 400) ** 2
    frame = segments_of(three(values.tolist(), [1.0] * 400, [1.0] * 400))
    scaler = fit_scaler(frame, NUMBERS, before(400), make_config(preprocess__transform=kind))
    assert scaler.transform is not None
    transformed, power = reference(values)
    assert scaler.transform.power[0] == pytest.approx(power, abs=2e-3)
    np.testing.assert_allclose(scaler.transform.apply(values[:, None])[:, 0], transformed, rtol=5e-3, atol=1e-3)
    own = scaler.transform.apply(values[:, None])
    np.testing.assert_allclose([scaler.read["target"].zero[0]], own.mean(), rtol=1e-7)
    np.testing.assert_allclose([scaler.read["target"].unit[0]], own.std(), rtol=1e-7)


@pytest.mark.parametrize("kind", ["box_cox", "yeo_johnson"])
def test_no_power_is_fitted_that_has_a_highest_value(kind: str) -> None:
    values = np.exp(np.exp(np.random.default_rng(4).normal(0, 0.5, 400)))
    frame = segments_of(three(values.tolist(), [1.0] * 400, [1.0] * 400))
    transform = fit_scaler(frame, NUMBERS, before(400), make_config(preprocess__transform=kind)).transform
    assert transform is not None
    assert transform.power == [0.0]


@pytest.mark.parametrize(
    ("kind", "load", "words"),
    [
        ("box_cox", [0.0, 1.0], "transform is box_cox, but target 'load' holds 0 .* values above 0"),
        ("log1p", [-1.0, 1.0], "transform is log1p, but target 'load' holds -1 .* values above -1"),
    ],
)
def test_a_value_that_has_no_power_is_refused(kind: str, load: list[float], words: str) -> None:
    frame = segments_of(three(load, [1.0] * 2, [1.0] * 2))
    with pytest.raises(InputError, match=words):
        fit_scaler(frame, NUMBERS, before(2), make_config(preprocess__transform=kind))


def test_fences_lie_deviations_or_quartile_ranges_away_in_the_datas_units() -> None:
    frame = many_series(6)
    z = fit_scaler(frame, MANY, before(30), config_of(outliers="clip", outlier_deviations=2.0)).fences
    iqr = fit_scaler(frame, MANY, before(30), config_of(outliers="mask", outlier_method="iqr", outlier_deviations=1.5))
    values = measured_of(frame, "load")
    quarter, last = np.quantile(values, (0.25, 0.75))
    assert z is not None
    assert iqr.fences is not None
    assert z["target"].low[0] == pytest.approx(values.mean() - 2 * values.std(), rel=1e-7)
    assert z["known"].high[0] == pytest.approx(
        (price := frame.filter(before(30))["price"].to_numpy()).mean() + 2 * price.std(), rel=1e-7
    )
    assert iqr.fences["target"].low[0] == pytest.approx(quarter - 1.5 * (last - quarter), rel=1e-7)
    assert iqr.fences["target"].high[0] == pytest.approx(last + 1.5 * (last - quarter), rel=1e-7)
    sparse = segments_of(three([0.0] * 30 + [1.0, 2.0], [1.0] * 32, [1.0] * 32))
    config = make_config(preprocess__outliers="clip", preprocess__outlier_method="iqr")
    told = fit_scaler(sparse, NUMBERS, before(32), config).fences
    assert told is not None
    assert told["target"].high[0] > 2, "where most values are alike, the others are no outliers"
    hampel = fit_scaler(frame, MANY, before(30), config_of(outliers="clip", outlier_method="hampel"))
    assert hampel.fences is None


@pytest.mark.parametrize("scale", ["standard", "robust", "minmax"])
def test_each_series_has_statistics_of_its_own_training_part(scale: str) -> None:
    frame = many_series(4)
    scaler = fit_scaler(frame, MANY, before(30), config_of(scale_by="series", scale=scale, transform="log1p"))
    assert scaler.series is not None
    assert list(scaler.series.of) == ["s0000", "s0001", "s0002", "s0003"]
    assert (scaler.series.scale, scaler.series.steps) == (scale, 12)
    for name, numbers in scaler.series.of.items():
        own = frame.filter(pl.col("series") == name)
        for c, column in enumerate(("load", "heat")):
            values = np.log1p(measured_of(own, column))
            quarter, median, last = np.quantile(values, (0.25, 0.5, 0.75))
            expected = {
                "standard": (values.mean(), values.std()),
                "robust": (median, (last - quarter) / 1.349),
                "minmax": (values.min(), values.max() - values.min()),
            }[scale]
            np.testing.assert_allclose((numbers[c], numbers[2 + c]), expected, rtol=1e-7)


def test_a_series_that_training_hardly_knows_or_that_is_constant_has_no_statistics_of_its_own() -> None:
    def series(name: str, load: list[float]) -> pl.DataFrame:
        return three(load, [1.0] * len(load), [1.0] * len(load)).with_columns(series=pl.lit(name))

    frame = segments_of(pl.concat([series("a", [1.0, 2.0] * 8), series("b", [1.0, 2.0] * 3), series("c", [5.0] * 16)]))
    scaler = fit_scaler(frame, NUMBERS, before(16), make_config(preprocess__scale_by="series"))
    assert scaler.series is not None
    assert list(scaler.series.of) == ["a"]
    assert scaler.series.of["a"] == [1.5, 0.5]


def test_nothing_is_summed_that_nobody_asks_for() -> None:
    frame = many_series(3)
    found = fit.sums_of(frame, before(30), MANY, config_of(transform="none"))
    assert (found.sketches, found.size_SC, found.sample, found.series) == (None, None, None, None)
    assert np.isinf(found.moments["target"].low_F).all()
    below = frame.with_columns(load=pl.col("load") - 1e6)
    assert fit.sums_of(below, before(30), MANY, config_of()).sketches is None, "no logarithms of values below 0"
