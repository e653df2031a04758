"""What the cases of serving hold a server against: every answer is known, and every failure is counted as what it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from lstm_ray.benchmark import untrained
from lstm_ray.benchmark.chaos import steady
from lstm_ray.benchmark.chaos.outcome import Fault, Missed
from lstm_ray.benchmark.chaos.serving import SHAPE, Server
from lstm_ray.benchmark.tables import VALUE
from lstm_ray.live.rows import FILE, RowStore
from lstm_ray.monitor.traffic import Rows
from lstm_ray.registry.folder import at

HOUR_MICROSECONDS = 3_600_000_000


@pytest.fixture(scope="module")
def asked():
    return steady.questions(untrained.policy(untrained.config(**SHAPE)), 4)


@contextmanager
def answering(asked, mood) -> Iterator[str]:
    """A server that answers right, or as ``mood`` says: 503, wrong, another's or nothing."""
    right = {json.dumps(one.series, sort_keys=True): one.median_H.tolist() for one in asked}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            said = mood[0]
            if said == "nothing":
                self.close_connection = True
                return
            if self.path == "/v1/observations":
                answer = {"scored": 0, "new": int(said != "unkept"), "duplicates": 0}
            else:
                found = right[json.dumps(body["series"][0], sort_keys=True)]
                median = [value + (said == "wrong") for value in found]
                answer = {"forecasts": [{"targets": {VALUE: {"median": median}}}]}
            content = json.dumps(answer).encode()
            self.send_response(503 if said == "503" else 200)
            own = self.headers.get("x-request-id", "")
            self.send_header("x-request-id", "another's" if said == "another's" else own)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("said", "kind"),
    [("503", "refused"), ("wrong", "wrong"), ("another's", "wrong"), ("nothing", "lost"), ("unkept", "refused")],
)
def test_a_failure_is_counted_as_what_it_was_and_ends_when_it_ends(asked, said, kind):
    mood = ["right"]
    with answering(asked, mood) as url, steady.asking(url, asked) as asking:
        assert {one.kind for one in asking.asked} == {"ok"}
        fault, mood[0] = Fault.now(), said
        while not any(one.kind == kind for one in list(asking.asked)):
            assert fault.seconds() < 30
        with pytest.raises(Missed, match="requests fail"):
            asking.calm(fault, 0.1)
        mood[0] = "right"
        assert 0 < asking.calm(fault) <= fault.seconds() - steady.CALM_SECONDS
    assert {one.kind for one in asking.asked} == {"ok", kind}
    assert bool(asking.wrong()) == (kind == "wrong")
    assert "requests failed" in asking.told(fault)


def test_an_observation_that_was_acknowledged_and_is_not_on_disk_is_found(tmp_path: Path):
    folder = at(tmp_path)
    folder.mkdir(parents=True)
    asking = steady.Steady("", [], acknowledged=["kept", "lost"])
    store = RowStore(folder / FILE, 86_400.0, 10)
    store.add([Rows("kept", np.array([0]), np.ones((1, 1)))], [VALUE], HOUR_MICROSECONDS)
    store.close()
    server = Server(None, tmp_path, asking, lambda *words: [])  # type: ignore[arg-type]
    assert server.unkept() == ["1 of 2 acknowledged observations are not kept"]
    asking.acknowledged.remove("lost")
    assert server.unkept() == []
