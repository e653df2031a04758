"""The clients, as locust runs them in a process of its own: ``locust -f users.py``, with what to do in the file that the
variable LSTM_RAY_STRESS names. Importing locust alters sockets and threads, so nothing else imports this module.

A closed loop: each client asks again as soon as it is answered. One that is turned away waits as long as it is told to,
at most a second. Every answer becomes a line: when, kind of client, what was asked, status, milliseconds, turned away or not.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import gevent
from locust import FastHttpUser, LoadTestShape, User, constant, events, task

TASK: dict[str, Any] = json.loads(Path(os.environ["LSTM_RAY_STRESS"]).read_text(encoding="utf-8"))
TOKEN = os.environ.get("LSTM_RAY_STRESS_TOKEN", "")
AT = urlsplit(TASK["url"])
OUT = open(TASK["out"], "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
TIMEOUT_SECONDS = 30.0
FLUSH_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 1.0
BROKEN_WAIT_SECONDS = 0.1
SLOW_PIECES, SLOW_SECONDS, LATE_SECONDS = 50, 2.0, 0.5
"""A slow client sends its head byte by byte and its body in so many pieces over so long, and then waits before it reads."""
CHUNK = 16_384
TURNS: dict[str, Iterator[int]] = {"valid": itertools.count(), "hostile": itertools.count()}


def per_mille(kind: str) -> int:
    """Of a kind among the clients."""
    return round(1_000 * TASK["shares"][kind])


class Phases(LoadTestShape):
    """So many clients for so long, one after another; the last until the file ``stop`` is there, where one is named."""

    started: ClassVar[int] = -1

    def tick(self) -> tuple[int, float] | None:
        passed, number = self.get_run_time(), 0
        for number, phase in enumerate(TASK["phases"]):  # noqa: B007 - the last one is used
            passed -= phase["seconds"]
            if passed < 0:
                break
        else:
            return None
        if TASK["stop"] and Path(TASK["stop"]).exists():
            return None
        users = TASK["phases"][number]["users"]
        if number != Phases.started:
            Phases.started = number
            write("phase", number)
        # Also clients that go leave at this rate: all at once.
        return users, float(max(phase["users"] for phase in TASK["phases"]))


class Valid(FastHttpUser):
    """Asks what must be answered."""

    weight = per_mille("valid")
    abstract = not weight
    wait_time = constant(0)
    network_timeout = TIMEOUT_SECONDS
    connection_timeout = TIMEOUT_SECONDS
    max_retries = 0

    @task
    def ask(self) -> None:
        number = next(TURNS["valid"])
        if TASK["truths"] and number and not number % len(TASK["valid"]):
            self.send("truths", TASK["url"].rpartition("/v1/")[0] + "/v1/observations", TASK["truths"])
        self.send("valid", TASK["url"], TASK["valid"][number % len(TASK["valid"])])

    def send(self, kind: str, url: str, body: str) -> None:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {TOKEN}"} if TOKEN else {})
        began = time.monotonic()
        answer = self.client.post(url, data=body, headers=headers, name=kind)
        said = answer.headers.get("retry-after") if answer.status_code == 503 and answer.headers else None
        written(kind, 0, answer.status_code, time.monotonic() - began, said is not None)
        rest(answer.status_code, None if said is None else str(said))


class Slow(User):
    """Asks what must be answered, in small pieces, and reads late."""

    weight = per_mille("slow")
    abstract = not weight
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        body = TASK["valid"][next(TURNS["valid"]) % len(TASK["valid"])].encode()
        head = head_of("POST", AT.path, {"Content-Length": str(len(body))}, "right")
        size = -(-len(body) // SLOW_PIECES)
        pieces = [head[at : at + 1] for at in range(len(head))]
        pieces += [body[at : at + size] for at in range(0, len(body), size)]
        began = time.monotonic()
        status, said = exchanged(pieces, SLOW_SECONDS / len(pieces), LATE_SECONDS)
        written("slow", 0, status, time.monotonic() - began, said is not None)
        rest(status, said)


class Hostile(User):
    """Sends what must be refused, or hangs up; one case after another."""

    weight = per_mille("hostile")
    abstract = not weight
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        number = next(TURNS["hostile"]) % len(TASK["hostile"])
        case = TASK["hostile"][number]
        body = case["body"].encode("latin-1")
        length = {"Transfer-Encoding": "chunked"} if case["then"] == "chunks" else {"Content-Length": str(len(body))}
        head = head_of(case["method"], TASK["base"] + case["path"], length | case["headers"], case["token"])
        began = time.monotonic()
        if case["then"] == "chunks":
            chunks = (body[at : at + CHUNK] for at in range(0, len(body), CHUNK))
            sent = [head, *(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n"]
        elif case["then"] == "garbage":
            sent = [body]
        else:
            sent = [head, body if case["then"] == "answer" else body[: len(body) // 2]]
        status, said = exchanged(sent, 0.0, 0.0, leaves=case["then"] == "leave")
        written("hostile", number, status, time.monotonic() - began, said is not None)
        rest(status if case["then"] != "leave" else 200, said)


def head_of(method: str, path: str, headers: dict[str, str], token: str) -> bytes:
    """A request's first lines. Connections are not kept."""
    sent = {"Host": AT.netloc, "Content-Type": "application/json", "Connection": "close"} | headers
    if token != "none" and TOKEN:
        sent["Authorization"] = f"Bearer {TOKEN if token == 'right' else 'x' * len(TOKEN)}"
    lines = [f"{method} {path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def exchanged(pieces: list[bytes], pause: float, late: float, leaves: bool = False) -> tuple[int, str | None]:
    """Send pieces and read the answer: its status (0: there was none) and what it says of when to come again."""
    answer = b""
    # The server may have answered and closed before all was sent: what it said is read all the same.
    with suppress(OSError), socket.create_connection((AT.hostname, AT.port or 80), TIMEOUT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
                if pause:
                    gevent.sleep(pause)
        if leaves:
            return 0, None
        gevent.sleep(late)
        while not is_whole(answer) and (got := connection.recv(CHUNK)):
            answer += got
    head = answer.partition(b"\r\n\r\n")[0].lower()
    status = int(head[9:12]) if head.startswith(b"http/1.") and head[9:12].isdigit() else 0
    told = [line.partition(b":")[2].strip() for line in head.split(b"\r\n") if line.startswith(b"retry-after:")]
    return status, told[0].decode() if told and status == 503 else None


def is_whole(answer: bytes) -> bool:
    """Whether all has come: a server that refused a body before it came keeps the connection for the rest of it."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
    return bool(end) and length.isdigit() and len(body) >= int(length)


def rest(status: int, said: str | None) -> None:
    """What a client does before it asks again."""
    if said is not None and said.replace(".", "", 1).isdigit():
        gevent.sleep(min(float(said), LONGEST_WAIT_SECONDS))
    elif status == 0 or status >= 500:
        gevent.sleep(BROKEN_WAIT_SECONDS)


def written(kind: str, number: int, status: int, seconds: float, away: bool) -> None:
    write(kind, number, status, f"{1_000 * seconds:.3f}", int(away))


def write(*words: object) -> None:
    print(f"{time.monotonic():.6f}", *words, sep="\t", file=OUT)


@events.test_start.add_listener
def _account(**_: Any) -> None:
    """Tell what generating costs, and hand on what was written, for as long as the process runs."""

    def tell() -> None:
        while True:
            write("cpu", f"{time.process_time():.4f}")
            OUT.flush()
            gevent.sleep(FLUSH_SECONDS)

    gevent.spawn(tell)


@events.quit.add_listener
def _end(**_: Any) -> None:
    OUT.close()
