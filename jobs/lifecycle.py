"""Every stage under `ray job submit --working-dir . -- python jobs/lifecycle.py --config CONFIG`."""

from lstm_ray.cli import job

if __name__ == "__main__":
    job(None)
