"""What a killed server leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lstm_ray.on_ray.orphans import end_proxy


@pytest.mark.parametrize(
    ("parent", "port", "ends"),
    [("/sbin/init", 8000, True), ("ray::ProxyActor", 8000, False), ("/sbin/init", 80, False)],
)
def test_a_proxy_is_ended_where_its_server_is_gone_and_the_port_is_wanted(
    tmp_path: Path, parent: str, port: int, ends: bool
) -> None:
    config = tmp_path / "lstm-ray-1" / "node" / "haproxy.cfg"
    config.parent.mkdir(parents=True)
    config.write_text("frontend http_frontend\n    bind 127.0.0.1:8000\n")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as sleeping:
        processes = tmp_path / "proc"
        for pid, words in ((sleeping.pid, f"/bin/haproxy\0-db\0-f\0{config}\0"), (1, f"{parent}\0")):
            (processes / str(pid)).mkdir(parents=True)
            (processes / str(pid) / "cmdline").write_text(words)
            (processes / str(pid) / "stat").write_text(f"{pid} (a (b) c) S 1 7 7")
        try:
            # The made-up folder stays where the process ends.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("lstm_ray.on_ray.orphans.END_SECONDS", 0.1)
                end_proxy("127.0.0.1", port, processes)
            if ends:
                assert sleeping.wait(5) < 0
            else:
                assert sleeping.poll() is None
        finally:
            sleeping.kill()
