"""Recordings that a request names by an address instead of bringing them: fetched from hosts that the operator named,
and from nowhere inside the network that this server stands in."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
from starlette.requests import HTTPConnection

from deployments.core.deadline import within
from deployments.core.errors import Forbidden, InvalidRequest, SpeechError, TooLarge
from deployments.voices.decode import MAX_BYTES

FETCH_TIMEOUT_S = 10.0  # for all of it
HTTPS_PORT = 443
ANY_HOST = "*"
# IPv6 addresses that stand for IPv4 ones, which may be private: 6to4 and NAT64.
TRANSLATED = tuple(ipaddress.ip_network(net) for net in ("2002::/16", "64:ff9b::/96", "64:ff9b:1::/48"))
CODE = "remote_audio"

Resolve = Callable[[str], Awaitable[list[str]]]


async def resolve(host: str) -> list[str]:
    """The addresses of a name. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, HTTPS_PORT, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@dataclass(frozen=True)
class RemoteRecordings:
    """`hosts`: names, `*.example.com` for all below one, `*` for all; empty: no address is fetched."""

    hosts: tuple[str, ...] = ()
    resolve: Resolve = resolve
    transport: httpx.AsyncBaseTransport | None = None

    async def fetch(self, address: str, param: str) -> bytes:
        """What lies at `address`, not yet decoded. Raises SpeechError naming `param`."""
        url = self._checked(address, param)
        try:
            return await within(FETCH_TIMEOUT_S, self._fetch(url, param))
        except TimeoutError:
            raise _failed(param, f"it did not come within {FETCH_TIMEOUT_S:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            raise _failed(param, f"{url.host} could not be asked ({type(error).__name__})") from None

    def _checked(self, address: str, param: str) -> httpx.URL:
        try:
            url = httpx.URL(address)
        except (httpx.InvalidURL, UnicodeError):
            raise _failed(param, "it is no address") from None
        if url.scheme != "https" or not url.host or url.userinfo or (url.port or HTTPS_PORT) != HTTPS_PORT:
            raise _failed(param, "it must be https://, without a port and without a password")
        if not any(_matches(url.host.lower(), allowed.lower()) for allowed in self.hosts):
            raise Forbidden(f"{param}: recordings of {url.host[:80]} are not fetched here", param=param)
        return url

    async def _fetch(self, url: httpx.URL, param: str) -> bytes:
        addresses = await self.resolve(url.host)
        if not addresses or not all(is_public(each) for each in addresses):
            raise Forbidden(f"{param}: {url.host[:80]} is not on the public Internet", param=param)
        # The very address that was looked at is asked: by now the name may lead somewhere else (DNS rebinding).
        pinned = url.copy_with(host=addresses[0])
        client = httpx.AsyncClient(
            transport=self.transport,
            trust_env=False,  # a proxy would look the name up again
            follow_redirects=False,  # they may lead anywhere
            timeout=FETCH_TIMEOUT_S,
        )
        headers = {"Host": url.host, "Accept-Encoding": "identity", "Accept": "audio/*, */*;q=0.1"}
        async with (
            client,
            client.stream("GET", pinned, headers=headers, extensions={"sni_hostname": url.host}) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise _failed(param, f"{url.host} answered {answer.status_code}; redirects are not followed")
            return await _bounded(answer, param)


async def _bounded(answer: httpx.Response, param: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.aiter_raw():
        size += len(part)
        if size > MAX_BYTES:
            raise TooLarge(
                f"{param}: the recording has more than {MAX_BYTES / 1e6:g} MB",
                param=param,
                code="audio_too_large",
            )
        parts.append(part)
    return b"".join(parts)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet, and none that stands for another."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif any(found in net for net in TRANSLATED):
            return False
    return found.is_global and not found.is_multicast


def remote_of(connection: HTTPConnection) -> RemoteRecordings:
    remote: RemoteRecordings = connection.app.state.remote_recordings
    return remote


def _matches(host: str, allowed: str) -> bool:
    if allowed.startswith("*."):
        return host.endswith(allowed[1:])
    return allowed in (ANY_HOST, host)


def _failed(param: str, reason: str) -> SpeechError:
    return InvalidRequest(f"{param}: the recording cannot be fetched: {reason}", param=param, code=CODE)
