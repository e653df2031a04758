"""What storage says when it fails: which faults pass, how long to try again, what a person is told. Knows no objects."""

from __future__ import annotations

import errno
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lstm_ray.errors import InputError

T = TypeVar("T")
FIRST_SECONDS, LONGEST_SECONDS = 0.2, 10.0
"""The most that is waited before the second try, which doubles with each, and the most before any."""
PATIENCE_SECONDS = 120.0
"""How long one operation is tried until storage counts as gone."""
PASSING = re.compile(
    r"SLOW_DOWN|SlowDown|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|InternalError|THROTTLING|Throttling|TooManyRequests"
    r"|REQUEST_TIMEOUT|RequestTimeout\b|NETWORK_CONNECTION|curlCode|CURL error|UNAVAILABLE|DEADLINE_EXCEEDED"
    r"|HTTP status (429|50[0234])|Connection reset|Broken pipe"
)
NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|NoSuchBucket|Bucket '[^']*' not found")
FULL = re.compile(r"HTTP status 507|StorageFull|QuotaExceeded|INSUFFICIENT_STORAGE|InsufficientStorage", re.IGNORECASE)
CLOCK = re.compile(r"REQUEST_TIME_TOO_SKEWED|RequestTimeTooSkewed|REQUEST_EXPIRED|RequestExpired")
REGION = re.compile(r"HTTP status 301|PermanentRedirect|AuthorizationHeaderMalformed")
DENIED = re.compile(
    r"ACCESS_DENIED|AccessDenied|INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch"
    r"|EXPIRED_TOKEN|ExpiredToken|INVALID_TOKEN|InvalidToken|UNRECOGNIZED_CLIENT|INVALID_CLIENT_TOKEN"
    r"|MISSING_AUTHENTICATION|NOT_AUTHORIZED|PERMISSION_DENIED|UNAUTHENTICATED|AuthenticationFailed|AuthorizationFailure"
    r"|AuthenticationException|Failed to get token|HTTP status 40[13]"
)
NOT_THERE = re.compile(r"NO_SUCH_KEY|NoSuchKey|RESOURCE_NOT_FOUND|HTTP status 404|NOT_FOUND")
SENTENCES = (
    (NO_BUCKET, "storage has no bucket for {place}; make the bucket, or name one that exists"),
    (
        FULL,
        "storage has no room left for {place} ({fault}); free or raise its disk or quota, then give the same command again",
    ),
    (
        CLOCK,
        "storage finds this machine's clock wrong for {place} ({fault}); set it by the network (NTP), then give the same "
        "command again",
    ),
    (REGION, "storage has {place} in another region ({fault}); set AWS_REGION to it, or write ?region=NAME behind it"),
    (
        DENIED,
        "storage refuses {place} ({fault}); set credentials that may list, read, write and delete there "
        "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role; for gs:// GOOGLE_APPLICATION_CREDENTIALS; for "
        "abfs:// AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET); a clock that is minutes off is refused in the same "
        "way",
    ),
)
"""By what storage says, in this order: a quota that is full may be refused as credentials are."""
BY_NAME = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""What this machine's system says of a folder that another name, or other rights, would mend."""


def passes(error: BaseException) -> bool:
    """Whether the same request may succeed a little later: not where it was refused, or what it names is not there."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    text = str(error)
    if not isinstance(error, OSError) or isinstance(error, (FileNotFoundError, PermissionError)):
        return False
    refused = any(words.search(text) for words in (DENIED, NO_BUCKET, FULL, CLOCK))
    return not refused and PASSING.search(text) is not None


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
    """What to raise for it: one sentence; the error itself where an object is not there, or this machine's disk fails."""
    text = str(error)
    fault = _name(text)
    if isinstance(error, FileNotFoundError):
        return error
    if passes(error):
        return InputError(
            f"storage does not answer for {place} ({fault or 'connection lost'}); check the endpoint, the region and the "
            "network, then give the same command again: it goes on from here"
        )
    if error.errno is not None:
        return error
    for known, sentence in SENTENCES:
        if found := known.search(text):
            return InputError(sentence.format(place=place, fault=fault or found[0]))
    if NOT_THERE.search(text):
        return FileNotFoundError(text)
    return InputError(
        f"storage does not do what is asked for {place} ({fault or 'no reason given'}); check that the endpoint offers what S3 "
        "does, and that its region and rules let you list, read, write, copy and delete there"
    )


@contextmanager
def usable(folder: str) -> Iterator[None]:
    """A local folder that cannot be made or written becomes one InputError; a full disk stays what it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in BY_NAME:
            raise
        raise InputError(
            f"the folder {folder} cannot be made or written ({os.strerror(error.errno)}); name another, or ask for the right "
            "to write there"
        ) from None


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
    named = re.search(r"Unable to parse ExceptionName: (\w+)", text)
    if curl:
        return (curl[1] or curl[2]).strip().lower()
    if aws and aws[1] != "UNKNOWN":
        return aws[1].lower().replace("_", " ")
    return ", ".join(found[found.lastindex or 0] for found in (status, named) if found)
