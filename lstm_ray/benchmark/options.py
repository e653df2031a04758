"""What the user asked a suite for, checked. Knows where configs lie; opens none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lstm_ray.errors import InputError, nearest

CONFIGS = "configs"
BESIDE_THE_PACKAGE = Path(__file__).parents[2] / CONFIGS


@dataclass(frozen=True)
class Options:
    """The command line of a suite."""

    data: Path | None = None
    """Folder of the data files that are not in an installed package."""
    quick: bool = False
    only: Sequence[str] = ()
    """Configs, or parts of a suite, to run; none: all."""
    source: Mapping[str, list[str]] = field(default_factory=dict)
    """Files of another set for a config."""
    soak: float | None = None
    """Minutes of the long load; none: as the suite has it."""
    peers: Path | None = None
    """A Python that has the libraries measured beside; none: this one, where it has them."""

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Raises InputError where --only or --source names a config that the suite does not run."""
        names = set(names)
        for option, given in (("--only", self.only), ("--source", self.source)):
            for name in given:
                if name not in names:
                    raise InputError(f"{option}: the suite runs no config '{name}'{nearest(name, names)}")

    def source_of(self, name: str, files: Sequence[str]) -> list[str]:
        """The files that a config reads: the user's own, or those of its set in --data. Raises InputError where one is
        missing."""
        if name in self.source:
            found = [Path(file) for file in self.source[name]]
        elif self.data is None:
            raise InputError(f"config '{name}' reads {', '.join(files)}; say where it lies with --data DIR")
        else:
            found = [self.data / file for file in files]
        for file in found:
            if not file.is_file():
                raise InputError(
                    f"config '{name}' reads '{file}', and there is no such file; check --data and --source"
                )
        return [str(file.absolute()) for file in found]

    def config_of(self, name: str) -> Path:
        """The YAML of a config: in ``configs/`` of the working directory, or beside the package."""
        candidates = [folder / f"{name}.yaml" for folder in (Path(CONFIGS), BESIDE_THE_PACKAGE)]
        for path in candidates:
            if path.is_file():
                return path.absolute()
        raise InputError(f"there is no config '{candidates[0]}'; run this from the top of a clone")


def parse_sources(given: Sequence[str]) -> dict[str, list[str]]:
    """``NAME=FILE[,FILE]`` to names and files. Raises InputError where one is written otherwise."""
    found = {}
    for text in given:
        name, equals, files = text.partition("=")
        if not (name and equals and files) or "" in files.split(","):
            raise InputError(f"--source {text!r}: expected NAME=FILE or NAME=FILE,FILE, such as etth1_96=ETTh2.csv")
        if name in found:
            raise InputError(f"--source names '{name}' twice; give all its files at once, separated by commas")
        found[name] = files.split(",")
    return found
