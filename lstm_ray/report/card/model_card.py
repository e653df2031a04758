"""The model card: what a policy is, what it was made from, how good it is and what it is not for. Markdown; no Ray."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lstm_ray.data.parts import PARTS
from lstm_ray.data.scaling.transform import WORDS
from lstm_ray.evaluate.told import METRICS
from lstm_ray.model.policy import Policy
from lstm_ray.model.stored import CARD, POLICY, WEIGHTS, read, with_card
from lstm_ray.registry.lineage import LINEAGE
from lstm_ray.report import words
from lstm_ray.report.card import limits, scores, trust
from lstm_ray.report.card.facts import Facts, facts_of
from lstm_ray.report.card.markdown import counted, moment, paragraphs, table
from lstm_ray.report.card.purpose import purpose
from lstm_ray.run_dir import RunDir

EVALUATED, BUNDLE = "evaluate/policy", "policy"
"""The evaluated policy and the deployed one, below a run."""
MOST_COLUMNS = 20
"""Columns whose statistics are shown."""
MOST_FILES = 10
"""Files of the source that are listed."""
KINDS = {"forecast": "forecasts of series", "classify": "classes of sequences", "label": "labels of steps"}


def model_card(policy: Policy, facts: Facts, *, folder: str = BUNDLE, served: str = "") -> str:
    """The card of a policy, in the order of Mitchell et al. (2019). A section without facts is left out.

    Args:
        folder: of the policy, in its run.
        served: what its service adds to what it does, where it was deployed; empty where it was not.
    """
    metrics = facts.metrics
    sections = [
        f"# {policy.config.name}",
        purpose(policy) + (f" {served}" if served else ""),
        _use(policy),
        scores.quality(metrics) if "metrics" in metrics else "",
        scores.classes(metrics),
        scores.intervals(metrics),
        scores.slices(metrics),
        trust.groups(metrics),
        limits.relies(metrics),
        limits.limits(policy, metrics),
        trust.steadiness(policy, metrics),
        limits.spread(metrics),
        limits.audit(facts.checks),
        trust.privacy(policy),
        _data(policy, facts),
        _details(policy, facts),
        _reproduce(policy, facts),
        _lineage(policy),
        _call(policy, folder),
    ]
    return paragraphs(*sections) + "\n"


def write_card(run: RunDir, served: Callable[[Policy], str] = lambda policy: "") -> None:
    """The evaluated policy's card once more, with what was found since, such as by an audit; and its bundle's, where it was
    deployed. A bundle of other weights, left by an earlier run, is let be.

    Args:
        served: what a policy's service adds to what it does, as in ``model_card``.
    """
    with run.local_copy(EVALUATED) as folder:
        evaluated = read(folder)
    facts = facts_of(run, run.read_json(f"evaluate/{METRICS}"))
    card = model_card(Policy.of(evaluated, EVALUATED), facts, folder=EVALUATED)
    run.write_bytes(f"evaluate/{CARD}", card.encode())
    if not run.exists(f"{BUNDLE}/{POLICY}"):
        return
    with run.local_copy(BUNDLE) as folder:
        bundled = read(folder)
        policy = Policy.of(bundled, BUNDLE)
        if bundled[WEIGHTS] == evaluated[WEIGHTS] and CARD in bundled:
            files = with_card(bundled, model_card(policy, facts, folder=BUNDLE, served=served(policy)))
            _publish(run, folder, {name: files[name] for name in (CARD, POLICY)})


def _publish(run: RunDir, bundle: Path, files: Mapping[str, bytes]) -> None:
    """Replace the bundle whole: a policy beside a card that it does not name counts as altered."""
    with TemporaryDirectory(prefix="lstm-ray-card-") as temporary:
        changed = Path(shutil.copytree(bundle, Path(temporary, BUNDLE)))
        for name, content in files.items():
            (changed / name).write_bytes(content)
        run.publish(changed, BUNDLE)


def _use(policy: Policy) -> str:
    columns = [*policy.schema.target, *([policy.schema.label] if policy.schema.label else [])]
    what = f"{KINDS[policy.config.task]} ({', '.join(columns[:8])})" if columns else KINDS[policy.config.task]
    return f"""## Intended use

