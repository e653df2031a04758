"""Retrain under `ray job submit --working-dir . -- python jobs/retrain.py --run RUN [--data SOURCE] [--watch]`; last, JSON."""

import sys

from lstm_ray.cli import main

if __name__ == "__main__":
    # RUN has no name there, and may have one here, as in the other jobs.
    given = (argument.removeprefix("--run=") for argument in sys.argv[1:] if argument != "--run")
    main(["retrain", "--json", *given])
