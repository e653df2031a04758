"""The suite ``accuracy``: what the recipe scores on public sets, over several seeds, beside its baselines."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.recipe import Trained, run_config
from lstm_ray.benchmark.results import Figure, Results, Sheet, say
from lstm_ray.benchmark.sets import PACKAGE, SETS, Measure, Set, package_files

SEEDS = (7, 8, 9)
QUICK = ("etth1_96", "gunpoint")
BESIDE: dict[Measure, tuple[str, str]] = {
    "mse": ("seasonal_naive", "ridge"),
    "owa": ("seasonal_naive", "ridge"),
    "accuracy": ("majority", "logistic_regression"),
}
"""The baselines shown."""
UNITS: dict[Measure, str] = {
    "mse": "mse of standardised values",
    "owa": "of Naive2's error",
    "accuracy": "share of sequences",
}
COLUMNS = (
    "config",
    "measure",
    "mean",
    "lowest to highest",
    "target",
    "holds",
    "naive or majority",
    "ridge or logistic",
)
COSTS = ("training s", "parameters", "test windows")


def accuracy(options: Options) -> Results:
    """Train and test every config, one after another in this process. Raises InputError before the first training where
    a file or config is missing."""
    options.refuse_unknown(SETS)
    results = Results(seeds=list(SEEDS[:1] if options.quick else SEEDS))
    chosen = options.only or (QUICK if options.quick else tuple(SETS))
    planned: list[tuple[str, Path, list[str]]] = []
    for name in dict.fromkeys(chosen):
        source = _source(name, options)
        if source is None:
            note = f"{name} was left out, for its data comes with the package '{PACKAGE}', which is not installed"
            results.notes.append(f"{note}: pip install 'lstm-ray[benchmark]'")
        else:
            planned.append((name, options.config_of(name), source))
    rows = []
    for index, (name, path, source) in enumerate(planned):
        say(f"accuracy: {name} ({index + 1} of {len(planned)})")
        entry, own = SETS[name], name in options.source
        num_windows = None if own else entry.num_windows
        runs = run_config(path, source, entry.measure, results.seeds, num_windows, options.quick)
        label = f"{name} on {' and '.join(Path(file).name for file in source)}" if own else name
        figures = figures_of(label, entry, runs, own)
        results.figures.extend(figures)
        rows.append(row_of(label, entry, figures[0], runs))
        if own and entry.measure == "owa":
            results.notes.append(f"{label}: the OWA divides by Naive2's errors on M4's hourly series, not on these")
    if options.quick:
        results.notes.append("--quick trains for 2 epochs, so these figures are not the recipe's")
    results.sheets.append(Sheet(f"Test part, seeds {results.seeds}", (*COLUMNS, *COSTS), rows))
    return results


def figures_of(label: str, entry: Set, runs: list[Trained], other_set: bool = False) -> list[Figure]:
    """Everything measured of one config; the mean of its measure comes first.

    Args:
        other_set: the files are the user's own, so the target does not apply.
    """
    measure, unit = entry.measure, UNITS[entry.measure]
    values = [run.value for run in runs]
    target = None if other_set else entry.target
    figures = [Figure(f"{label}: {measure}", mean(values), unit, target, measure != "accuracy")]
    if len(runs) > 1:
        figures.append(Figure(f"{label}: {measure}, highest less lowest seed", max(values) - min(values), unit))
    for other in runs[0].others:
        figures.append(Figure(f"{label}: {other}", mean(run.others[other] for run in runs), other))
    for name in BESIDE[measure]:
        if name in runs[0].baselines:
            said = name.replace("_", " ")
            figures.append(Figure(f"{label}: {measure} of {said}", mean(run.baselines[name] for run in runs), unit))
    costs = {
        "training": (mean(run.training_seconds for run in runs), "seconds"),
        "parameters": (runs[0].num_parameters, "numbers"),
        "test windows": (runs[0].num_windows, "windows"),
    }
    return figures + [Figure(f"{label}: {name}", value, cost_unit) for name, (value, cost_unit) in costs.items()]


def row_of(label: str, entry: Set, main: Figure, runs: list[Trained]) -> list[str]:
    """The line of one config in the table for people."""
    values = [run.value for run in runs]
    beside = [mean(run.baselines[n] for run in runs) if n in runs[0].baselines else None for n in BESIDE[entry.measure]]
    return [
        label,
        entry.measure,
        f"{main.value:.4f}",
        f"{min(values):.4f} to {max(values):.4f}",
        main.wanted,
        {True: "yes", False: "NO", None: ""}[main.holds],
        *("" if value is None else f"{value:.4f}" for value in beside),
        f"{mean(run.training_seconds for run in runs):.1f}",
        f"{runs[0].num_parameters:,}",
        f"{runs[0].num_windows:,}",
    ]


def _source(name: str, options: Options) -> list[str] | None:
    """The files of a config; None where their package is not installed."""
    entry = SETS[name]
    if entry.package_folder is not None and name not in options.source:
        return package_files(entry)
    return options.source_of(name, entry.files)
