"""Training as a stage: in this process, or by Ray Train's workers (DDP) fed by Ray Data, with the same loss curve."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lstm_ray import figure, progress
from lstm_ray.config import Config
from lstm_ray.data.feed import Items, class_weights, of_items, planned, steps_per_epoch
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.choosing.validation import validation_metrics
from lstm_ray.figure import Figure
from lstm_ray.model import checkpoint, spending
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.heap import steady_heap
from lstm_ray.model.network import build
from lstm_ray.model.objective import precision
from lstm_ray.model.policy import Policy
from lstm_ray.model.private import Private, noise_to_signal, units_of
from lstm_ray.model.schedules import num_epochs
from lstm_ray.model.spending import PRIVACY
from lstm_ray.model.threads import threads
from lstm_ray.model.training import EpochRecord, Training, fit, set_solved, start
from lstm_ray.model.warm_start import warm_start
from lstm_ray.on_ray import cluster, metrics, stream
from lstm_ray.on_ray import start as start_from
from lstm_ray.on_ray.reading import Batches, Way, choose
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir

CHECKPOINTS, POLICY, WORKERS = "checkpoints", "policy", "workers.json"
DROWNED = 10.0
"""Noise so many times as long as the longest gradient leaves little to learn."""
SHOWN = 4
"""Networks of an ensemble whose own losses a picture shows, at most."""


def train(config: Config, run: RunDir, work: StageDir) -> Report:
    """Train the base policy, going on from what a killed attempt left behind.

    Leaves ``policy/``, ``metrics.jsonl``, ``tensorboard/`` and the newest checkpoints.
    """
    segments, bounds = load_segments(run)
    scaler = load_scaler(run)
    weights, before, begun, told = None, None, [], {}
    if config.train.start_from is not None:
        before = start_from.given(config)
        share, found = start_from.begun_from(before, config, segments.schema)
        weights, begun = before.network.state_dict(), [found]
        told = {"started_from": {"version": before.version, "share": share}}
    scaled = segments.scaled(scaler)
    items = planned(scaled, bounds, "train", config)
    private = privately(config, items, scaled)
    folder = work.path / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    limit = num_epochs(config, steps_per_epoch(items, config))
    with progress.bar("train", limit) as advance, _log(work.path, advance) as log:
        if config.train.workers:
            cluster.ensure()
        reading = choose(config, scaled)
        if config.train.workers:
            training = train_with_ray(config, scaled, bounds, work.path, log, reading.way, scaler, weights)
        else:
            training = train_here(config, scaled, bounds, folder, log, reading.way, scaler, items, weights, private)
    policy = Policy(config, segments.schema, scaler, training.network.state_dict())
    validation = validation_metrics(policy, segments, bounds)
    policy.facts["validation"] = validation
    if private is not None:
        taken = len(training.records) * steps_per_epoch(items, config)
        told[PRIVACY] = policy.facts[PRIVACY] = spending.told(private.account, config, taken, before)
        begun += _of_privacy(private, told[PRIVACY], policy.num_parameters)
    policy.save(work.path / POLICY)
    work.write_figures(training_figures(training))
    last = training.records[-1]
    speed = sum(r.windows_per_second for r in training.records) / len(training.records)
    findings = [*begun, *_findings(training, limit, config.train.schedule), reading.finding]
    if config.train.workers:
        from lstm_ray.on_ray import workers

        findings += workers.findings(folder)
    return Report(
        stage="train",
        summary=f"{policy.num_parameters:,} parameters trained in {_where(config)}{_short(config)} for {last.epoch + 1} "
        f"epochs; {_best(training)}, validation {_words(validation)}.",
        findings=findings,
        validation=validation,
        num_parameters=policy.num_parameters,
        windows_per_second=round(speed, 1),
        num_windows=items.num_windows,
        epochs=len(training.records),
        **told,
    )


def train_here(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    folder: Path | None,
    on_epoch: Callable[[list[EpochRecord]], None] = lambda records: None,
    way: Way | None = None,
    scaler: Scaler | None = None,
    items: Items | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
    private: Private | None = None,
) -> Training:
    """Train in this process; checkpoints in ``folder`` are continued and added to.

    Args:
        way: how batches are read; None: as ``train.read`` says.
        scaler: of the data; needed where ``model.output`` or ``model.distribution`` speak the target's own units.
        items: of the training part, where they are planned already.
        weights: of another network, to start from where they fit; None: drawn by the seed.
        private: of ``privately``, where it was asked already.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = begin(config, scaled, bounds, device, scaler, weights)
    if folder is None or not checkpoint.load_newest(training, folder):
        set_solved(training, closed_forms(config, scaled, bounds))

    def tell(record: EpochRecord) -> bool:
        on_epoch(training.records)
        return True

    given: Segments | stream.Blocks = scaled
    if (way or choose(config, scaled).way) == "stream":
        cluster.ensure()
        given = stream.put(scaled)
    batches = Batches(given, bounds, config, device, items=items)
    reads = batches.train
    if config.train.private is not None:
        items = items or planned(scaled, bounds, "train", config)
        private = private or privately(config, items, scaled)
        assert private is not None, "the config asks for it"
        reads = private.batches(of_items(items, scaled), batches.steps_per_epoch)
    after = checkpoint.kept(training, folder, tell)
    with threads(config.train.threads):
        fit(training, config, reads, batches.held_out, batches.steps_per_epoch, on_epoch=after, private=private)
    return training


