"""Training by Ray Train's workers: processes that each take a share of every batch and average their gradients (DDP).

What Ray 2.60 does with ``[min, max]`` workers: it starts as many, up to max, as the CPUs (and GPUs) of the nodes hold, whether
or not something else has taken those; it looks again every RESIZE_SECONDS, and on another number ends all workers at once,
in the middle of an epoch, and starts as many as now fit. A worker that dies has the same effect. All go on from the
newest whole checkpoint, so an epoch is always read from its beginning, by all the workers there are.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import torch
import torch.distributed
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import get_device, prepare_model
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.model.closed_forms import Solved
from lstm_ray.model.training import EpochRecord, Training, fit, set_solved
from lstm_ray.on_ray import cluster, ridges, stream
from lstm_ray.on_ray.reading import Batches, Way, choose
from lstm_ray.on_ray.train import WORKERS, begin
from lstm_ray.run_dir import Finding

ATTEMPT, RAY_RECORD = "train", "checkpoint_manager_snapshot.json"
"""Ray's folder for checkpoints, and the file in which it lists them."""
MAX_FAILURES = 3
"""Worker losses survived before a training is given up."""
RESIZE_SECONDS = 60.0
"""How often Ray Train asks whether there is room for more workers, or less."""
CPU_GRAIN = 1 / 16
"""CPUs are asked for in multiples of this: an exact binary fraction, for Ray divides nodes by it and rounds down."""
DDP = {
    # Gradients lie where they are sent from. Buffers are the first worker's from the start and change for all alike, so
    # they need not be sent at every step.
    "gradient_as_bucket_view": True,
    "forward_sync_buffers": False,
}


