"""The sub-command that shows a policy at work, from its training to its rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lstm_ray.commands.options import Address, escaped, use

DEMO = Path("configs/operate_demo.yaml")


def operate_demo(
    config: Annotated[Path, typer.Option("--config", metavar="CONFIG", help="YAML file of the demo")] = DEMO,
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="change a field; repeatable; parsed as YAML"),
    ] = [],  # noqa: B006
    run_dir: Annotated[str, typer.Option("--run-dir", metavar="DIR", help="a new folder; default runs/NAME")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="fewer hours are replayed")] = False,
    address: Address = "",
) -> None:
    """Replay real data through HTTP: a shift, its alarm, a challenger, its promotion, and two that must not stay.

    The last line of output is JSON with what was measured; the page is DIR/operate/report.html.
    """
    import json

    from lstm_ray.operate.demo import perform

    use(address)
    console = Console(stderr=True, highlight=False)
    page, found = perform(
        config, overrides, run_dir, quick, lambda words: console.print(f"  {escaped(words)}", soft_wrap=True)
    )
    print(f"report: {page}")
    print(json.dumps(found))
