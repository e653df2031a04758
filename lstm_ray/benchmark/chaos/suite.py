"""The suite ``chaos``: what is broken in the midst of work on a cluster of two nodes, one case after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from lstm_ray.benchmark.chaos.outcome import Fault, LeftOut, Missed, Outcome
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure, Results, Sheet, say
from lstm_ray.on_ray.nodes import Nodes, running

Case = Callable[[Nodes, Path], Outcome]
NODES, CPUS = 2, 1.0
CASES: Mapping[str, str] = {
    "train-worker": "training:train_worker",
    "stream-task": "training:stream_task",
    "data-task": "tables:data_task",
    "forecast-task": "tables:forecast_task",
    "tune-trial": "searching:tune_trial",
    "rollout-actor": "searching:rollout_actor",
    "driver": "driver:driver",
    "head": "driver:head",
    "object-store": "filling:object_store",
    "spill-disk": "filling:spill_disk",
    "serve-replica": "serving:replica",
    "serve-proxy": "serving:proxy",
    "fast-proxy": "serving:fast_proxy",
    "serve-controller": "serving:controller",
    "register": "serving:register",
    "serve-node": "serving:node",
    "node-train": "machines:train",
    "node-stream": "machines:stream",
    "node-rollouts": "machines:rollouts",
    "node-preprocess": "machines:preprocess",
    "node-forecast": "machines:forecast",
    "slow-node": "machines:slow",
    "cut-node": "machines:cut",
    "lost-node": "machines:cut_off",
    "lost-node-rollouts": "machines:cut_off_rollouts",
}
"""By the name that ``--only`` takes: ``module:function`` in this package, with the signature Case."""
QUICK = ("train-worker", "data-task", "driver")
"""With ``--quick`` these alone."""


def chaos(options: Options) -> Results:
    """Run the cases and tell what came of each."""
    options.refuse_unknown(CASES)
    names = [name for name in CASES if name in (options.only or (QUICK if options.quick else CASES))]
    outcomes, notes = dict[str, Outcome](), list[str]()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        say(f"chaos: starting {NODES} nodes")
        with running(NODES, CPUS) as nodes:
            for name in names:
                say(f"chaos: {name}")
                try:
                    outcomes[name] = outcome_of(name, nodes, Path(folder))
                    say(f"  {outcomes[name].result}")
                except LeftOut as reason:
                    notes.append(f"{name} was left out: {reason}")
    return told(outcomes, notes)


def outcome_of(name: str, nodes: Nodes, folder: Path) -> Outcome:
    """What comes of a case on the shared nodes, which are whole again after it; what it missed is an outcome, too.

    Raises LeftOut where this machine cannot run it.
    """
    module, function = CASES[name].split(":")
    case: Case = getattr(import_module(f"{__package__}.{module}"), function)
    began = Fault.now()
    try:
        return case(nodes, folder)
    except Missed as missed:
        return Outcome(name, str(missed), False, began.seconds())
    finally:
        mended(nodes)


def mended(nodes: Nodes) -> None:
    """Start a node for each that a case has killed."""
    for _ in range(NODES - sum(node.runs for node in nodes.members)):
        nodes.add(CPUS)


def told(outcomes: Mapping[str, Outcome], notes: list[str]) -> Results:
    """A row and a figure for each case."""
    rows = [
        [name, outcome.case, f"{outcome.seconds_to_recover:.1f}", "yes" if outcome.holds else "NO", outcome.result]
        for name, outcome in outcomes.items()
    ]
    columns = ["name", "broken in mid-work", "seconds to recover", "holds", "what came of it"]
    figures = [
        Figure(name, outcome.seconds_to_recover, "seconds to recover", kept=outcome.holds)
        for name, outcome in outcomes.items()
    ]
    return Results(figures, [Sheet("Chaos: every fault, in the midst of work", columns, rows)], notes)
