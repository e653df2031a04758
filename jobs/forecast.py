"""Batch forecasts under `ray job submit --working-dir . -- python jobs/forecast.py RUN --data SOURCE --out FILE`."""

import sys

from lstm_ray.cli import main

if __name__ == "__main__":
    main(["forecast", *sys.argv[1:]])
