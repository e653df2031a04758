"""The explore stage under `ray job submit --working-dir . -- python jobs/explore.py --config CONFIG`."""

from lstm_ray.cli import job

if __name__ == "__main__":
    job("explore")
