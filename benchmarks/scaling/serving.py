"""A config file served on a cluster of processes, and how many replicas run there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scaling.nodes import IP, ProcessCluster, Worker, process_cluster
from serve_app.commands.own_ports import any_port

START_S = 180.0
RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class Served:
    """A graph that answers at `url`; this process is part of its cluster."""

    url: str
    application: str
    cluster: ProcessCluster

    def replicas(self) -> dict[str, int]:
        """Running ones, by deployment."""
        return running_replicas(self.application)


def running_replicas(application: str) -> dict[str, int]:
    """By deployment."""
    from ray import serve  # noqa: PLC0415

    found = serve.status().applications[application].deployments
    return {name: each.replica_states.get(RUNNING, 0) for name, each in found.items()}


def kill_replica(application: str, deployment: str) -> str:
    """Its name."""
    import ray  # noqa: PLC0415  (its environment must be there first)

    prefix = f"SERVE_REPLICA::{application}#{deployment}#"
    actors = ray.util.list_named_actors(all_namespaces=True)
    found = next(actor for actor in actors if actor["name"].startswith(prefix))
    ray.kill(ray.get_actor(found["name"], namespace=found["namespace"]))
    return str(found["name"])


def join(address: str, nodes: int) -> None:
    """Make this process part of a cluster of processes, once it has so many nodes, the head among them."""
    import ray  # noqa: PLC0415  (its environment must be there first)

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address=IP,  # where the nodes say that they are
    )
    _wait_for_nodes(ray, nodes)


def deployed(config: Path, port: int) -> str:
    """The name of the config file's application, which is served at `port` from now on. Raises as `serving` does."""
    from ray import serve  # noqa: PLC0415

    from deployments.core.ray_internals import deploy  # noqa: PLC0415
    from serve_app import config_file  # noqa: PLC0415

    loaded = config_file.load(config, port=port)
    options = loaded.serve.http_options.model_copy(update={"host": IP})
    serve.start(proxy_location=loaded.serve.proxy_location, http_options=options.model_dump())
    deploy(loaded.serve.model_copy(update={"http_options": options}))
    application = loaded.serve.applications[0].name
    _wait_until_running(serve, application)
    _wait_until_routed(f"http://{IP}:{port}")
    return application


@contextmanager
def serving(config: Path, workers: Sequence[Worker], *, quick: bool = True) -> Iterator[Served]:
    """The config file, unchanged but for port and host, on a head and `workers`. Raises RuntimeError, TimeoutError."""
    with process_cluster(workers, quick=quick) as cluster:
        import ray  # noqa: PLC0415  (its environment must be there first)
        from ray import serve  # noqa: PLC0415

        port = any_port()
        join(cluster.address, len(workers) + 1)
        try:
            application = deployed(config, port)
            yield Served(f"http://{IP}:{port}", application, cluster)
        finally:
            serve.shutdown()
            ray.shutdown()


def _wait_for_nodes(ray: Any, count: int) -> None:
    until_s = time.monotonic() + START_S
    while sum(node["Alive"] for node in ray.nodes()) < count:
        if time.monotonic() > until_s:
            raise TimeoutError(f"{count} nodes were started, and not all have come")
        time.sleep(0.2)


def _wait_until_running(serve: Any, name: str) -> None:
    until_s = time.monotonic() + START_S
    said: Mapping[str, str] = {}
    while time.monotonic() < until_s:
        application = serve.status().applications.get(name)
        if application is not None:
            if application.status == RUNNING:
                return
            said = {key: each.message for key, each in application.deployments.items()}
            if application.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                raise RuntimeError(f"the graph did not start: {application.message} {said}")
        time.sleep(0.2)
    raise TimeoutError(f"the graph did not start: {said}")


def _wait_until_routed(url: str) -> None:
    import httpx  # noqa: PLC0415

    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        try:
            if httpx.get(f"{url}/livez", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{url} was not routed")
