"""The monitor over new files under `ray job submit --working-dir . -- python jobs/monitor.py --run RUN --data SOURCE`."""

import sys

from lstm_ray.cli import main

if __name__ == "__main__":
    # RUN has no name there, and may have one here, as in the other jobs.
    main(["monitor", *(argument.removeprefix("--run=") for argument in sys.argv[1:] if argument != "--run")])
