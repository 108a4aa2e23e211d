"""States and the predicates on them; a trigger or an operator decides with these alone."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class JobStatus(IntEnum):
    """HTCondor's JobStatus, with 0 for what nobody can tell.

    Source: HTCondor manual, Job ClassAd Attributes, JobStatus.
    """

    UNKNOWN = 0
    """Neither in a queue nor in a history that answered."""
    IDLE = 1
    """In the queue, waiting for a node."""
    RUNNING = 2
    """A starter holds it."""
    REMOVED = 3
    """Removed by a person or a policy; it never ends by itself."""
    COMPLETED = 4
    """It ended; the exit code says how."""
    HELD = 5
    """Stopped by the schedd or a person; stays so until released or removed."""
    TRANSFERRING_OUTPUT = 6
    """The program ended, its files are under way."""
    SUSPENDED = 7
    """Paused on its node."""

    @property
    def ended(self) -> bool:
        """Whether the job will never run again by itself."""
        return self in (JobStatus.REMOVED, JobStatus.COMPLETED)


class SubmissionState(StrEnum):
    """Where one submission stands."""

    INTENDED = "intended"
    """Recorded before the act; jobs may or may not exist: only the tag can tell."""
    SUBMITTED = "submitted"
    """Its clusters are known."""
    REFUSED = "refused"
    """The batch system said no and no job carries the tag."""
    ENDED = "ended"
    """Every job has ended, or what has not is accounted for by the check."""


class Outcome(StrEnum):
    """What a check found."""

    PASSED = "passed"
    """The evidence proves it good."""
    FAILED = "failed"
    """The evidence proves it bad."""
    UNKNOWN = "unknown"
    """There is not enough evidence; look again, or ask a person."""


class OutputState(StrEnum):
    """What the ledger says of one output file."""

    CANDIDATE = "candidate"
    """Seen, not judged yet."""
    ACCEPTED = "accepted"
    """The one verified output of its subruns."""
    DUPLICATE = "duplicate"
    """Verified, but another output was accepted for the same subruns."""
    REJECTED = "rejected"
    """A check failed on it."""
    REMOVING = "removing"
    """Its removal is intended and may have happened."""
    REMOVED = "removed"
    """It was removed, after the ledger said it is safe."""


class SubrunState(StrEnum):
    """What the ledger says of one subrun in one stage."""

    ACCEPTED = "accepted"
    """It has exactly one verified output of each kind."""
    MISSING = "missing"
    """Proven not to have been produced."""
    UNKNOWN = "unknown"
    """Not proven either way."""


class Remedy(StrEnum):
    """Whether a recovery helps against a failure, and what it must change."""

    SAME = "same"
    """Submit again as it was: the cause passes."""
    MORE_MEMORY = "more-memory"
    """Submit again with more memory."""
    MORE_DISK = "more-disk"
    """Submit again with more scratch space."""
    MORE_TIME = "more-time"
    """Submit again with a longer lifetime."""
    OTHER_NODE = "other-node"
    """Submit again, away from the node that it failed on."""
    OTHER_SITE = "other-site"
    """Submit again, away from the site that it failed at."""
    NONE = "none"
    """No recovery mends it: code, configuration or input must change first."""
    PERSON = "person"
    """A person must look: nobody knows yet, or it was done on purpose."""


class HoldAction(StrEnum):
    """What prodsys does about a held job of a class."""

    RELEASE_MORE_MEMORY = "release-more-memory"
    """Raise its memory and release it."""
    RELEASE = "release"
    """Release it after the rule's pause."""
    REMOVE = "remove"
    """Remove it; its subruns are recovered."""
    PERSON = "person"
    """Leave it for a person."""


class ActionKind(StrEnum):
    """What was done about a campaign, by prodsys or by a person."""

    RECOVER = "recover"
    """A recovery was submitted."""
    RELEASE = "release"
    """Held jobs were released, maybe with more memory."""
    REMOVE = "remove"
    """Held jobs, or clusters that no dag_run owned any more, were removed."""
    EXCLUDE = "exclude"
    """A node or a site was excluded."""
    LIFT = "lift"
    """An exclusion was ended before its time."""
    ASK = "ask"
    """A person was asked."""
    RECOVER_AGAIN = "recover-again"
    """A person allowed one more recovery."""
    ACCEPT = "accept"
    """A stage was accepted as it is, by a person, or because nothing was left of what one had allowed."""
    STOP = "stop"
    """A person stopped a stage."""


DECISIONS = (ActionKind.ASK, ActionKind.RECOVER, ActionKind.RECOVER_AGAIN, ActionKind.ACCEPT, ActionKind.STOP)
"""What asks about a stage, and what ends that: a recovery without an answer follows a cleared task."""
