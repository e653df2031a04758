"""What a registry's account says: policies kept, who is champion, a trial that runs. Plain values, read by anyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lstm_ray.errors import InputError
from lstm_ray.model.stored import POLICY
from lstm_ray.registry.folder import ACCOUNT
from lstm_ray.registry.lineup import Lineup, Version
from lstm_ray.registry.probation import Running


class Kept(BaseModel):
    """A policy on disk."""

    version: Version
    name: str
    source: str
    """Where it came from."""
    since: str
    """When it was first brought, UTC."""
    flags: list[str] = []
    """What must be known of it: that it was refused, rolled back, or learned from a series that was forgotten since."""


class Note(BaseModel):
    """A change whose entry in the ledger is still to be written. It is kept with the change, so that a kill between the two
    loses neither."""

    event: str
    evidence: dict[str, Any]
    who: str
    after: int
    """Entries that the ledger had before."""


class Account(BaseModel):
    """What is served and what was."""

    session: str
    """Of the process that wrote it: a server's later one begins with the policy that it was told to serve."""
    lineup: Lineup
    policies: list[Kept] = []
    """Oldest first."""
    champions: list[Version] = []
    """Versions in the order in which they came to be champion, the present one last; a rollback takes the last away."""
    challenger: Version | None = None
    """The newest candidate, kept and not served."""
    met: list[Version] = []
    """Every version that was ever kept here."""
    running: Running | None = None
    """The champion's probation."""
    ended: dict[str, Any] | None = None
    """How the last probation ended."""
    notes: list[Note] = []
    """What the ledger is still to be told."""

    @property
    def previous(self) -> str | None:
        """The champion before this one: what a rollback brings back."""
        return self.champions[-2] if len(self.champions) > 1 else None

    def aliases(self) -> dict[str, str]:
        """Name to version; a policy may have several, and an alias may have none."""
        lineup = self.lineup
        found = {
            "champion": lineup.champion,
            "challenger": self.challenger,
            "previous": self.previous,
            "canary": lineup.canary,
            "shadow": lineup.shadow,
        }
        return {alias: version for alias, version in found.items() if version is not None}

    def told(self) -> dict[str, Any]:
        """What is served and kept, as plain values."""
        return {
            "lineup": self.lineup.model_dump(),
            "policies": [kept.model_dump() for kept in self.policies],
            "champions": list(self.champions),
            "aliases": self.aliases(),
        }

    def kept(self, version: str) -> Kept | None:
        return next((kept for kept in self.policies if kept.version == version), None)


def read(folder: Path) -> Account | None:
    """The account in a registry's folder, with the policies that are there; None where there is none. Any process may read it
    at any time: it is replaced as a whole.

    Raises InputError where it is not as it was written: to begin another would throw away the policies that this one names.
    """
    try:
        content = (folder / ACCOUNT).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"'{folder / ACCOUNT}' cannot be read: {error.strerror}") from None
    try:
        account = Account.model_validate_json(content)
    except ValidationError as error:
        at = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(
            f"'{folder / ACCOUNT}' is damaged ({at or 'it is no JSON'}: {error.errors()[0]['msg'][:200]}); take a copy, or "
            f"move '{folder}' away to begin another with the policy that lies in the run"
        ) from None
    account.policies = [kept for kept in account.policies if (folder / kept.version / POLICY).is_file()]
    here = {kept.version for kept in account.policies}
    account.met = list(dict.fromkeys([*account.met, *here, *account.champions]))
    account.champions = [version for version in account.champions if version in here]
    account.challenger = account.challenger if account.challenger in here else None
    return account
