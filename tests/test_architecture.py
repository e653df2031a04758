"""The rules of the layout: who may import whom, what importing may do, and that lists that must agree do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ray.cli import EXPLAINED
from lstm_ray.errors import EXTRAS
from lstm_ray.lifecycle import STAGES
from lstm_ray.model.policy import Policy
from lstm_ray.report import page
from tests import made

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lstm_ray"
LAYERS = (
    *(
        "errors",
        "figure",
        "finding",
        "sections",
        "config",
        "space",
        "config_file",
        "storage",
        "run_dir",
        "log",
        "progress",
        "doctor",
        "data",
        "environment",
        "explore",
    ),
    *(
        "model",
        "registry",
        "live",
        "evaluate",
        "plan",
        "monitor",
        "report",
        "serving",
        "on_ray",
        "lifecycle",
        "retrain",
        "stress",
        "forget",
        "operate",
        "benchmark",
        "commands",
        "cli",
        "__main__",
    ),
)
"""Each may import those before it, and itself where it is a folder."""
TOP = {"README.md", "pyproject.toml", "cluster", "configs", "jobs", "lstm_ray", "tests"}
MODULES = sorted(PACKAGE.rglob("*.py"))
SERVED = ("cluster", "serve", "servers", "replica", "streams", "update", "registers", "application")
PROOFS = ("proof", "stress")
"""What holds a server against the policy, which is the deploy stage's."""
ALONE = {"lstm_ray.stress.users"}
"""Run by locust in a process of its own: importing that alters the sockets and threads of whoever does."""
TRAINING = (
    "pyarrow",
    "polars",
    "pandas",
    "plotly",
    "scipy",
    "statsmodels",
    "sklearn",
    "jinja2",
    "tensorboardX",
    "httpx",
)
NO_TRAINING = f"import sys\nfor name in {TRAINING}: sys.modules[name] = None\n"
EXTRA_SERVE = "error: this needs the package 'typer', which is not installed; pip install 'lstm-ray[serve]'\n"
ALL_EXTRAS = (*TRAINING, "ray", "yaml", "typer", "rich", "fastapi", "onnx", "onnxruntime", "onnxscript")
BLOCK = f"import sys\nfor name in {ALL_EXTRAS}: sys.modules[name] = None\n"
"""Leaves what every installation has: torch, NumPy, safetensors and pydantic."""


def layer(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def python(code: str, *options: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=120)


def test_every_module_imports_only_what_lies_above_it() -> None:
    wrong = {}
    for file in MODULES:
        own = layer(file)
        above = LAYERS[: LAYERS.index(own)] if own != "__init__" else ()
        allowed = {*above, *([own] if (PACKAGE / own).is_dir() else []), "__version__"}
        inside = {name.split(".")[1] for name in imported(file) if name.startswith("lstm_ray.")}
        wrong[name_of(file)] = inside - allowed
    assert not {name: found for name, found in wrong.items() if found}


def test_only_on_ray_imports_ray_and_only_it_model_and_benchmark_import_torch() -> None:
    roots = {file: {name.split(".")[0] for name in imported(file)} for file in MODULES}
    assert {layer(file) for file in MODULES if "ray" in roots[file]} == {"on_ray"}
    assert {layer(file) for file in MODULES if roots[file] & {"torch", "safetensors"}} == {
        "model",
        "on_ray",
        "benchmark",
    }


def test_no_module_reads_or_writes_pickles() -> None:
    for file in MODULES:
        assert not {name.split(".")[0] for name in imported(file)} & {"pickle", "cloudpickle", "joblib", "dill"}, file
        calls = {ast.unparse(n.func) for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)}
        assert not calls & {"torch.load", "torch.save"}, file


def test_every_module_says_what_it_does_and_runs_nothing_when_imported() -> None:
    for file in MODULES:
        tree = ast.parse(file.read_text())
        if file.name == "__init__.py":
            body = [node for node in tree.body if not ast.unparse(node).startswith("__version__")]
            assert len(body) <= 1, f"{file}: an __init__ holds its docstring alone"
        else:
            assert ast.get_docstring(tree), f"{file} has no docstring"
        calls = [node for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
        # The command line adds its sub-commands to typer's application; that is data.
        assert not calls or file.name == "cli.py", f"{file} runs {ast.unparse(calls[0])} when imported"


def test_every_folder_of_modules_is_a_package_and_so_is_installed() -> None:
    assert not [folder for folder in {file.parent for file in MODULES} if not (folder / "__init__.py").exists()]


def test_no_module_raises_a_bare_exception() -> None:
    for file in MODULES:
        raised = [n.exc for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Raise) and n.exc]
        assert "Exception" not in {ast.unparse(exc).partition("(")[0] for exc in raised}, file


def test_model_imports_where_no_extra_is_installed() -> None:
    names = [name_of(file) for file in MODULES if layer(file) == "model"]
    answer = python(f"{BLOCK}import importlib\nfor name in {names}: importlib.import_module(name)")
    assert answer.returncode == 0, answer.stderr


def test_the_serving_path_imports_where_nothing_of_training_is_installed() -> None:
    """``pip install 'lstm-ray[serve]'``: what ``lstm-ray serve`` and its replicas import, ``on_ray`` before all."""
    served = [name_of(file) for file in MODULES if layer(file) in ("serving", "registry") and file.stem not in PROOFS]
    served += [f"lstm_ray.on_ray.{name}" for name in SERVED if (PACKAGE / f"on_ray/{name}.py").exists()]
    answer = python(
        f"{NO_TRAINING}import importlib\nfor name in {['lstm_ray.cli', *served]}: importlib.import_module(name)"
    )
    assert answer.returncode == 0, answer.stderr


