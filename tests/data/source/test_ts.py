"""Files of the time series classification archive: read, dealt, and split exactly between the two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.config import Config, parse
from lstm_ray.data.parts import PARTS
from lstm_ray.data.source import files, ts
from lstm_ray.data.split import boundaries, own_test_start
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.data.timeline import grid
from lstm_ray.data.windows import sequences
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.run_dir import RunDir
from lstm_ray.sections.data import DataConfig
from lstm_ray.sections.prepare import SplitConfig

HEAD = "# words\n@problemName Made\n@timeStamps false\n@univariate false\n@classLabel true up down\n@data\n"
TWO = HEAD + "1,2,3:10,20,30:up\n4,?:40,50:down\n"


def write(folder: Path, **texts: str) -> list[str]:
    for name, text in texts.items():
        (folder / f"{name}.ts").write_text(text)
    return [str(folder / f"{name}.ts") for name in texts]


def made_text(num: int, seed: int, length: int = 12) -> str:
    """Cases of unequal length, two dimensions, a third of them 'up', sorted by class."""
    random = np.random.default_rng(seed)
    lines = []
    for case in range(num):
        up = case < num // 3
        steps = length - case % 4
        rising = np.arange(steps) * (1 if up else -1) + random.normal(0, 0.1, steps)
        dimensions = (rising, random.normal(size=steps))
        lines.append(
            ":".join([*(",".join(f"{v:.4f}" for v in values) for values in dimensions), "up" if up else "down"])
        )
    return HEAD + "\n".join(lines) + "\n"


def config_of(source: str | list[str], **changes: Any) -> Config:
    tree: dict[str, Any] = {
        "name": "made",
        "task": "classify",
        "data": {"source": source},
        "preprocess": {"engine": "polars"},
        "window": {"history": 12, "patch": 2},
    }
    for path, value in changes.items():
        section, field = path.split("__")
        tree.setdefault(section, {})[field] = value
    return parse(tree)


def test_cases_become_rows_of_dimensions_with_their_class(tmp_path: Path) -> None:
    data = files.roles(DataConfig(source=write(tmp_path, TRAIN=TWO, TEST=TWO)))
    assert (data.series_id, data.time, data.past, data.label) == (["case"], "step", ["dim_0", "dim_1"], "label")
    assert files.header(data) == ["case", "step", "dim_0", "dim_1", "label"]
    frame = grid.load(data)
    by_case = {name: part for (name,), part in frame.partition_by("series", as_dict=True).items()}
    assert set(by_case) == {"train-0", "train-1", "test-0", "test-1"}
    for word in ("train", "test"):
        first, second = by_case[f"{word}-0"], by_case[f"{word}-1"]
        assert first["dim_0"].to_list() == [1.0, 2.0, 3.0]
        assert first["dim_1"].to_list() == [10.0, 20.0, 30.0]
        assert second["dim_0"].to_list() == [4.0, None]
        assert (first["label"][0], second["label"][0]) == ("up", "down")
        assert first["time"].diff()[1:].to_list() == [1, 1]


def test_roles_that_are_given_are_kept(tmp_path: Path) -> None:
    data = files.roles(DataConfig(source=write(tmp_path, TRAIN=TWO), past=["dim_1"]))
    assert data.past == ["dim_1"]
    assert grid.load(data).columns == ["series", "time", "dim_1", "label"]


def test_cases_without_a_class_can_be_read_to_be_classified(tmp_path: Path) -> None:
    text = HEAD.replace("@classLabel true up down", "@classLabel false") + "1,2:3,4\n"
    data = files.roles(DataConfig(source=write(tmp_path, NEW=text)))
    assert data.label is None
    assert grid.load(data)["dim_1"].to_list() == [3.0, 4.0]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.data())
def test_any_run_of_dealt_cases_holds_the_classes_in_proportion(counts: list[int], data: Any) -> None:
    labels = [str(name) for name, count in enumerate(counts) for _ in range(count)]
    order = ts.dealt(labels)
    assert sorted(order) == list(range(len(labels)))
    first = data.draw(st.integers(0, len(labels) - 1))
    end = data.draw(st.integers(first + 1, len(labels)))
    run = [labels[i] for i in order[first:end]]
    for name, count in enumerate(counts):
        assert abs(run.count(str(name)) - count * (end - first) / len(labels)) <= len(counts) + 1


def test_cases_of_a_class_are_shuffled_the_same_way_every_time() -> None:
    labels = ["a"] * 20
    assert ts.dealt(labels).tolist() == ts.dealt(labels).tolist() != list(range(20))


def test_the_parts_are_the_two_files_and_validation_is_stratified(tmp_path: Path) -> None:
    source = write(tmp_path, TRAIN=made_text(48, 1), TEST=made_text(20, 2))
    run = RunDir(tmp_path / "run")
    run_stages(config_of(source, split__train=0.75, split__validation=0.25), run, ["split"])
    segments, parts = load_segments(run)
    found = {part: [segments.series[i] for i in sequences(segments, parts, part)] for part in PARTS}
    assert {part: len(names) for part, names in found.items()} == {"train": 36, "validation": 12, "test": 20}
    assert {name.partition("-")[0] for name in found["train"] + found["validation"]} == {"train"}
    assert {name.partition("-")[0] for name in found["test"]} == {"test"}
    assert segments.label is not None
    shares = [segments.label[sequences(segments, parts, part)].mean() for part in ("train", "validation")]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.06)
    # The scaler saw the training cases alone.
    rows = np.concatenate([np.arange(*segments.bounds[i : i + 2]) for i in sequences(segments, parts, "train")])
    np.testing.assert_allclose(load_scaler(run).past.mean, segments.past_RP[rows].mean(0), rtol=1e-4, atol=1e-5)


def test_the_proportion_of_train_and_validation_is_that_within_the_first_file(tmp_path: Path) -> None:
    data = DataConfig(source=["TRAIN.ts", "TEST.ts"])
    assert own_test_start(data, -480) == 480
    assert own_test_start(DataConfig(source="ALL.ts"), -480) is None
    whole = {"train": (0, 360), "validation": (360, 480), "test": (480, 700)}
    for split in (SplitConfig(train=0.75, validation=0.25), SplitConfig(train=0.6, validation=0.2)):
        assert boundaries(split, 700, 480) == whole


def test_one_file_is_cut_like_any_other_table(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    report = run_stages(config_of(write(tmp_path, ALL=made_text(60, 1))[0]), run, ["split"])["split"]
    assert report.model_extra is not None
    assert report.model_extra["num_windows"] == {"train": 42, "validation": 9, "test": 9}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TWO.replace("4,?", "4,x"), ["case 1", "'x'", "write ?"]),
        (TWO.replace("4,?:40,50", "4,?:40,50,60"), ["case 1", "2 dimensions of [2, 3] values", "equal length"]),
        (TWO.replace("4,?:40,50", "4,?"), ["case 1", "1 dimensions", "needs 2"]),
        (TWO.replace("50:down", "50:left"), ["case 1", "class 'left'", "announced"]),
        (TWO.replace("@timeStamps false", "@timeStamps true"), ["time stamps", "drop them"]),
        (TWO.replace("@classLabel true up down", "@targetLabel true"), ["regress", "classes"]),
        (TWO.replace("@univariate false", "@dimensions 3"), ["announces 3 dimensions", "has 2"]),
        (TWO.replace("@data", "@dato"), ["no line @data"]),
        (HEAD, ["no cases after @data"]),
        ("", ["no line @data"]),
    ],
)
def test_a_file_that_cannot_be_read_is_told_why(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        grid.load(files.roles(DataConfig(source=write(tmp_path, TRAIN=text))))
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_files_of_different_sets_are_refused(tmp_path: Path) -> None:
    other = TWO.replace("1,2,3:10,20,30", "1,2,3").replace("4,?:40,50", "4,5")
    with pytest.raises(InputError, match="differ in dimensions or classes"):
        ts.to_long([("a.ts", TWO), ("b.ts", other)])


def test_a_glob_that_would_mix_training_and_test_is_refused(tmp_path: Path) -> None:
    write(tmp_path, TRAIN=TWO, TEST=TWO)
    with pytest.raises(InputError, match=r"\['TEST.ts', 'TRAIN.ts'\]; write \[TRAIN.ts, TEST.ts\]"):
        files.locate(DataConfig(source=f"{tmp_path}/*.ts"))


def test_a_source_without_labels_is_no_task_to_learn(tmp_path: Path) -> None:
    text = TWO.replace("@classLabel true up down", "@classLabel false").replace(":up", "").replace(":down", "")
    with pytest.raises(InputError, match=r"data.label is missing"):
        files.resolved(config_of(write(tmp_path, TRAIN=text)))
