"""One table with every defect at once: it runs from files to scores, and the report names each of them."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from lstm_ray.cli import main

HOURS = 24 * 60
FIRST = np.datetime64("2024-09-20T00:00", "us")
"""UTC; the clocks of Berlin go back on 27 October."""
ZONE = "Europe/Berlin"
STAGES = ("environment", "explore", "preprocess", "split")


def dirty(folder: Path) -> dict[str, object]:
    """Write the table and return the config that reads it."""
    random = np.random.default_rng(5)
    rows = []
    for number, (name, length) in enumerate({"north": HOURS, "south": HOURS - 300, "west": HOURS - 37}.items()):
        step = np.arange(HOURS - length, HOURS)
        load = 50 + 10 * number + 8 * np.sin(2 * np.pi * step / 24) + random.normal(0, 1, length)
        load[[length // 3, length // 2]] += 400  # spikes
        load[200:260] = load[200]  # a stuck sensor
        utc = pl.Series(FIRST + step.astype("timedelta64[h]")).dt.replace_time_zone("UTC")
        local = utc.dt.convert_time_zone(ZONE).dt.replace_time_zone(None)
        if name == "west":
            local = local.to_frame("when").with_columns(
                pl.when(pl.int_range(pl.len()) % 97 == 13)
                .then(pl.col("when") + pl.duration(minutes=7))
                .otherwise("when")
            )["when"]  # a clock that is seven minutes late now and then
        frame = pl.DataFrame({"site": [name] * length, "when": local, "load": load})
        wind = pl.Series(random.normal(5, 2, length))
        frame = frame.with_columns(
            wind=pl.when(pl.int_range(pl.len()) % 9 == 4).then(None).otherwise(wind),
            told=pl.col("load").shift(-1),  # knows the future
            trust=pl.when(pl.col("load") > 200).then(0.0).otherwise(1.0),
        )
        missing = pl.int_range(pl.len()).is_between(400, 403) | pl.int_range(pl.len()).is_between(700, 760)
        empty = pl.when(pl.int_range(pl.len()) % 53 == 7).then(None).otherwise(pl.col("load")).alias("load")
        rows.append(frame.filter(~missing).with_columns(empty))
    table = pl.concat(rows)
    table = pl.concat([table, table[50:62]])  # sent twice
    text = table.with_columns(pl.col("when").dt.strftime("%Y-%m-%d %H:%M"))
    source = folder / "source"
    source.mkdir()
    half = table.height // 2
    (source / "a.csv.gz").write_bytes(gzip.compress(text[:half].write_csv().encode()))
    drifted = text[half:].with_columns(pl.col("trust").cast(pl.Int64), note=pl.lit("new column"))
    drifted.write_csv(source / "b.csv")
    (folder / "sites.csv").write_text("site,area,kind\nnorth,10,hill\nsouth,20,valley\nwest,,hill\n")
    return {
        "name": "dirty",
        "data": {
            "source": str(source),
            "series_id": ["site"],
            "time": "when",
            "time_zone": ZONE,
            "target": ["load"],
            "past": ["wind", "told"],
            "static": ["area"],
            "categorical": ["kind"],
            "static_source": str(folder / "sites.csv"),
            "weight": "trust",
            "frequency": "1h",
            "irregular": "resample",
            "duplicates": "mean",
        },
        "preprocess": {
            "impute": "seasonal",
            "max_gap_steps": 12,
            "outliers": "mask",
            "outlier_method": "hampel",
            "transform": "yeo_johnson",
            "scale": "robust",
        },
        "window": {"history": 48, "horizon": 12, "patch": 12, "lags": [168]},
        "model": {"hidden": 8, "members": 1},
        "train": {"max_epochs": 2},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dirty")
    (folder / "c.yaml").write_text(yaml.safe_dump(dirty(folder)))
    for stage in ("explore", "evaluate"):
        with pytest.raises(SystemExit) as ended:
            main([stage, str(folder / "c.yaml"), "--run-dir", str(folder / "run")])
        assert not ended.value.code, stage
    return folder / "run"


def findings(run: Path) -> str:
    reports = [json.loads((run / stage / "report.json").read_text()) for stage in STAGES]
    return "\n".join(f"{item['text']} {item['advice']}" for report in reports for item in report["findings"])


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ("rows sent twice", r"\d+ of [\d,]+ rows .*repeat the time"),
        ("an hour that comes twice", r"lie in an hour that came twice"),
        ("stamps off the grid", r"\d+ of [\d,]+ rows .*(moved to their step|off the grid)|averaged into its steps"),
        ("missing time stamps", r"time stamps? (is|are) missing|missing time stamps?"),
        ("missing values", r"'?wind'? .*miss|miss.*wind"),
        ("long gaps", r"Gaps over 12 steps cut 3 series into \d+"),
        ("filled steps", r"of the steps of 'load' were filled \(seasonal\)"),
        ("outliers", r"values of 'load' .*outliers"),
        ("a stuck sensor", r"Targets stand still .*load .*stuck sensor"),
        ("an input that knows the future", r"told.*(ahead|future|knows)"),
        ("a column in some files alone", r"note"),
    ],
)
def test_the_report_names_every_defect(run: Path, defect: str, words: str) -> None:
    said = findings(run)
    assert re.search(words, said), f"{defect} is not named in:\n{said}"
    page = (run / "report.html").read_text()
    assert len(page) > 10_000


def test_it_is_scored_in_its_own_units(run: Path) -> None:
    metrics = json.loads((run / "evaluate" / "metrics.json").read_text())
    assert metrics["num_windows"] > 100
    assert 0 < metrics["metrics"]["mae"] < 100
