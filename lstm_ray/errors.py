"""The one exception that is the user's to mend, and hints that it gives. Knows nothing of how it is shown."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """The configuration, data or run directory is wrong: the message names what, the value found, and the fix.

    The command line prints it without a traceback and exits with 2. Credentials in an address that it names are left out.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(without_credentials(str(message)))


def without_credentials(text: str) -> str:
    """The text with addresses as ``s3://bucket`` in place of ``s3://key:secret@bucket``."""
    return re.sub(r"(://)[^\s'\"@]*:[^\s'\"@]*@", r"\1", text)


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'hidden'?``, or all the names where none is close."""
    names = sorted(names)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names) or 'none'}"


EXTRAS = {
    **dict.fromkeys(("ray", "fastapi", "starlette", "uvicorn", "typer", "rich", "yaml", "grpc"), "serve"),
    **dict.fromkeys(
        ("pyarrow", "polars", "pandas", "scipy", "statsmodels", "sklearn", "jinja2", "plotly", "tensorboardX", "httpx"),
        "train",
    ),
    "river": "monitor",
    "locust": "stress",
    "mlflow": "mlflow",
    "opacus": "private",
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
}
"""Packages that an installation may do without, and the extra that brings each."""


def not_installed(error: ModuleNotFoundError, extra: str | None = None) -> InputError | None:
    """What a user is told where a package of an extra is missing; None where the module is no such package's.

    Args:
        extra: to name in place of the least that brings it.
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return InputError(
        f"this needs the package '{package}', which is not installed; pip install 'lstm-ray[{extra or EXTRAS[package]}]'"
    )
