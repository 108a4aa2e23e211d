"""What a failure can be, where its exit code can be from, and how much a rule's evidence weighs."""

from __future__ import annotations

from enum import IntEnum, StrEnum

UNCLASSIFIED = "unclassified"


class Category(StrEnum):
    """What kind of thing went wrong; docs/triage.md says the same to operators."""

    MEMORY = "memory"
    """The job used more memory than it had."""
    DISK = "disk"
    """The node's scratch space was full, or the job used more of it than it had."""
    TIME = "time"
    """The job took longer than it was allowed to."""
    INPUT = "input"
    """An input could not be found, opened or read."""
    OUTPUT = "output"
    """An output could not be written, copied or found."""
    AUTH = "auth"
    """A token or certificate was missing, expired or refused."""
    NODE = "node"
    """The node is at fault: its hardware, its system, its container runtime."""
    CVMFS = "cvmfs"
    """Software on CVMFS could not be read, or is of an old revision."""
    NETWORK = "network"
    """A service did not answer, or not in time."""
    CODE = "code"
    """The experiment's program is wrong: it crashes, or refuses what it is given."""
    CONFIGURATION = "configuration"
    """The job was told wrongly what to do: a setting, a module, a file name."""
    DATA = "data"
    """A file is damaged, or holds what it must not."""
    PREEMPTED = "preempted"
    """The node took the job's place back; nothing is wrong with the job."""
    OPERATOR = "operator"
    """A person, or prodsys, did it on purpose."""
    POLICY = "policy"
    """A rule of the batch system or of a site held or removed the job."""
    BATCH = "batch"
    """The batch system itself failed."""
    UNCLASSIFIED = "unclassified"
    """No rule fits; the commonest signatures are candidates for one."""


class Source(StrEnum):
    """Whose word an exit code or a reason is: one number means different things from different sources."""

    ART = "art"
    """The art framework: the log shows that art ran, and no other code than this from it."""
    WRAPPER = "wrapper"
    """An experiment's wrapper such as mu2egrid's, not what it ran."""
    SCRIPT = "script"
    """The experiment's script, whatever it ran: true for art and wrapper as well."""
    PRODSYS = "prodsys"
    """prodsys_job round the script: inputs, outputs, stage-out, node."""
    BATCH = "batch"
    """HTCondor: the job is held or was removed."""
    CHECK = "check"
    """A check of the outputs after the job's end."""
    USER = "user"
    """A check of the experiment's own: `check` holds too."""


class Event(StrEnum):
    """What befell a job, as its ad counts it."""

    EVICTED = "evicted"
    """It lost its node at least once."""
    RECONNECTED = "reconnected"
    """Its shadow lost the node and found it again."""
    RESTARTED = "restarted"
    """It started more than once."""
    ENDED_TWICE = "ended-twice"
    """Queue and history have several ads of it."""


class Rank(IntEnum):
    """How much a rule's evidence says of the cause; the highest decides, within one rank the first line."""

    CODE = 1
    """A number alone: an exit code, a signal."""
    SYMPTOM = 2
    """A text that follows from something else, or that programs survive."""
    ROOT = 3
    """A text that names a cause itself."""
    CERTAIN = 4
    """The batch system's, prodsys' or a check's own word."""


RANKS = {rank.name.lower(): rank for rank in Rank}