- Meant for {what} like those it was trained on, on the same grid and in the same units, by people who check its error.
- Not meant to decide about people, or alone about anything that costs dearly when wrong.
- Not meant for other grids, units or kinds of series, nor{_beyond(policy)} to tell causes: its limits are told below.
- Once served, `GET /v1/monitor` tells whether inputs still look like the training part's and whether the error grows."""


def _beyond(policy: Policy) -> str:
    """What it is not asked for, by its task."""
    if policy.config.task != "forecast":
        return ""
    return f" for more than {counted(policy.config.window.horizon, 'step')} ahead at a time, nor"


def _data(policy: Policy, facts: Facts) -> str:
    config, source = policy.config, policy.config.data.source
    shown = source if isinstance(source, str) else ", ".join(source)
    licence = policy.facts.get("licence") or config.data.licence
    told = f"Its licence: {licence}" if licence else "Its licence was not told (`data.licence`)"
    text = f"From `{shown}`{_measured(facts)}. {told}. Values are in the units of that source, which it does not name. "
    filled = sum(facts.filled.values())
    text += f"Gaps were filled ({config.preprocess.impute}"
    text += f", {filled:,} values of targets" if filled else ""
    text += "); filled targets never count as truth. "
    if config.split.by != "time":
        among = f"values of '{config.split.group}'" if config.split.group else "series"
        text += f"The parts hold whole series, dealt by {among if config.split.by == 'group' else 'order'}. "
    text += f"{_learned(policy)}The policy's files hold no row of it"
    if policy.residuals is not None:
        num = len(policy.residuals.step_R)
        text += f", but what {num:,} forecasts of its validation part missed: futures are sampled from that"
    spans = [[part, *map(moment, facts.times[part])] for part in PARTS if part in facts.times]
    columns = ["part", "first", "last"]
    if facts.windows:
        columns.append({"forecast": "windows", "classify": "sequences", "label": "windows"}[config.task])
        spans = [[*row, words.number(facts.windows.get(row[0]))] for row in spans]
    return paragraphs("## Data", f"{text}.", table(columns, spans, numbers=False) if spans else "", _columns(policy))


def _measured(facts: Facts) -> str:
    """How much it is, and the hash by which another copy is known to be the same."""
    data: dict[str, Any] = facts.environment.get("data") or {}
    told = [f"{facts.rows:,} rows"] if facts.rows else []
    if data:
        told.append(f"{counted(data['files'], 'file')} of {words.fact('_bytes', data['bytes'])}")
    if data.get("sha256"):
        told.append(f"SHA-256 `{data['sha256']}`")
    return f" ({', '.join(told)})" if told else ""


def _learned(policy: Policy) -> str:
    """What values are learned as, where not in deviations from their means."""
    scaler, prepare = policy.scaler, policy.config.preprocess
    said = f"Targets are learned as {WORDS[scaler.transform.kind]}. " if scaler.transform else ""
    if prepare.scale != "standard" or prepare.scale_by != "column":
        said += f"Values are read on the scale '{prepare.scale}', by {prepare.scale_by}. "
    if scaler.series is not None:
        said += f"The policy holds the names and statistics of {len(scaler.series.of):,} series. "
    return said


def _columns(policy: Policy) -> str:
    rows = []
    for role in ("target", "past", "known"):
        scale = getattr(policy.scaler, role)
        for name, mean, deviation in zip(getattr(policy.schema, role), scale.mean, scale.deviation, strict=True):
            rows.append([name, role, f"{mean:.5g}", f"{deviation:.5g}"])
    if scale := policy.scaler.label:
        rows.append([policy.schema.label or "", "label", f"{scale.mean[0]:.5g}", f"{scale.deviation[0]:.5g}"])
    for name, values in policy.schema.categories.items():
        rows.append([name, f"categorical, {len(values)} values", words.NOTHING, words.NOTHING])
    first = f"The first {MOST_COLUMNS} of {len(rows)} columns" if len(rows) > MOST_COLUMNS else "Its columns"
    left = f"{first}, with what the training part tells of their scale:"
    columns = ["column", "role", "training mean", "training deviation"]
    return paragraphs(left, table(columns, rows[:MOST_COLUMNS], numbers=False)) if rows else ""


