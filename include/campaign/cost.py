"""What a dag_run of a campaign may cost, from its plan alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.campaign.plan import CampaignPlan, StagePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The most that a plan asks for; how many jobs merges have is known only once there are files."""

    jobs: int
    """Merges and recoveries left out."""
    cpu_h: float
    """Hours of CPU, each job at its whole lifetime."""
    recovered_cpu_h: float
    """The same, were every job recovered as often, and with as long a lifetime, as the spec lets."""
    chain_h: float
    """The longest chain of lifetimes of one slice, its merge included: waiting for nodes comes on top."""
    dag_runs: int
    """For how many dag_runs of this size the run numbers last."""

    def to_dict(self) -> dict[str, float]:
        """Return the figures as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        times = "dag_run" if self.dag_runs == 1 else "dag_runs"
        return (
            f"{self.jobs:,} jobs and their merges; up to {_hours(self.cpu_h)} CPU-hours (whole lifetimes), "
            f"{_hours(self.recovered_cpu_h)} with all recoveries; longest chain of lifetimes "
            f"{_hours(self.chain_h)} h; run numbers for {self.dag_runs:,} {times}"
        )


def cost_of(plan: CampaignPlan) -> Cost:
    """Return what one dag_run of the plan's own number of slices may cost."""
    a_stage = plan.slices * plan.subruns
    stages = [stage for stage in plan.stages if not stage.is_merge]
    chains: dict[str, int] = {}
    for stage in plan.stages:  # parents come first
        before = max((chains[name] for name in stage.parents), default=0)
        chains[stage.name] = before + stage.resources.lifetime_s
    return Cost(
        jobs=a_stage * len(stages),
        cpu_h=a_stage * sum(_cpu_s(stage) for stage in stages) / 3600,
        recovered_cpu_h=a_stage * sum(_cpu_s(stage) + _recoveries_s(stage) for stage in stages) / 3600,
        chain_h=max(chains.values(), default=0) / 3600,
        dag_runs=(plan.last_run - plan.first_run + 1) // plan.slices,
    )


def _cpu_s(stage: StagePlan) -> int:
    return stage.resources.cpus * stage.resources.lifetime_s


def _recoveries_s(stage: StagePlan) -> int:
    longest = stage.recovery.max_lifetime_s or 2 * stage.resources.lifetime_s
    return stage.recovery.attempts * stage.resources.cpus * longest


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
