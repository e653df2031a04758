from __future__ import annotations

import polars as pl
import pytest

from lstm_ray.data.store import load_scaler, load_schema
from lstm_ray.errors import InputError
from tests import made

from .worlds import prepared, small_config, write_waves


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_waves(tmp_path_factory.mktemp("waves"))


def test_segments_written_by_ray_data_equal_those_of_this_process(local_ray, file, tmp_path):
    here = prepared(small_config(file), tmp_path / "here", "preprocess")
    there = prepared(small_config(file, preprocess__engine="ray"), tmp_path / "there", "preprocess")
    order = ["series", "segment", "step"]
    frames = [pl.read_parquet(run.local / "preprocess/segments/*.parquet").sort(order) for run in (here, there)]
    assert frames[0].equals(frames[1])
    assert frames[0].select("series", "segment").n_unique() == 4, "the gap of ten hours cuts series b in two"
    assert here.read_json("preprocess/scaler.json") == there.read_json("preprocess/scaler.json")
    assert here.read_json("preprocess/schema.json") == there.read_json("preprocess/schema.json")


def test_categories_and_logarithms_are_the_same_with_ray_and_without(local_ray, tmp_path):
    lines = ["site,when,load,wind,kind"]
    for index, kind in enumerate(("shop", "store", "shop")):
        lines += [f"s{index},{step},{1 + index * 50 + step % 7},{step % 5},{kind}" for step in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    changes = {"data__categorical": ["kind"], "preprocess__transform": "log"}
    runs = [
        prepared(
            made.make_config(tmp_path / "t.csv", preprocess__engine=engine, **changes), tmp_path / engine, "preprocess"
        )
        for engine in ("polars", "ray")
    ]
    for name in ("schema.json", "scaler.json"):
        here, there = (run.read_json(f"preprocess/{name}") for run in runs)
        assert here == there
    assert load_schema(runs[1]).categories == {"kind": ["shop", "store"]}
    assert load_scaler(runs[1]).transform is not None


def test_a_target_without_values_is_named_and_not_taken_for_a_gap(tmp_path):
    (tmp_path / "t.csv").write_text("when,load\n" + "".join(f"{i},\n" for i in range(60)))
    config = made.make_config(tmp_path / "t.csv", data__series_id=[], data__past=[])
    with pytest.raises(InputError, match="target 'load' has no values at all; name another column"):
        prepared(config, tmp_path / "run", "preprocess")
