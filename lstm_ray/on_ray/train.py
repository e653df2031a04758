"""Training as a stage: in this process, or by Ray Train's workers (DDP) fed by Ray Data, with the same loss curve."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lstm_ray import figure, progress
from lstm_ray.config import Config
from lstm_ray.data.feed import all_batches, source, steps_per_epoch
from lstm_ray.data.split import Boundaries
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.validation import validation_metrics
from lstm_ray.figure import Figure
from lstm_ray.model import checkpoint
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.training import EpochRecord, Training, fit, start
from lstm_ray.on_ray import cluster
from lstm_ray.on_ray.ingest import stream_batches
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir

CHECKPOINTS, POLICY = "checkpoints", "policy"
MAX_FAILURES = 3
"""Worker losses survived before a training is given up."""


def train(config: Config, run: RunDir, work: StageDir) -> Report:
    """Train the base policy, going on from what a killed attempt left behind.

    Leaves ``policy/``, ``metrics.jsonl``, ``tensorboard/`` and the newest checkpoints.
    """
    segments, bounds = load_segments(run)
    scaler = load_scaler(run)
    scaled = segments.scaled(scaler)
    train_part = source(scaled, bounds, "train", config)
    folder = work.path / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    with progress.bar("train", config.train.max_epochs) as advance:
        log = _log(work.path, config, advance)
        if config.train.workers:
            training = train_with_ray(config, scaled, bounds, work.path, log)
        else:
            training = train_here(config, scaled, bounds, folder, log)
    policy = Policy(config, segments.schema, scaler, training.network.state_dict())
    validation = validation_metrics(policy, segments, bounds)
    policy.facts["validation"] = validation
    policy.save(work.path / POLICY)
    work.write_figures(training_figures(training.records))
    best, last = training.best_record, training.records[-1]
    speed = sum(r.windows_per_second for r in training.records) / len(training.records)
    where = f"{config.train.workers} Ray workers" if config.train.workers else "this process"
    return Report(
        stage="train",
        summary=f"{policy.num_parameters:,} parameters trained in {where} for {last.epoch + 1} epochs; the best was epoch "
        f"{best.epoch + 1}, validation {_words(validation)}.",
        findings=_findings(training, config),
        validation=validation,
        num_parameters=policy.num_parameters,
        windows_per_second=round(speed, 1),
        num_windows=train_part.num_windows,
        epochs=len(training.records),
    )


def train_here(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    folder: Path | None,
    on_epoch: Callable[[list[EpochRecord]], None] = lambda records: None,
) -> Training:
    """Train in this process; checkpoints in ``folder`` are continued and added to."""
    items, held_out = source(scaled, bounds, "train", config), source(scaled, bounds, "validation", config)
    training = _begin(config, scaled)
    if folder is not None:
        checkpoint.load_newest(training, folder)

    def tell(record: EpochRecord) -> bool:
        on_epoch(training.records)
        return True

    with threads(config.train.threads):
        checkpoint.fit_kept(training, config, items, held_out, folder, tell)
    return training


def train_with_ray(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    folder: Path,
    on_epoch: Callable[[list[EpochRecord]], None] = lambda records: None,
) -> Training:
    """Train with Ray Train workers; the same folder again goes on from its newest checkpoint."""
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    cluster.ensure()
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "segments": ray.put(scaled),
            "bounds": bounds,
        },
        scaling_config=ScalingConfig(
            num_workers=config.train.workers,
            use_gpu=torch.cuda.is_available(),
            resources_per_worker={"CPU": _cpu_share(config.train.workers, config.train.threads)},
        ),
        run_config=RunConfig(
            name="train",
            storage_path=str(folder / CHECKPOINTS),
            checkpoint_config=CheckpointConfig(num_to_keep=checkpoint.KEPT),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        result = trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise _user_error(error) from error
    training = _begin(config, scaled)
    assert result.checkpoint is not None, "training ended without a checkpoint"
    with result.checkpoint.as_directory() as newest:
        if not checkpoint.load(training, Path(newest)):
            raise InputError(f"the last checkpoint in '{folder / CHECKPOINTS}' is damaged; train again with --force")
    training.network.load_state_dict(training.best_weights)
    on_epoch(training.records)
    return training


def _worker(given: dict[str, Any]) -> None:
    """What each Ray Train worker runs: ``fit`` with the network wrapped for DDP and sums over all workers."""
    import tempfile

    import ray
    import torch.distributed
    from ray.train.torch import prepare_model

    config = Config.model_validate(given["config"])
    scaled: Segments = ray.get(given["segments"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(config.train.threads)
    training = _begin(config, scaled)
    torch.manual_seed(config.seed + rank)
    for reported in reversed(ray.train.get_all_reported_checkpoints()):
        with reported.checkpoint.as_directory() as folder:
            if checkpoint.load(training, Path(folder)):
                break
    items = source(scaled, given["bounds"], "train", config)
    held_out = source(scaled, given["bounds"], "validation", config)

    def add_up(sums: torch.Tensor) -> torch.Tensor:
        total = sums.clone()
        if world > 1:
            torch.distributed.all_reduce(total)
        return total

    def remember(record: EpochRecord) -> bool:
        line = asdict(record)
        if rank:
            ray.train.report(line)
            return True
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save(training, Path(folder))
            ray.train.report(line, checkpoint=ray.train.Checkpoint.from_directory(folder))
        return True

    fit(
        training,
        config,
        lambda epoch: stream_batches(given["segments"], given["bounds"], config, epoch, rank, world),
        lambda: all_batches(held_out, config, rank, world),
        steps_per_epoch(items, config),
        wrapped=prepare_model(training.network),
        add_up=add_up,
        on_epoch=remember,
    )


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Run torch with this many CPU threads, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def training_figures(records: list[EpochRecord]) -> list[Figure]:
    """Loss curves, and gradient norm with learning rate."""
    epochs = [record.epoch + 1 for record in records]
    best = min(records, key=lambda record: record.validation_loss)
    return [
        figure.lines(
            "loss",
            "Loss by epoch",
            f"Validation loss was lowest, {best.validation_loss:.4f}, after epoch {best.epoch + 1} of {len(records)}; "
            "those weights are kept.",
            epochs,
            {"training": [r.train_loss for r in records], "validation": [r.validation_loss for r in records]},
            x_title="epoch",
            y_title="loss",
        ),
        figure.lines(
            "gradient",
            "Gradient norm by epoch",
            f"Mean norm before clipping, from {records[0].gradient_norm:.3f} to {records[-1].gradient_norm:.3f}.",
            epochs,
            {"gradient norm": [record.gradient_norm for record in records]},
            x_title="epoch",
        ),
    ]


def _begin(config: Config, scaled: Segments) -> Training:
    torch.manual_seed(config.seed)
    network = build(config, scaled.schema)
    if torch.cuda.is_available():
        network = network.cuda()
    return start(network, config)


def _cpu_share(workers: int, threads_each: int) -> float:
    """CPUs of one worker, leaving one for Ray Data: a cluster that Train fills starves the pipeline that feeds it."""
    return min(float(threads_each), max(1, cluster.num_cpus() - 1) / workers)


def _log(folder: Path, config: Config, advance: Callable[[str], None]) -> Callable[[list[EpochRecord]], None]:
    """Keep metrics.jsonl and TensorBoard events in step with the records, also those of a killed attempt."""
    from tensorboardX import SummaryWriter

    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    written = 0

    def log(records: list[EpochRecord]) -> None:
        nonlocal written
        lines = [json.dumps(asdict(record), sort_keys=True) for record in records]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        with SummaryWriter(str(folder / "tensorboard")) as writer:
            for record in records[written:]:
                for name, value in asdict(record).items():
                    writer.add_scalar(name, value, record.epoch)
                advance(f"validation loss {record.validation_loss:.4f}")
        written = len(records)

    return log


def _findings(training: Training, config: Config) -> list[Finding]:
    best, last, limit = training.best_record, training.records[-1], config.train.max_epochs
    if best.epoch + 1 == limit:
        text = f"The last of {limit} epochs was the best, so training may have ended too early."
        return [Finding(severity="advice", text=text, advice=f"train.max_epochs: {2 * limit}")]
    gap = best.validation_loss / best.train_loss
    words = f"Validation loss was {gap:.2f} times the training loss at the best epoch, {best.epoch + 1} of {last.epoch + 1}."
    if gap > 1.5:
        return [Finding(severity="advice", text=words, advice="model.dropout: a higher value, or train.weight_decay")]
    return [Finding(severity="info", text=words)]


def _words(validation: dict[str, float]) -> str:
    shown = [name for name in ("mae", "mase", "accuracy", "macro_f1") if name in validation]
    return ", ".join(f"{name} {validation[name]:.4g}" for name in shown)


def _user_error(error: BaseException) -> BaseException:
    """The InputError inside what Ray wraps around a worker's exception, or the error itself."""
    text = str(error)
    marker = "InputError: "
    if marker in text:
        return InputError(text[text.rindex(marker) + len(marker) :].splitlines()[0])
    return error
