"""What is asked of a server, and the line-up that follows from it. Plain values; knows no replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.model.stored import Files
from lstm_ray.registry.account import Account
from lstm_ray.registry.lineup import Lineup
from lstm_ray.registry.policies import ROLLED_BACK, Registry, meant, now
from lstm_ray.registry.probation import Answered, Probation, Running

EVENTS = {"champion": "promoted", "rollback": "rolled_back", "canary": "canary", "shadow": "shadow"}
"""What the ledger calls a change to a role."""
OVERTAKEN = "another change ended it"


@dataclass(frozen=True)
class Change:
    """What is asked of a server; one thing at a time."""

    role: str
    """What a policy becomes, ``champion``, ``canary`` or ``shadow``; or ``rollback``: the champion as it was before."""
    files: Files | None = None
    """Of the policy. None: the one meant by ``version``, or that has the role already."""
    source: str = ""
    version: str = ""
    """How the version of a policy kept here begins. Empty for a rollback: the champion before this one."""
    share: float = 0.0
    end: bool = False
    """The role ends: there is no canary, or no shadow, from now on."""
    force: bool = False
    """Also where clients of the present champion will have to change what they send."""
    probation: Probation | None = None
    """Of a new champion: the one before it stays as its shadow, and comes back by itself where the bounds are breached."""
    who: str = ""
    """Who asks, for the ledger; empty: the register's own user and machine."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Why, for the ledger: plain values."""


def version_of(change: Change, account: Account) -> str:
    """Of the policy that a change without files means. Raises InputError where there is none."""
    if change.version:
        return meant(change.version, account.policies)
    if change.role == "rollback":
        if account.previous is None:
            raise InputError("there is no champion before this one to go back to")
        return account.previous
    role = "canary" if change.role == "champion" else change.role
    found: str | None = getattr(account.lineup, role)
    if found is None:
        raise InputError(f"there is no {role}; name a run directory or a policy's folder")
    return found


def ended(change: Change, lineup: Lineup) -> Lineup:
    """The line-up without the role that a change ends. Raises InputError where nobody has it."""
    if getattr(lineup, change.role) is None:
        raise InputError(f"there is no {change.role} to end")
    return lineup.model_copy(update={"canary": None, "share": 0.0} if change.role == "canary" else {"shadow": None})


def wanted(change: Change, account: Account, version: str) -> tuple[Lineup, list[str]]:
    """The line-up that a change asks for, and the champions' order after it.

    Raises InputError where the policy has the role already, or another that it cannot have beside.
    """
    lineup, champions = account.lineup, account.champions
    beside = {role: getattr(lineup, role) for role in ("canary", "shadow") if getattr(lineup, role) != version}
    rest = Lineup(
        sequence=lineup.sequence,
        champion=lineup.champion,
        **beside,
        share=lineup.share if beside.get("canary") else 0.0,
    )
    if change.role in ("champion", "rollback"):
        if version == lineup.champion:
            raise InputError(f"policy {version[:12]} is the champion already")
        turned = {"champion": version}
        if change.probation is not None:
            turned["shadow"] = lineup.champion
        elif account.running is not None and rest.shadow == account.running.against:
            # It was there for a trial, which ends with its champion.
            turned["shadow"] = None  # type: ignore[assignment]
        back = change.role == "rollback" and version in champions
        order = champions[: champions.index(version) + 1] if back else [*champions, version]
        return rest.model_copy(update=turned), order
    if version == lineup.champion:
        raise InputError(f"policy {version[:12]} is the champion; a {change.role} is another policy")
    named = {"canary": version, "share": change.share} if change.role == "canary" else {"shadow": version}
    return rest.model_copy(update=named), champions


def made(
    change: Change, before: Account, registry: Registry, wanted: tuple[Lineup, list[str]], answered: Answered
) -> Account:
    """The account once a change is made, and what the ledger is to be told of it.

    Args:
        wanted: see the function of that name.
        answered: by the champion so far.
    """
    lineup, champions = wanted
    account = before.model_copy(
        update={
            "lineup": lineup,
            "champions": champions,
            "notes": [*before.notes],
            "policies": [kept.model_copy(deep=True) for kept in before.policies],
        }
    )
    moved = lineup.champion != before.lineup.champion
    if moved:
        account.challenger = None if before.challenger == lineup.champion else before.challenger
        registry.unflag(account, lineup.champion)
        if change.role == "rollback":
            registry.flag(account, before.lineup.champion, ROLLED_BACK)
    who = lineup if not change.end else before.lineup
    evidence = {
        "policy": lineup.champion if moved else getattr(who, change.role),
        **({"from": before.lineup.champion} if moved else {}),
        **({"role": change.role} if change.end else {}),
        **({"share": change.share} if change.role == "canary" and not change.end else {}),
        **({"bounds": change.probation.model_dump()} if change.probation and moved else {}),
        **change.evidence,
    }
    registry.note(account, "ended" if change.end else EVENTS[change.role], evidence, change.who)
    running = before.running
    if running is not None and (moved or lineup.shadow != running.against):
        back = "rolled back: " if change.role == "rollback" else ""
        account.running = None
        account.ended = {**running.told(), "state": back + change.evidence.get("why", OVERTAKEN)}
        if "why" not in change.evidence:
            registry.note(account, "ended", {"role": "probation", **account.ended}, change.who)
    if moved and change.probation is not None:
        account.running = Running(
            probation=change.probation,
            policy=lineup.champion,
            against=before.lineup.champion,
            since=now(),
            answered_before=answered.model_copy(),
        )
    return account
