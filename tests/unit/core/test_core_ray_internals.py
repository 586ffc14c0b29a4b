"""What is leaned on that Ray does not promise, as the installed Ray has it. What needs a cluster is in tests/graph."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import ray._private.state
from ray import serve
from ray._private.node import Node
from ray.serve import context
from ray.serve._private.client import ServeControllerClient
from ray.serve._private.replica import SERVE_BUILD_ASGI_APP_METHOD, _load_deployment_def_from_import_path
from ray.serve.handle import DeploymentHandle

from deployments.core.deadline import Deadline
from deployments.core.ray_internals import (
    QUIET,
    agents_at,
    bind_by_path,
    bound_deployments,
    by_value,
    deploy,
    haproxy_switches,
    logs_directory,
    own_context,
    own_port_switches,
    replicas_on_loopback,
    shutdown_timeout_s,
)
from serve_app.ingress import Ingress


class Leaf:
    def __init__(self, size: int = 1) -> None: ...


class Root:
    def __init__(self, leaves: Any, one: Any = None) -> None: ...


def leaf(name: str) -> Any:
    return serve.deployment(name=name)(Leaf)


# own_context


async def test_serve_keeps_the_request_in_a_context_variable_that_own_context_hides() -> None:
    inside = context._RequestContext(request_id="the-id")
    token = context._serve_request_context.set(inside)

    async def seen() -> str:
        return context._get_serve_request_context().request_id

    try:
        assert await asyncio.create_task(seen()) == "the-id"
        assert await own_context(asyncio.create_task, seen()) == ""
        assert own_context(lambda: context._get_serve_request_context().request_id) == ""
        assert context._get_serve_request_context() is inside
    finally:
        context._serve_request_context.reset(token)


def test_own_context_passes_arguments_and_errors_on() -> None:
    assert own_context(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        own_context(divmod, 7, 0)


# by_value


def test_handles_know_the_option() -> None:
    assert "_by_reference" in inspect.signature(DeploymentHandle.options).parameters


@pytest.mark.parametrize("stream", [True, False])
def test_by_value_sets_it(stream: bool) -> None:
    class Handle:
        def options(self, **options: Any) -> dict[str, Any]:
            return options

    options: Any = by_value(Handle(), stream=stream)  # type: ignore[arg-type]
    assert options == {"stream": stream, "_by_reference": False}


# bind_by_path


def test_a_class_is_bound_by_its_path_and_not_imported() -> None:
    bound = bound_deployments(
        bind_by_path(serve.deployment(name="x"), "no_such_package.of.Mine", {"size": 3})
    )
    assert bound["x"].func_or_class == "no_such_package.of.Mine"
    assert dict(bound["x"].init_kwargs) == {"size": 3}
    assert "no_such_package" not in sys.modules


def test_a_replica_finds_the_class_of_a_path() -> None:
    assert _load_deployment_def_from_import_path("deployments.core.deadline.Deadline") is Deadline


# bound_deployments


def test_all_deployments_of_a_graph_are_found() -> None:
    shared = leaf("shared").bind(2)
    stages = {"a": {"x": leaf("a-x").bind(), "y": shared}, "b": {"z": shared}}
    graph = serve.deployment(name="root")(Root).bind(stages, one=leaf("one").bind(size=4))
    found = bound_deployments(graph)
    assert found.keys() == {"root", "a-x", "shared", "one"}
    assert found["shared"].init_args == (2,)
    assert found["one"].init_kwargs == {"size": 4}


# deploy


def test_a_configuration_is_handed_to_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    """That this starts the graph is tested by tests/http/test_http_serve_command.py."""
    assert "_blocking" in inspect.signature(ServeControllerClient.deploy_apps).parameters
    handed: list[tuple[Any, dict[str, Any]]] = []

    class Client:
        def deploy_apps(self, config: Any, **options: Any) -> None:
            handed.append((config, options))

    assert callable(context._get_global_client)
    monkeypatch.setattr(context, "_get_global_client", Client)
    config: Any = object()
    deploy(config)
    assert handed == [(config, {"_blocking": False})]


@pytest.mark.parametrize(("switch", "address"), [("0", "127.0.0.1:0"), ("1", "[::]:0")])
def test_the_port_of_a_replica_is_on_loopback_where_ray_is(
    monkeypatch: pytest.MonkeyPatch, switch: str, address: str
) -> None:
    """Serve's own name for what opens it, and the address that it says, are in its replica."""
    from ray.serve._private import replica

    opened: list[str] = []
    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in inspect.getsource(replica)
    monkeypatch.setattr(replica, "add_port_to_grpc_server", lambda server, at: opened.append(at))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", switch)
    replicas_on_loopback()
    replica.add_port_to_grpc_server(None, "[::]:0")
    assert opened == [address]


