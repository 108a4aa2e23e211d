"""A submission in several clusters: each ad, report and folder counts for the unit that its job makes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from include.campaign.states import JobStatus, SubrunState
from include.checks.evidence import gather, read_areas
from tests.unit.checks.conftest import CLUSTER, SCHEDD, job_ad

if TYPE_CHECKING:
    from tests.unit.checks.conftest import Site

OTHER = "ap2@pool.test"


def split(site: Site) -> Site:
    """Return the site with its units cut behind the second; the second cluster has the first's number."""
    count = len(site.submission.units)
    clusters = ((SCHEDD, CLUSTER, 2), (OTHER, CLUSTER, count - 2))
    site.submission = replace(site.submission, clusters=clusters, first_units=(0, 2))
    return site


def test_ads_without_a_report_are_placed_by_their_cluster(make_site: Any) -> None:
    site = split(make_site(3))
    ads = [job_ad(0), job_ad(1, exit_code=3), job_ad(0, schedd=OTHER, exit_code=7)]
    gathered = gather(site.submission, ads=ads, area=read_areas(site.plan, site.submission))
    found = {each.process: [ad.exit_code for ad in each.ads] for each in gathered.processes if each.ads}
    assert found == {0: [0], 1: [3], 2: [7]}
    assert gathered.unplaced == ()
    assert gathered.all_ended == (len(site.submission.units) == len(ads))


def test_a_folder_without_a_report_is_placed_where_its_number_tells(make_site: Any) -> None:
    site = make_site(4)
    site.submission = replace(
        site.submission, clusters=((SCHEDD, CLUSTER, 2), (SCHEDD, 42, 1)), first_units=(0, 2)
    )
    for folder in ("42.0.1-00000000", f"{CLUSTER}.1.1-00000000", "43.1.1-00000000"):
        (site.logs / folder).mkdir(parents=True)
    area = read_areas(site.plan, site.submission)
    assert {item.folder.rpartition("/")[2]: item.unit for item in area.unreadable} == {
        "42.0.1-00000000": 2,
        f"{CLUSTER}.1.1-00000000": 1,
        "43.1.1-00000000": None,
    }


def test_units_that_a_kept_part_does_not_make_are_missing_once_its_jobs_have_ended(make_site: Any) -> None:
    site = make_site(4)
    site.submission = replace(site.submission, clusters=((SCHEDD, CLUSTER, 2),))
    site.execute(0)
    site.execute(1)
    states = [unit.state for unit in site.judge().units]
    assert states[:2] == [SubrunState.ACCEPTED] * 2
    assert set(states[2:]) == {SubrunState.MISSING}
    site.ads[1] = job_ad(1, status=JobStatus.RUNNING, exit_code=None, ended_at=None)
    assert SubrunState.MISSING not in [unit.state for unit in site.judge().units]
