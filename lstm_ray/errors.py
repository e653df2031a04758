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


SECRET = r"[\w.%-]*(?:key|secret|token|password|signature|credential|\bsas\b|\bsig\b)[\w.%-]*"
"""Options of an address that hold one: those of signed addresses too."""


def without_credentials(text: str) -> str:
    """The text with addresses as ``s3://bucket`` in place of ``s3://key:secret@bucket``, and ``?token=...``."""
    text = re.sub(r"(://)[^\s'\"@]*:[^\s'\"@]*@", r"\1", text)
    return re.sub(rf"([?&]{SECRET}=)[^&\s'\"]*", r"\1...", text, flags=re.IGNORECASE)


def secret_in(address: str) -> str | None:
    """What is wrong with an address that holds a secret, and the fix; None where it holds none."""
    if "://" not in address:
        return None
    password = re.search(r"://[^/?@]*:(?!\d+/)[^@?]*@", address)  # digits and a slash: a port
    option = re.search(rf"[?&]({SECRET})=", address, re.IGNORECASE)
    if not password and not option:
        return None
    held = f"option '{option[1]}'" if option else "a password before its @"
    return (
        f"holds a secret ({held}), which would be written into the run; leave it out and set it in the environment "
        "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, "
        "GOOGLE_APPLICATION_CREDENTIALS, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD), or fetch the file and name it "
        "here"
    )


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
