"""The suite ``plan``: rollouts on one and two actors beside a bare torch loop, and how long a search of settings takes.

Every measurement runs in a fresh process, on the policy that the quickstart's train stage leaves.
"""

from __future__ import annotations

import os
import tempfile
from statistics import median

from lstm_ray.benchmark import fresh
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure, Results, Sheet, say

CONFIG = "quickstart"
SHARE_OF_BARE, TIMES_ONE_ACTOR, SEARCH_SECONDS = 0.8, 1.7, 60.0
TRIALS = 8


def plan(options: Options) -> Results:
    """Train once, then measure rollouts and the search."""
    options.refuse_unknown({CONFIG})
    path = str(options.config_of(CONFIG))
    results = Results(seeds=[7])
    with tempfile.TemporaryDirectory() as folder:
        say(f"plan: training {CONFIG}")
        fresh.call("lstm_ray.benchmark.rolling:train", path=path, folder=folder)
        say("plan: rollouts")
        results.add(rollouts(options, path, folder))
        say(f"plan: {TRIALS} trials")
        results.add(search(options, path, folder))
    return results


def rollouts(options: Options, path: str, folder: str) -> Results:
    """Rollouts per second of a bare loop, of one actor and of two, taken in turns."""
    cores = len(os.sched_getaffinity(0))
    found = fresh.call(
        "lstm_ray.benchmark.rolling:per_second",
        path=path,
        folder=folder,
        actors=[1, 2] if cores > 1 else [1],
        tasks=24 if options.quick else 64,
        turns=3 if options.quick else 7,
    )
    rows = [[name, f"{median(v):,.0f}", f"{min(v):,.0f} to {max(v):,.0f}"] for name, v in found.items()]
    sheet = Sheet(
        "Rollouts of 48 hours, taken in turns", ["loop", "rollouts per second, median", "lowest to highest"], rows
    )
    pairs = [(f"one actor / {name}", "1 actor", name, SHARE_OF_BARE) for name in found if name.startswith("bare")]
    pairs += [("two actors / one actor", "2 actors", "1 actor", TIMES_ONE_ACTOR)] if cores > 1 else []
    figures = [
        Figure(title, median(a / b for a, b in zip(found[ours], found[beside], strict=True)), "times", target)
        for title, ours, beside, target in pairs
    ]
    figures.append(Figure("one actor", median(found["1 actor"]), "rollouts per second"))
    notes = [] if cores > 1 else ["two actors were left out, for this machine has one core"]
    return Results(figures, [sheet], notes)


def search(options: Options, path: str, folder: str) -> Results:
    """Seconds that the tune stage takes for trials of the quickstart's space, with Ray's start."""
    trials = 2 if options.quick else TRIALS
    found = fresh.call("lstm_ray.benchmark.rolling:search_seconds", path=path, folder=folder, trials=trials)
    title = f"{trials} trials of the {CONFIG}'s space, Ray's start and all"
    target = None if options.quick else SEARCH_SECONDS
    return Results([Figure(title, found["seconds"], "seconds", target, True)], notes=[found["summary"]])
