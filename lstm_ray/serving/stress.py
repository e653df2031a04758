"""Load on an HTTP address: clients that ask again as soon as they are answered. Knows URLs; knows no policy.

One thread waits for all sockets at once and reads of an answer its status and its length alone: a client that understood
more would be measured with the server, which is on the same machine as often as not.
"""

from __future__ import annotations

import selectors
import socket
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError

TIMEOUT_SECONDS = 30.0
AGAIN_SECONDS = 0.1
"""A client whose connection broke waits so long: a server that is down would be asked thousands of times a second."""
LOOK_SECONDS = 0.5
"""How often clients that wait too long are looked for."""
READ_BYTES = 1 << 18


@dataclass(frozen=True)
class Load:
    """What a closed loop measured."""

    connections: int
    seconds: float
    latency_M: NDArray
    """Milliseconds of each answered request."""
    num_errors: int
    """Answers of another status than was expected, and connections that broke."""
    errors: dict[str, int] = field(default_factory=dict)
    """How many of each kind: a status, or what broke a connection."""
    cpu_seconds: float = 0.0
    """What asking cost the process that asks."""

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain numbers; latencies are None where nothing was answered."""
        shares = {name: self.quantile(share) for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))}
        return {
            "connections": self.connections,
            "seconds": round(self.seconds, 3),
            "requests": len(self.latency_M),
            "requests_per_second": round(self.per_second, 1),
            "errors": self.num_errors,
            **shares,
        }

    @property
    def per_second(self) -> float:
        """Answered requests a second."""
        return len(self.latency_M) / self.seconds

    def quantile(self, share: float) -> float | None:
        """Milliseconds below which this share of the answers came."""
        return round(float(np.quantile(self.latency_M, share)), 3) if len(self.latency_M) else None


def closed_loop(
    url: str,
    bodies: Sequence[bytes],
    connections: int,
    seconds: float,
    token: str | None = None,
    expected: int = 200,
) -> Load:
    """POST the bodies in turn over each of some kept-alive connections until the time is up; without bodies, GET.

    Args:
        expected: status of an answer that is no error.

    Raises InputError where the URL is not one of plain HTTP.
    """
    at = urlsplit(url)
    if at.scheme != "http" or not at.hostname:
        raise InputError(f"'{url}' cannot be loaded: its address must begin with http:// and name a host")
    head = f" {at.path or '/'}{f'?{at.query}' if at.query else ''} HTTP/1.1\r\nHost: {at.netloc}\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    kind = "Content-Type: application/json\r\nContent-Length:"
    requests = [f"POST{head}{kind} {len(body)}\r\n\r\n".encode() + body for body in bodies]
    loop = _Loop((at.hostname, at.port or 80), requests or [f"GET{head}\r\n".encode()], connections, str(expected))
    return loop.run(seconds)


class _Client:
    """One connection and the answer that it waits for."""

    def __init__(self, number: int) -> None:
        self.turn = number
        self.socket: socket.socket | None = None
        self.sent = 0.0
        self.left = memoryview(b"")
        """Of the request, what the socket did not take yet."""
        self.answer = b""
        self.length: int | None = None
        """Of the whole answer; None until its head has come, or where it does not say."""


class _Loop:
    """All connections of a load, in one thread."""

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], connections: int, expected: str) -> None:
        self._address, self._requests, self._expected = address, requests, expected
        self._clients = [_Client(number) for number in range(connections)]
        self._selector = selectors.DefaultSelector()
        self._waiting = list(self._clients)
        """Clients without a connection."""
        self._latency_M = array("d")
        self._errors: dict[str, int] = {}

    def run(self, seconds: float) -> Load:
        """Ask until the time is up, and hear the last answers out."""
        cpu, began = time.thread_time(), time.perf_counter()
        self._until = began + seconds
        looked = again = began
        try:
            while True:
                now = time.perf_counter()
                if self._waiting and now >= again:
                    self._connect()
                    again = now + AGAIN_SECONDS
                if now - looked > LOOK_SECONDS:
                    self._give_up(now)
                    looked = now
                if now >= self._until and not self._selector.get_map():
                    break
                for key, events in self._selector.select(AGAIN_SECONDS):
                    try:
                        self._write(key.data) if events & selectors.EVENT_WRITE else self._read(key.data)
                    except BlockingIOError:
                        continue
                    except OSError as error:
                        self._fail(key.data, type(error).__name__)
        finally:
            for client in self._clients:
                self._close(client)
            self._selector.close()
        took = time.perf_counter() - began
        spent = time.thread_time() - cpu
        num_errors = sum(self._errors.values())
        return Load(len(self._clients), took, np.array(self._latency_M), num_errors, dict(self._errors), spent)

    def _connect(self) -> None:
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            if time.perf_counter() >= self._until:
                return
            try:
                client.socket = socket.create_connection(self._address, TIMEOUT_SECONDS)
            except OSError as error:
                self._fail(client, type(error).__name__)
                continue
            client.socket.setblocking(False)
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            self._ask(client)

    def _ask(self, client: _Client) -> None:
        """The client's next request, or the end of its connection where the time is up."""
        client.sent = time.perf_counter()
        if client.sent >= self._until:
            self._close(client)
            return
        request = self._requests[client.turn % len(self._requests)]
        client.turn += len(self._clients)
        client.answer, client.length = b"", None
        assert client.socket is not None
        try:
            taken = client.socket.send(request)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._fail(client, type(error).__name__)
            return
        if taken < len(request):
            client.left = memoryview(request)[taken:]
            self._selector.modify(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)

    def _write(self, client: _Client) -> None:
        assert client.socket is not None
        client.left = client.left[client.socket.send(client.left) :]
        if not client.left:
            self._selector.modify(client.socket, selectors.EVENT_READ, client)

    def _read(self, client: _Client) -> None:
        assert client.socket is not None
        got = client.socket.recv(READ_BYTES)
        client.answer = client.answer + got if client.answer else got
        if client.length is None:
            client.length = _length(client.answer)
        if not got:
            self._fail(client, "closed before it answered")
        elif (client.length is not None and len(client.answer) >= client.length) or (
            client.length is None and b"chunked" in client.answer and client.answer.endswith(b"\r\n0\r\n\r\n")
        ):
            self._answered(client)

    def _answered(self, client: _Client) -> None:
        now = time.perf_counter()
        status = client.answer[9:12].decode("ascii", "replace")
        if status == self._expected:
            self._latency_M.append(1000 * (now - client.sent))
        else:
            self._count(status)
        if b"connection: close" in client.answer[: client.answer.find(b"\r\n\r\n")].lower():
            self._close(client)
            self._waiting.append(client)
        else:
            self._ask(client)

    def _give_up(self, now: float) -> None:
        for client in self._clients:
            if client.socket is not None and now - client.sent > TIMEOUT_SECONDS:
                self._fail(client, f"no answer in {TIMEOUT_SECONDS:g} s")

    def _fail(self, client: _Client, why: str) -> None:
        self._count(why)
        self._close(client)
        self._waiting.append(client)

    def _count(self, why: str) -> None:
        self._errors[why] = self._errors.get(why, 0) + 1

    def _close(self, client: _Client) -> None:
        if client.socket is not None:
            self._selector.unregister(client.socket)
            client.socket.close()
            client.socket = None


def _length(answer: bytes) -> int | None:
    """Bytes of a whole answer, its head included; None where the head has not come or does not say."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = answer[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return None
    digits = head[at + 17 :].partition(b"\r\n")[0]
    return end + 4 + int(digits)
