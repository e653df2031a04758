"""Training by Ray Train's workers: processes that each take a share of every batch and average their gradients (DDP).

What Ray 2.60 does with ``[min, max]`` workers: it starts as many, up to max, as the CPUs (and GPUs) of the nodes hold, whether
or not something else has taken those; it looks again every RESIZE_SECONDS, and on another number ends all workers at once,
in the middle of an epoch, and starts as many as now fit. A worker that dies has the same effect. All go on from the
newest whole checkpoint, so an epoch is always read from its beginning, by all the workers there are.

Checkpoints lie in the driver's folder, whatever node the first worker is on (``folder.py``). Ray Train's controller is an
actor on the driver's own node: it ends with the driver, and any other node may go.

What to expect where a node goes: Ray misses one whose processes are gone after some 15 s, and one that is silent within a
minute (RAY_health_check_* of the head's ``ray start``, which a driver cannot set). Up to 20 s more pass until Ray Train
counts nodes anew; a group for which there is no place is given up after 30 s (cluster.SETTINGS), and the next one fits. A
fixed number of workers waits for another node, for ``resources.wait_seconds``. One that comes is used within 20 s and
RESIZE_SECONDS.
"""

from __future__ import annotations

import json
import tempfile
import time
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
from ray.train.torch import TorchConfig, get_device, prepare_model
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.controller.state import RunningState
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from lstm_ray import log, progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.model.closed_forms import Solved
from lstm_ray.model.training import EpochRecord, Training, fit, set_solved
from lstm_ray.on_ray import cluster, metrics, resources, ridges, stream
from lstm_ray.on_ray.folder import Copy, Folder, shared
from lstm_ray.on_ray.reading import Batches, Way, choose
from lstm_ray.on_ray.train import WORKERS, begin
from lstm_ray.run_dir import Finding
from lstm_ray.sections.resources import ResourcesConfig, Stage

MAX_FAILURES = 3
"""Worker losses survived before a training is given up."""
RESIZE_SECONDS = 60.0
"""How often Ray Train asks whether there is room for more workers, or less."""
SILENT_SECONDS = 600
"""A worker waits so long for the others' gradients, and then fails: where the cluster reaches a machine that the other workers
do not, nothing else would end that. Ray's own time is half an hour."""
NO_GROUP_SECONDS = 300.0
"""After which an elastic training of which no group comes up is ended. Ray gives each half a minute."""
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
    scaled_to, task_cpus = scaling(config, way)
    given: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "segments": stream.put(scaled, task_cpus=task_cpus) if way == "stream" else ray.put(scaled),
        "bounds": bounds,
        "scaler": scaler,
        "weights": weights,
        "log": log.context(),
    }
    # Nothing else is said until their first epoch has ended.
    progress.note(f"starting {_counted(*config.train.fewest_and_most_workers)}")
    with shared(folder) as given["folder"]:
        run(_worker, given, scaled_to, config.resources, "train", MAX_FAILURES, task_cpus)
    training = begin(config, scaled, bounds, torch.device("cpu"), scaler)
    if not restored(training, folder):
        raise InputError(f"no checkpoint in '{folder}' is whole; train again with --force")
    training.network.load_state_dict(training.best_weights)
    on_epoch(training.records)
    return training


def _counted(low: int, high: int) -> str:
    return f"{f'{low:,} to {high:,}' if low < high else f'{high:,}'} Ray worker{'s' * (high > 1)}"


def scaling(config: Config, way: Way) -> tuple[ScalingConfig, float]:
    """How many workers, with what each; and the CPUs of each of Ray Data's tasks, where they stream.

    Where batches are streamed, CPUs are left to Ray Data: a cluster that Train fills starves the pipeline that feeds it, and
    both wait for ever. There, and where workers ask for labels, of which Ray Train knows nothing when it counts how many
    would fit, a group grows to what the nodes of now can hold, and not beyond.

    Raises InputError where nodes that could hold them do not come.
    """
    sizes, asks = config.train.workers, config.resources
    low, high = config.train.fewest_and_most_workers
    data_cpus = asks.data_cpus if way == "stream" else 0.0
    least = resources.process(asks, "train", resources.GRAIN)
    resources.wait_for(least, low, asks, beside_cpus=data_cpus if asks.train.cpus is not None else 0.0)
    gpus = float(resources.total("GPU", least) >= low)
    asked = resources.process(asks, "train", float(config.train.threads), gpus)
    room = resources.room(asked, data_cpus)
    if asks.train.cpus is None:
        kept = resources.GRAIN if data_cpus else 0.0
        asked = resources.derived(asked, low, min(asked.cpus, room / low), kept)
    task_cpus = 0.0
    if data_cpus:
        high = max(low, min(high, int(room / max(asked.cpus, resources.GRAIN))))
        task_cpus = resources.beside(asked, high, min(1.0, data_cpus))
    if asked.labels:
        high = max(low, min(high, resources.held(asked)))
    if asks.train.cpus is None and asked.cpus < min(1, config.train.threads):
        progress.note(
            f"each worker is given {asked.cpus:g} CPUs, for the nodes that are there hold no more; where nodes start on "
            f"demand, set resources.train.cpus: {config.train.threads}"
        )
    scaled_to = ScalingConfig(
        num_workers=(low, high) if isinstance(sizes, tuple) else low,
        elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        **asked.scaling(),
    )
    return scaled_to, task_cpus


