"""Free ports."""

from __future__ import annotations

import socket
from pathlib import Path

from embedded.ports import free_port, free_ports, is_free


def test_a_taken_port_is_replaced_and_a_free_one_kept() -> None:
    wanted = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
        assert is_free(wanted)
        found = free_ports((port, wanted, 0, wanted))
    assert found[1] == wanted
    assert port not in found
    assert len(set(found)) == 4


def test_a_port_is_not_one_that_the_kernel_gives_to_the_next_connection() -> None:
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    found = free_ports((0,) * 20)
    assert len(set(found)) == 20
    assert not [port for port in found if lowest <= port <= highest]
