"""A policy at work while its data changes: `python jobs/operate_demo.py [--run-dir DIR] [--quick]`, five minutes unattended."""

import sys

from lstm_ray.cli import main

if __name__ == "__main__":
    main(["operate-demo", *sys.argv[1:]])