def test_a_missing_package_is_told_with_the_extra_that_brings_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: a\ndata: {source: a.csv, target: [b]}\n")
    answer = python(f"{NO_TRAINING}from lstm_ray.cli import main\nmain(['run', 'config.yaml'])", cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: this needs the package 'p")
    assert "pip install 'lstm-ray[train]'" in answer.stderr
    answer = python("import sys\nsys.modules['typer'] = None\nfrom lstm_ray.__main__ import main\nmain()")
    assert (answer.returncode, answer.stderr) == (2, EXTRA_SERVE)
    answer = python(
        "import sys\nsys.modules['typer'] = None\nsys.argv[1:] = ['run', 'a.yaml']\n"
        "from lstm_ray.__main__ import main\nmain()"
    )
    assert (answer.returncode, answer.stderr) == (2, EXTRA_SERVE.replace("serve", "train")), "told once, not twice"


def test_every_package_of_the_extras_is_told_by_its_extra() -> None:
    """What pyproject.toml installs beside a policy's own needs, and what is told where it is missing, are the same."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    import_name = {
        "pyyaml": "yaml",
        "mlflow-skinny": "mlflow",
        "scikit-learn": "sklearn",
        "tensorboardx": "tensorboardX",
    }
    for extra in ("serve", "monitor", "train", "onnx", "stress", "mlflow", "private"):
        named = {re.split(r"[\[<>=]", wanted)[0].lower() for wanted in extras[extra]} - {"lstm-ray"}
        for package in {import_name.get(name, name) for name in named}:
            assert EXTRAS[package] == ("serve" if package == "ray" else extra)


def test_a_saved_policy_predicts_where_no_extra_is_installed(tmp_path: Path, policy: Policy) -> None:
    policy.save(tmp_path)
    given = made.series_input(made.segments_of(), 100, 12, 6)
    columns: dict[str, Any] = {name: np.asarray(values) for name, values in given.columns.items()}
    np.savez(tmp_path / "given.npz", **columns)
    code = (
        f"{BLOCK}import numpy as np\nfrom lstm_ray.model.policy import Policy, SeriesInput\n"
        f"times = np.datetime64({str(given.times[0])!r}) + np.arange(12) * np.timedelta64(1, 'h')\n"
        f"[found] = Policy.load({str(tmp_path)!r}).predict([SeriesInput(times, np.load({str(tmp_path / 'given.npz')!r}))])\n"
        "print(found.values_HCQ.ravel().tolist())"
    )
    answer = python(code)
    assert answer.returncode == 0, answer.stderr
    expected = policy.predict([given])[0]
    np.testing.assert_allclose(ast.literal_eval(answer.stdout), expected.values_HCQ.ravel(), rtol=1e-5)  # type: ignore[union-attr]


def test_importing_every_module_starts_nothing_and_every_stage_is_there(tmp_path: Path) -> None:
    names = [name for file in MODULES if (name := name_of(file)) not in ALONE]
    stages = [stage.function.split(":") for stage in STAGES.values()]
    code = (
        f"import importlib, inspect, ray\nfor name in {names}: importlib.import_module(name)\n"
        f"assert not ray.is_initialized()\nfor module, function in {stages}:\n"
        "    found = inspect.signature(getattr(importlib.import_module(module), function))\n"
        "    assert list(found.parameters) == ['config', 'run', 'work'], (module, found)\n"
    )
    answer = python(code, cwd=tmp_path)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_locust_is_imported_in_its_own_process_alone() -> None:
    found = {
        name_of(file) for file in MODULES if {name.split(".")[0] for name in imported(file)} & {"locust", "gevent"}
    }
    assert found == ALONE


def test_help_loads_nothing_heavy() -> None:
    answer = python("from lstm_ray.cli import main\nmain(['--help'])", "-X", "importtime")
    assert answer.returncode == 0
    assert "From raw sequences" in answer.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in answer.stderr.splitlines()}
    assert "typer" in loaded
    heavy = {"torch", "ray", "polars", "pyarrow", "numpy", "scipy", "sklearn", "statsmodels", "pydantic", "plotly"}
    assert not loaded & heavy


def test_the_top_of_the_repository_holds_what_the_design_says() -> None:
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    shown = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}
    assert {name for name in shown if not any(fnmatch(name, pattern) for pattern in ignored)} <= TOP


@pytest.mark.parametrize("file", sorted((ROOT / "jobs").glob("*.py")), ids=lambda file: file.name)
def test_a_job_file_is_thin(file: Path) -> None:
    source = file.read_text()
    assert len(source.splitlines()) <= 12
    assert {name.split(".")[0] for name in imported(file)} <= {"lstm_ray", "sys"}
    docstring, *imports, guard = ast.parse(source).body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in imports)
    assert isinstance(guard, ast.If)
    assert ast.unparse(guard.test) == "__name__ == '__main__'"


@pytest.mark.parametrize("name", [name for name in STAGES if name != "environment"])
def test_a_stage_has_a_command_and_a_job(name: str) -> None:
    assert name in EXPLAINED
    assert f'job("{name}")' in (ROOT / "jobs" / f"{name}.py").read_text()


def test_commands_and_report_sections_are_the_stages_in_order() -> None:
    assert ["environment", *EXPLAINED] == list(STAGES)
    assert list(page.STAGES) == list(STAGES)
    assert "job(None)" in (ROOT / "jobs" / "lifecycle.py").read_text()


def test_a_stage_depends_only_on_stages_before_it() -> None:
    order = list(STAGES)
    for name, stage in STAGES.items():
        assert {*stage.after, *stage.uses} <= set(order[: order.index(name)])
