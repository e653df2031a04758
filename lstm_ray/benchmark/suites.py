"""The suites by name, and running one. Imports none of them until it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Results, show
from lstm_ray.errors import InputError

Suite = Callable[[Options], Results]
SUITES: Mapping[str, str] = {
    "accuracy": "lstm_ray.benchmark.accuracy:accuracy",
    "training": "lstm_ray.benchmark.training:training",
    "data": "lstm_ray.benchmark.data:data",
    "plan": "lstm_ray.benchmark.plan:plan",
    "evaluate": "lstm_ray.benchmark.evaluate:evaluate",
    "serve": "lstm_ray.benchmark.serve:serve",
    "chaos": "lstm_ray.benchmark.chaos.suite:chaos",
    "scale": "lstm_ray.benchmark.scale.suite:scale",
}
"""``module:function`` with the signature Suite."""


def run_suite(name: str, options: Options) -> None:
    """Run a suite and print what it found. Raises InputError where there is no such suite or a file is missing."""
    if name not in SUITES:
        raise InputError(f"there is no suite '{name}'; those that exist: {', '.join(SUITES)}")
    if options.data is not None and not options.data.is_dir():
        raise InputError(f"--data '{options.data}' is no directory; name the folder that holds the data files")
    if options.peers is not None and not options.peers.is_file():
        raise InputError(
            f"--peers '{options.peers}' is no file; name the python of an environment, such as ENV/bin/python"
        )
    if options.soak is not None and options.soak <= 0:
        raise InputError(f"--soak {options.soak:g}: give the minutes of the long load, more than 0")
    module, function = SUITES[name].split(":")
    suite: Suite = getattr(import_module(module), function)
    show(name, suite(options), options.quick)