def _details(policy: Policy, facts: Facts) -> str:
    window, model, train = policy.config.window, policy.config.model, policy.config.train
    shape = f"{model.layers} x {model.hidden} LSTM over patches of {counted(window.patch, 'step')}"
    extras = [name for name in ("bidirectional", "residual", "attention") if getattr(model, name)]
    rows = [["network", f"{shape}{', ' + ', '.join(extras) if extras else ''}"]]
    rows.append(["parameters", f"{policy.num_parameters:,}"])
    if policy.config.task == "forecast":
        rows.append(["quantiles", ", ".join(f"{q:g}" for q in policy.quantiles)])
    epochs = f", at most {counted(train.max_epochs, 'epoch')}" if train.max_epochs else ""
    rows.append(["learned by", f"{policy.config.loss.replace('_', ' ')} loss, {train.optimiser}{epochs}"])
    if stage := facts.metrics.get("policy"):
        rows.append(["chosen", f"policy of the stage '{stage}', by the validation part alone"])
    rows.append(["version", f"`{policy.version}`"])
    return "## Details\n\n" + table(["", ""], rows, numbers=False)


def _reproduce(policy: Policy, facts: Facts) -> str:
    """The command, and all that a repeated run depends on."""
    seeds = f"{policy.config.seed}"
    if told := (facts.metrics.get("backtest") or {}).get("policies"):
        seeds += f"; of the folds {', '.join(map(str, dict.fromkeys(one['seed'] for one in told)))}"
    rows = [["seed", seeds]]
    hardware, versions = (facts.environment.get(key, {}) for key in ("hardware", "versions"))
    if hardware:
        memory = words.fact("_bytes", hardware["memory_bytes"]) if "memory_bytes" in hardware else ""
        parts = [hardware.get("machine", ""), f"{hardware['cpus']} CPUs" if hardware.get("cpus") else "", memory]
        rows.append(["machine", f"{', '.join(filter(None, parts))}{' memory' * bool(memory)}"])
        rows.append(["system", str(hardware.get("system", ""))])
    if versions:
        held = [f"{name} {number}" for name, number in versions.items() if number != "not installed"]
        rows.append(["made with", ", ".join(held)])
    if facts.seconds:
        slow = [f"{stage} {words.seconds(time)}" for stage, time in facts.seconds.items() if time >= 0.5]
        whole = words.seconds(sum(facts.seconds.values()))
        rows.append(["time", f"{whole} ({', '.join(slow)})" if slow else whole])
        rows.append(["energy", "not measured"])
    audited = (
        "" if facts.checks else " The run was not audited: `lstm-ray evaluate config.yaml --audit` looks for leaks."
    )
    return f"""## How to reproduce it

```sh
lstm-ray run config.yaml --run-dir again
```

`config.yaml` in the run's directory is complete. On the same machine with the same data and packages, a repeated run \
gives the same metrics; on another, rounding differs.{audited}

{table(["", ""], rows, numbers=False)}"""


def _lineage(policy: Policy) -> str:
    """What it was made from, by hashes; every answer over HTTP names the version that leads here."""
    told = policy.facts.get(LINEAGE)
    if not told:
        return ""
    code, data = told["code"], told["data"]
    rows = [
        [f"data: {one['file'].rsplit('/', 1)[-1]}", f"`{one['sha256'] or one['version']}`"] for one in data[:MOST_FILES]
    ]
    if len(data) > MOST_FILES:
        rows.append([f"and {len(data) - MOST_FILES:,} more files", "in policy.json"])
    rows.append(["config.yaml", f"`{told['config']}`"])
    rows.append([f"code: lstm-ray {code['version']}", f"`{code['sha256']}`"])
    if code.get("commit"):
        rows.append(["commit", f"`{code['commit']}`"])
    rows += [["started from policy", f"`{parent}`"] for parent in told["parents"]]
    said = (
        "Every answer names the policy's version; `lstm-ray lineage RUN VERSION` leads from it to all of these, and holds \
files that are still there against their hashes (SHA-256)."
    )
    return paragraphs("## Lineage", said, table(["", ""], rows, numbers=False))


def _call(policy: Policy, folder: str) -> str:
    return f"""## How to call it

```python
from lstm_ray.model.policy import Policy, SeriesInput

policy = Policy.load("{folder}")
answers = policy.predict([SeriesInput(times, columns)])  # columns: name to values, oldest first
```

```sh
lstm-ray serve RUN
curl -s http://127.0.0.1:8000/v1/{policy.config.task} -H 'Content-Type: application/json' -d @request.json
```

`GET /docs` has a body that works."""
