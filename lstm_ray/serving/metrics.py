"""A monitor's summary as Prometheus reads it. Knows the summary's keys; knows no server and keeps no counts of its own.

Names and labels are stable: dashboards and alert rules are written by them (``cluster/prometheus``, ``cluster/grafana``). Every
metric is the server's, whichever replica is asked, and has the role of the policy that it tells of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lstm_ray.monitor.alarms import KINDS

CONTENT_TYPE = CONTENT_TYPE_LATEST
ROLES = ("canary", "shadow")
"""Beside the champion."""
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "seconds": ("Seconds since the policy is watched.", ("seconds",)),
    "in_flight": ("Requests being answered now.", ("load", "in_flight")),
    "in_flight_most": ("Requests that were being answered at once of late, at most.", ("load", "most")),
    "queued": ("Requests that wait to be predicted.", ("load", "queued")),
    "capacity": ("Requests that all replicas take at once.", ("load", "capacity")),
    "replicas": ("Replicas that told their load of late.", ("load", "replicas")),
    "saturation": ("in_flight_most over capacity.", ("load", "saturation")),
    "live_error": ("Rolling mean absolute error (accuracy of classes).", ("performance", "rolling")),
    "live_error_ratio": ("Rolling error over that of validation for these steps ahead.", ("performance", "ratio")),
    "live_mase": ("Rolling error over the training part's seasonal naive error.", ("performance", "mase")),
    "coverage": ("Share of observed values inside the outermost quantiles.", ("performance", "coverage")),
    "coverage_nominal": ("What the outermost quantiles are to hold.", ("performance", "nominal_coverage")),
    "rows_kept": ("Rows of named series that are kept for retraining.", ("rows", "kept")),
    "waiting_values": ("Predicted values that wait for their truth.", ("performance", "waiting")),
    "anomalies_share": ("Share of anomalies among the newest judged values.", ("anomalies", "recent_share")),
    "anomalies_rate": ("Stated share of usual values told as anomalies.", ("anomalies", "rate")),
}
COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "series": ("Series answered.", ("inputs", "series")),
    "series_with_warnings": ("Series answered with a warning.", ("inputs", "series_with_warnings")),
    "fallbacks": ("Series whose answer was not finite, told by a fallback.", ("fallbacks",)),
    "rows": ("New steps of named series that came with requests.", ("inputs", "rows")),
    "observations": ("Values of the truth that were brought.", ("performance", "observations")),
    "scored": ("Predicted values held against the truth.", ("performance", "scored")),
}
"""Name without its prefix: words, and where it stands in a summary."""
DRIFT = {
    "drift_psi": ("Population stability index against training.", "psi"),
    "drift_ks": ("Kolmogorov-Smirnov distance to training.", "ks"),
    "drift_wasserstein_deviations": (
        "Wasserstein distance to training, in its deviations.",
        "wasserstein_deviations",
    ),
    "drift_over_limit": ("Its worst distance over the limit of that distance.", "over_limit"),
    "missing_share": ("Share of missing values.", "missing_share"),
}


def exposition(summary: Mapping[str, Any]) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(summary))
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, summary: Mapping[str, Any]) -> None:
        self._of = {"champion": summary} | {role: summary[role] for role in ROLES if summary.get(role)}

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("lstm_ray_policy_info", "The policy in each role.", labels=["role", "version"])
        for role, told in self._of.items():
            info.add_metric([role, str(told.get("policy", ""))], 1)
        yield info
        for family, tables in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for name, (words, path) in tables.items():
                metric = family(f"lstm_ray_{name}", words, labels=["role"])
                for role, told in self._of.items():
                    if (value := _at(told, path)) is not None:
                        metric.add_metric([role], value)
                yield metric
        yield from self._requests()
        yield from self._drift()
        yield from self._anomalies()
        yield self._alarms()

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("lstm_ray_requests", "Requests answered.", labels=["role", "route", "status"])
        latency = HistogramMetricFamily(
            "lstm_ray_prediction_seconds", "Seconds that predictions took.", labels=["role"]
        )
        for role, told in self._of.items():
            for one in _at(told, ("requests", "by_status")) or ():
                requests.add_metric([role, one["route"], str(one["status"])], one["requests"])
            if bins := told.get("latency_histogram"):
                edges = [*(f"{edge:g}" for edge in bins["le_seconds"]), "+Inf"]
                latency.add_metric([role], list(zip(edges, bins["counts"], strict=True)), bins["sum_seconds"])
        yield requests
        yield latency

    def _drift(self) -> Iterator[Metric]:
        for name, (words, key) in DRIFT.items():
            metric = GaugeMetricFamily(f"lstm_ray_{name}", words, labels=["role", "kind", "column"])
            for role, told in self._of.items():
                for row in [*(_at(told, ("inputs", "columns")) or ()), *(told.get("predictions") or ())]:
                    if row.get(key) is not None:
                        metric.add_metric([role, row.get("kind", "drift"), row["column"]], row[key])
            yield metric

    def _anomalies(self) -> Iterator[Metric]:
        labels = ["role", "column", "measure"]
        judged = CounterMetricFamily("lstm_ray_judged_values", "Values judged for anomalies.", labels=labels)
        found = CounterMetricFamily("lstm_ray_anomalies", "Values told as anomalies.", labels=labels)
        for role, told in self._of.items():
            for one in _at(told, ("anomalies", "measures")) or ():
                judged.add_metric([role, one["column"], one["measure"]], one["judged"])
                found.add_metric([role, one["column"], one["measure"]], one["found"])
        yield judged
        yield found

    def _alarms(self) -> Metric:
        """Of every kind, also those of which none stands."""
        alarms = GaugeMetricFamily("lstm_ray_alarms", "Alarms that stand.", labels=["role", "kind"])
        for role, told in self._of.items():
            kinds = [one["kind"] for one in told.get("alarms", ())]
            for kind in dict.fromkeys([*KINDS, *kinds]):
                alarms.add_metric([role, kind], kinds.count(kind))
        return alarms


def _at(told: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = told
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
