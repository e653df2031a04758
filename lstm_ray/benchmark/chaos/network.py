"""A second machine on this one: a network namespace, and a cable to it that may be slow or cut. Linux, as root; no Ray.

The cable is a TUN device on either side and a thread that carries packets between them, so nothing is asked of the kernel's
own traffic shaping, which many have not. A cut is silent, as that of a switch that lost power: no side hears of it.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

TUN = Path("/dev/net/tun")
SET_DEVICE = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU_BYTES = 9000
HERE, THERE = 2, 3
"""Last number of the addresses of either side, as nodes are numbered."""
NUMBERS = range(200, 250)
"""Of the networks 10.77.NUMBER.0/24, of which any that no device has is taken."""


class Cable:
    """What carries packets, until it is closed.

    ``delay_seconds``, ``bytes_per_second`` and ``is_cut`` may be changed at any time, and hold for both directions.
    """

    def __init__(self, devices: tuple[int, int]) -> None:
        self.delay_seconds = 0.0
        self.bytes_per_second = float("inf")
        self.is_cut = False
        self.num_lost = 0
        """Packets that came while it was cut."""
        self._devices, self._over = devices, threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for device in self._devices:
            os.close(device)

    def _carry(self) -> None:
        one, other = self._devices
        to = {one: other, other: one}
        free_at = dict.fromkeys(self._devices, 0.0)
        under_way: list[tuple[float, int, int, bytes]] = []
        numbers = count()
        while not self._over.is_set():
            now = time.monotonic()
            wait = min(0.1, max(0.0, under_way[0][0] - now)) if under_way else 0.1
            for device in select.select(self._devices, (), (), wait)[0]:
                packet = os.read(device, MTU_BYTES)
                if self.is_cut:
                    self.num_lost += 1
                    continue
                free_at[device] = max(free_at[device], time.monotonic()) + len(packet) / self.bytes_per_second
                heapq.heappush(under_way, (free_at[device] + self.delay_seconds, next(numbers), to[device], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, device, packet = heapq.heappop(under_way)
                # A side whose device is just being taken away.
                with suppress(OSError):
                    os.write(device, packet)


def unable() -> str:
    """Why no namespace can be made here; empty where it can."""
    if os.geteuid():
        return "network namespaces are made by root alone"
    if shutil.which("ip") is None:
        return "there is no program ip (iproute2)"
    return "" if TUN.exists() else f"there is no {TUN}"


@contextmanager
def apart() -> Iterator[tuple[Cable, str, list[str], str]]:
    """A namespace until the block ends: its cable; the addresses of both sides as a pattern, of which HERE is this one's and
    THERE the other's; what to put before a command that is to run in it; and the device's name, the same on both sides."""
    number = next(n for n in NUMBERS if not Path(f"/sys/class/net/chaos{n}a").exists())
    hosts, name = f"10.77.{number}.{{}}", f"chaos{number}"
    inside = ["ip", "netns", "exec", name]
    _run("ip", "netns", "add", name)
    try:
        devices = (_device(f"{name}a"), _device(f"{name}b"))
        cable = Cable(devices)
        try:
            _run("ip", "link", "set", f"{name}b", "netns", name)
            _run(*inside, "ip", "link", "set", f"{name}b", "name", f"{name}a")
            for before, host in (([], HERE), (inside, THERE)):
                _run(*before, "ip", "address", "add", f"{hosts.format(host)}/24", "dev", f"{name}a")
                _run(*before, "ip", "link", "set", f"{name}a", "mtu", str(MTU_BYTES), "up")
            _run(*inside, "ip", "link", "set", "lo", "up")
            yield cable, hosts, inside, f"{name}a"
        finally:
            cable.close()
    finally:
        _run("ip", "netns", "delete", name)


def _device(name: str) -> int:
    """A TUN device that lives as long as it is open."""
    device = os.open(TUN, os.O_RDWR)
    fcntl.ioctl(device, SET_DEVICE, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
