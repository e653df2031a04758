"""The train stage under `ray job submit --working-dir . -- python jobs/train.py --config CONFIG`."""

from lstm_ray.cli import job

if __name__ == "__main__":
    job("train")