def privately(config: Config, items: Items, scaled: Segments) -> Private | None:
    """How a training with differential privacy takes its steps, the noise found that all of its epochs need; None where the
    config asks for none. Raises InputError where its promise cannot be kept, or Opacus is missing."""
    if config.train.private is None:
        return None
    units, steps = units_of(items, scaled), steps_per_epoch(items, config)
    steps *= num_epochs(config, steps)
    return Private(spending.opened(config.train.private, len(units), config.train.batch, steps), units)


def train_with_ray(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    folder: Path,
    on_epoch: Callable[[list[EpochRecord]], None] = lambda records: None,
    way: Way | None = None,
    scaler: Scaler | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> Training:
    """Train with Ray Train workers; the same folder again goes on from its newest whole checkpoint."""
    # Ray Train takes a second to import, which a training in this process need not wait for.
    from lstm_ray.on_ray import workers

    return workers.train(config, scaled, bounds, folder / CHECKPOINTS, on_epoch, way, scaler, weights)


def begin(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    device: torch.device,
    scaler: Scaler | None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> Training:
    """A training before its first step, with the weights that the seed draws, or those of another network where they fit;
    reads no values of the segments."""
    steady_heap()
    torch.manual_seed(config.seed)
    network = build(config, scaled.schema)
    if weights is not None:
        warm_start(network, weights)
    return start(network.to(device), config, scaler=scaler, class_weight_K=class_weights(scaled, bounds, config))


def training_figures(training: Training) -> list[Figure]:
    """Loss curves, and gradient norm with learning rate."""
    records = training.records
    epochs = [record.epoch + 1 for record in records]
    alone = [list(losses) for losses in zip(*(record.member_losses for record in records), strict=True)]
    kept = f"those weights are kept, and lose {training.best_loss:.4f} on validation"
    lines = {"training": [r.train_loss for r in records], "validation": [r.validation_loss for r in records]}
    if 1 < len(alone) <= SHOWN:
        lines |= {f"network {e} alone": losses for e, losses in enumerate(alone, 1)}
    return [
        figure.lines(
            "loss",
            "Loss by epoch",
            f"Of {len(records)} epochs {_best(training)}; {kept}.",
            epochs,
            lines,
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


@contextmanager
def _log(folder: Path, advance: Callable[[str], None]) -> Iterator[Callable[[list[EpochRecord]], None]]:
    """Keep metrics.jsonl and TensorBoard events in step with the records, also those of a killed attempt."""
    from tensorboardX import SummaryWriter

    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    written = 0
    with SummaryWriter(str(folder / "tensorboard")) as writer:

        def log(records: list[EpochRecord]) -> None:
            nonlocal written
            lines = [json.dumps(asdict(record), sort_keys=True) for record in records]
            (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
            for record in records[written:]:
                line = asdict(record)
                members = line.pop("member_losses")
                for name, value in [*line.items(), *((f"member_loss/{e}", loss) for e, loss in enumerate(members))]:
                    writer.add_scalar(name, value, record.epoch)
                advance(f"validation loss {record.validation_loss:.4f}")
                metrics.epoch(record.epoch, record.windows_per_second, record.validation_loss)
            writer.flush()
            written = len(records)

        yield log


def _findings(training: Training, limit: int, schedule: str) -> list[Finding]:
    best, last = training.best_record, training.records[-1]
    if best.epoch + 1 == limit and schedule in ("constant", "plateau"):
        text = f"The last of {limit} epochs was the best, so training may have ended too early."
        return [Finding(severity="advice", text=text, advice=f"train.max_epochs: {2 * limit}")]
    gap = best.validation_loss / best.train_loss
    words = f"Validation loss was {gap:.2f} times the training loss at the best epoch, {best.epoch + 1} of {last.epoch + 1}."
    if gap > 1.5:
        return [Finding(severity="advice", text=words, advice="model.dropout: a higher value, or train.weight_decay")]
    return [Finding(severity="info", text=words)]


def _of_privacy(private: Private, told: Mapping[str, Any], num_parameters: int) -> list[Finding]:
    """What was promised and spent, and how much of what is learned the noise drowns."""
    ratio = noise_to_signal(private.account, num_parameters)
    text = (
        f"A step's noise is {ratio:.2g} times as long as the longest gradient that its {private.account.expected:.4g} "
        "series could have together."
    )
    drowned = ratio > DROWNED
    advice = "More series, a larger train.batch, a smaller model.hidden, or a larger epsilon." if drowned else ""
    begun_open = told.get("began_from") is not None and told["epsilon_in_all"] is None
    return [
        Finding(severity="warning" if begun_open else "info", text=spending.words(told)),
        Finding(severity="info", text=spending.left_out(told)),
        Finding(severity="advice" if drowned else "info", text=text, advice=advice),
    ]


def _best(training: Training) -> str:
    epochs = [str(epoch + 1) for epoch in training.best_epochs]
    if len(epochs) == 1:
        return f"the best was epoch {epochs[0]}"
    return f"the networks were best after {', '.join(epochs[:-1])} and {epochs[-1]}"


def _where(config: Config) -> str:
    workers = config.train.workers
    if isinstance(workers, tuple):
        return f"{workers[0]} to {workers[1]} Ray workers"
    return f"{workers} Ray worker{'s' * (workers > 1)}" if workers else "this process"


def _short(config: Config) -> str:
    """A training that would be another one on another machine says so."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return " in bfloat16" if precision(config, device) == "bfloat16" else ""


def _words(validation: dict[str, float]) -> str:
    shown = [name for name in ("mae", "mase", "accuracy", "macro_f1") if name in validation]
    return ", ".join(f"{name} {validation[name]:.4g}" for name in shown)
