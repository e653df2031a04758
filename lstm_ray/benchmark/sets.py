"""The public data sets of the accuracy suite: files, what is measured, what is aimed at. Opens no data file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from lstm_ray.errors import InputError

Measure = Literal["mse", "owa", "accuracy"]
PACKAGE = "aeon"
"""The Python package whose wheel holds the classification sets; its files are read, its code is not."""


@dataclass(frozen=True)
class Set:
    """One config of the suite."""

    files: tuple[str, ...]
    """Below --data, or where ``package_folder`` says."""
    measure: Measure
    target: float
    num_windows: int
    """Test windows (or sequences) by the published protocol; another number is another protocol."""
    package_folder: str | None = None
    """Folder below the package's data sets; None: the files lie in --data."""


def _classified(folder: str, target: float, num_test: int) -> Set:
    return Set((f"{folder}_TRAIN.ts", f"{folder}_TEST.ts"), "accuracy", target, num_test, folder)


SETS: Mapping[str, Set] = {
    "etth1_96": Set(("ETTh1.csv",), "mse", 0.351, 2785),
    "etth1_192": Set(("ETTh1.csv",), "mse", 0.392, 2689),
    "etth1_336": Set(("ETTh1.csv",), "mse", 0.423, 2545),
    "etth1_720": Set(("ETTh1.csv",), "mse", 0.422, 2161),
    "m4_hourly": Set(("M4-Hourly-train.csv", "M4-Hourly-test.csv"), "owa", 0.440, 414),
    "japanese_vowels": _classified("JapaneseVowels", 0.985, 370),
    "gunpoint": _classified("GunPoint", 0.99, 150),
    "basic_motions": _classified("BasicMotions", 1.0, 40),
    "italy_power_demand": _classified("ItalyPowerDemand", 0.96, 1029),
}
"""By the name of the config."""


def package_data() -> Path | None:
    """Where the package keeps its data sets; None where it is not installed. Nothing of it is imported."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


def package_files(entry: Set) -> list[str] | None:
    """A set's files in the package, None where it is not installed. Raises InputError where one is missing in it."""
    root = package_data()
    if root is None or entry.package_folder is None:
        return None
    found = [root / entry.package_folder / file for file in entry.files]
    for file in found:
        if not file.is_file():
            raise InputError(
                f"the package '{PACKAGE}' has no file '{file}'; install the release that pyproject.toml pins"
            )
    return [str(file) for file in found]
