"""Any history of added files ends in what all of them at once would have given, and what ends in an error in both ways does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ray.config import Config, parse
from lstm_ray.data.store import load_index, load_scaler, load_schema
from lstm_ray.errors import InputError
from lstm_ray.run_dir import Report, RunDir
from tests import made

ORDER = ["series", "segment", "step"]
MINUTE = made.HOUR // 60


def one_series(random: np.random.Generator, number: int, missing: float, apart: int, edges: np.ndarray) -> pl.DataFrame:
    """Rows of a series from anywhere to anywhere, ``apart`` minutes each from the one before and with holes; the file that
    each is in; and no target in its last ones."""
    minutes = np.arange(random.integers(0, 30) * 60, 60 * 60, apart)
    minutes = minutes[random.random(len(minutes)) >= missing / 2]
    hole = random.integers(0, 60) * 60
    minutes = minutes[(minutes < hole) | (minutes > hole + random.choice([0, 240, 600]))][: random.integers(1, 60)]
    num = len(minutes)

    def values() -> list[float | None]:
        drawn = np.round(random.normal(10 * (number + 1), 1, num), 3)
        return [None if gone else float(x) for gone, x in zip(random.random(num) < missing, drawn, strict=True)]

    start = int(made.START.astype("datetime64[us]").astype(np.int64))
    last = np.arange(num) >= num - random.integers(0, 5)
    columns = {name: pl.Series(values(), dtype=pl.Float64) for name in ("load", "heat", "wind", "price", "weight")}
    frame = pl.DataFrame({"when": start + minutes * MINUTE, **columns}).with_columns(
        pl.col("when").cast(pl.Datetime("us")),
        load=pl.when(pl.Series(~last)).then("load"),
        site=pl.lit(f"s{number}"),
        area=pl.when(pl.Series(random.random(num) > missing)).then(float(number)),
        kind=pl.lit("xyz"[number % 3]),
        town=pl.lit(f"g{number % 4}"),
        file=pl.Series(np.searchsorted(edges, minutes, side="right")),
    )
    return frame.with_columns(weight=pl.col("weight").abs())


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[pl.DataFrame], dict[str, Any]]:
    """Files in the order in which they come, and sections of the YAML."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    num_files, apart = draw(st.integers(2, 4)), draw(st.sampled_from([60, 60, 25]))
    missing, shared = draw(st.sampled_from([0.0, 0.2, 0.6])), np.sort(random.integers(5, 60, num_files - 1)) * 60
    parts = []
    for number in range(draw(st.integers(2, 5))):
        edges = shared if draw(st.booleans()) else np.sort(random.integers(0, 60 * 60, num_files - 1))
        parts.append(one_series(random, number, missing, apart, edges))
    table = pl.concat(parts)
    files = [part for n in range(num_files) if (part := table.filter(pl.col("file") == n).drop("file")).height]
    dates = {"validation_from": "2024-03-01T20:00", "test_from": "2024-03-02T01:00"}
    by_group = {"by": "group", "group": "town", "train": 0.4, "validation": 0.3}
    return files, {
        "data": {
            "target": draw(st.sampled_from([["load"], ["load", "heat"]])),
            "known": ["price"],
            "static": ["area"],
            "weight": "weight",
            "categorical": ["kind"],
            "irregular": "resample" if apart < 60 else "error",
            "frequency": draw(st.sampled_from(["1h", None])),
        },
        "preprocess": {
            "max_gap_steps": draw(st.sampled_from([0, 2, 6])),
            "impute": draw(st.sampled_from(["forward", "zero", "constant"])),
            "scale": draw(st.sampled_from(["standard", "robust"])),
            "scale_by": draw(st.sampled_from(["column", "series"])),
            "refit": draw(st.booleans()),
        },
        "split": draw(st.sampled_from([{}, {"train": 20, "validation": 5}, dates, by_group])),
    }


def done(config: Config, run: RunDir) -> Report | None:
    try:
        return made.prepared_again(config, run)
    except InputError:
        return None


def spans(run: RunDir) -> list[tuple[str, int, int, int]]:
    """Each segment's series, first step, length and part."""
    found = load_index(run)
    part_S = np.full(len(found.series), -9) if found.part_S is None else found.part_S
    lengths = np.diff(found.bounds)
    return sorted(zip(found.series, found.first_step.tolist(), lengths.tolist(), part_S.tolist(), strict=True))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(histories())
def test_what_is_appended_is_as_if_it_had_always_been_there(history: tuple[list[pl.DataFrame], dict[str, Any]]) -> None:
    files, changes = history
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "files").mkdir()
        tree = made.config_tree(str(place / "files"))
        config = parse({**tree, **{name: {**tree.get(name, {}), **values} for name, values in changes.items()}})
        grown, scaler = RunDir(place / "grown"), None
        for number, file in enumerate(files):
            file.write_parquet(place / f"files/{number}.parquet")
            whole = RunDir(place / f"whole-{number}")
            report, expected = done(config, grown), done(config, whole)
            assert (report is None) == (expected is None)
            if report is None or expected is None:
                continue
            frames = [
                pl.read_parquet(f"{run.local}/preprocess/segments/*.parquet").sort(ORDER) for run in (grown, whole)
            ]
            assert frames[0].select(frames[1].columns).equals(frames[1])
            assert spans(grown) == spans(whole)
            one, other = (run.read_json("preprocess/manifest.json") for run in (grown, whole))
            assert one == other
            assert [finding.text for finding in report.findings] == [finding.text for finding in expected.findings]
            if scaler is None or config.preprocess.refit or "added" not in report.summary:
                assert load_schema(grown) == load_schema(whole)
                assert load_scaler(grown) == load_scaler(whole)
                scaler = load_scaler(whole)
            assert load_scaler(grown) == scaler
