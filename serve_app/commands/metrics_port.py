"""Where a server on this machine gives its metrics: one address that can be known ahead, and is told at the start."""

from __future__ import annotations

from serve_app.commands.own_ports import any_port, refusal

ABOVE_HTTP = 1000  # port 9000 for a server at 8000
HOST = "127.0.0.1"  # Ray's agent listens here alone, as all of a server's processes do but its public port


class PortTaken(Exception):
    """The port that the configuration states is in use."""


def metrics_port(stated: int | None, http_port: int) -> int:
    """The port of the configuration, else the one above the HTTP port, else any: another server may have that."""
    if stated is not None:
        if refusal(HOST, stated) is not None:
            raise PortTaken(f"port {stated} is in use; choose another as observe.metrics_port")
        return stated
    usual = http_port + ABOVE_HTTP
    return usual if usual <= 65535 and refusal(HOST, usual) is None else any_port()
