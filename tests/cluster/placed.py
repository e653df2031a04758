"""A driver on a cluster whose second node is labelled: where does what it asks for land. Prints one line of JSON."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray import tune as ray_tune
from ray.train.v2.api.config import RunConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from lstm_ray.config import Config
from lstm_ray.errors import InputError
from lstm_ray.on_ray import cluster, pool, resources, workers
from lstm_ray.on_ray.tuning import searching
from tests import made

SPOT = {"market": "spot"}


def here(*_: Any) -> str:
    return str(ray.get_runtime_context().get_node_id())


def held_here(*_: Any) -> str:
    """Long enough for the next to find this one's CPUs taken."""
    time.sleep(1)
    return here()


@ray.remote(num_cpus=0)
class Book:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        self.lines.append(line)

    def all(self) -> list[str]:
        return self.lines


def tasks(num: int, **values: Any) -> list[str]:
    asked = resources.process(config_of(**values).resources, "preprocess", 0.5)
    return ray.get([ray.remote(held_here).options(**asked.options()).remote() for _ in range(num)])  # type: ignore[no-any-return]


def actors(num: int, **values: Any) -> list[str]:
    asks = config_of(**values).resources
    with pool.actor_pool(None, None, num, 0.5, asks=asks, stage="evaluate") as found:
        ray.get([member.is_up.remote() for member in found.members])
        return ray.get([member.do.remote(here, ()) for member in found.members])  # type: ignore[no-any-return]


def train_workers(**values: Any) -> list[str]:
    config = config_of(**{"train__workers": 2, **values})
    scaled_to, _ = workers.scaling(config, "memory")
    book: Any = Book.remote()

    def loop() -> None:
        ray.get(book.add.remote(str(ray.get_runtime_context().get_node_id())))

    with tempfile.TemporaryDirectory() as folder:
        TorchTrainer(loop, scaling_config=scaled_to, run_config=RunConfig(name="t", storage_path=folder)).fit()
    return ray.get(book.all.remote())  # type: ignore[no-any-return]


def trials(**values: Any) -> list[str]:
    config = config_of(**{"tune__trials": 2, "tune__concurrency": 2, **values})
    asked = searching._resources(config, searching._concurrency(config))
    book: Any = Book.remote()

    def trial(settings: dict[str, Any]) -> dict[str, float]:
        ray.get(book.add.remote(str(ray.get_runtime_context().get_node_id())))
        return {"loss": 0.0}

    with tempfile.TemporaryDirectory() as folder:
        own = ray_tune.RunConfig(name="t", storage_path=folder, verbose=0)
        few = ray_tune.TuneConfig(num_samples=2)
        ray_tune.Tuner(ray_tune.with_resources(trial, asked), tune_config=few, run_config=own).fit()
    return ray.get(book.all.remote())  # type: ignore[no-any-return]


def refused(**values: Any) -> list[Any]:
    began = time.monotonic()
    try:
        train_workers(**values)
    except InputError as error:
        return [str(error), time.monotonic() - began]
    return ["it was not refused", 0.0]


def config_of(**values: Any) -> Config:
    return made.make_config(Path("unused.csv"), **{"resources__wait_seconds": 1, **values})


def main() -> None:
    cluster.ensure()
    names = {node.id: "spot" if node.labels.get("market") == "spot" else "head" for node in resources.nodes()}
    found = {
        "tasks on spot": tasks(3, resources__preprocess={"labels": SPOT}),
        "tasks elsewhere": tasks(3, resources__preprocess={"labels": {"market": "!spot"}}),
        "actors on spot": actors(3, resources__evaluate={"labels": SPOT}),
        "actors by custom": actors(2, resources__evaluate={"custom": {"licence": 1}}),
        "actors spread": actors(2, resources__placement="spread"),
        "actors packed": actors(3, resources__placement="pack"),
        "actors packed on spot": actors(3, resources__placement="pack", resources__evaluate={"labels": SPOT}),
        "actors spread on spot": actors(3, resources__placement="spread", resources__evaluate={"labels": SPOT}),
        "tasks packed": tasks(3, resources__placement="pack"),
        "more than one node holds, packed": actors(6, resources__placement="pack"),
        "workers on spot": train_workers(resources__train={"labels": SPOT}),
        "workers spread": train_workers(resources__placement="spread"),
        "workers packed": train_workers(resources__placement="pack"),
        "trials on spot": trials(resources__tune={"labels": SPOT}),
    }
    told = {what: sorted(names[node] for node in own) for what, own in found.items()}
    errors = {
        "label": refused(resources__train={"labels": {"market": "reserved"}}),
        "cpus": refused(resources__train={"cpus": 1.5, "labels": SPOT}),
    }
    print(json.dumps({"placed": told, "errors": errors}), flush=True)


if __name__ == "__main__":
    main()
