"""The suite ``training``: how fast the trainer is beside bare torch, over two workers, and what memory it takes.

Every measurement runs in a fresh process. All but one use made-up series, so that no data is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median

from lstm_ray.benchmark import fresh
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure, Results, Sheet, gpu_name, say

STEPS = {"history": 96, "horizon": 96, "patch": 1}
PATCHES = {"history": 336, "horizon": 96, "patch": 24}
SHAPES = {"patch 1": (STEPS, 96, 8), "patch 24": (PATCHES, 24, 32)}
"""Window, origins of a sequence, and sequences of a step, by name."""
GPU_SEQUENCES = 128
"""Sequences of a step on a GPU, which a handful would leave idle."""
TIMES_BARE, SHARE_OF_BARE, TIMES_ONE_WORKER, MEMORY_CHANGE = 40.0, 0.9, 1.7, 20.0
SECONDS, MSE = 20.0, 0.36
SET = "etth1_96"
HISTORIES = (96, 192, 480, 960)
MILLION = 1e6


def training(options: Options) -> Results:
    """Run the parts one after another."""
    options.refuse_unknown({SET})
    parts: dict[str, Callable[[Options], Results]] = {
        "speed beside bare torch": speed,
        "speed beside bare torch on a GPU": speed_on_gpu,
        "seconds to accuracy": seconds_to_accuracy,
        "two workers": two_workers,
        "memory": memory,
    }
    results = Results(seeds=[7])
    for name, part in parts.items():
        say(f"training: {name}")
        results.add(part(options))
    return results


def speed(options: Options, gpu: bool = False) -> Results:
    """Windows per second beside a loop that reads window by window, and beside one that answers at every origin."""
    where = " on the GPU" if gpu else ""
    results = Results()
    rows = []
    for shape, (window, origins, batch) in SHAPES.items():
        usual = {"256": 4 if options.quick else 8, "32": 32 if options.quick else 64} if shape == "patch 1" else {}
        found = fresh.call(
            "lstm_ray.benchmark.speed:compare",
            gpu=gpu,
            window=window,
            origins=origins,
            batch=GPU_SEQUENCES if gpu else batch,
            num_windows=20_000 if options.quick else 60_000,
            repeats=2 if options.quick else 7,
            window_batches=usual,
        )
        for name, values in found.items():
            said = f"bare torch, window at a time, batch {name}" if name.isdigit() else f"bare torch, {name}"
            said = name if name == "trainer" else said
            spread = f"{min(values):,.0f} to {max(values):,.0f}"
            rows.append([f"{shape}: {said}{where}", f"{median(values):,.0f}", spread])
        for name in ("256", "32"):
            if name in found:
                floor = TIMES_BARE if name == "256" else None
                title = f"{shape}{where}: trainer / bare torch window at a time, batch {name}"
                results.figures.append(Figure(title, _ratio(found, name), "times", floor))
        for name in (name for name in found if name != "trainer" and not name.isdigit()):
            target = SHARE_OF_BARE if "same network" in name else None
            title = f"{shape}{where}: trainer / bare torch, {name}"
            results.figures.append(Figure(title, _ratio(found, name), "times", target))
        speed_title = f"{shape}{where}: trainer"
        results.figures.append(Figure(speed_title, median(found["trainer"]), "windows per second"))
    columns = ["loop", "windows per second, median", "lowest to highest"]
    results.sheets.append(Sheet(f"Training speed, taken in turns{where}", columns, rows))
    return results


def speed_on_gpu(options: Options) -> Results:
    """The same on a CUDA GPU, where there is one."""
    if gpu_name() is None:
        return Results(notes=["no CUDA GPU is at hand, so speed was measured on the CPU alone"])
    return speed(options, gpu=True)


def seconds_to_accuracy(options: Options) -> Results:
    """One training by the recipe of a config on real data: how long it took, and the test MSE it reached."""
    name, seed = SET, 7
    if options.data is None and name not in options.source:
        return Results(notes=[f"{name} was left out, for it needs --data DIR with ETTh1.csv"])
    if options.quick:
        return Results(notes=[f"{name} was left out, for --quick does not train to the end"])
    from lstm_ray.benchmark.sets import SETS

    source = options.source_of(name, SETS[name].files)
    path = str(options.config_of(name))
    found = fresh.call("lstm_ray.benchmark.recipe:one", name=name, path=path, source=source, seed=seed)
    note = (
        f"{name}: {found['training_seconds']:.1f} s of training is the whole train stage, {found['epochs']} epochs with "
        f"validation and checkpoints; the best on validation was epoch {found['best_epoch']}, "
        f"{found['best_seconds']:.1f} s in, and its test MSE is {found['value']:.4f}"
    )
    figures = [
        Figure(f"{name}: seconds of training on one core", found["training_seconds"], "seconds", SECONDS, True),
        Figure(f"{name}: test MSE of that training", found["value"], "mse of standardised values", MSE, True),
    ]
    return Results(figures, notes=[note])


def two_workers(options: Options) -> Results:
    """Steady-state speed of two DDP workers of one thread each beside one, trained in turns on one cluster."""
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        return Results(notes=["two workers were left out, for this machine has one core"])
    turns, batch = 1 if options.quick else 3, 32
    found = fresh.call(
        "lstm_ray.benchmark.workers:windows_per_second",
        trainings=[(1, batch), (2, 2 * batch), (2, batch)] * turns,
        window=STEPS,
        origins=96,
        num_windows=20_000 if options.quick else 60_000,
        epochs=2 if options.quick else 5,
    )
    one, own, shared = found[::3], found[1::3], found[2::3]
    figures = [
        Figure(f"two workers / one worker, {words}", median(b / a for a, b in zip(one, two, strict=True)), "times", aim)
        for words, two, aim in (
            (f"each a batch of {batch}", own, TIMES_ONE_WORKER),
            (f"the same batch of {batch} shared", shared, None),
        )
    ]
    names = (f"1 of one thread, batch {batch}", f"2, batch {2 * batch}", f"2, batch {batch}")
    rows = [[name, *(f"{v:,.0f}" for v in values)] for name, values in zip(names, (one, own, shared), strict=True)]
    columns = ["workers", *(f"run {turn + 1}" for turn in range(turns))]
    return Results(figures, [Sheet("Ray Train workers, windows per second", columns, rows)])


def memory(options: Options) -> Results:
    """Peak memory of a training by the length of its history, on the same series."""
    results, rows = Results(), []
    histories = (HISTORIES[0], HISTORIES[-1]) if options.quick else HISTORIES
    shapes = {"patch 24": SHAPES["patch 24"]} if options.quick else SHAPES
    num_rows = 20_000 if options.quick else 60_000
    for shape, (window, origins, batch) in shapes.items():
        peaks = []
        for history in histories:
            found = fresh.call(
                "lstm_ray.benchmark.memory:peak",
                window={**window, "history": history},
                origins=origins,
                batch=batch,
                num_rows=num_rows,
                epochs=1,
            )
            peaks.append(found["peak_bytes"])
            stored = 4 * num_rows * (history + window["horizon"])
            sizes = (found["peak_bytes"], found["peak_bytes"] - found["before_bytes"], stored)
            rows.append([shape, str(history), *(f"{size / MILLION:,.0f}" for size in sizes)])
        change = 100 * (peaks[-1] / peaks[0] - 1)
        title = f"{shape}: peak memory, history {histories[-1]} beside {histories[0]}"
        results.figures.append(Figure(title, change, "% more", MEMORY_CHANGE, True))
    columns = ["network", "history", "peak MB", "of it, training", "windows would be, stored"]
    results.sheets.append(Sheet(f"Peak memory of a process that trains on {num_rows:,} rows", columns, rows))
    return results


def _ratio(found: dict[str, list[float]], name: str) -> float:
    """Median over the turns of the trainer's speed divided by a loop's."""
    return median(a / b for a, b in zip(found["trainer"], found[name], strict=True))
