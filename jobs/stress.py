"""A policy's server under load, by `ray job submit --working-dir . -- python jobs/stress.py --run RUN`."""

import sys

from lstm_ray.cli import main

if __name__ == "__main__":
    # RUN has no name there, and may have one here, as in the other jobs.
    main(["stress", *(argument.removeprefix("--run=") for argument in sys.argv[1:] if argument != "--run")])
