"""Putting another policy into a server that runs, from any process that may join its Ray cluster. Knows no HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError

from lstm_ray.errors import InputError
from lstm_ray.on_ray import cluster, servers
from lstm_ray.on_ray.cluster import NAMESPACE
from lstm_ray.on_ray.serve import APPLICATION, register_of
from lstm_ray.serving.bundle import find
from lstm_ray.serving.switching.register import Change


@dataclass(frozen=True)
class Server:
    """One that runs, as an update reaches it."""

    application: str
    register: Any
    """Its actor."""

    def status(self) -> dict[str, Any]:
        """What it serves: see ``Register.status``."""
        return self._ask("status")

    def change(self, change: Change) -> dict[str, Any]:
        """Do what is asked and return the new status with ``ready_seconds``, until every replica had the policy loaded and
        warm, and ``swap_seconds``, from then until all answered with it. Raises InputError where it cannot be; then all is as
        it was."""
        return self._ask("change", change)

    def _ask(self, method: str, *arguments: Any) -> dict[str, Any]:
        try:
            found: dict[str, Any] = cluster.answer(getattr(self.register, method).remote(*arguments))
        except RayActorError:
            raise InputError(
                f"the register of '{self.application}' went away before it answered; look with --status and try again"
            ) from None
        return found


def server(address: str = "", application: str = APPLICATION) -> Server:
    """The server of that name in the cluster at an address; without one, this user's own on this machine.

    Raises InputError where there is none, or several.
    """
    if not ray.is_initialized():
        servers.join(address, application)
    cluster.ensure()
    try:
        return Server(application, ray.get_actor(register_of(application), namespace=NAMESPACE))
    except ValueError:
        held = [a["name"] for a in ray.util.list_named_actors(all_namespaces=True) if a["namespace"] == NAMESPACE]
        runs = ", ".join(sorted(name.removesuffix(register_of("")) for name in held if name.endswith(register_of(""))))
        raise InputError(
            f"no server '{application}' runs in this cluster; {f'--application names one of {runs}' if runs else 'none does'}"
        ) from None


def asked(
    source: str = "",
    canary: float | None = None,
    shadow: bool | None = None,
    promote: bool = False,
    rollback: bool = False,
    force: bool = False,
) -> Change:
    """The change that the command line's words mean. Raises InputError where they contradict each other."""
    said = {
        "--canary": canary is not None,
        "--shadow": shadow is not None,
        "--promote": promote,
        "--rollback": rollback,
    }
    if len(chosen := [name for name, given in said.items() if given]) > 1:
        raise InputError(f"{' and '.join(chosen)} are two changes; make one after the other")
    if rollback:
        return Change("rollback", version=source, force=force)
    ends = canary == 0 or shadow is False
    if source and (promote or ends):
        raise InputError(f"{chosen[0]} is about the policy that is there already; leave '{source}' out")
    if canary is not None and not 0 <= canary <= 1:
        raise InputError(f"--canary {canary:g} is no share; give one from 0 (no canary) to 1")
    if not source and (not chosen or shadow):
        raise InputError("name a run directory or a policy's folder; or --promote, --rollback or --status")
    role = "canary" if canary is not None else "shadow" if shadow is not None else "champion"
    files = find(source) if source else None
    return Change(role, files, source, share=canary or 0.0, end=ends, force=force)


def told(found: dict[str, Any]) -> list[str]:
    """A status in lines for people."""
    lineup, policies = found["lineup"], {kept["version"]: kept for kept in found["policies"]}

    def named(version: str) -> str:
        return f"{policies[version]['name']} {version[:12]}"

    lines = [f"champion  {named(lineup['champion'])}"]
    if lineup["canary"]:
        lines.append(f"canary    {named(lineup['canary'])} answers {lineup['share']:.0%} of predictions")
    if lineup["shadow"]:
        lines.append(f"shadow    {named(lineup['shadow'])}; GET /v1/monitor compares its answers")
    behind = f", {found['behind']} not yet there" if found["behind"] else ""
    lines.append(f"replicas  {found['replicas']}{behind}")
    lines += [f"error     {error}" for error in found["errors"]]
    served = [version for version in found["champions"][:-1] if version in policies]
    lines += [f"before    {named(version)}, from {policies[version]['source']}" for version in reversed(served)]
    return lines
