"""The suite ``scale``: training and batch forecasts on 1, 2 and 4 workers and nodes, a model of what they cost that is held
against a job it has not seen, and memory as the number of series grows.

Every cluster is one of real nodes on this machine, so more nodes or workers than it has cores share these: such rows say so.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from lstm_ray.benchmark import fresh, tables
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure, Results, Sheet, say
from lstm_ray.benchmark.scale.model import Line, miss, most_speedup, serial_share
from lstm_ray.on_ray.nodes import running

HERE = "lstm_ray.benchmark.scale.measured"
BATCH = 32
"""Sequences of a step: of one worker in weak scaling, of all in strong."""
STRONG = 2 * BATCH
MISS, FLAT = 0.2, 1.5
WINDOWS, FORECASTS = 1e8, 1e9
"""Of which the cost is told."""
STEPS = 48
"""Steps of each series that is forecast or prepared."""


@dataclass(frozen=True)
class Place:
    """A cluster: so many nodes of so many CPUs."""

    nodes: int
    cpus: int

    @property
    def words(self) -> str:
        return f"{self.nodes} node{'s' * (self.nodes > 1)} of {self.cpus} CPU{'s' * (self.cpus > 1)}"

    @property
    def note(self) -> str:
        """Where the machine has fewer cores than the cluster says."""
        cores, asked = len(os.sched_getaffinity(0)), self.nodes * self.cpus
        return f"shares {cores} cores" if asked > cores else ""

    def call(self, functions: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
        """What functions of ``measured`` return, each in a process that joins this cluster."""
        with running(self.nodes, self.cpus) as nodes:
            environment = {**nodes.environment, "RAY_ADDRESS": nodes.address}
            return [fresh.call(f"{HERE}:{name}", environment=environment, **arguments) for name, arguments in functions]


ONE, TWO, APART, FOUR = Place(1, 1), Place(1, 2), Place(2, 1), Place(4, 1)


def scale(options: Options) -> Results:
    """Run the parts one after another."""
    parts: Mapping[str, Callable[[Options, Path], Results]] = {
        "training": training,
        "forecasts": forecasts,
        "memory": memory,
    }
    options.refuse_unknown(parts)
    results = Results(seeds=[7])
    with tempfile.TemporaryDirectory(prefix="lstm-ray-benchmark-", dir=options.data) as folder:
        for name, part in parts.items():
            if not options.only or name in options.only:
                say(f"scale: {name}")
                results.add(part(options, Path(folder)))
    return results


def training(options: Options, folder: Path) -> Results:
    """Strong scaling (the same work), weak scaling (the same work for each worker), the serial part, and the cost."""
    epochs, long, num = (3, 6, 40_000) if options.quick else (3, 8, 150_000)
    places = {TWO: (1, 2)} if options.quick else {TWO: (1, 2), APART: (2,), FOUR: (4,)}
    strong: dict[tuple[Place, int], list[dict[str, float]]] = {}
    rows, weak_one = [], 0.0
    for place, counts in places.items():
        # The first is not counted: it pays for what processes load once.
        asked = [{"workers": counts[0], "batch": STRONG, "num_windows": num, "epochs": 2}]
        for workers in counts:
            one = {"workers": workers, "batch": STRONG, "num_windows": num}
            asked += [{**one, "epochs": epochs}, {**one, "epochs": long}]
            asked += [{"workers": workers, "batch": workers * BATCH, "num_windows": workers * num, "epochs": epochs}]
        [found] = place.call([("trainings", {"asked": asked})])
        for turn, workers in enumerate(counts):
            short, longer, weak = found[3 * turn + 1 : 3 * turn + 4]
            strong[place, workers] = [short, longer]
            weak_one = weak_one or weak["epoch_seconds"]
            rows.append(
                [
                    f"{workers} on {place.words}",
                    f"{longer['epoch_seconds']:.2f}",
                    f"{strong[TWO, 1][1]['epoch_seconds'] / longer['epoch_seconds']:.2f}",
                    f"{weak['epoch_seconds']:.2f}",
                    f"{weak_one / weak['epoch_seconds']:.2f}",
                    f"{longer['windows_per_second']:,.0f}",
                    place.note,
                ]
            )
    columns = [
        "workers of one thread",
        f"s an epoch, {num:,} windows",
        "speed-up",
        f"s an epoch, {num:,} windows each",
        "efficiency",
        "windows a second",
        "",
    ]
    results = Results(sheets=[Sheet("Training, strong and weak scaling", columns, rows)])
    results.add(_of_training(strong, num, (epochs, long)))
    results.add(_held_out_training(strong, num, (epochs, long)))
    return results


def _of_training(
    strong: Mapping[tuple[Place, int], list[dict[str, float]]], num: int, epochs: tuple[int, int]
) -> Results:
    """Serial share of an epoch on one node, and what 100 million windows cost."""
    share = serial_share({workers: strong[TWO, workers][1]["epoch_seconds"] for workers in (1, 2)})
    line = _line(strong[TWO, 2], 2, num, epochs)
    return Results(
        [
            Figure("training: two workers / one, the same batch shared", _ratio(strong), "times"),
            *_shares("training", "an epoch", share),
            Figure("training: start of a group of two, to its first window and back", line.start_seconds, "seconds"),
            Figure("training: cost of 100 million windows", line.core_hours(WINDOWS), "core hours"),
        ]
    )


def _held_out_training(
    strong: Mapping[tuple[Place, int], list[dict[str, float]]], num: int, epochs: tuple[int, int]
) -> Results:
    """A training of a size that the model has not seen, predicted and then measured."""
    line, more = _line(strong[TWO, 2], 2, num, epochs), 2 * num
    asked = {"workers": 2, "batch": STRONG, "num_windows": more, "epochs": epochs[1]}
    warm = {**asked, "num_windows": num, "epochs": 2}
    # The first training of a driver pays for what its processes load once, as the first of those before did.
    [[_, found]] = TWO.call([("trainings", {"asked": [warm, asked]})])
    words = f"{more * epochs[1]:,} windows by two workers"
    return _told("training", line.seconds(more * epochs[1]), found["seconds"], words)


def forecasts(options: Options, folder: Path) -> Results:
    """Batch forecasts on one and two CPUs and nodes, what the driver does of it alone, and the cost."""
    small, large = (4_000, 12_000) if options.quick else (90_000, 270_000)
    sizes = (small, large, 3 * large)
    policy, names = _policy(folder), [str(folder / f"series-{size}") for size in sizes]
    for name, size in zip(names, sizes, strict=True):
        tables.write(Path(name), size, STEPS, "series")
    found = {}
    for place in (ONE, TWO) if options.quick else (ONE, TWO, APART):
        # The first is not counted: it pays for what processes load once. The last is what the model has not seen.
        asked = [names[0], *names[: 3 if place == TWO else 2]]
        [all_of_them] = place.call([("forecasts", {"policy": policy, "tables": asked})])
        assert not any(one["wrong"] for one in all_of_them), f"rows are wrong: {all_of_them}"
        found[place] = all_of_them[1:]
    lines = {
        place: Line.of(place.nodes * place.cpus, (small, large), [one["seconds"] for one in told[:2]])
        for place, told in found.items()
    }
    seconds = {place: told[1]["seconds"] for place, told in found.items()}
    rows = [
        [
            place.words,
            f"{seconds[place]:.1f}",
            f"{seconds[ONE] / seconds[place]:.2f}",
            f"{1 / line.unit_seconds:,.0f}",
            f"{line.start_seconds:.1f}",
            f"{found[place][1]['driver_seconds'] / seconds[place]:.1%}",
        ]
        for place, line in lines.items()
    ]
    columns = [
        "cluster",
        f"s, {large:,} series",
        "speed-up",
        "series a second, start apart",
        "start s",
        "driver's share",
    ]
    driver = found[TWO][1]["driver_seconds"] / large
    results = Results(sheets=[Sheet("Batch forecasts of 24 steps, from Parquet to Parquet", columns, rows)])
    results.figures.extend(
        [
            Figure("forecasts: two CPUs / one", seconds[ONE] / seconds[TWO], "times"),
            *_shares("forecasts", "a job", serial_share({1: seconds[ONE], 2: seconds[TWO]})),
            Figure("forecasts: most that one driver can take", 1 / driver, "series per second"),
            Figure("forecasts: cost of a billion", lines[TWO].core_hours(FORECASTS), "core hours"),
        ]
    )
    words = f"{sizes[-1]:,} series on two CPUs"
    results.add(_told("forecasts", lines[TWO].seconds(sizes[-1]), found[TWO][2]["seconds"], words))
    return results


def memory(options: Options, folder: Path) -> Results:
    """Peak memory of the driver and of the object stores as the number of series grows, each in a driver of its own."""
    sizes = (10_000, 50_000) if options.quick else (10_000, 100_000, 1_000_000)
    policy, rows = _policy(folder), []
    peaks: dict[str, list[dict[str, float]]] = {"prepare": [], "forecast": []}
    for size in sizes:
        table, out = folder / "table", folder / "run"
        tables.write(table, size, STEPS, "series")
        say(f"scale: memory, {size:,} series")
        [ready, told] = TWO.call(
            [
                ("prepared", {"table": str(table), "out": str(out)}),
                ("forecast", {"policy": policy, "table": str(table)}),
            ]
        )
        for name, found in (("prepare", ready), ("forecast", told)):
            peaks[name].append(found)
            sizes_mb = (found["driver_bytes"] / 1e6, found["store_bytes"] / 1e6)
            rows.append([name, f"{size:,}", f"{found['seconds']:.1f}", *(f"{size:,.0f}" for size in sizes_mb)])
        shutil.rmtree(table)
        shutil.rmtree(out)
    columns = ["job", "series", "s", "driver's peak MB", "object stores' peak MB"]
    results = Results(sheets=[Sheet(f"Memory on {TWO.words}, series of {STEPS} steps", columns, rows)])
    for name, found in peaks.items():
        for kind in ("driver", "store"):
            first, last = (one[f"{kind}_bytes"] for one in (found[0], found[-1]))
            more = f"{name}: {kind}'s memory that each further series takes"
            results.figures.append(Figure(more, (last - first) / (sizes[-1] - sizes[0]), "bytes"))
        times = found[-1]["driver_bytes"] / found[0]["driver_bytes"]
        title = f"{name}: driver's memory, {sizes[-1]:,} series beside {sizes[0]:,}"
        results.figures.append(Figure(title, times, "times", FLAT, at_most=True))
    return results


def _policy(folder: Path) -> str:
    """Of untrained weights, which cost as much as trained ones; made once."""
    if not (folder / "policy").exists():
        fresh.call("lstm_ray.benchmark.untrained:save", folder=str(folder / "policy"), history=STEPS // 2)
    return str(folder / "policy")


def _line(found: Sequence[Mapping[str, float]], workers: int, num: int, epochs: tuple[int, int]) -> Line:
    """The work as it was timed within the longer training, and the start as what is left of both: a start varies by more than
    the epochs take by which two trainings differ, so their difference would tell little of the work."""
    epoch = found[-1]["epoch_seconds"]
    left = [one["seconds"] - number * epoch for number, one in zip(epochs, found, strict=True)]
    return Line(workers, max(0.0, mean(left)), epoch / num)


def _ratio(strong: Mapping[tuple[Place, int], list[dict[str, float]]]) -> float:
    one, two = (strong[TWO, workers][1]["epoch_seconds"] for workers in (1, 2))
    return one / two


def _shares(name: str, work: str, share: float) -> list[Figure]:
    """What more workers do not shorten; and, where that is anything, the most that they can gain."""
    found = [Figure(f"{name}: serial share of {work} (Amdahl)", share, "")]
    return found + ([Figure(f"{name}: most that workers can gain", most_speedup(share), "times")] if share else [])


def _told(name: str, predicted: float, measured: float, words: str) -> Results:
    """A prediction beside what was then measured."""
    note = f"{name}: {words} were predicted to take {predicted:.1f} s from smaller jobs, and took {measured:.1f} s"
    title = f"{name}: cost model's miss on a job it has not seen"
    return Results([Figure(title, miss(predicted, measured), "", MISS, at_most=True)], notes=[note])
