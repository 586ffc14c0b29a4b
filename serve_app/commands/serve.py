"""`voicegraph serve`: the graph on this machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from deployments.core.command_line import is_clone, voicegraph
from deployments.core.deaths import crashes, dead_replicas
from deployments.core.ray_internals import (
    PATIENT,
    QUIET,
    RUN,
    THIS_MACHINE_ONLY,
    agents_at,
    deploy,
    logs_directory,
    own_port_switches,
)
from serve_app.commands.drain import drain
from serve_app.commands.front_proxy import listening, use_haproxy
from serve_app.commands.metrics_port import PortTaken, metrics_port
from serve_app.commands.own_ports import OwnPorts, refusal, take_ports
from serve_app.commands.reload import reloaded, tell_to_reload
from serve_app.commands.server_url import url_option
from serve_app.commands.signals import Signals, end_family
from serve_app.default_configs import DEFAULT, NoSuchConfig, config_path
from serve_app.running import RunningServer, announced

if TYPE_CHECKING:
    from serve_app.config_file import ConfigFile

EXAMPLE = (
    "curl -s {url}/v1/audio/speech -H 'Content-Type: application/json' "
    '-d \'{{"input": "Hello from Voicegraph."}}\' -o hello.mp3'
)
POLL_S = 0.5  # a look costs this process and the controller 30 ms
DEPLOY_TIMEOUT_S = 900.0
OPEN_POLL_S = 0.05
OPEN_TIMEOUT_S = 30.0
CRASH_POLL_S = 5.0
DIED = "ActorDiedError"  # in what Serve says of a deployment

console = Console(stderr=True, highlight=False)


def serve(
    config: Annotated[str, typer.Argument(help="a file, or a name of `voicegraph config ls`")] = DEFAULT,
    port: Annotated[int | None, typer.Option(help="overrides the file's port", min=1, max=65535)] = None,
    host: Annotated[
        str | None, typer.Option(help="overrides the file's: 0.0.0.0 listens to the whole network")
    ] = None,
    models: Annotated[str | None, typer.Option(help="serve only these, separated by commas")] = None,
    pull: Annotated[bool, typer.Option(help="fetch weights that are missing")] = True,
    reload: Annotated[
        bool, typer.Option("--reload", help="have the server that runs take its changed file")
    ] = False,
) -> None:
    """Start the graph and wait. Ctrl-C lets streams come to their end, a second one stops at once."""
    if reload:
        tell_to_reload(port)
        return
    ports = take_ports()
    _set_switches(ports)  # before the first import of Ray, which reads its switches once
    with console.status("checking the configuration"):
        from serve_app import config_file  # noqa: PLC0415  (Ray takes a second to import)
        from serve_app.commands import exposure, provision  # noqa: PLC0415

        def load(*, reading_again: bool) -> tuple[ConfigFile, dict[str, str]]:
            path = config_path(config)
            loaded = config_file.load(path, models=_names(models), port=port, host=host)
            if not reading_again:
                _quit_if_taken(loaded.serve.http_options.host, loaded.serve.http_options.port)
            absent = provision.left_out(loaded)
            if absent:
                rest = [name for name in loaded.args.models if name not in absent]
                loaded = config_file.load(path, models=rest, port=port, host=host)
            return loaded, absent

        try:
            loaded, absent = load(reading_again=False)
        except (NoSuchConfig, config_file.ConfigError) as error:
            _quit(str(error), status=2)
    for name, why in absent.items():
        console.print(f"note: {name} is left out: {why}", style="yellow", markup=False, soft_wrap=True)
    if problem := exposure.keys_problem(loaded.args.auth):
        _quit(problem)
    try:
        problems = provision.provision(loaded, pull=pull)
    except KeyboardInterrupt:
        _quit("stopped; what has come is kept, and the same command goes on from there", status=130)
    if problems:
        _quit("\n".join(problems))
    run(loaded, ports, lambda: load(reading_again=True)[0])


def run(config: ConfigFile, ports: OwnPorts, load: Callable[[], ConfigFile]) -> None:
    """Deploy a checked config and serve until SIGINT or SIGTERM; on SIGHUP, what `load` gives takes its place."""
    from serve_app.commands.exposure import open_to_all  # noqa: PLC0415
    from serve_app.config_file import deployable  # noqa: PLC0415  (imports Ray)
    from serve_app.demand import demands, lacking  # noqa: PLC0415

    started, schema, signals = time.monotonic(), deployable(config), Signals()
    try:
        metrics = metrics_port(config.args.observe.metrics_port, schema.http_options.port)
    except PortTaken as taken:
        _quit(str(taken))
    with signals.heard(lambda: console.print("stopped")):
        try:
            with console.status("starting Ray"):
                ray, ray_serve = _start_ray(schema, ports, metrics)
            if problems := lacking(demands(config), ray.cluster_resources()):
                _quit("\n".join(problems))
            _deploy(ray_serve, schema)
            http, application = schema.http_options, schema.applications[0].name
            _wait_until_open(http.host, http.port)
            signals.started()
            address = ray.get_runtime_context().gcs_address
            with announced(RunningServer(http.port, address, application, os.getpid())):
                _greet(http.host, http.port, metrics, list(config.args.models), time.monotonic() - started)
                if warning := open_to_all(http.host, http.port, config.args.auth):
                    console.print(warning, style="bold red", markup=False, soft_wrap=True)
                config = _serve(config, signals, load)
                _let_streams_end(config, signals)
        finally:
            with console.status("stopping"):
                _stop_ray()
    console.print("stopped")


def _serve(config: ConfigFile, signals: Signals, load: Callable[[], ConfigFile]) -> ConfigFile:
    """Until it is to stop: tell of processes that crash, and take changed files. The last of these is returned."""
    told: set[int] = set()
    while not signals.stopping.is_set():
        signals.changed.wait(CRASH_POLL_S)
        signals.changed.clear()
        _tell_of_crashes(told)
        if signals.reload.is_set():
            signals.reload.clear()
            config = reloaded(config, load, console)
    return config


def _let_streams_end(config: ConfigFile, signals: Signals) -> None:
    timeout_s = config.args.limits.drain_timeout_s
    with console.status(f"letting streams end, for {timeout_s:g} s at most; again: at once"):
        if left := drain(config.serve.applications[0].name, timeout_s):
            console.print(f"{left} requests did not end in {timeout_s:g} s and are cut", style="yellow")


def _greet(host: str, port: int, metrics: int, models: list[str], took_s: float) -> None:
    url = f"http://{'localhost' if host in ('0.0.0.0', '127.0.0.1') else host}:{port}"
    say = voicegraph('say "Hello from Voicegraph." -o hello.mp3')
    console.print(f"\n[bold green]Ready[/] after {took_s:.1f} s: {', '.join(models)}")
    console.print(f"  Page   {url}/")
    console.print(f"  API    {url}/docs")
    console.print(f"  Metrics at http://localhost:{metrics}/metrics, from this machine alone")
    for label, command in (("Try  ", EXAMPLE.format(url=url)), ("or   ", say + url_option(url))):
        console.print(f"  {label}  {command}", soft_wrap=True, markup=False)
    console.print("Ctrl-C stops.")


def _set_switches(ports: OwnPorts) -> None:
    use_haproxy(ports)
    own = own_port_switches(ports.fallback_proxy, ports.replicas, ports.grpc_replicas)
    for name, value in {**QUIET, **PATIENT, **THIS_MACHINE_ONLY, **own}.items():
        os.environ.setdefault(name, value)
    os.environ[RUN] = uuid.uuid4().hex


def _start_ray(schema: Any, ports: OwnPorts, metrics: int) -> tuple[Any, Any]:
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    # Ray runs its workers at niceness 15, as suits batch jobs: whatever else the machine does would cut the sound.
    os.environ.setdefault("RAY_worker_niceness", "0")
    http_options = schema.http_options.model_dump()
    http_options["host"] = listening(http_options["host"])  # which Ray's processes are told when they start
    import ray  # noqa: PLC0415
    from ray import serve as ray_serve  # noqa: PLC0415

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    for last in (False, True):
        try:
            with agents_at(*ports.agents):
                ray.init(
                    address="local",
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    # Replicas are placed by configuration; the default (cores of this machine) is right for real
                    # clusters, but on one small machine Serve's own actors must not be starved of it.
                    num_cpus=max(4, os.cpu_count() or 1),
                    _metrics_export_port=metrics,
                )
            break
        except Exception as error:
            ray.shutdown()
            end_family()
            if last:
                _quit(
                    f"Ray did not start on this machine, twice: {_first_line(error)}. Its logs are in /tmp/ray."
                )
            console.print(f"Ray did not start: {_first_line(error)}; once more", style="yellow", markup=False)
    ray_serve.start(proxy_location=schema.proxy_location, http_options=http_options)
    return ray, ray_serve


def _stop_ray() -> None:
    import ray  # noqa: PLC0415

    ray.shutdown()


def _deploy(ray_serve: Any, schema: Any) -> None:
    name = schema.applications[0].name
    deploy(schema)
    deadline = time.monotonic() + DEPLOY_TIMEOUT_S
    told: set[str] = set()
    with console.status("loading models") as status:
        while time.monotonic() < deadline:
            application = ray_serve.status().applications.get(name)
            if application is not None:
                if application.status == "RUNNING":
                    return
                _quit_if_killed(application.deployments)
                if application.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                    _quit(f"the graph did not start:\n{application.message}")
                _tell_of_room(application.deployments, told)
                waiting = [key for key, value in application.deployments.items() if value.status != "HEALTHY"]
                status.update(f"loading {', '.join(waiting)}" if waiting else "loading models")
            time.sleep(POLL_S)
    _quit(f"the graph was not ready after {DEPLOY_TIMEOUT_S:.0f} s")


def _wait_until_open(host: str, port: int) -> None:
    """The front proxy opens the port a moment after the graph runs; who is told that it is ready finds it open."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    deadline = time.monotonic() + OPEN_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection((reached, port), timeout=POLL_S).close()
            return
        time.sleep(OPEN_POLL_S)


