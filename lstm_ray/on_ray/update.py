"""Putting another policy into a server that runs, from any process that may join its Ray cluster; and into a run's registry,
whether a server has it or not. Knows no HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import ray
from ray.exceptions import RayActorError

from lstm_ray.errors import InputError
from lstm_ray.model import smoke, stored
from lstm_ray.model.stored import Files
from lstm_ray.on_ray import cluster, servers
from lstm_ray.on_ray.cluster import NAMESPACE
from lstm_ray.on_ray.registers import register_of
from lstm_ray.on_ray.serve import APPLICATION
from lstm_ray.registry.account import read
from lstm_ray.registry.folder import HeldError, at, require_free
from lstm_ray.registry.ledger import Entry, Ledger, this_user
from lstm_ray.registry.policies import Registry, lay
from lstm_ray.registry.probation import Answered, Probation
from lstm_ray.report.words import seconds
from lstm_ray.sections.operate import RetrainConfig
from lstm_ray.serving.bundle import find, unpack
from lstm_ray.serving.switching.change import Change, made, wanted
from lstm_ray.serving.switching.fits import require_fit


@dataclass(frozen=True)
class Server:
    """One that runs, as an update reaches it."""

    application: str
    register: Any
    """Its actor."""

    def status(self) -> dict[str, Any]:
        """What it serves: see ``Register.status``."""
        return cast(dict[str, Any], self.ask("status"))

    def change(self, change: Change) -> dict[str, Any]:
        """Do what is asked and return the new status with ``ready_seconds``, until every replica had the policy loaded and
        warm, and ``swap_seconds``, from then until all answered with it. Raises InputError where it cannot be; then all is as
        it was."""
        return cast(dict[str, Any], self.ask("change", change))

    def on_probation(self, change: Change) -> Change:
        """The change with the probation that the new champion's config asks for (retrain.rollback_ratio, rollback_values and
        probation_hours). Raises InputError where that is none."""
        if change.role != "champion" or change.end:
            raise InputError("--probation is for a new champion: name a run, or --promote the canary")
        files, canary = change.files, self.status()["lineup"]["canary"]
        if files is None and canary is not None:
            files = cast(Files, self.ask("files", canary))
        return change if files is None else replace(change, probation=probation_of(files))

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the register. Raises InputError as it does, and where it went away meanwhile."""
        try:
            return cluster.answer(getattr(self.register, method).remote(*arguments))
        except RayActorError:
            raise InputError(
                f"the register of '{self.application}' went away before it answered; look with --status and try again"
            ) from None


def probation_of(files: Files) -> Probation:
    """The trial that a policy's config asks for. Raises InputError where it asks for none."""
    config = RetrainConfig.model_validate(json.loads(files[stored.POLICY])["config"].get("retrain", {}))
    if not config.probation_hours:
        raise InputError(
            f"policy {stored.version(files)[:12]} has retrain.probation_hours 0, which is no probation; train it with some, or "
            "leave --probation out"
        )
    return Probation(ratio=config.rollback_ratio, values=config.rollback_values, hours=config.probation_hours)


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
        return Change("rollback", version=source, force=force, who=this_user())
    ends = canary == 0 or shadow is False
    if source and (promote or ends):
        raise InputError(f"{chosen[0]} is about the policy that is there already; leave '{source}' out")
    if canary is not None and not 0 <= canary <= 1:
        raise InputError(f"--canary {canary:g} is no share; give one from 0 (no canary) to 1")
    if not source and (not chosen or shadow):
        raise InputError("name a run directory or a policy's folder; or --promote, --rollback or --status")
    role = "canary" if canary is not None else "shadow" if shadow is not None else "champion"
    files = find(source) if source else None
    return Change(role, files, source, share=canary or 0.0, end=ends, force=force, who=this_user())


def _trial_words(trial: Mapping[str, Any]) -> str:
    """How a probation stands, or ended."""
    so_far, of = (seconds(trial[key]) for key in ("seconds", "of_seconds"))
    ratio = "" if trial["ratio"] is None else f", with {trial['ratio']:.3g} times the error of the one before"
    values = f"{trial['values']} of {trial['needed_values']} values{ratio} ({trial['limit']:g} is allowed)"
    return f"{trial['state']}: {so_far} of {of}, {values}"


