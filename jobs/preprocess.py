"""The preprocess stage under `ray job submit --working-dir . -- python jobs/preprocess.py --config CONFIG`."""

from lstm_ray.cli import job

if __name__ == "__main__":
    job("preprocess")
