"""Measures under `ray job submit --working-dir . -- python jobs/benchmark.py --suite SUITE [--data DIR] [--quick]`."""

import sys

from lstm_ray.cli import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
