"""A real server of objects on loopback, as S3's: a process of its own that keeps its objects in memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pyarrow import fs

ACCESS, SECRET = "AKIAMADEUPACCESS", "made-up-secret-canary"
_CLEAN = ("AWS_", "LSTM_RAY_")


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def query(self) -> str:
        """What a URI is told after its ? to find this server."""
        return f"?endpoint_override={self.endpoint}&scheme=http&region=us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this server and be let in."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.endpoint}",
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def filesystem(self) -> fs.S3FileSystem:
        return fs.S3FileSystem(
            access_key=ACCESS,
            secret_key=SECRET,
            region="us-east-1",
            endpoint_override=self.endpoint,
            scheme="http",
            allow_bucket_creation=True,
        )

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"made-{uuid4().hex[:12]}"
        self.filesystem.create_dir(name)
        return name

    def objects(self, bucket: str, holding: str = "") -> dict[str, bytes]:
        """What is in a bucket, by key, of keys that hold a word; what goes while it is read is left out."""
        filesystem = self.filesystem
        found = filesystem.get_file_info(fs.FileSelector(bucket, recursive=True))
        kept = {}
        for info in found:
            if info.type == fs.FileType.File and holding in info.path:
                try:
                    with filesystem.open_input_file(info.path) as file:
                        kept[info.path.removeprefix(f"{bucket}/")] = file.read()
                except OSError:
                    if filesystem.get_file_info(info.path).type != fs.FileType.NotFound:
                        raise
        return kept


@contextmanager
def serving(log: Path, **environment: str) -> Iterator[Server]:
    """A server until the block ends. It lets everybody in unless the environment says otherwise."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_CLEAN)}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with open(log, "w") as output:
        process = subprocess.Popen(command, env=clean | environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the server of objects did not start"
            time.sleep(0.05)
        yield Server(int(found[1]))
    finally:
        process.kill()
        process.wait()
