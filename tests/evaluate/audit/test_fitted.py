"""What reaches training from the test part, or is counted wrongly, is caught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import origins, sequences
from lstm_ray.evaluate.audit import fitted
from lstm_ray.run_dir import RunDir
from tests import made

PARTS = {"train": (0, 168), "validation": (168, 204), "test": (204, 240)}


def _run(folder: Path, **values: object):
    config = made.make_config(made.write_table(folder / "t.csv"), **values)
    run = made.prepared_run(config, folder / "run")
    run.write_json("split/boundaries.json", {"parts": PARTS})
    return config, run


def _tamper(run: RunDir, role: str, field: str, value: float) -> None:
    scaler = run.read_json("preprocess/scaler.json")
    scaler[role][field][0] = value
    run.write_json("preprocess/scaler.json", scaler)


def test_a_scaler_of_the_training_part_passes_and_one_of_all_data_is_caught(tmp_path):
    config, run = _run(tmp_path)
    check = fitted.scaler(config, run, PARTS)
    assert check.verdict == "passed", check.text
    segments, _ = load_segments(run)
    measured = segments.target_RC[segments.observed_RC > 0]
    _tamper(run, "target", "mean", float(measured.mean()))
    _tamper(run, "target", "deviation", float(measured.std()))
    check = fitted.scaler(config, run, PARTS)
    assert check.verdict == "failed"
    assert check.details["different"] == ["target.deviation", "target.mean"]
    assert "target.mean" in check.text


def test_other_ways_to_scale_are_recomputed_too(tmp_path):
    for turn, values in enumerate(
        (
            {"scale": "robust", "outliers": "clip"},
            {"scale_by": "series"},
            {"scale": "minmax"},
            {"transform": "yeo_johnson"},
        )
    ):
        folder = tmp_path / str(turn)
        folder.mkdir()
        config, run = _run(folder, **{f"preprocess__{name}": value for name, value in values.items()})
        check = fitted.scaler(config, run, PARTS)
        assert check.verdict == "passed", (values, check.text)


def test_gaps_filled_from_the_past_pass_and_from_both_sides_are_caught(tmp_path):
    config, run = _run(tmp_path)
    segments, _ = load_segments(run)
    check = fitted.filled(config, segments)
    assert check.verdict == "passed", check.text
    assert check.details["filled"] > 5
    holes = np.flatnonzero(segments.observed_RC[:, 0] == 0)
    segments.target_RC[holes[1]] = segments.target_RC[holes[1] + 1]
    check = fitted.filled(config, segments)
    assert (check.verdict, check.details["different"]) == ("failed", 1)
    looking_ahead = {"max_gap_steps": 6, "causal": False}
    for how, verdict in (("linear", "failed"), ("seasonal", "failed"), ("mean", "left out")):
        check = fitted.filled(made.make_config(preprocess=looking_ahead | {"impute": how}), segments)
        assert check.verdict == verdict, check.text


def test_windows_are_counted_and_lie_apart():
    config = made.make_config(split={"gap_steps": 2})
    segments = made.segments_of([240, 150, 90], [0, 0, 150])
    parts = {"train": (0, 140), "validation": (142, 180), "test": (182, 240)}
    num = len(origins(segments, parts, "test", config.window))
    check = fitted.windows(config, segments, parts, num)
    assert check.verdict == "passed", check.text
    assert "2 steps or more lie between" in check.text
    missed = fitted.windows(config, segments, parts, num - 1)
    assert f"{num - 1:,} test windows were scored where the parts hold {num:,}" in missed.text
    near = fitted.windows(config, segments, {**parts, "test": (180, 240)}, num + 4)
    assert "Parts lie 0 steps apart where split.gap_steps asks for 2" in near.text
    assert near.verdict == "failed"
    both = fitted.windows(config, segments, {**parts, "train": (0, 200)}, num)
    assert "steps are answered in the test part and learned from in training" in both.text


def test_cases_of_other_tasks_are_counted_too():
    sequences_of = made.sequences_of([20] * 12)
    parts = {"train": (0, 150), "validation": (150, 220), "test": (220, 300)}
    num = len(sequences(sequences_of, parts, "test"))
    check = fitted.windows(made.classify_config(), sequences_of, parts, num)
    assert check.verdict == "passed", check.text
    labelled = made.labelled_of([240])
    asked = int((~np.isnan(labelled.label_R[180:240])).sum())
    assert fitted.windows(made.label_config(), labelled, made.PARTS, asked).verdict == "passed"
    assert fitted.windows(made.label_config(), labelled, made.PARTS, asked + 1).verdict == "failed"


def test_a_test_stretch_that_training_holds_is_caught():
    config, segments = made.make_config(), made.segments_of([240])
    assert fitted.repeated(config, segments, made.PARTS).verdict == "passed"
    segments.target_RC[190:230] = segments.target_RC[20:60]
    check = fitted.repeated(config, segments, made.PARTS)
    assert check.verdict == "failed"
    assert "remembered, not forecast" in check.text


def test_a_test_sequence_that_training_holds_is_caught():
    segments = made.sequences_of([20] * 12)
    parts = {"train": (0, 150), "validation": (150, 220), "test": (220, 300)}
    config = made.classify_config()
    assert fitted.repeated(config, segments, parts).verdict == "passed"
    twin = segments.past_RP.copy()
    twin[200:220] = twin[40:60]
    check = fitted.repeated(config, replace(segments, past_RP=twin), parts)
    assert check.verdict == "failed"
    assert "remembered, not recognised" in check.text
