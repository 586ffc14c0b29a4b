"""The Ingress deployment: protocol only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from deployments.core.ray_internals import RUN, answered_by_all, own_deployment
from serve_app.client import RouterClient
from serve_app.config import AuthSettings, InPlace, Limits
from serve_app.http.application import create_api
from serve_app.http.gate import Gate
from serve_app.http.stream_cut import quiet_about_cuts
from serve_app.keys.exchange import UsageExchange
from serve_app.keys.usage import KeyUsage, UsageReport
from serve_app.observe.answers import CountedAnswers
from serve_app.telemetry import HttpTelemetry


class Ingress:
    """FastAPI in front of the router; the builder wraps it with `serve.ingress()`."""

    def __init__(
        self,
        router: DeploymentHandle[Any],
        limits: Limits,
        cors_origins: tuple[str, ...],
        auth: AuthSettings,
    ) -> None:
        self._service = RouterClient(router)
        self._limits = limits
        self._cors_origins = cors_origins
        self._auth = auth
        self._ingresses: DeploymentHandle[Any] | None = None
        self._usage = KeyUsage()
        self._usage.when_used = UsageExchange(self._usage, self._all_usage).wake
        self._telemetry = HttpTelemetry()
        self._gate = Gate(self._api(), os.environ.get(RUN, ""))
        quiet_about_cuts()

    def _api(self) -> FastAPI:
        api = create_api(self._service, self._limits, self._cors_origins, self._auth, self._usage)
        # The last one added is the outermost: what no route answers is counted, too.
        api.add_middleware(CountedAnswers, api=api, answered=self._telemetry.answered)
        return api

    def __serve_build_asgi_app__(self) -> Gate:
        # Serve asks for the application by this name where `serve.ingress()` was given none (core/ray_internals.py).
        return self._gate

    def reconfigure(self, changes: dict[str, Any]) -> None:
        """What `user_config` says, from the next request on. Serve calls it by this name."""
        limits = InPlace(**changes).limits
        if limits == self._limits:
            return
        self._limits = limits
        self._gate.api = self._api()

    async def key_usage(self) -> UsageReport:
        """What keys have used of their limits at this replica."""
        return self._usage.report()

    async def _all_usage(self, timeout_s: float) -> Sequence[UsageReport]:
        if self._ingresses is None:
            self._ingresses = own_deployment()
        found = await answered_by_all(self._ingresses, "key_usage", timeout_s=timeout_s)
        return cast(list[UsageReport], found)

    async def drain(self) -> int:
        """Let nothing new in; the number of requests and sessions that are still under way."""
        self._gate.drain()
        return self._gate.open