def train(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    folder: Path,
    on_epoch: Callable[[list[EpochRecord]], None],
    way: Way | None,
    scaler: Scaler | None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> Training:
    """Train on the cluster; the same folder again goes on from its newest whole checkpoint."""
    cluster.ensure()
    way = way or choose(config, scaled).way
    earlier = _earlier(folder)
    given = {
        "config": config.model_dump(mode="json"),
        "segments": stream.put(scaled) if way == "stream" else ray.put(scaled),
        "bounds": bounds,
        "scaler": scaler,
        "weights": weights,
        "earlier": [str(path) for path in earlier],
    }
    run_config = RunConfig(
        name=ATTEMPT,
        storage_path=str(folder),
        checkpoint_config=CheckpointConfig(num_to_keep=checkpoint.KEPT),
        failure_config=FailureConfig(max_failures=MAX_FAILURES),
        callbacks=[EndAtOnce()],
    )
    try:
        result = TorchTrainer(
            _worker, train_loop_config=given, scaling_config=scaling(config, way), run_config=run_config
        ).fit()
    except ray.train.TrainingFailedError as error:
        raise user_error(error) from error
    training = begin(config, scaled, bounds, torch.device("cpu"), scaler)
    newest = [found for found, _ in reversed(result.best_checkpoints or [])]
    sizes = _restore(training, [*newest, *_as_checkpoints(earlier)])
    if not sizes:
        raise InputError(f"no checkpoint in '{folder}' is whole; train again with --force")
    for path in earlier if newest else []:
        shutil.rmtree(path, ignore_errors=True)
    (folder / WORKERS).write_text(json.dumps(sizes))
    training.network.load_state_dict(training.best_weights)
    on_epoch(training.records)
    return training


def scaling(config: Config, way: Way) -> ScalingConfig:
    """How many workers, with what each.

    Where batches are streamed, one CPU of the cluster is left to Ray Data: a cluster that Train fills starves the pipeline
    that feeds it, and both wait for ever.
    """
    asked, threads = config.train.workers, config.train.threads
    low, high = asked if isinstance(asked, tuple) else (asked, asked)
    room = max(1, cluster.num_cpus() - (way == "stream"))
    cpus = max(CPU_GRAIN, min(float(threads), room / low) // CPU_GRAIN * CPU_GRAIN)
    if way == "stream":
        high = max(low, min(high, int(room / cpus)))
    return ScalingConfig(
        num_workers=(low, high) if isinstance(asked, tuple) else low,
        use_gpu=ray.cluster_resources().get("GPU", 0) >= low,
        resources_per_worker={"CPU": cpus},
        elastic_resize_monitor_interval_s=RESIZE_SECONDS,
    )


def findings(folder: Path) -> list[Finding]:
    """How many workers trained which epochs, where that changed."""
    sizes: list[int] = json.loads((folder / WORKERS).read_text())
    changes = [index for index in range(1, len(sizes)) if sizes[index] != sizes[index - 1]]
    if not changes:
        return []
    words = [f"{sizes[first]} from epoch {first + 1}" for first in [0, *changes]]
    times = "once" if len(changes) == 1 else f"{len(changes)} times"
    text = f"The number of workers changed {times}: {', '.join(words)}. Every epoch was read whole."
    return [Finding(severity="info", text=text)]


def _worker(given: dict[str, Any]) -> None:
    """What each Ray Train worker runs: a training from its newest checkpoint to its end."""
    config, group = Config.model_validate(given["config"]), Group.here()
    torch.set_num_threads(config.train.threads)
    segments = given["segments"]
    if isinstance(segments, ray.ObjectRef):
        segments = ray.get(segments)
    index = segments.index if isinstance(segments, stream.Blocks) else segments
    batches = Batches(segments, given["bounds"], config, group.device, group.rank, group.world)
    training = begin(config, index, given["bounds"], group.device, given["scaler"], given["weights"])
    reported = [found.checkpoint for found in reversed(ray.train.get_all_reported_checkpoints())]
    sizes = _restore(training, [*reported, *_as_checkpoints(given["earlier"])])
    if not group.agreed(training):
        set_solved(training, group.closed_forms(config, segments, given["bounds"]))

    def remember(record: EpochRecord) -> bool:
        sizes.append(group.world)
        _report(training, record, sizes, group.rank)
        return True

    group.fit(training, config, batches, remember)


@dataclass(frozen=True)
class Group:
    """The workers that train together, as one of them sees it."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def here(cls) -> Group:
        """In a worker of Ray Train."""
        context = ray.train.get_context()
        return cls(context.get_world_rank(), context.get_world_size(), get_device())

    def agreed(self, training: Training) -> int:
        """Finished epochs, which all must have found to be the same."""
        first: int = broadcast_from_rank_zero(training.finished_epochs)
        assert training.finished_epochs == first, (
            f"worker {self.rank} read epoch {training.finished_epochs}, not {first}"
        )
        return first

    def closed_forms(self, config: Config, segments: Segments | stream.Blocks, bounds: Boundaries) -> list[Solved]:
        """Of all the data; each sums up its share."""
        return ridges.closed_forms(
            config, segments, bounds, self.rank, self.world, lambda sums: self.add_up(sums.to(self.device))
        )

    def add_up(self, sums: torch.Tensor) -> torch.Tensor:
        total = sums.clone()
        if self.world > 1:
            torch.distributed.all_reduce(total)
        return total

    def add_up_later(self, sums: torch.Tensor) -> Callable[[], torch.Tensor]:
        total = sums.clone()
        work = torch.distributed.all_reduce(total, async_op=True) if self.world > 1 else None

        def whole() -> torch.Tensor:
            if work is not None:
                work.wait()
            return total

        return whole

    def fit(
        self, training: Training, config: Config, batches: Batches, on_epoch: Callable[[EpochRecord], bool]
    ) -> None:
        """``training.fit`` with the network wrapped for DDP and sums over all workers."""

        def train_batches(epoch: int) -> Iterator[Batch]:
            # Dropout is drawn by epoch and worker, so a training that was interrupted draws it as if it had not been.
            torch.manual_seed(int(np.random.SeedSequence([config.seed, epoch, self.rank]).generate_state(1)[0]))
            return batches.train(epoch)

        fit(
            training,
            config,
            train_batches,
            batches.held_out,
            batches.steps_per_epoch,
            wrap=lambda network: prepare_model(network, parallel_strategy_kwargs=DDP),
            add_up=self.add_up,
            add_up_later=self.add_up_later,
            on_epoch=on_epoch,
            rank=self.rank,
        )


class EndAtOnce(UserCallback):
    """Ends a training that the user's input cannot but fail: Ray would try it again, from the newest checkpoint."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for error in map(user_error, worker_exceptions.values()):
            if isinstance(error, InputError):
                # What a callback raises is no worker's failure, and not tried again.
                raise error


def _report(training: Training, record: EpochRecord, sizes: list[int], rank: int) -> None:
    """Tell Ray Train of an epoch; the first worker with a checkpoint, which counts once all have told."""
    line = asdict(record) | {"workers": sizes[-1]}
    if rank:
        ray.train.report(line)
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / WORKERS).write_text(json.dumps(sizes))
        checkpoint.save(training, Path(folder))
        ray.train.report(line, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _restore(training: Training, newest_first: list[ray.train.Checkpoint]) -> list[int]:
    """Continue the first checkpoint that is whole; returns how many workers trained each epoch, empty where none is."""
    for found in newest_first:
        with found.as_directory() as folder:
            try:
                sizes: list[int] = json.loads((Path(folder) / WORKERS).read_text())
            except (OSError, ValueError):
                continue
            if checkpoint.load(training, Path(folder)):
                return sizes
    return []


def _earlier(folder: Path) -> list[Path]:
    """Checkpoints of earlier attempts, newest first.

    Ray's own list of them is put away: a kill may leave it half-written, and Ray would then refuse to train at all. Each
    checkpoint has hashes of its own.
    """
    (folder / ATTEMPT / RAY_RECORD).unlink(missing_ok=True)
    return sorted((folder / ATTEMPT).glob("checkpoint_*/"), reverse=True)


def _as_checkpoints(folders: list[str] | list[Path]) -> list[ray.train.Checkpoint]:
    return [ray.train.Checkpoint.from_directory(folder) for folder in folders]


def user_error(error: BaseException) -> BaseException:
    """The InputError inside what Ray wraps around a worker's exception, or the error itself."""
    cause = getattr(error, "controller_failure", None)
    if isinstance(cause, InputError):
        return cause
    text = str(error)
    marker = "InputError: "
    if marker in text:
        return InputError(text[text.rindex(marker) + len(marker) :].splitlines()[0])
    return error
