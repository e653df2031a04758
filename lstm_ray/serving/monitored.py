"""The shape of GET /v1/monitor, for whoever reads it: what each key means. Knows no monitor.

Answers may hold more than is written here; what is written here they hold.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class Alarm(Part):
    kind: str = Field(
        description="drift, prediction, joint (how inputs go together), performance, change, anomalies, latency, errors, "
        "saturation or fallbacks"
    )
    what: str = Field(description="which of its kind: a column, a target; empty where there is but one")
    since_seconds: float = Field(description="for how long it has stood, by a clock that nobody sets")
    value: float
    limit: float
    text: str = Field(description="in words")


class ByStatus(Part):
    route: str
    status: int
    requests: int


class Requests(Part):
    total: int
    refused: int = Field(description="answered with 4xx")
    errors: int = Field(description="answered with 5xx")
    per_second_last_minute: float
    by_route: dict[str, int]
    by_status: list[ByStatus]


class Latency(Part):
    p50: float | None
    p95: float | None
    p99: float | None


class LoadOfReplicas(Part):
    replicas: int = Field(description="that told their load in the last 20 s")
    in_flight: int = Field(description="requests being answered, without GETs")
    most: int = Field(description="of these at once, at most, since replicas told before")
    queued: int = Field(description="of these, waiting to be predicted")
    capacity: int = Field(description="requests that all replicas take at once")
    saturation: float | None = Field(description="most over capacity")


class DriftRow(Part):
    column: str
    psi: float | None = Field(description="population stability index")
    ks: float | None = Field(description="Kolmogorov-Smirnov distance")
    wasserstein_deviations: float | None = Field(description="Wasserstein distance in training deviations")
    over_limit: float | None = Field(description="the worst of them over its limit: from 1 on an alarm stands")
    measure: str | None = Field(description="which of them that is: psi, ks, wasserstein_deviations or missing_share")
    state: str
    values: int
    missing_share: float
    mean: float | None
    training_mean: float | None


class Inputs(Part):
    series: int
    series_with_warnings: int
    rows: int = Field(description="new steps of named series")
    state: str = Field(description="in words")
    columns: list[DriftRow] = Field(description="the most shifted first")


class Measure(Part):
    column: str
    measure: str = Field(
        description="jump: against the values before; repeats: equal values in a row; residual: against the forecast"
    )
    judged: int
    found: int
    limit_multiple: float = Field(description="of the limit that training gave: it rises when scores do as a whole")
    works: bool = Field(description="whether training holds values enough for the rate")


class Anomaly(Part):
    series: str
    column: str
    measure: str
    time: str | int
    value: float
    expected: float | None = Field(description="the forecast's median, of a residual")
    p: float = Field(description="share of usual values as unusual as this one")


class AnomaliesTold(Part):
    rate: float = Field(description="share of usual values that are told as anomalies (monitor.anomalies)")
    judged: int
    found: int
    recent_share: float | None
    state: str = Field(description="in words")
    measures: list[Measure]
    newest: list[Anomaly] = Field(description="the newest first")


class Live(Part):
    metric: str = Field(description="mae, or accuracy of classes")
    observations: int
    scored: int = Field(description="predicted values that the truth was held against")
    waiting: int = Field(description="predicted values that wait for their truth")
    rolling: float | None
    rolling_over: int
    validation: float | None = Field(description="the same on the validation part")
    ratio: float | None = Field(description="error over that of validation for the same targets and steps ahead")
    limit: float | None = Field(
        description="of the ratio: from it on an alarm stands; monitor.worse, or more where chance brings that about too often "
        "(monitor.false_alarms); null where too few steps of time were scored to tell"
    )
    mase: float | None = Field(description="error over the training part's seasonal naive error")
    coverage: float | None = Field(description="share of observed values inside the outermost quantiles")
    nominal_coverage: float | None
    by_target: list[dict[str, Any]]
    by_lead: list[dict[str, Any]]
    state: str = Field(description="in words")


class Monitored(Part):
    """The account of a policy: the champion's, with ``canary`` and ``shadow`` beside where there are any."""

    policy: str = Field(description="its version")
    seconds: float = Field(description="since it is watched")
    alarms: list[Alarm] = Field(description="those that stand, the longest first")
    alarms_before: list[dict[str, Any]] = Field(
        default=[],
        description="those that stood when the server's monitor began anew: it has lost what it had measured, and raises them "
        "again once it sees that they are still so",
    )
    requests: Requests
    latency_ms: Latency
    load: LoadOfReplicas
    fallbacks: int = Field(description="series whose answer was not finite, told by a fallback")
    inputs: Inputs
    predictions: list[DriftRow]
    anomalies: AnomaliesTold
    performance: Live
    history: list[dict[str, float | int | None]] = Field(
        description="points over all of its time, at most 240: seconds, requests_per_second, p99_ms, error, ratio, coverage, "
        "drift_over_limit, anomalies_share, alarms"
    )