def promote(
    run: str | Path,
    files: Files,
    source: str = "",
    evidence: Mapping[str, Any] | None = None,
    probation: Probation | None = None,
    who: str = "",
) -> dict[str, Any]:
    """Make a policy a run's champion: through the server that serves the run, without a failed request, else in its registry,
    for the next server. Once it is, doing so again changes nothing.

    Args:
        run: a run directory on this machine.
        source: where the policy comes from, for people.
        evidence: why, for the ledger.

    Returns:
        The status: ``lineup``, ``aliases``, ``policies``; and of a server ``replicas``, ``warning``.

    Raises InputError where the policy does not fit or answer its smoke input, or who has the registry cannot be reached.
    """
    folder, who = at(run), who or this_user()
    change = Change("champion", files, source, probation=probation, who=who, evidence=evidence or {})
    known = read(folder)
    if known is not None and known.lineup.champion == stored.version(files):
        return known.told()
    if (found := holder(folder)) is not None:
        return cast(dict[str, Any], reach(found, "change", change))
    with registry_of(folder) as registry:
        account = registry.begin(str(run), lay(folder, find(run)))
        present = registry.files(account.lineup.champion)
        try:
            require_fit(present, files)
            smoke.check(unpack(files))
        except (InputError, smoke.SmokeError) as error:
            said = {"policy": stored.version(files), "role": change.role, "source": source, "why": str(error)}
            registry.note(account, "refused", {**said, **change.evidence}, who)
            registry.write(account)
            registry.say(account)
            raise InputError(str(error)) from None
        version = registry.keep(account, files, source)
        account = made(change, account, registry, wanted(change, account, version), Answered())
        account.lineup = account.lineup.model_copy(update={"sequence": account.lineup.sequence + 1})
        registry.write(account)
        registry.say(account)
        return account.told()


def challenge(
    run: str | Path, files: Files, source: str, event: str, evidence: Mapping[str, Any], who: str = ""
) -> str:
    """Keep a policy as a run's challenger, served by nobody; returns its version.

    Args:
        event: for the ledger, such as ``judged``; ``refused`` flags it, too.

    Raises InputError where who has the registry cannot be reached, or it cannot be written.
    """
    folder = at(run)
    if (found := holder(folder)) is not None:
        return cast(str, reach(found, "keep", files, source, event, dict(evidence), who))
    with registry_of(folder) as registry:
        account = registry.begin(str(run), lay(folder, find(run)))
        version = registry.challenge(account, files, source, event, evidence, who)
        registry.say(account)
        return version


def flag(run: str | Path, version: str, words: str, event: str, evidence: Mapping[str, Any], who: str = "") -> None:
    """Say of a policy kept in a run's registry what must be known of it, and tell the ledger. Raises InputError as
    ``challenge`` does, and where the policy is not kept there."""
    folder = at(run)
    account = read(folder)
    if account is None or account.kept(version) is None:
        raise InputError(f"policy {version[:12]} is not kept in '{folder}'; 'lstm-ray registry' lists those that are")
    if (found := holder(folder)) is not None:
        reach(found, "flag", version, words, event, dict(evidence), who)
        return
    with registry_of(folder) as registry:
        account = read(folder) or account
        registry.flag(account, version, words)
        registry.note(account, event, {"policy": version, "flag": words, **evidence}, who)
        registry.write(account)
        registry.say(account)


def note(run: str | Path, event: str, evidence: Mapping[str, Any], who: str | None = None) -> Entry:
    """Have a run's ledger take an entry, whoever has the registry. Raises InputError where it cannot be written."""
    return Ledger(at(run)).append(event, evidence, who)


def holder(folder: Path) -> servers.Server | None:
    """The server of this user on this machine that serves from a registry."""
    return next((known for known in servers.known() if known.registry == str(folder)), None)


def registry_of(folder: Path) -> Registry:
    """Raises HeldError where another process has it that is no server of this user's here."""
    try:
        require_free(folder)
        return Registry(folder)
    except HeldError:
        raise HeldError(
            f"'{folder}' is held by a process that is none of your servers on this machine: another 'lstm-ray retrain', or a "
            "server of another user or machine. Run this where that server runs, or wait until it lets go"
        ) from None


def reach(found: servers.Server, method: str, *given: Any) -> Any:
    """Ask a server's register. Who is in another Ray, or in none, asks from a process of its own: joining is for good."""
    if ray.is_initialized() and ray.get_runtime_context().gcs_address == found.address:
        return _ask(found.address, found.application, method, given)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        return other.submit(_ask, found.address, found.application, method, given).result()


def _ask(address: str, application: str, method: str, given: tuple[Any, ...]) -> Any:
    return server(address, application).ask(method, *given)


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
    if trial := found["probation"]:
        lines.append(f"probation {_trial_words(trial)}")
    served = [version for version in found["champions"][:-1] if version in policies]
    lines += [f"before    {named(version)}, from {policies[version]['source']}" for version in reversed(served)]
    return lines
