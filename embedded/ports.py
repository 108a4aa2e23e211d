"""Free TCP ports of 127.0.0.1."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

OWN = range(15_000, 30_000)
"""The kernel gives these to nobody by itself: a server that takes a minute to start finds its port free."""
TRIES = 100


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
    ports: list[int] = []
    held: list[socket.socket] = []
    for port in wanted:
        for candidate in _candidates(port, ports):
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


def _candidates(port: int, taken: Collection[int]) -> Iterator[int]:
    """Yield the port itself, then others at random, at last 0; SO_REUSEADDR would give one port twice."""
    if port and port not in taken:
        yield port
    for _ in range(TRIES):
        other = OWN[secrets.randbelow(len(OWN))]
        if other not in taken:
            yield other
    yield 0
