"""Where ``lstm-ray`` and ``python -m lstm_ray`` begin. An installation that holds policies alone has no command line."""

from __future__ import annotations

import sys

from lstm_ray.errors import not_installed

SERVING = {"serve", "update", "--help"}
"""What a serving image's installation does; every other command needs the whole one."""


def main() -> None:
    """Run the command line; exit 2 with one message where what it is made of is not installed."""
    try:
        from lstm_ray.cli import main as run
    except ModuleNotFoundError as error:
        if (told := not_installed(error, None if {*sys.argv[1:2]} <= SERVING else "train")) is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
