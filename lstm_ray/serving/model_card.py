"""The model card: what a policy is, what it was made from, how good it is and what it is not for. Markdown; no Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_ray.data.parts import PARTS
from lstm_ray.data.scaling.transform import WORDS
from lstm_ray.model.policy import Policy
from lstm_ray.report.scores import metric, ordered
from lstm_ray.serving.api import in_words

CARD = "model_card.md"
MAX_SLICES = 20
"""Series shown; of more, the worst."""


def model_card(
    policy: Policy, version: str, versions: Mapping[str, str], metrics: Mapping[str, Any], parts: Mapping[str, Any]
) -> str:
    """The card of a policy.

    Args:
        versions: of the packages it was saved with.
        metrics: ``evaluate/metrics.json``.
        parts: each part's first and last time.
    """
    sections = [
        f"# {policy.config.name}\n\n{in_words(policy)}",
        _facts(policy, version, versions, metrics),
        _data(policy, parts),
        _scores(metrics),
        _slices(policy, metrics),
        _use(policy),
        _call(policy),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(policy: Policy, version: str, versions: Mapping[str, str], metrics: Mapping[str, Any]) -> str:
    window, model = policy.config.window, policy.config.model
    shape = f"{model.layers} x {model.hidden} LSTM over patches of {window.patch} steps"
    extras = [name for name in ("bidirectional", "residual", "attention") if getattr(model, name)]
    rows = [
        ["version", f"`{version}`"],
        ["network", f"{shape}{', ' + ', '.join(extras) if extras else ''}; {policy.num_parameters:,} parameters"],
        ["chosen", f"policy of the stage '{metrics['policy']}', the best on the validation part"],
        ["loss", policy.config.loss],
        ["seed", str(policy.config.seed)],
        ["made with", ", ".join(f"{name} {number}" for name, number in versions.items())],
    ]
    if policy.config.task == "forecast":
        rows.insert(2, ["quantiles", ", ".join(f"{q:g}" for q in policy.quantiles)])
    return "## Facts\n\n" + _table(["", ""], rows)


def _data(policy: Policy, parts: Mapping[str, Any]) -> str:
    source = policy.config.data.source
    spans = [[part, *map(str, parts[part])] for part in PARTS]
    rows = []
    for role in ("target", "past", "known"):
        scale = getattr(policy.scaler, role)
        for name, mean, deviation in zip(getattr(policy.schema, role), scale.mean, scale.deviation, strict=True):
            rows.append([name, role, f"{mean:.5g}", f"{deviation:.5g}"])
    if scale := policy.scaler.label:
        rows.append([policy.schema.label or "", "label", f"{scale.mean[0]:.5g}", f"{scale.deviation[0]:.5g}"])
    rows += [
        [name, f"categorical, {len(values)} values", "-", "-"] for name, values in policy.schema.categories.items()
    ]
    learned, split = _learned(policy), policy.config.split
    among = f"values of '{split.group}'" if split.group else "series"
    dealt = (
        f"The parts hold whole series, dealt by {among if split.by == 'group' else 'order'}. "
        if split.by != "time"
        else ""
    )
    shown = source if isinstance(source, str) else ", ".join(source)
    words = (
        f"From `{shown}`. Values are in the units of that source, which it does not name. Gaps were filled "
        f"({policy.config.preprocess.impute}); filled targets never count as truth. {dealt}{learned}The files of the "
        f"policy hold no row of it{_errors(policy)}."
    )
    columns = _table(["column", "role", "training mean", "training deviation"], rows)
    return f"## Data\n\n{words}\n\n{_table(['part', 'first', 'last'], spans)}\n\n{columns}"


def _errors(policy: Policy) -> str:
    """What futures are sampled from, where the policy carries it."""
    if policy.residuals is None:
        return ""
    return f", but what {len(policy.residuals.step_R):,} forecasts of its validation part missed: futures are sampled from that"


def _learned(policy: Policy) -> str:
    """What values are learned as, where not in deviations from their means."""
    scaler, prepare = policy.scaler, policy.config.preprocess
    said = f"Targets are learned as {WORDS[scaler.transform.kind]}. " if scaler.transform else ""
    if prepare.scale != "standard" or prepare.scale_by != "column":
        said += f"Values are read on the scale '{prepare.scale}', by {prepare.scale_by}. "
    if scaler.series is not None:
        said += f"The policy holds the names and statistics of {len(scaler.series.of):,} series. "
    return said


def _scores(metrics: Mapping[str, Any]) -> str:
    who = {"policy": metrics["metrics"], **metrics["baselines"]}
    names = ordered(name for values in who.values() for name in values)
    rows = [[name.replace("_", " "), *(_number(values.get(m)) for m in names)] for name, values in who.items()]
    unit = {"forecast": "windows", "classify": "sequences", "label": "labelled steps"}[metrics["task"]]
    words = (
        f"Over {metrics['num_windows']:,} {unit} of the test part, which was read once, after the policy was chosen."
    )
    return f"## How good it is\n\n{words}\n\n{_table(['', *(metric(m).label for m in names)], rows)}"


def _slices(policy: Policy, metrics: Mapping[str, Any]) -> str:
    by_series = metrics.get("by_series", {}).get("policy")
    if by_series:
        worst = sorted(by_series.items(), key=lambda item: -(item[1] or 0.0))[:MAX_SLICES]
        more = f" The {MAX_SLICES} worst of {len(by_series)}." if len(by_series) > MAX_SLICES else ""
        table = _table(["series", "MAE"], [[name, _number(value)] for name, value in worst])
        return f"## By series\n\nDifferences between series that matter to people should be looked at.{more}\n\n{table}"
    by_class = metrics.get("by_class")
    if not by_class:
        return ""
    rows = by_class if isinstance(by_class, list) else [{"class": name, **values} for name, values in by_class.items()]
    names = list(rows[0])
    return "## By class\n\n" + _table(names, [[_number(row[name]) for name in names] for row in rows])


def _use(policy: Policy) -> str:
    window = policy.config.window
    task = policy.config.task
    what = {"forecast": "forecasts of series", "classify": "classes of sequences", "label": "labels of steps"}[task]
    return f"""## Use and limits

- Meant for {what} like those it was trained on, on the same grid and in the same units, by people who check its error.
- Not meant to decide about people, or alone about anything that costs dearly when wrong.
- It knows nothing that its {window.history} steps of history do not show: events without precedent surprise it.
- Where inputs drift from the training part its error grows; `GET /v1/monitor` shows both.
- It learned correlations, not causes: a what-if tells what the policy would say, not what would happen."""


def _call(policy: Policy) -> str:
    route = policy.config.task
    return f"""## How to call it

```python
from lstm_ray.model.policy import Policy, SeriesInput

policy = Policy.load("policy")
answers = policy.predict([SeriesInput(times, columns)])  # columns: name to values, oldest first
```

```sh
lstm-ray serve RUN
curl -s http://127.0.0.1:8000/v1/{route} -H 'Content-Type: application/json' -d @request.json
```

`GET /docs` has a body that works."""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