def _quit_if_killed(deployments: Any) -> None:
    """Serve tries again whatever happens, and says of a process that died of a signal only that it died."""
    for name, deployment in deployments.items():
        if DIED not in deployment.message or (logs := logs_directory()) is None:
            continue
        if deaths := dead_replicas(name, logs):
            death = deaths[0]
            _quit(f"the graph did not start: {death}, while it was loading.\n{death.advice}")


def _tell_of_crashes(told: set[int]) -> None:
    """Which process died of which signal. Serve starts another one by itself."""
    logs = logs_directory()
    for death in crashes(logs) if logs else ():
        if death.pid not in told:
            told.add(death.pid)
            console.print(
                f"of the graph, {death}. {death.advice}", style="yellow", markup=False, soft_wrap=True
            )


def _tell_of_room(deployments: Any, told: set[str]) -> None:
    """Say once of each deployment that its replicas find no room, for instance because GPU fractions don't fit."""
    for name, deployment in deployments.items():
        if "to be scheduled" in deployment.message and name not in told:
            told.add(name)
            console.print(deployment.message, style="yellow", markup=False, soft_wrap=True)


def _names(models: str | None) -> list[str] | None:
    return [name.strip() for name in models.split(",") if name.strip()] if models else None


def _quit_if_taken(host: str, port: int) -> None:
    """Before the weights are looked at, which takes seconds."""
    refused = refusal(host, port)
    if refused is None:
        return
    if refused.errno == errno.EADDRINUSE:
        make = " (or make serve PORT=…)" if is_clone() else ""
        _quit(f"port {port} is in use; choose another with --port{make}")
    _quit(f"cannot listen on {host}:{port}: {refused.strerror}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _quit(message: str, status: int = 1) -> NoReturn:
    console.print(message, style="red", markup=False, soft_wrap=True)
    sys.exit(status)
