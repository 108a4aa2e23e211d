"""Why one process ran or completed more than once, in one sentence, from what HTCondor's ads say.

NumJobStarts undercounts (a shadow's death) and NumShadowStarts overcounts (a reconnect), so neither alone
proves a second run; docs/batch.md has the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.batch.pool import JobAd


def why_several(ads: Sequence[JobAd], executions: int, completions: int) -> str:
    """Return why the process of these ads has so many executions and completed so often, in one sentence.

    `ads` are those of every job that was to make the same subruns, one a job; `executions` and `completions`
    are what reports, outputs or events show. The ads' own words are preferred to a guess.
    """
    seen = _seen(executions, completions)
    if not ads:
        return f"{seen}; no queue or history has an ad of it any more, so the cause cannot be told."
    if len({(ad.schedd, ad.cluster) for ad in ads}) > 1:
        return f"{_several_jobs(ads)}; {seen}."
    ad = max(ads, key=lambda ad: (ad.rows, ad.shadow_starts))
    return f"{ad.job_id} {_one_job(ad, executions, completions)}; {seen}."


def _seen(executions: int, completions: int) -> str:
    """Return the evidence in words."""
    return f"{_times(executions)} started and {_times(completions)} completed by the evidence"


def _several_jobs(ads: Sequence[JobAd]) -> str:
    """Return why jobs of different clusters made the same subruns."""
    jobs = ", ".join(sorted({ad.job_id for ad in ads}))
    tags = {ad.tag for ad in ads}
    schedds = sorted({ad.schedd for ad in ads})
    if None in tags:
        why = "one without prodsys's tag, so somebody submitted it by hand"
    elif len(tags) > 1:
        why = f"of {len(tags)} submissions, as when a recovery overlaps a late original"
    else:
        why = f"with one tag ({ads[0].tag}), so one submission was made twice"
    where = f" on {len(schedds)} schedds ({', '.join(schedds)})" if len(schedds) > 1 else ""
    return f"several jobs were to make the same subruns{where}: {jobs}, {why}"


def _one_job(ad: JobAd, executions: int, completions: int) -> str:
    """Return why one job ran again."""
    if ad.rows > 1:
        text = (
            f"has {ad.rows} ads in queue and history, so the schedd lost its latest changes (its job queue "
            "was rolled back) and ran the job again after its end"
        )
    elif ad.starts > 1:
        text = f"was started {ad.starts} times by HTCondor ({_interruptions(ad)})"
    elif ad.reconnects and ad.shadow_starts - ad.reconnects <= 1:
        text = (
            f"ran once by its ad: the schedd restarted and reconnected to it (NumJobReconnects "
            f"{ad.reconnects}, NumShadowStarts {ad.shadow_starts}, NumJobStarts {ad.starts})"
        )
    elif ad.shadow_starts > max(1, ad.starts):
        text = (
            f"was started again after its shadow had died on the schedd's machine (NumShadowStarts "
            f"{ad.shadow_starts}, NumJobStarts {ad.starts})"
        )
    else:
        return _unexplained(ad, executions, completions)
    return text + _further(ad, executions)


def _interruptions(ad: JobAd) -> str:
    """Return what ended the earlier starts; a hold of a running job counts as an eviction too."""
    parts = []
    if ad.holds:
        parts.append(f"held {_times(ad.holds)}")
    if ad.evictions > ad.holds:
        parts.append(f"evicted {_times(ad.evictions - ad.holds)}")
    if ad.starts - 1 > max(ad.holds, ad.evictions):
        parts.append("otherwise its node or starter died or the start was given up")
    return ", ".join(parts)


def _unexplained(ad: JobAd, executions: int, completions: int) -> str:
    """Return what to say where the ad shows one start."""
    if executions <= 1 and completions <= 1:
        return "ran once by its ad"
    log = f"; its event log {ad.event_log} has every start (001) and end (005)" if ad.event_log else ""
    return f"shows one start in its ad, which does not explain more{log}"


def _further(ad: JobAd, executions: int) -> str:
    """Return a note where the evidence has fewer executions than the ad has starts."""
    lost = ad.starts - executions
    return f", {lost} of them left no trace" if ad.starts > 1 and lost > 0 else ""


def _times(count: int) -> str:
    """Return a count as an adverb."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
