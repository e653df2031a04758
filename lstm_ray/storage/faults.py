"""What storage says when it fails: which faults pass, how long to try again, what a person is told. Knows no objects."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from lstm_ray.errors import InputError

T = TypeVar("T")
FIRST_SECONDS, LONGEST_SECONDS = 0.2, 10.0
"""The most that is waited before the second try, which doubles with each, and the most before any."""
PATIENCE_SECONDS = 120.0
"""How long one operation is tried until storage counts as gone."""
PASSING = re.compile(
    r"SLOW_DOWN|SlowDown|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|InternalError|THROTTLING|Throttling|TooManyRequests"
    r"|REQUEST_TIMEOUT|RequestTimeout|NETWORK_CONNECTION|curlCode|CURL error|UNAVAILABLE|DEADLINE_EXCEEDED"
    r"|HTTP status (429|5\d\d)|Connection reset|Broken pipe"
)
NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|NoSuchBucket")
DENIED = re.compile(
    r"ACCESS_DENIED|AccessDenied|INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch"
    r"|EXPIRED_TOKEN|ExpiredToken|INVALID_TOKEN|InvalidToken|UNRECOGNIZED_CLIENT|INVALID_CLIENT_TOKEN"
    r"|MISSING_AUTHENTICATION|NOT_AUTHORIZED|PERMISSION_DENIED|UNAUTHENTICATED|HTTP status 40[13]"
)
NOT_THERE = re.compile(r"NO_SUCH_KEY|NoSuchKey|RESOURCE_NOT_FOUND|HTTP status 404|NOT_FOUND")


def passes(error: BaseException) -> bool:
    """Whether the same request may succeed a little later: not where it was refused, or what it names is not there."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    text = str(error)
    refused = DENIED.search(text) or NO_BUCKET.search(text) or isinstance(error, (FileNotFoundError, PermissionError))
    return isinstance(error, OSError) and not refused and PASSING.search(text) is not None


def patiently(work: Callable[[], T], place: str, seconds: float | None = None) -> T:
    """The work's answer, tried again after faults that pass: exponential back-off with full jitter.

    Raises InputError where storage refuses or does not come back; FileNotFoundError where an object is not there.
    """
    limit, tries, began = PATIENCE_SECONDS if seconds is None else seconds, 0, time.monotonic()
    while True:
        try:
            return work()
        except OSError as error:
            wait = random.uniform(0, min(LONGEST_SECONDS, FIRST_SECONDS * 2**tries))
            tries += 1
            if not passes(error) or time.monotonic() - began + wait > limit:
                raise told(error, place) from None
        time.sleep(wait)


def told(error: OSError, place: str) -> OSError | InputError:
    """What to raise for it: one sentence where a person can mend it, the error itself elsewise."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return error
    if NO_BUCKET.search(text):
        return InputError(f"storage has no bucket for {place}; make the bucket, or name one that exists")
    if DENIED.search(text):
        return InputError(
            f"storage refuses {place} ({_name(text)}); set credentials that may list, read, write and delete there "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role; for gs:// GOOGLE_APPLICATION_CREDENTIALS)"
        )
    if passes(error):
        return InputError(
            f"storage does not answer for {place} ({_name(text)}); check the endpoint, the region and the network, then give "
            "the same command again: it goes on from here"
        )
    return FileNotFoundError(text) if NOT_THERE.search(text) else error


def within(work: Callable[[], T], seconds: float, silent: str) -> T:
    """The work's answer, or an InputError of these words: clients may ask an endpoint that keeps silent for many minutes."""
    answer: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True, name="lstm-ray-storage")
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise InputError(silent)
    return answer[0]


def _name(text: str) -> str:
    """The fault alone: whole messages may hold keys and signed addresses."""
    curl = re.search(r"curlCode: \d+, ([^;()]+)|CURL error \[\d+\]=([\w' -]+)", text)
    aws = re.search(r"AWS Error ([A-Z_]+)", text)
    status = re.search(r"HTTP status \d+", text)
    if curl:
        return (curl[1] or curl[2]).strip().lower()
    if aws and aws[1] != "UNKNOWN":
        return aws[1].lower().replace("_", " ")
    return status[0] if status else "connection lost"
