"""A table of series is predicted as the series one by one; what is wrong with a table is said in its own words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lstm_ray.errors import InputError
from lstm_ray.model import frames
from lstm_ray.model.policy import Policy, SeriesInput
from tests import made

HOURS = (made.START + np.arange(60)).astype("datetime64[us]")
SCHEMA = made.schema_of(known=("price",))


@pytest.fixture(scope="module")
def priced() -> Policy:
    """Reads a price that is known ahead."""
    config = made.make_config(data__known=["price"], model__quantiles=[0.1, 0.5, 0.9])
    return made.random_policy(config, made.segments_of(schema=SCHEMA))


def table(names: tuple[str, ...] = ("b", "a"), steps: int = 14, ahead: int = 6) -> dict[str, Any]:
    """Series, each with so many steps of history, and of price behind it."""
    random, rows = np.random.default_rng(0), steps + ahead
    load = 20 + random.normal(size=(len(names), rows))
    load[:, steps:] = np.nan
    return {
        "site": np.repeat(np.array(names, dtype=object), rows),
        "when": np.tile(HOURS[:rows], len(names)),
        "load": load.ravel(),
        "wind": 20 + random.normal(size=load.size),
        "price": 20 + random.normal(size=load.size),
        "note": np.full(load.size, "unread"),
    }


def inputs(columns: dict[str, Any], steps: int = 14) -> list[SeriesInput]:
    """The same as a caller would send one by one."""
    found = []
    for name in dict.fromkeys(columns["site"]):
        rows = np.flatnonzero(columns["site"] == name)
        past = {key: columns[key][rows[:steps]] for key in ("load", "wind", "price")}
        found.append(SeriesInput(HOURS[:steps], past, {"price": columns["price"][rows[steps:]]}, name))  # type: ignore[arg-type]
    return found


def values(policy: Policy, given: Any) -> np.ndarray:
    return np.stack([one.values_HCQ for one in policy.predict(given)])  # type: ignore[union-attr]


KINDS = {
    "mapping": dict,
    "polars": pl.DataFrame,
    "polars in UTC": lambda columns: pl.DataFrame(columns).with_columns(pl.col("when").dt.replace_time_zone("UTC")),
    "polars, texts": lambda columns: pl.DataFrame(columns).with_columns(
        pl.col("when").dt.to_string("%Y-%m-%dT%H:%M:%S")
    ),
    "polars, nulls": lambda columns: pl.DataFrame(columns).with_columns(pl.col("load").fill_nan(None)),
    "pandas": pd.DataFrame,
    "pandas, another zone": lambda columns: pd.DataFrame(columns).assign(
        when=lambda frame: frame["when"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    ),
    "pandas, nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "arrow": pa.table,
    "arrow, dictionary": lambda columns: pa.table(
        {**columns, "site": pa.array(columns["site"].tolist()).dictionary_encode()}
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_any_package_is_predicted_as_its_series_are(kind: str, priced: Policy) -> None:
    columns = table()
    found = priced.predict(KINDS[kind](columns))  # type: ignore[operator]
    assert [one.name for one in found] == ["b", "a"]
    expected = priced.predict(inputs(columns))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.values_HCQ, other.values_HCQ)  # type: ignore[union-attr]
        np.testing.assert_array_equal(one.times, other.times)  # type: ignore[union-attr]


def test_rows_may_come_in_any_order_and_a_missing_step_is_a_missing_value(priced: Policy) -> None:
    columns = table()
    expected = values(priced, columns)
    mixed = np.random.default_rng(1).permutation(len(columns["site"]))
    shuffled = {name: column[mixed] for name, column in columns.items()}
    found = priced.predict(shuffled)
    by_name = {one.name: one.values_HCQ for one in found}  # type: ignore[union-attr]
    np.testing.assert_array_equal(np.stack([by_name["b"], by_name["a"]]), expected)
    kept = np.arange(len(mixed)) != 7
    gappy = priced.predict({name: column[kept] for name, column in columns.items()})
    assert any("1 of 12 values of 'load' were missing" in words for words in gappy[0].warnings)
    assert not gappy[1].warnings


def test_one_series_needs_no_name_and_no_target_ahead(priced: Policy) -> None:
    columns = table(("a",))
    expected = values(priced, columns)
    del columns["site"]
    np.testing.assert_array_equal(values(priced, columns), expected)
    # Rows further ahead than the horizon are not read.
    more = table(("a",), ahead=9)
    more |= {name: np.concatenate([columns[name], more[name][20:]]) for name in ("load", "wind", "price")}
    np.testing.assert_array_equal(values(priced, more), expected)


def test_static_columns_are_not_repeated_ahead_and_words_are_constant() -> None:
    schema = made.schema_of(known=("area",)).model_copy(update={"categories": {"kind": ["1", "2"]}})
    config = made.make_config(data__static=["area"], data__categorical=["kind"])
    segments = made.segments_of(schema=schema)
    policy = made.random_policy(config, segments)
    columns = table(("a",), ahead=0)
    columns |= {"area": np.full(14, 3.0), "kind": np.full(14, 2)}
    series = frames.series_of(columns, policy.requests)[0]
    np.testing.assert_array_equal(series.future["area"], np.full(6, 3.0))
    assert series.static == {"kind": "2"}
    assert len(policy.predict(columns)) == 1
    columns["kind"] = np.array([1, 2] * 7)
    with pytest.raises(InputError, match=r"series 'a': column 'kind' holds '1' and '2'; it must be one value"):
        policy.predict(columns)


def test_sequences_and_labelled_series_are_read_whole() -> None:
    sequences = made.random_policy(made.classify_config(), made.sequences_of([12] * 4))
    columns = {"day": np.repeat([3, 1], 9), "when": np.tile(HOURS[:9], 2), "load": np.arange(18.0)}
    found = sequences.predict(pl.DataFrame(columns))
    assert [one.name for one in found] == ["3", "1"]
    told = frames.as_columns(found, sequences)
    assert list(told) == ["series", "class", "probability down", "probability up", "warnings"]
    labels = made.random_policy(made.label_config(), made.labelled_of())
    steps = labels.predict({"site": np.full(30, "a"), "when": HOURS[:30], "load": np.arange(30.0)})
    frame = pl.DataFrame(frames.as_columns(steps, labels))
    assert frame.columns == ["series", "time", "class", "probability high", "probability low", "warnings"]
    assert frame["time"].to_list() == HOURS[:30].tolist()


def test_predictions_become_columns_of_polars_and_pandas(priced: Policy) -> None:
    predictions = priced.predict(table())
    columns = frames.as_columns(predictions, priced)
    frame = pl.DataFrame(columns)
    assert frame.columns == ["series", "time", "target", "median", "q0.1", "q0.9", "warnings"]
    assert frame["series"].to_list() == ["b"] * 6 + ["a"] * 6
    np.testing.assert_array_equal(frame["q0.9"].to_numpy()[6:], predictions[1].values_HCQ[:, 0, 2])  # type: ignore[union-attr]
    assert len(pd.DataFrame(columns)) == 12


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a column misspelt": ({"load": None, "laod": np.zeros(40)}, r"no column 'load'.*did you mean 'laod'"),
    "a name missing": ({"when": None}, r"no column 'when', which holds the time"),
    "text for numbers": ({"wind": np.array(["calm"] * 40)}, r"column 'wind' holds 'calm', which is no number"),
    "complex numbers": ({"wind": np.full(40, 1j)}, r"column 'wind' holds '1j', which is no number"),
    "numbers for times": ({"when": np.arange(40)}, r"column 'when' holds numbers such as 0.*give datetimes"),
    "no time": ({"when": np.full(40, "soon")}, r"column 'when', times: .*soon"),
    "a missing time": ({"when": np.full(40, np.datetime64("NaT", "us"))}, r"a time is missing"),
    "times between steps": (
        {"when": np.tile(HOURS[:20] + np.array([0] * 3 + [1] + [0] * 16) * np.timedelta64(60_000_000, "us"), 2)},
        r"series 'b': time 2024-03-01T03:01:00.000000 lies between the steps",
    ),
    "a row twice": (
        {"when": np.tile(HOURS[np.array([0, 0, *range(2, 20)])], 2)},
        r"more than one row for time 2024-03-01T00",
    ),
    "a wrong year": (
        {"when": np.tile(np.append(np.datetime64("1900-01-01T00", "us"), HOURS[1:20]), 2)},
        r"20 rows in the 1,088,4.. steps from 1900",
    ),
    "no target": ({"load": np.full(40, np.nan)}, r"series 'b' measures none of load in any row"),
    "columns of other lengths": ({"wind": np.zeros(3)}, r"column 'wind' has 3 values and 'site' 40"),
    "nothing known ahead": (
        {"load": np.ones(40)},
        r"'b' has 0 rows after its last measured target.*'price' must be known",
    ),
    "an infinity": ({"wind": np.full(40, np.inf)}, r"column 'wind' holds an infinite value"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_table_that_cannot_be_read_is_refused_with_the_fix(name: str, priced: Policy) -> None:
    change, words = WRONG[name]
    columns = {key: value for key, value in (table() | change).items() if value is not None}
    with pytest.raises(InputError, match=words):
        priced.predict(columns)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([{"load": 1.0}], "a list of dict is no table and no list of SeriesInput; give a polars or pandas DataFrame"),
        (np.zeros((40, 2)), "ndarray is no table"),
        (pd.Series(np.zeros(40)), "Series is no table"),
        ("newest.parquet", "str is no table"),
        (None, "NoneType is no table"),
        (SeriesInput(HOURS, {}), r"put it into a list"),
    ],
)
def test_what_is_no_table_is_refused_with_what_is(given: Any, words: str, priced: Policy) -> None:
    with pytest.raises(InputError, match=words):
        priced.predict(given)


def test_a_record_batch_and_an_index_are_read_as_columns(priced: Policy) -> None:
    frame = pd.DataFrame(table())
    wanted = priced.predict(frame)
    batch = pa.table(table()).to_batches()[0]
    for given in (batch, frame.set_index("when"), frame.set_index(["site", "when"])):
        for found, one in zip(priced.predict(given), wanted, strict=True):
            np.testing.assert_array_equal(found.times, one.times)
            np.testing.assert_array_equal(found.values_HCQ, one.values_HCQ)  # type: ignore[union-attr]


def test_an_empty_and_a_lazy_table_and_a_short_history_say_so(priced: Policy) -> None:
    with pytest.raises(InputError, match="no rows"):
        priced.predict(pl.DataFrame(table()).head(0))
    with pytest.raises(InputError, match="lazy"):
        priced.predict(pl.DataFrame(table()).lazy())
    with pytest.raises(InputError, match="no columns"):
        priced.predict({})
    with pytest.raises(InputError, match="has 5 steps of history; send at least 12"):
        priced.predict(table(steps=5))


def test_times_without_a_zone_are_refused_where_files_are_read_on_a_clock() -> None:
    segments = made.segments_of()
    policy = made.random_policy(made.make_config(data__time_zone="Europe/Berlin"), segments)
    naive = pl.DataFrame(table(("a",), ahead=0))
    with pytest.raises(InputError, match=r"names no zone.*Europe/Berlin"):
        policy.predict(naive)
    zoned = naive.with_columns(pl.col("when").dt.replace_time_zone("Europe/Berlin"))
    assert policy.predict(zoned)[0].times[0] == HOURS[14] - np.timedelta64(1, "h")  # type: ignore[union-attr]


def test_the_example_of_predict_runs(priced: Policy, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    priced.save(tmp_path / "runs/quickstart/policy")
    pl.DataFrame(table()).write_parquet("newest.parquet")
    docstring = Policy.predict.__doc__
    assert docstring is not None
    lines = docstring.split("::\n\n")[1].split("\n\n")[0].splitlines()
    program = "\n".join(line.strip() for line in lines)
    exec("import polars\nfrom lstm_ray.model import frames\nfrom lstm_ray.model.policy import Policy\n" + program, {})
    assert pl.read_csv("forecast.csv").height == 12
