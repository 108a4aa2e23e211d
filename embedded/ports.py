"""Free TCP ports of 127.0.0.1."""

from __future__ import annotations

import socket


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that nobody listens on."""
    return free_ports((0,))[0]


def free_ports(wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the wanted ports, a free one in the place of each that is taken, and for 0; no port twice."""
    ports, held = [], []
    for port in wanted:
        # SO_REUSEADDR would give one port twice.
        for candidate in (0,) if port in ports else (port, 0):
            probe = socket.socket()
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                probe.close()
                continue
            held.append(probe)
            ports.append(int(probe.getsockname()[1]))
            break
    for probe in held:
        probe.close()
    return tuple(ports)