# Switches

SHOW = """
import json, sys
from ray.serve._private import constants
names = json.loads(sys.argv[1])
known = vars(constants)
print(json.dumps({name: known.get(name, known.get(name.removeprefix("RAY_SERVE_"))) for name in names}))
"""


@pytest.mark.slow
def test_the_switches_are_read_by_the_installed_ray() -> None:
    """In a process of its own: they are read once, when Ray is imported."""
    quiet = {name: value for name, value in QUIET.items() if name.startswith("RAY_SERVE_")}
    switches = {**haproxy_switches("/tmp/vgh", "/tmp/vgh/haproxy", 12_345, 12_346), **quiet}
    # The directory of these two is made below by Ray itself; both are constants as well.
    command = [sys.executable, "-c", SHOW, json.dumps(list(switches))]
    environment = {**os.environ, **switches}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(shown.stdout.splitlines()[-1])
    assert found == {
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": 1.0,
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": 5000,
        "RAY_SERVE_ENABLE_HA_PROXY": True,
        "RAY_SERVE_HAPROXY_BINARY_PATH": "/tmp/vgh/haproxy",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": False,
        "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH": "deployments.core.ray_front_proxy:install",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": 1.0,
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": 320,
        "RAY_SERVE_HAPROXY_METRICS_PORT": 12_345,
        "RAY_SERVE_HAPROXY_STATS_PORT": 12_346,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "/tmp/vgh/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": "/tmp/vgh/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "/tmp/vgh/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "/tmp/vgh",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "/tmp/vgh/server-state",
    }


def test_the_switches_of_rays_own_processes_are_known_to_them() -> None:
    """They are read by programs that were compiled, all but the reporter's."""
    folder = Path(ray.__file__).parent
    raylet = (folder / "core/src/ray/raylet/raylet").read_bytes()
    reporter = (folder / "dashboard/modules/reporter/reporter_consts.py").read_text()
    others = [name for name in QUIET if not name.startswith("RAY_SERVE_")]
    unknown = [
        name for name in others if name not in reporter and name.removeprefix("RAY_").encode() not in raylet
    ]
    assert len(others) == 4
    assert unknown == []


# The ingress


def test_serve_asks_the_ingress_for_its_application_by_this_name() -> None:
    assert hasattr(Ingress, SERVE_BUILD_ASGI_APP_METHOD)
    assert serve.ingress()(Ingress) is not None


def test_the_logs_and_the_registry_of_actors_are_where_they_are_looked_for() -> None:
    if not ray.is_initialized():
        assert logs_directory() is None
    assert hasattr(ray._private.worker, "_global_node")
    assert callable(Node.get_logs_dir_path)
    assert "actor_id" in inspect.signature(ray._private.state.actors).parameters


# shutdown_timeout_s


def test_a_deployment_knows_how_long_its_streams_have_to_end() -> None:
    assert shutdown_timeout_s(serve.deployment(name="x", graceful_shutdown_timeout_s=310)(Leaf)) == 310.0


# agents_at, own_port_switches


def test_ray_starts_its_helpers_where_it_is_told() -> None:
    from ray._private import parameter

    before = parameter.RayParams
    with agents_at(21_004, 21_005, 21_006):
        found = parameter.RayParams()
    assert (found.metrics_agent_port, found.dashboard_agent_listen_port) == (21_004, 21_005)
    assert found.runtime_env_agent_port == 21_006
    assert (found.include_log_monitor, found.no_monitor) == (False, True)
    assert parameter.RayParams is before


def test_ray_starts_no_dashboard_within() -> None:
    from ray._private.node import Node

    before = Node.start_api_server
    with agents_at(21_004, 21_005, 21_006):
        node: Any = Node.__new__(Node)
        node.start_api_server(include_dashboard=False, raise_on_failure=False)
        assert node.webui_url == ""
    assert Node.start_api_server is before


def test_serve_reads_the_ports_of_a_run_from_its_environment() -> None:
    """Also those that it starts in other processes: all read the same constants."""
    switches = own_port_switches((21_000, 21_001), (21_010, 21_054), (21_055, 21_099))
    code = "from ray.serve._private import constants as c; print([getattr(c, name) for name in {}])"
    done = subprocess.run(
        [sys.executable, "-c", code.format(list(switches))],
        env={**os.environ, **switches},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str([int(port) for port in switches.values()])
