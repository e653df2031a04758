"""A run's challengers and aliases, told to an MLflow server too: a run for each policy, and the aliases of its model.

The registry on disk decides; the mirror follows. Whatever fails there stops nothing here: it is said, and the ledger keeps it.
No policy's files are sent. Knows MLflow's client, which is imported where a mirror is asked for (``lstm-ray[mlflow]``).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError, not_installed
from lstm_ray.model.stored import POLICY
from lstm_ray.registry.account import Account, read
from lstm_ray.registry.folder import at
from lstm_ray.registry.ledger import Ledger
from lstm_ray.registry.lineage import LINEAGE

ALIASES = ("champion", "challenger", "previous")
VERSION = "lstm_ray.policy"
"""Tag by which a policy is found again."""
MOST_LETTERS, MOST_AT_ONCE = 500, 100
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""MLflow's own would hold a retrainer up for minutes where its server is away."""


def mirror(
    run: str | Path, address: str, version: str, metrics: Mapping[str, float], tags: Mapping[str, str] | None = None
) -> str:
    """Have MLflow show a run's registry as it is now. Doing so again adds nothing.

    Args:
        run: a run directory on this machine.
        address: of the MLflow server, as ``retrain.mlflow``.
        version: of the policy that the metrics are of, kept in the registry.
        metrics: of its gate, say; what is no finite number is left out.
        tags: more of its run, such as the verdict.

    Returns:
        What went wrong, for people; empty where nothing did. The ledger has an entry ``mirror_failed`` of it.
    """
    folder = at(run)
    try:
        account = read(folder)
        if account is None or account.kept(version) is None:
            raise InputError(f"policy {version[:12]} is not kept in '{folder}'")
        with _patience():
            _mirror(folder, account, address, version, metrics, tags or {})
    except ModuleNotFoundError as error:
        missing = not_installed(error, "mlflow")
        return _failed(folder, address, version, str(missing or error))
    except Exception as error:  # whatever a server far away does, the policies here are as they are
        words = str(error).strip().splitlines() or [""]
        return _failed(folder, address, version, f"{type(error).__name__}: {words[0]}")
    return ""


def _mirror(
    folder: Path,
    account: Account,
    address: str,
    version: str,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address, registry_uri=address)
    name = re.sub(r"[/:]", "-", json.loads((folder / version / POLICY).read_bytes())["config"]["name"]) or "lstm-ray"
    held = _model(client, name)
    aliases = {alias: policy for alias, policy in account.aliases().items() if alias in ALIASES}
    for policy in dict.fromkeys([*aliases.values(), version]):
        if policy not in held:
            own = policy == version
            held[policy] = _add(client, name, folder, policy, metrics if own else {}, tags if own else {})
    present = client.get_registered_model(name).aliases
    for alias in ALIASES:
        if alias in aliases:
            client.set_registered_model_alias(name, alias, held[aliases[alias]])
        elif alias in present:
            client.delete_registered_model_alias(name, alias)


def _model(client: Any, name: str) -> dict[str, str]:
    """MLflow's versions of the model, by the policy's; the model is made where it is not there."""
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    found = client.search_model_versions(f"name='{name}'")
    return {one.tags[VERSION]: str(one.version) for one in found if VERSION in one.tags}


def _add(
    client: Any, name: str, folder: Path, policy: str, metrics: Mapping[str, float], tags: Mapping[str, str]
) -> str:
    """A run and a model version of a policy; returns the latter's number."""
    from mlflow.entities import Metric, Param

    told = json.loads((folder / policy / POLICY).read_bytes())
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment is not None else client.create_experiment(name)
    all_tags = {VERSION: policy, **_lineage(told["facts"].get(LINEAGE) or {}), **tags}
    run = client.create_run(number, run_name=f"{name} {policy[:12]}", tags=all_tags).info
    values = {**{f"validation.{key}": value for key, value in told["facts"].get("validation", {}).items()}, **metrics}
    measured = [
        Metric(_key(key), float(value), run.start_time, 0) for key, value in values.items() if math.isfinite(value)
    ]
    params = [Param(_key(key), str(value)[:MOST_LETTERS]) for key, value in _flat(told["config"])]
    client.log_batch(run.run_id, metrics=measured)
    for first in range(0, len(params), MOST_AT_ONCE):
        client.log_batch(run.run_id, params=params[first : first + MOST_AT_ONCE])
    client.set_terminated(run.run_id)
    source = f"runs:/{run.run_id}/policy"
    return str(client.create_model_version(name, source=source, run_id=run.run_id, tags={VERSION: policy}).version)


def _lineage(lineage: Mapping[str, Any]) -> dict[str, str]:
    """As tags."""
    if not lineage:
        return {}
    data = " ".join(str(one["sha256"] or one.get("version")) for one in lineage["data"])
    code = lineage["code"]
    found = {
        "data_sha256": data[:MOST_LETTERS],
        "config_sha256": lineage["config"],
        "code_sha256": code["sha256"],
        "code_version": code["version"],
        "commit": code.get("commit"),
        "trained": lineage["trained"],
        "parents": " ".join(lineage["parents"]),
    }
    return {f"lstm_ray.{key}": str(value) for key, value in found.items() if value}


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Section.field and value."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif value not in (None, [], ""):
            yield f"{above}{key}", value


def _key(name: str) -> str:
    """As MLflow lets one be written."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]


def _failed(folder: Path, address: str, version: str, why: str) -> str:
    evidence = {"policy": version, "address": address, "why": why[:MOST_LETTERS]}
    try:
        Ledger(folder).append("mirror_failed", evidence)
    except InputError as error:
        why += f"; and {error}"
    return f"MLflow at {address} does not show policy {version[:12]}: {why}"


@contextmanager
def _patience() -> Iterator[None]:
    """Until the block ends, MLflow gives up soon; what the user has set stands."""
    added = {key: value for key, value in PATIENCE.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)
