"""One file over HTTP, resumed after an interruption. The hub's own client starts a file again from its first byte."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from deployments.weights.fetch import Received

ATTEMPTS = 5
FIRST_WAIT_S = 0.5
TIMEOUT = httpx.Timeout(60, connect=10)


def download(
    url: str, target: Path, headers: Mapping[str, str], size: int | None, received: Received
) -> None:
    """Fetch `url` to `target`; until it is whole it lies beside it, with `.partial` behind its name.

    A lost connection is taken up again a few times. Raises httpx.HTTPError, or ValueError if the file has another
    size (bytes) than it should have.
    """
    partial = target.with_name(f"{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    received(partial.stat().st_size if partial.exists() else 0)
    lost = retry_if_exception_type(httpx.TransportError)
    wait = wait_exponential(multiplier=FIRST_WAIT_S)
    for attempt in Retrying(stop=stop_after_attempt(ATTEMPTS), wait=wait, retry=lost, reraise=True):
        with attempt:
            _go_on(url, partial, headers, size, received)
    found = partial.stat().st_size
    if size is not None and found != size:
        partial.unlink()
        received(-found)
        raise ValueError(f"{found} bytes instead of {size}")
    os.replace(partial, target)


def _go_on(url: str, partial: Path, headers: Mapping[str, str], size: int | None, received: Received) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if size is not None and have == size > 0:
        return
    asked = {**headers, "Accept-Encoding": "identity"}
    if have:
        asked["Range"] = f"bytes={have}-"
    with httpx.stream("GET", url, headers=asked, timeout=TIMEOUT, follow_redirects=True) as response:
        response.raise_for_status()
        if response.status_code != httpx.codes.PARTIAL_CONTENT and have:
            received(-have)  # the server begins at the first byte again
            have = 0
        with partial.open("ab" if have else "wb") as file:
            for block in response.iter_bytes():  # as it comes: what is held back would be lost
                file.write(block)
                received(len(block))
