"""Ports for servers that are started by number, and started again at the same one."""

from __future__ import annotations

import secrets
import socket

_LOWEST, _HIGHEST, _BUS = 20_000, 22_700, 10_000


def free_port() -> int:
    """Return a port that nothing is bound to, and below those that a system gives to outgoing connections.

    One of those may be taken between choosing and binding, or while its server is killed and started again: by any
    connection, and even by a client of that server, which then is connected to itself. The bus of Redis's clusters is
    10,000 above the port, and there too nothing is bound.
    """
    while True:
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        if all(_is_free(each) for each in (port, port + _BUS)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections that have just ended are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
