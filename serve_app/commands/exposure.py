"""Who may use a server that is about to start: whoever reaches its port, unless it asks for keys."""

from __future__ import annotations

import ipaddress

from serve_app.config import AuthSettings
from serve_app.keys.key_file import KeyFile, KeysError, keys_in_environment


def open_to_all(host: str, port: int, auth: AuthSettings) -> str | None:
    """A warning where other machines may reach the server and no key is asked for."""
    if auth.on or is_this_machine(host):
        return None
    return (
        f"Whoever reaches {host}:{port} may use this server: it listens to the network and asks for no keys. "
        "`auth.keys_file` in the configuration makes it ask (docs/security.md); --host 127.0.0.1 is for this machine."
    )


def is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def keys_problem(auth: AuthSettings) -> str | None:
    """Why nobody could use the server, where its keys cannot be read or there are none."""
    if not auth.on:
        return None
    try:
        if auth.env is not None:
            keys, place = keys_in_environment(auth.env), auth.env
        else:
            assert auth.keys_path is not None
            keys, place = KeyFile(auth.keys_path).read(), str(auth.keys_path)
    except KeysError as error:
        return f"auth.env: {error}" if auth.env is not None else str(error)
    if not keys:
        return f"{place} has no keys, so nobody could use the server; `voicegraph keys add NAME` makes one"
    return None
