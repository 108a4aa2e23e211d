"""The embedded pool's settings, and the condor_config made from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from embedded.binaries import Binaries

_DOMAIN = "pool"


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
    owner = f"{layout.user}@*, condor@*, condor_pool@*"
    return f"""\
# Written by `prodsys pool start` at each start; changes here are lost.
RELEASE_DIR = {binaries.release}
BIN = {binaries.bin}
SBIN = {binaries.sbin}
LIBEXEC = {binaries.libexec}
LIB = {binaries.lib}
LOCAL_DIR = {layout.state}
LOCK = {layout.state}/lock
RUN = {layout.state}/run
EXECUTE = {layout.state}/execute
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR =
CONDOR_IDS = 0.0
CONDOR_HOST = 127.0.0.1
COLLECTOR_NAME = {layout.name}
COLLECTOR_PORT = {layout.port}
COLLECTOR_HOST = 127.0.0.1:{layout.port}
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NO_DNS = True
DEFAULT_DOMAIN_NAME = {_DOMAIN}
UID_DOMAIN = {_DOMAIN}
FILESYSTEM_DOMAIN = {_DOMAIN}
TRUST_UID_DOMAIN = True
# Only the pool's owner may do anything: FS authentication proves the account by a file in /tmp.
ALLOW_READ = *
ALLOW_WRITE = {owner}
ALLOW_DAEMON = {owner}
ALLOW_NEGOTIATOR = {owner}
ALLOW_ADMINISTRATOR = {owner}
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
SEC_READ_AUTHENTICATION = OPTIONAL
SEC_CLIENT_AUTHENTICATION = OPTIONAL
SEC_DEFAULT_ENCRYPTION = OPTIONAL
SEC_DEFAULT_INTEGRITY = OPTIONAL
# Jobs start with no PATH at all otherwise.
STARTER_JOB_ENVIRONMENT = "PATH={_quoted(_job_path(settings))}"
MEMORY = {settings.node_memory_mb}
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
GLIDEIN_Site = "{settings.site}"
STARTD_ATTRS = $(STARTD_ATTRS) GLIDEIN_Site
IsJobsubLite = True
SCHEDD_ATTRS = $(SCHEDD_ATTRS) IsJobsubLite
# A pool of one machine can afford to look often: a job starts within a second or two.
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 0
NEGOTIATOR_MIN_INTERVAL = 0
SCHEDD_INTERVAL = 1
SCHEDD_MIN_INTERVAL = 0
UPDATE_INTERVAL = 5
POLLING_INTERVAL = 1
RUNBENCHMARKS = 0
CLAIM_WORKLIFE = -1
CONDOR_FSYNC = False
MachineMaxVacateTime = 5
STARTER_INITIAL_UPDATE_INTERVAL = 2
STARTER_UPDATE_INTERVAL = 10
SHADOW_QUEUE_UPDATE_INTERVAL = 10
MAX_HISTORY_LOG = {settings.max_history}
MAX_HISTORY_ROTATIONS = 3
MAX_JOBS_PER_SUBMISSION = 100000
DAGMAN_USER_LOG_SCAN_INTERVAL = 1
DAGMAN_USE_STRICT = 0
# What grid pools do to a job over its limits: hold code 26, with these texts and subcodes.
PERIODIC_EXPR_INTERVAL = 5
MAX_PERIODIC_EXPR_INTERVAL = 10
SYSTEM_PERIODIC_HOLD_NAMES = LIFETIME MEMORY
SYSTEM_PERIODIC_HOLD_LIFETIME = JobStatus == 2 && time() - JobCurrentStartDate > JOB_EXPECTED_MAX_LIFETIME
SYSTEM_PERIODIC_HOLD_LIFETIME_REASON = strcat("SYSTEM_PERIODIC_HOLD Run Time/limit ", \
time() - JobCurrentStartDate, "/", JOB_EXPECTED_MAX_LIFETIME)
SYSTEM_PERIODIC_HOLD_LIFETIME_SUBCODE = 4
SYSTEM_PERIODIC_HOLD_MEMORY = JobStatus == 2 && MemoryUsage > RequestMemory
SYSTEM_PERIODIC_HOLD_MEMORY_REASON = strcat("SYSTEM_PERIODIC_HOLD Memory/limit ", \
MemoryUsage, "/", RequestMemory)
SYSTEM_PERIODIC_HOLD_MEMORY_SUBCODE = 1"""


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