def run(
    worker: Callable[[dict[str, Any]], None],
    given: dict[str, Any],
    scaled_to: ScalingConfig,
    asks: ResourcesConfig,
    stage: Stage,
    failures: int,
    task_cpus: float = 0.0,
) -> None:
    """Have a group of workers do their work to its end. What they make they keep in the driver's folder: Ray's own is of no
    use afterwards.

    Args:
        failures: groups that may be lost, with a worker or a node, until it is given up.
        task_cpus: of each of the tasks that feed the workers.

    Raises InputError where a worker does, or where nodes leave and none come for the group; else what Ray raises.
    """
    per_worker: Any = scaled_to.resources_per_worker
    asked = resources.process(asks, stage, per_worker.get("CPU", 0.0), per_worker.get("GPU", 0.0))
    with tempfile.TemporaryDirectory(prefix="lstm-ray-") as own:
        run_config = RunConfig(
            name="group",
            storage_path=own,
            failure_config=FailureConfig(max_failures=failures),
            callbacks=[EndAtOnce(), EndWithoutRoom(asked, scaled_to, asks, task_cpus)],  # type: ignore[list-item]
        )
        try:
            TorchTrainer(
                worker,
                train_loop_config=given,
                torch_config=TorchConfig(timeout_s=SILENT_SECONDS),
                scaling_config=scaled_to,
                run_config=run_config,
            ).fit()
        except ray.train.TrainingFailedError as error:
            raise user_error(error) from error


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
    cluster.work_for(given["log"], rank=group.rank)
    torch.set_num_threads(config.train.threads)
    segments = given["segments"]
    if isinstance(segments, ray.ObjectRef):
        segments = ray.get(segments)
    index = segments.index if isinstance(segments, stream.Blocks) else segments
    batches = Batches(segments, given["bounds"], config, group.device, group.rank, group.world)
    training = begin(config, index, given["bounds"], group.device, given["scaler"], given["weights"])
    folder: Folder = given["folder"]
    with folder.opened() as copy:
        sizes = restored(training, copy.path)
        first = group.agreed(training)
        log.say("a worker trains", workers=group.world, first_epoch=first + 1)
        if not first:
            set_solved(training, group.closed_forms(config, segments, given["bounds"]))

        def remember(record: EpochRecord) -> bool:
            sizes.append(group.world)
            if not group.rank:
                _keep(training, sizes, copy)
                metrics.epoch(record.epoch, record.windows_per_second, record.validation_loss)
                log.say("an epoch is kept", epoch=record.epoch + 1, validation_loss=record.validation_loss)
            ray.train.report(asdict(record) | {"workers": group.world})
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


class EndWithoutRoom(ControllerCallback):
    """Ends a training that would wait for ever, or start groups without end: nodes that have left left no room for its workers,
    or none beside them for the tasks that feed them, and none came for ``resources.wait_seconds``; or no group of an elastic
    one comes up. Room that others hold is room."""

    def __init__(
        self, asked: resources.Process, scaled_to: ScalingConfig, asks: ResourcesConfig, task_cpus: float = 0.0
    ) -> None:
        self.asked, self.asks, self.task_cpus = asked, asks, task_cpus
        self.low, self.high = scaled_to.min_workers, scaled_to.max_workers
        self.size = self.low
        """Workers that Ray Train decided on last."""
        self.since: dict[str, float] = {}
        """What is amiss, from when on."""

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        self.size = getattr(getattr(current_state, "scaling_decision", None), "num_workers", self.size)
        is_up, found = isinstance(current_state, RunningState), None
        if not is_up or self.task_cpus:
            found = resources.nodes()
        if self._lasts("room", not is_up and resources.held(self.asked, found) < self.low, self.asks.wait_seconds):
            resources.wait_for(self.asked, self.low, self.asks.model_copy(update={"wait_seconds": 0.0}))
        is_starved = is_up and found is not None and resources.left(self.asked, self.size, found) < self.task_cpus
        if self._lasts("tasks", is_starved, self.asks.wait_seconds):
            raise InputError(
                f"nodes have left, and {self.size:,} workers fill those that stayed: Ray Data, which feeds them, finds no "
                f"room for tasks of {self.task_cpus:g} CPUs. Add nodes, or set train.read: memory or fewer train.workers; the "
                "same command goes on after the newest checkpoint"
            )
        # Ray Train counts what nodes offer in all, decides on a size that others leave no room for, and does so again.
        if self._lasts("group", not is_up and self.high > self.low, NO_GROUP_SECONDS):
            raise InputError(
                f"no group of {self.low:,} to {self.high:,} workers came up within {NO_GROUP_SECONDS:g} s; others hold CPUs of "
                "this cluster: let them end, or set train.workers to the number that fits beside them; the same command goes on"
            )

    def _lasts(self, what: str, is_so: bool, seconds: float) -> bool:
        """Whether that has been so for so long."""
        if not is_so:
            self.since.pop(what, None)
            return False
        return time.monotonic() - self.since.setdefault(what, time.monotonic()) >= seconds


def _keep(training: Training, sizes: list[int], copy: Copy) -> None:
    """Write a checkpoint, which has the driver's folder before Ray Train hears of its epoch.

    Raises InputError where there is no room for it: Ray would train the epoch again.
    """
    try:
        # First: who goes on reads of it as many epochs as the checkpoint has.
        temporary = copy.path / f".{WORKERS}"
        temporary.write_text(json.dumps(sizes))
        temporary.replace(copy.path / WORKERS)
        checkpoint.save_next(training, copy.path)
    except OSError as error:
        raise InputError(
            f"no checkpoint can be written to '{copy.path}' ({error.strerror or error}); make room there; the same command "
            "goes on after the newest one"
        ) from error
    copy.keep()


def restored(training: Training, folder: Path) -> list[int]:
    """Continue the newest checkpoint that is whole; returns how many workers trained each epoch, empty where none is."""
    finished = checkpoint.load_newest(training, folder)
    try:
        sizes: list[int] = json.loads((folder / WORKERS).read_text())
    except OSError:
        # Epochs that one process trained by itself.
        sizes = [1] * finished
    return sizes[:finished]


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
