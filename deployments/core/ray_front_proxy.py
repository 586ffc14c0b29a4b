"""Serve's manager of HAProxy, with what it lacks: a HAProxy that died is back at once, nothing listens before there is
somebody to answer, nothing but the public port to the network, headers have to come in time, its own errors are
OpenAI's, and it speaks with replicas of its own run alone.

Serve's controller starts the manager; `install` puts this one in its place. All of it leans on what Ray does not
promise.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import ray
from ray.serve._private import controller as controller_module
from ray.serve._private import haproxy as haproxy_module

from deployments.core.ray_internals import PUBLIC_HOST, RUN, RUN_HEADER

LOOK_EVERY_S = 0.2
RETRY_AFTER_S = 2
HEADERS_TIMEOUT_S = 30
RUN_PATH = "/livez"
UNAVAILABLE = {
    "error": {
        "message": "the server cannot answer now: it starts, or its ingress is being replaced; try again",
        "type": "server_error",
        "param": None,
        "code": "server_unavailable",
    }
}
NOT_FOUND = {
    "error": {
        "message": "nothing is served at this path; see /docs",
        "type": "invalid_request_error",
        "param": None,
        "code": "not_found",
    }
}

# Ray types its actors as what they were before it decorated them.
controller: Any = controller_module
haproxy: Any = haproxy_module
_Manager: Any = haproxy.HAProxyManager.__ray_metadata__.modified_class


def install() -> None:
    """Have the controller, in whose process this is called, start FrontProxy. Serve takes it by import path."""
    controller.HAProxyManager = ray.remote(num_cpus=0)(FrontProxy)


class MendedApi(haproxy_module.HAProxyApi):
    """Writes the configuration of HAProxy, and starts it."""

    _served = False  # there has been an ingress to ask

    def _initialize_directories_and_error_files(self) -> None:
        super()._initialize_directories_and_error_files()
        assert self.cfg.error_file_path is not None
        Path(self.cfg.error_file_path).write_bytes(error_file())

    def _generate_config_file_internal(self) -> None:
        super()._generate_config_file_internal()
        path = Path(self.config_file_path)
        backends = self.backend_configs.values()
        # Later there may be none for a moment, as while the only one takes a changed limit: Serve's own proxy waits.
        self._served = self._served or any(backend.servers for backend in backends)
        prefix = next((backend.path_prefix.rstrip("/") for backend in backends if backend.path_prefix), "")
        written, run = path.read_text("utf-8"), os.environ.get(RUN, "")
        config = mended(written, served=self._served, known=bool(backends), run=run, prefix=prefix)
        path.write_text(guarded(config, os.environ.get(PUBLIC_HOST, "")), "utf-8")

    @property
    def died(self) -> bool:
        """Whether the HAProxy that was started has ended without being asked to."""
        return self._proc is not None and self._proc.returncode is not None


class FrontProxy(_Manager):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        haproxy.HAProxyApi = MendedApi
        super().__init__(*arguments, **named)
        self._keeping = self.event_loop.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        await asyncio.wait([self._haproxy_start_task])
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            async with self._reload_lock:
                if self._haproxy.died:
                    haproxy.logger.warning("HAProxy died; it is started again")
                    try:
                        await self._haproxy.start()
                    except Exception:
                        haproxy.logger.exception("HAProxy could not be started again")

    async def shutdown(self) -> None:
        self._keeping.cancel()
        await super().shutdown()


def error_file() -> bytes:
    """What HAProxy answers by itself where it has nobody to ask: a whole HTTP message."""
    body = json.dumps(UNAVAILABLE)
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Retry-After: {RETRY_AFTER_S}",
        "Cache-Control: no-cache",
        "Connection: close",
    )
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("ascii")


def guarded(config: str, public: str) -> str:
    """HAProxy's configuration with nothing but the public port open to the network, and a time for headers. `public`:
    the host to listen on, where that is not Serve's."""
    config = re.sub(
        r"(?m)^(frontend prometheus\n    bind |listen stats\n  bind )\*?:", r"\g<1>127.0.0.1:", config
    )
    config = re.sub(r"(?m)^defaults$", f"defaults\n    timeout http-request {HEADERS_TIMEOUT_S}s", config)
    if not public:
        return config
    host = f"[{public}]" if ":" in public else public
    return re.sub(r"(?m)^(frontend http_frontend\n    bind )\S+:(\d+)$", rf"\g<1>{host}:\g<2>", config)


def mended(config: str, *, served: bool, known: bool, run: str, prefix: str = "") -> str:
    """HAProxy's configuration as it is to be. `served`: there is, or was, an ingress that it could ask; `known`: an
    application is there; `run`: what its ingresses have in RUN; `prefix`: of its routes."""
    if not served:  # a connection that is refused is tried again by every client; a 404 is not
        config = re.sub(r"(?m)^(frontend http_frontend\n)    bind .*\n", r"\1", config)
    config = re.sub(r"(?m)^    http-request return status 404 .*$", lambda _: _otherwise(known), config)
    if run:
        config = re.sub(
            r"(?m)^    option httpchk GET (\S+)\n    http-check expect status 200$",
            lambda found: _checked(found[1], f"{prefix}{RUN_PATH}", run),
            config,
        )
    return config


def _otherwise(known: bool) -> str:
    """The answer to what belongs to no application, as everything does before the first is known."""
    status, body, wait = (
        (404, NOT_FOUND, "") if known else (503, UNAVAILABLE, f" hdr Retry-After {RETRY_AFTER_S}")
    )
    text = json.dumps(body).replace("\\", "\\\\").replace('"', '\\"')
    return f'    http-request return status {status} content-type application/json string "{text}"{wait}'


def _checked(health: str, run_path: str, run: str) -> str:
    """A server is up that is well by Serve's word, and is of this run."""
    asks = {health: "", run_path: f" hdr {RUN_HEADER} {run}"}
    lines = ["option httpchk"]
    for path, header in asks.items():
        lines += [
            "http-check connect",
            f"http-check send meth GET uri {path} ver HTTP/1.1 hdr Host check hdr Connection close{header}",
            "http-check expect status 200",
        ]
    return "\n".join(f"    {line}" for line in lines)
