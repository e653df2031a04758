"""The suite ``evaluate``: scoring windows beside a bare forward pass of the same network, and the memory that it takes.

Every measurement runs in a fresh process with one thread. Networks are not trained: a trained one is as fast.
"""

from __future__ import annotations

from statistics import median

from lstm_ray.benchmark import fresh
from lstm_ray.benchmark.judging import BARE, BESIDE, SCORED, WRITTEN
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure, Results, Sheet, say

MILLION = 1_000_000
SHARE_OF_BARE, MOST_BYTES = 0.8, 512e6
WINDOWS = {
    "history 336, patches of 24": ({"history": 336, "horizon": 96, "patch": 24}, MILLION),
    "history 96, patch 1": ({"history": 96, "horizon": 96, "patch": 1}, 100_000),
}
"""What is scored, and on how many windows: the window of ETTh1's recipe, and the classic LSTM that reads every step."""
QUICK = 10
"""A quick suite scores so many times fewer."""


def evaluate(options: Options) -> Results:
    """Speed at both windows, and memory at a quarter of a million windows and at a million."""
    options.refuse_unknown(set())
    results = Results(seeds=[7])
    for name in WINDOWS:
        say(f"evaluate: {name}")
        results.add(speed(name, options))
    say("evaluate: memory")
    results.add(memory(options))
    return results


def speed(name: str, options: Options) -> Results:
    """Windows per second of each loop, taken in turns."""
    window, num_windows = WINDOWS[name]
    num_windows //= QUICK if options.quick else 1
    found = fresh.call("lstm_ray.benchmark.judging:per_second", window=window, num_windows=num_windows, turns=2)
    rows = [[loop, f"{median(v):,.0f}", f"{min(v):,.0f} to {max(v):,.0f}"] for loop, v in found.items()]
    sheet = Sheet(
        f"{num_windows:,} windows of horizon {window['horizon']}, {name}, one thread, taken in turns",
        ["loop", "windows per second, median", "lowest to highest"],
        rows,
    )
    figures = [
        Figure(f"{loop} / {BARE}, {name}", median(_ratios(found[loop], found[BARE])), "times", target)
        for loop, target in ((SCORED, SHARE_OF_BARE), (WRITTEN, SHARE_OF_BARE), (BESIDE, None))
    ]
    return Results(figures, [sheet])


def memory(options: Options) -> Results:
    """What scoring adds to a process that holds the series and the policy, by number of windows."""
    window, most = WINDOWS["history 336, patches of 24"]
    most //= QUICK if options.quick else 1
    rows, added = [], 0
    for num_windows in (most // 4, most):
        found = fresh.call("lstm_ray.benchmark.judging:peak", window=window, num_windows=num_windows)
        added = found["peak_bytes"] - found["before_bytes"]
        rows.append([f"{num_windows:,}", f"{added / 1e6:,.0f} MB", f"{found['written_bytes'] / 1e6:,.0f} MB"])
    sheet = Sheet("Memory of scoring, all baselines beside", ["windows", "added to the process", "written"], rows)
    return Results([Figure(f"memory for {most:,} windows", added / 1e6, "MB", MOST_BYTES / 1e6, at_most=True)], [sheet])


def _ratios(ours: list[float], beside: list[float]) -> list[float]:
    return [a / b for a, b in zip(ours, beside, strict=True)]
