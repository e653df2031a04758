"""The sections of a policy that is at work: how it is watched, learned on with, and put under load."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lstm_ray.sections.base import Address, Fraction, Section


class MonitorConfig(Section):
    """What a server keeps an eye on, and when it says so."""

    window: int = Field(
        default=500,
        ge=50,
        description="newest values of a column (predictions, errors) that are held against training; limits are those that "
        "stretches of the training part as long keep",
    )
    false_alarms: Fraction = Field(
        default=0.01,
        gt=0,
        description="share of windows of data like training's that raise an alarm of drift, all columns and measures together; "
        "and of windows of errors like validation's that raise one of performance",
    )
    anomalies: Fraction = Field(
        default=0.001,
        gt=0,
        description="share of usual values that are told as anomalies (conformal, false-alarm rate)",
    )
    worse: float = Field(
        default=1.25,
        gt=1,
        description="live error over that of the validation part from which performance raises an alarm; where chance alone "
        "brings that about oftener than false_alarms says, more is needed",
    )
    p99_ms: float = Field(default=1_000.0, gt=0, description="milliseconds from which the slowest 1 % raise an alarm")
    errors: Fraction = Field(
        default=0.01, gt=0, description="share of requests that fail (5xx) from which they raise an alarm"
    )
    keep_days: float = Field(
        default=30.0,
        ge=0,
        description="days for which rows that came with requests and observations of named series are kept, for retraining; "
        "then they are deleted for good; 0: none are kept",
    )
    max_rows: int = Field(default=5_000_000, gt=0, description="such rows kept at most; the oldest make room")


class RetrainConfig(Section):
    """When a challenger is trained, from what, and when it takes over."""

    on_drift: bool = Field(default=True, description="an alarm of drift asks for a challenger")
    on_performance: bool = Field(default=True, description="an alarm of performance asks for a challenger")
    new_rows: int | None = Field(default=None, gt=0, description="so many new rows ask for a challenger; none: never")
    every_hours: float | None = Field(
        default=None, gt=0, description="hours after the last challenger that ask for another; none: never"
    )
    least_rows: int = Field(
        default=200, gt=0, description="new rows without which no challenger is trained, whatever asks for it"
    )
    cooldown_seconds: float = Field(
        default=3_600.0, ge=0, description="after a challenger, so long no alarm asks for another"
    )
    poll_seconds: float = Field(default=10.0, gt=0, description="--watch looks at the monitor so often")
    start: Literal["warm", "anew"] = Field(
        default="warm", description="the challenger's weights begin as the champion's, or are drawn anew"
    )
    learning_rate: float = Field(default=0.3, gt=0, description="of a warm start, as a multiple of train.learning_rate")
    max_epochs: int | None = Field(default=None, gt=0, description="of the challenger; none: as train.max_epochs")
    new_share: Fraction = Field(
        default=0.5,
        gt=0,
        description="share of the loss that new rows have in a challenger's training; the rest replays old ones, against "
        "forgetting",
    )
    held_out: Fraction = Field(
        default=0.3, gt=0, description="newest share of the new steps that champion and challenger are judged on"
    )
    reference: Fraction = Field(
        default=0.5,
        gt=0,
        description="newest share of the first run's test part that no challenger learns from: the fixed slice on which it "
        "must not be much worse",
    )
    confidence: Fraction = Field(
        default=0.95,
        gt=0.5,
        description="how sure it must be that the challenger's errors are smaller, by a paired test",
    )
    max_worse: Fraction = Field(
        default=0.1,
        gt=0,
        description="share by which the error may grow in no slice: the reference, series, leads, targets",
    )
    rollback_ratio: float = Field(
        default=1.25,
        gt=1,
        description="a new champion's live error over the one's before it, on the same observations, from which it is rolled "
        "back",
    )
    rollback_values: int = Field(
        default=100, gt=0, description="observed values that must have been predicted by both before that is told"
    )
    probation_hours: float = Field(
        default=24.0,
        ge=0,
        description="for so long the champion before answers as a shadow of the new one; 0: not at all",
    )
    mlflow: Address | None = Field(
        default=None,
        description="address of an MLflow server that mirrors challengers and aliases (lstm-ray[mlflow]); none: no mirror",
    )


class StressConfig(Section):
    """How a server is put under load."""

    users: list[Annotated[int, Field(gt=0)]] = Field(
        default=[1, 2, 4, 8, 16, 32, 64, 128],
        min_length=1,
        description="clients at once, step after step, up to which capacity is looked for; each asks again as soon as it is "
        "answered, and waits as long as it is told to where it is turned away",
    )
    step_seconds: float = Field(default=10.0, ge=1, description="length of a step")
    spike_users: int = Field(
        default=512,
        ge=0,
        description="clients that come all at once, more than a replica holds and queues (five times "
        "deploy.max_ongoing_requests), so that it must turn some away; 0: no spike",
    )
    spike_seconds: float = Field(default=10.0, ge=1, description="length of the spike")
    soak_seconds: float = Field(
        default=60.0,
        ge=0,
        description="length of steady load, over which memory and open files are watched; 0: no soak",
    )
    slow: float = Field(default=0.05, ge=0, lt=1, description="share of clients that send slowly and read late")
    hostile: float = Field(
        default=0.05, ge=0, lt=1, description="share of clients that send what must be refused, or hang up"
    )
    kill_replica: bool = Field(
        default=True, description="kill a replica in mid-load (where the server is started here) and watch it come back"
    )
    p99_ms: float = Field(
        default=200.0,
        gt=0,
        description="milliseconds in which 99 % of accepted requests are to be answered: the target "
        "that capacity is told at",
    )
    max_memory_growth: Fraction = Field(
        default=0.1,
        gt=0,
        description="share by which memory and open files may grow over the soak, without its first quarter",
    )

    @model_validator(mode="after")
    def _leaves_valid_clients(self) -> StressConfig:
        if self.slow + self.hostile > 0.9:
            raise ValueError(
                f"slow {self.slow:g} and hostile {self.hostile:g} leave less than a tenth of the clients that are measured; "
                "lower one of them"
            )
        return self
