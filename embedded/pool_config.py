"""The embedded pool's settings, and the condor_config made from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded.binaries import Binaries

_DOMAIN = "pool"
_TEMPLATE = Path(__file__).with_name("condor_config.template")
BLACK_HOLE = "black_hole"
"""Name of the job wrapper of black-hole nodes, in the pool's folder."""
BLACK_HOLE_TEXT = "#!/bin/sh\n# Runs in place of the job.\nexit 127\n"


class Limits(Enum):
    """Who holds a job that uses more memory or disk than it requested."""

    SCHEDD = "schedd"
    """The schedd, as Fermilab's do: hold code 26, subcode 1 for memory and 2 for disk."""
    NODES = "nodes"
    """The node, by HTCondor's own policy HOLD_IF_…: hold code 21, subcode 102 for memory and 104 for disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One pretended worker node: a startd of its own."""

    name: str
    cpus: int
    """Slots, shared out by the jobs' requests; may be more than the machine has."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Further attributes of its ads, as ClassAd expressions, such as ("HAS_CVMFS", "False")."""
    environment: tuple[tuple[str, str], ...] = ()
    """Environment of its daemons, such as ("_CONDOR_MEMORY", "1024")."""
    site: str = ""
    """Its GLIDEIN_Site; empty: the pool's."""
    job_environment: tuple[tuple[str, str], ...] = ()
    """Variables that its jobs see, unless they bring their own; values without `$(`."""
    black_hole: bool = False
    """Each job ends there at once with exit code 127, and the node asks for the next."""


_LIMITS = {
    Limits.SCHEDD: "SYSTEM_PERIODIC_HOLD_NAMES = LIFETIME MEMORY DISK",
    Limits.NODES: """\
SYSTEM_PERIODIC_HOLD_NAMES = LIFETIME
use POLICY : HOLD_IF_MEMORY_EXCEEDED
use POLICY : HOLD_IF_DISK_EXCEEDED""",
}


