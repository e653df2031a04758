"""``lstm-ray export``: a run's policy in the forms that other programs run, tried on windows of its validation part.

Knows run directories and terminals; what a form is, ``model.export`` knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lstm_ray.errors import InputError
from lstm_ray.model.example import example
from lstm_ray.model.export.exporting import FILES, Parity, export, write_report
from lstm_ray.model.export.quantising import OF, Quantised, quantise
from lstm_ray.model.policy import Policy
from lstm_ray.model.request import SeriesInput
from lstm_ray.model.stored import POLICY
from lstm_ray.serving.bundle import PLACES

WINDOWS = 200
"""Of the validation part, on which quantised weights are judged."""
TRIED = 16
"""Of those, on which each form is held against the policy."""


def export_run(source: str, kinds: Sequence[str], quantised: Sequence[str], out: str = "") -> Path:
    """Write a policy in other forms beside it, or into ``out``; say how far they answer from it, and what they cost.

    Args:
        source: run directory, or a policy's folder.
        kinds: of FILES; none: all, or those that ``quantised`` asks for.

    Raises InputError as ``export`` does, and where coarser weights are asked for and there are no windows to judge them on.
    """
    if unknown := [kind for kind in quantised if kind not in OF]:
        raise InputError(f"--quantise {unknown[0]} is not known; known: {', '.join(OF)}")
    kinds = list(dict.fromkeys([*kinds, *(OF[kind] for kind in quantised)])) or list(FILES)
    folder = _folder(source, out)
    policy, place = Policy.load(folder), Path(out) if out else folder
    given, actual = _windows(source, policy)
    if quantised and not actual:
        raise InputError(
            f"'{source}' is a policy without its run, so there are no validation windows to judge {quantised[0]} on; name the "
            "run directory"
        )
    made = export(policy, place, kinds, given[:TRIED] or [example(policy)])
    console = Console(highlight=False)
    batches, steps = (", ".join(map(str, sizes)) for sizes in (made[0].batches, made[0].steps))
    on = "validation windows" if given else "the made-up example"
    console.print(
        f"differences from Policy.predict in {made[0].unit}, on {on}: {batches} at a time, {steps} steps long",
        soft_wrap=True,
    )
    console.print(_parities(made))
    coarser = [quantise(policy, place, kind, given, actual) for kind in quantised]
    write_report(place, policy, coarser)
    for one in coarser:
        console.print(_words(one), soft_wrap=True)
    files = [one.file for one in made] + [one.file for one in coarser]
    console.print(f"[green]✓[/] {escape(str(place))}: {', '.join(files)}", soft_wrap=True)
    if "onnx" in kinds:
        name = FILES["onnx"]
        console.print(f"inputs are told in {name}.json; {name}.py asks it with onnxruntime alone", soft_wrap=True)
    return place


def _folder(source: str, out: str) -> Path:
    """Where the policy lies on this machine's disk, the furthest along first; a copy of it where it is in storage."""
    if "://" in source:
        if not out:
            raise InputError(f"'{source}' is on no local disk; say with --out DIR where its exports are to be written")
        from lstm_ray.run_dir import RunDir

        run = RunDir(source)
        for name in ("", *PLACES):
            if run.exists(f"{name}/{POLICY}".lstrip("/")):
                with run.local_copy(name) as copy:
                    return copy
        raise InputError(
            f"'{run.uri}' holds no policy; name a run directory where 'train' has run, or a policy's folder"
        )
    root = Path(source).expanduser()
    for place in (root, *(root / name for name in PLACES)):
        if (place / POLICY).exists():
            return place
    raise InputError(f"'{source}' holds no policy; name a run directory where 'train' has run, or a policy's folder")


def _windows(source: str, policy: Policy) -> tuple[list[SeriesInput], list[NDArray]]:
    """Series of the run's validation part and what came after them (classes, labels); none where there is no run around."""
    from lstm_ray.data.store import load_segments
    from lstm_ray.run_dir import RunDir
    from lstm_ray.serving.proof import sample

    run = RunDir(source)
    if not (run.exists("split/boundaries.json") and run.exists("preprocess/schema.json")):
        return [], []
    segments, bounds = load_segments(run)
    found = sample(segments, bounds, policy.config, "validation", WINDOWS)
    schema, task = policy.schema, policy.config.task
    actual = []
    for one in found:
        if task == "forecast":
            columns = one.truth["columns"]
            actual.append(np.array([columns[name] for name in schema.target], dtype=np.float64).T)
        elif task == "classify":
            actual.append(np.array(schema.classes.index(one.truth["label"])))
        else:
            codes = {name: code for code, name in enumerate(schema.classes)}
            labels = one.truth["labels"]
            told = [codes[label] if label is not None and codes else label for label in labels]
            actual.append(np.array(told, dtype=np.float64))
    return [one.given for one in found], actual


def _parities(made: Sequence[Parity]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("file")
    for name in ("kB", "largest difference", "mean", "ms a request", "ms of the policy"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in made:
        numbers = [f"{one.largest:.1e}", f"{one.mean:.1e}", f"{one.ms:.2f}", f"{one.ms_policy:.2f}"]
        table.add_row(one.file, f"{one.size_bytes / 1000:,.0f}", *numbers)
    return table


def _words(one: Quantised) -> str:
    name = "mean absolute error" if one.metric == "mae" else "accuracy"
    return (
        f"{one.kind}: {name} on {one.windows} validation windows {one.value_before:.5g} before, {one.value:.5g} after "
        f"({one.change}); {one.size_bytes_before / 1000:,.0f} kB before, {one.size_bytes / 1000:,.0f} after; "
        f"{one.ms_before:.2f} ms before, {one.ms:.2f} after. {one.verdict[0].upper()}{one.verdict[1:]}."
    )
