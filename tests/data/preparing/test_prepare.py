"""However series are spread over blocks, what they become is the same."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ray.config import Config
from lstm_ray.data.preparing import facts
from lstm_ray.data.preparing.prepare import Plan, Prepared, Told, prepare
from lstm_ray.data.preparing.segments import classes_of, schema_of
from lstm_ray.data.scaling import fit
from lstm_ray.data.source.files import read
from lstm_ray.data.split import boundaries_of
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.gaps import Gaps
from lstm_ray.errors import InputError
from tests import made

SERIES = ("a", "b", "c", "d")
SETTINGS = [
    {},
    {"preprocess__scale": "robust"},
    {"preprocess__transform": "yeo_johnson"},
    {"preprocess__outliers": "clip", "preprocess__outlier_method": "iqr"},
    {"preprocess__scale_by": "series", "preprocess__impute": "mean"},
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    file = made.write_table(tmp_path_factory.mktemp("table") / "t.csv", 60, SERIES)
    return file, read(made.make_config(file).data)


def blocks_of(table: pa.Table, block_of: dict[str, int]) -> list[pa.Table]:
    frame = pl.DataFrame(table).with_columns(pl.col("site").replace_strict(block_of).alias("block"))
    return [part.to_arrow() for part in frame.partition_by("block", include_key=False, maintain_order=True)]


def planned(config: Config, blocks: list[pa.Table]) -> Plan:
    keys = facts.keys_of(config.data).columns
    found = facts.total(facts.facts_of(block.select(keys), config) for block in blocks)
    step = grid.step_of(found.differences, config.data, found.is_time)
    first, last = facts.axis_of(found, step, config.data)
    schema = schema_of(config, step, found.is_time, first, last, [])
    return Plan(config, schema, boundaries_of(config, schema, (last - first) // step + 1))


def outcome(config: Config, blocks: list[pa.Table]) -> dict[str, object]:
    plan = planned(config, blocks)
    done: list[Prepared] = [prepare(block, plan) for block in blocks]
    told = sum((block.told for block in done), Told())
    sums = fit.merged([block.sums for block in done])
    order = ["series", "segment", "step"]
    return {
        "segments": pl.concat([pl.read_parquet(block.content) for block in done]).sort(order).to_dicts(),
        "index": pl.concat([block.index.drop("file_row") for block in done]).sort("series", "segment").to_dicts(),
        "tail": pl.concat([block.tail for block in done]).sort("series", "time").to_dicts(),
        "scaler": fit.scaler_of(sums, plan.schema, config),
        "classes": classes_of(pl.Series(list(told.labels), dtype=pl.String), config),
        "told": told,
        "plan": plan.schema,
    }


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deal=st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_any_blocks_give_what_the_whole_gives(
    table: tuple[Path, pa.Table], changes: dict[str, object], deal: list[int]
) -> None:
    file, whole = table
    config = made.make_config(file, **changes)
    assert outcome(config, blocks_of(whole, dict(zip(SERIES, deal, strict=True)))) == outcome(config, [whole])


def test_facts_add_up(table: tuple[Path, pa.Table]) -> None:
    file, whole = table
    config = made.make_config(file)
    blocks = blocks_of(whole, {"a": 0, "b": 1, "c": 1, "d": 2})
    keys = facts.keys_of(config.data).columns
    found = facts.total(facts.facts_of(block.select(keys), config) for block in blocks)
    assert found.num_rows == whole.num_rows
    assert found.series["series"].to_list() == list(SERIES)
    assert found.differences.filter(pl.col("difference") == made.HOUR)["n"].item() == whole.num_rows - 4 - 1
    assert found.axis[1] - found.axis[0] == 59 * made.HOUR


def test_blocks_with_numbers_and_with_time_stamps_are_no_table() -> None:
    one = facts.facts_of(pa.table({"site": ["a"], "when": ["1"]}), made.make_config())
    other = facts.facts_of(pa.table({"site": ["b"], "when": ["2024-01-01T00:00"]}), made.make_config())
    with pytest.raises(InputError, match="whole numbers in some rows and time stamps in others"):
        facts.total([one, other])


def test_told_adds_up() -> None:
    gaps = Gaps((1, 0, 0, 0, 0, 0), 1, 1, "a", 5)
    assert sum([Told(num_rows=2), Told(num_rows=3, gaps=gaps)], Told()) == Told(num_rows=5, gaps=gaps)
    assert reduce(lambda a, b: a + b, [Told(labels=frozenset("a")), Told(labels=frozenset("b"))]).labels == {"a", "b"}