def default_nodes(cpus: int | None = None) -> tuple[Node, ...]:
    """Return wn1, wn2 and wn3 with at least four slots in all, more on a machine that has more CPUs."""
    slots = max(4, cpus or os.cpu_count() or 1)
    shares = [slots // 3 + (1 if index < slots % 3 else 0) for index in range(3)]
    return tuple(Node(name=f"wn{index}", cpus=share) for index, share in enumerate(shares, start=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """What the embedded pool is to be."""

    state: Path
    """Its folder: configuration, queue, history, logs and the jobs' scratch space."""
    binaries: Path
    """Folder for private HTCondor binaries, where the machine has none."""
    port: int | None = None
    """Wanted port, 0 for any; None: that of the last start, else 9618. A free one in place of one in use."""
    nodes: tuple[Node, ...] = default_nodes()
    schedds: tuple[str, ...] = ("ap1",)
    """Short names; the full ones are `NAME.pool`. Tools without -name talk to the first."""
    job_path: str = ""
    """Folders put in front of /usr/local/bin:/usr/bin:/bin in the jobs' PATH."""
    site: str = "Embedded"
    """GLIDEIN_Site of each node."""
    node_memory_mb: int = 16384
    """Memory that each node offers, whatever the machine has."""
    limits: Limits = Limits.SCHEDD
    job_lease_s: int = 60
    """Seconds that a job counts as running on a node that no longer answers; 20 at least."""
    max_history: int = 500_000_000
    """Bytes of history kept per schedd before the oldest is rotated out."""
    extra: str = ""
    """Configuration text added at the end."""
    start_timeout_s: float = 120.0
    """Seconds that a start may take once the programs are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a start settles: paths without spaces, the port and the account."""

    state: Path
    port: int
    name: str
    """Of the collector; unique to this start, so that nobody takes another pool on the port for this one."""
    user: str
    """Account name under which HTCondor knows the pool's owner."""


def render(settings: PoolSettings, layout: Layout, binaries: Binaries) -> str:
    """Return the text of condor_config."""
    first = settings.schedds[0]
    blocks = [
        _common(settings, layout, binaries),
        *(_schedd(name, layout) for name in settings.schedds),
        *(_node(node, settings, layout) for node in settings.nodes),
        _LIMITS[settings.limits],
        f"SPOOL = {layout.state}/spool/{first}",
        f"NETWORK_HOSTNAME = {first}.{_DOMAIN}",
        f"SCHEDD_NAME = {first}.{_DOMAIN}",
        "DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR "
        + " ".join(
            [*(f"SCHEDD_{n}" for n in settings.schedds), *(f"STARTD_{n.name}" for n in settings.nodes)]
        ),
        settings.extra,
    ]
    return "\n".join(blocks) + "\n"


def _common(settings: PoolSettings, layout: Layout, binaries: Binaries) -> str:
    return _TEMPLATE.read_text(encoding="utf-8").format(
        release=binaries.release,
        bin=binaries.bin,
        sbin=binaries.sbin,
        libexec=binaries.libexec,
        lib=binaries.lib,
        state=layout.state,
        name=layout.name,
        port=layout.port,
        domain=_DOMAIN,
        owner=f"{layout.user}@*, condor@*, condor_pool@*",
        job_environment=_environment((("PATH", _job_path(settings)),)),
        job_lease_s=settings.job_lease_s,
        memory_mb=settings.node_memory_mb,
        site=settings.site,
        max_history=settings.max_history,
    )


def _job_path(settings: PoolSettings) -> str:
    return ":".join(part for part in (settings.job_path, "/usr/local/bin:/usr/bin:/bin") if part)


def _quoted(value: str) -> str:
    """Quote a value for HTCondor's environment syntax, inside double quotes."""
    doubled = value.replace("'", "''").replace('"', '""').replace("$", "$(DOLLAR)")
    return f"'{doubled}'"


def _environment(variables: tuple[tuple[str, str], ...]) -> str:
    """Return variables in HTCondor's environment syntax, with the double quotes around them."""
    return '"' + " ".join(f"{name}={_quoted(value)}" for name, value in variables) + '"'


# `-local-name N` makes `N.KNOB` win inside that daemon only. Its children (shadow, starter, DAGMan) see just
# its environment, so what they need too goes there.


def _schedd(name: str, layout: Layout) -> str:
    state = layout.state
    return f"""\
SCHEDD_{name} = $(SCHEDD)
SCHEDD_{name}_ARGS = -f -local-name {name}
{name}.NETWORK_HOSTNAME = {name}.{_DOMAIN}
{name}.SCHEDD_NAME = {name}.{_DOMAIN}
{name}.SCHEDD_LOG = $(LOG)/SchedLog
{name}.SCHEDD_ADDRESS_FILE = $(SPOOL)/.schedd_address
SCHEDD_{name}_ENVIRONMENT = "_CONDOR_NETWORK_HOSTNAME={name}.{_DOMAIN} _CONDOR_SCHEDD_NAME={name}.{_DOMAIN} \
_CONDOR_SPOOL={state}/spool/{name} _CONDOR_LOG={state}/log/{name}\""""


def _node(node: Node, settings: PoolSettings, layout: Layout) -> str:
    name = node.name
    given = dict(node.attributes)
    if node.site:
        given["GLIDEIN_Site"] = f'"{node.site}"'
    attributes = "\n".join(f"{name}.{key} = {value}" for key, value in given.items())
    return f"""\
STARTD_{name} = $(STARTD)
STARTD_{name}_ARGS = -f -local-name {name}
{name}.STARTD_NAME = {name}
{name}.NETWORK_HOSTNAME = {name}.{_DOMAIN}
{name}.NUM_CPUS = {node.cpus}
{name}.STARTD_ATTRS = $(STARTD_ATTRS) {" ".join(key for key in given if key != "GLIDEIN_Site")}
{attributes}
{name}.STARTD_LOG = $(LOG)/StartLog
{name}.STARTD_ADDRESS_FILE = $(LOG)/.startd_address
STARTD_{name}_ENVIRONMENT = {_environment(_daemon_environment(node, settings, layout))}"""


def _daemon_environment(node: Node, settings: PoolSettings, layout: Layout) -> tuple[tuple[str, str], ...]:
    """Return what the node's startd hands on to its starters, which know nothing of -local-name."""
    variables = [
        ("_CONDOR_EXECUTE", f"{layout.state}/execute/{node.name}"),
        ("_CONDOR_LOG", f"{layout.state}/log/{node.name}"),
    ]
    if node.job_environment:
        seen = (("PATH", _job_path(settings)), *node.job_environment)
        variables.append(("_CONDOR_STARTER_JOB_ENVIRONMENT", _environment(seen)))
    if node.black_hole:
        variables.append(("_CONDOR_USER_JOB_WRAPPER", f"{layout.state}/{BLACK_HOLE}"))
    return (*variables, *node.environment)
