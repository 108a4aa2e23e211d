"""The embedded pool's settings, and the condor_config made from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded.binaries import Binaries

_DOMAIN = "pool"
_TEMPLATE = Path(__file__).with_name("condor_config.template")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One pretended worker node: a startd of its own."""

    name: str
    cpus: int
    """Slots, shared out by the jobs' requests; may be more than the machine has."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Further attributes of its ads, as ClassAd expressions, such as ("HAS_CVMFS", "False")."""
    environment: tuple[tuple[str, str], ...] = ()
    """Environment of its daemons, such as ("_CONDOR_USER_JOB_WRAPPER", "/path"); no spaces."""


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
    port: int = 9618
    """Wanted port; a free one is taken where it is in use, and for 0."""
    nodes: tuple[Node, ...] = default_nodes()
    schedds: tuple[str, ...] = ("ap1",)
    """Short names; the full ones are `NAME.pool`. Tools without -name talk to the first."""
    job_path: str = ""
    """Folders put in front of /usr/local/bin:/usr/bin:/bin in the jobs' PATH."""
    site: str = "Embedded"
    """GLIDEIN_Site of each node."""
    node_memory_mb: int = 16384
    """Memory that each node offers, whatever the machine has."""
    max_history: int = 500_000_000
    """Bytes of history kept per schedd before the oldest is rotated out."""
    extra: str = ""
    """Configuration text added at the end."""
    start_timeout_s: float = 30.0
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
        *(_node(node, layout) for node in settings.nodes),
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
        job_path=_quoted(_job_path(settings)),
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


def _node(node: Node, layout: Layout) -> str:
    state, name = layout.state, node.name
    attributes = "\n".join(f"{name}.{key} = {value}" for key, value in node.attributes)
    names = " ".join(key for key, _ in node.attributes)
    further = "".join(f" {key}={value}" for key, value in node.environment)
    return f"""\
STARTD_{name} = $(STARTD)
STARTD_{name}_ARGS = -f -local-name {name}
{name}.STARTD_NAME = {name}
{name}.NETWORK_HOSTNAME = {name}.{_DOMAIN}
{name}.NUM_CPUS = {node.cpus}
{name}.STARTD_ATTRS = $(STARTD_ATTRS) {names}
{attributes}
{name}.STARTD_LOG = $(LOG)/StartLog
{name}.STARTD_ADDRESS_FILE = $(LOG)/.startd_address
STARTD_{name}_ENVIRONMENT = "_CONDOR_EXECUTE={state}/execute/{name} \
_CONDOR_LOG={state}/log/{name}{further}\""""
