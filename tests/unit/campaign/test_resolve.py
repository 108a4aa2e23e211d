"""Spec → plan."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from include.campaign.plan import CampaignPlan, InputPlan, LimitsPlan, MergePlan, OutputPlan, ResourcesPlan
from include.campaign.resolve import load_plan
from include.campaign.spec import BASE_CHECKS
from include.campaign.template import example

if TYPE_CHECKING:
    from tests.unit.campaign.conftest import Specs

LIMITED = "version: 1\nlimits: {slices_in_flight: 2, jobs_in_flight: 8}\n"

SEVERAL = """\
version: 1
runs: {first: 1, last: 9}
subruns: 10
group: fermilab
role: Production
variables: {beam: 13.6, release: v2}
storage: {outstage: "{area}/x//out/./{campaign}", logs: /logs}
defaults:
  memory: 1.5 GB
  disk: 1000 kB
  tree: events
  environment: {A: "1", B: "{release}"}
  arguments: ["{beam:.1f}", "{{literal}}"]
checks: {checksum: false}
stages:
  reco:
    script: gen.sh
    inputs:
      signal: mix
      list: {stage: gen, output: hits, select: all}
    output: "r.{run}_{subrun}.root"
    events: 7
  mix:
    script: gen.sh
    arguments: []
    inputs: {signal: gen.hits}
    output: "m.{run}_{subrun}.root"
    keep: until-merged
    environment: {B: own}
    checks: {checksum: true, size: false}
    memory: 3 GB
  gen:
    script: gen.sh
    events: 5
    outputs:
      hits: {file: "h.{run}_{subrun}.root"}
      some: {file: "s.{run}_{subrun}.root", events: any}
      text: {file: "t.{run}_{subrun}.txt", tree: null, events: 2}
merge:
  hits:
    of: gen.hits
    output: "mh.{run}_{subrun}.root"
    target_size: 100 MB
  reco:
    output: "mr.{run}_{subrun}.root"
    method: command
    script: gen.sh
    cpus: 2
"""


def test_stages_come_after_their_parents_and_merges_last(specs: Specs) -> None:
    plan = specs.load(SEVERAL)
    assert [stage.name for stage in plan.stages] == ["gen", "mix", "reco", "merge_hits", "merge_reco"]
    assert plan.stage("reco").parents == ("mix", "gen")
    assert plan.stage("merge_hits").parents == ("gen",)


def test_inputs_and_outputs(specs: Specs) -> None:
    plan = specs.load(SEVERAL)
    assert plan.stage("reco").inputs == (
        InputPlan(name="signal", stage="mix", output="default", select="same", files=(), per_job=1),
        InputPlan(name="list", stage="gen", output="hits", select="all", files=(), per_job=1),
    )
    assert plan.stage("gen").outputs == (
        OutputPlan(name="hits", file_name="h.{run}_{subrun}.root", tree="events", events=5, keep="forever"),
        OutputPlan(
            name="some", file_name="s.{run}_{subrun}.root", tree="events", events=None, keep="forever"
        ),
        OutputPlan(name="text", file_name="t.{run}_{subrun}.txt", tree=None, events=2, keep="forever"),
    )
    assert plan.stage("mix").outputs[0].keep == "until-merged"
    assert (plan.stage("gen").events, plan.stage("mix").events) == (5, None)


def test_defaults_and_own_values(specs: Specs) -> None:
    plan = specs.load(SEVERAL)
    gen, mix = plan.stage("gen"), plan.stage("mix")
    assert gen.resources == ResourcesPlan(memory_mb=1536, disk_kb=1000, cpus=1, lifetime_s=28800)
    assert mix.resources.memory_mb == 3072
    assert gen.environment == (("A", "1"), ("B", "v2"))
    assert mix.environment == (("A", "1"), ("B", "own"))
    assert (gen.arguments, mix.arguments) == (("13.6", "{{literal}}"), ())
    assert example(gen.arguments[1]) == "{literal}"
    assert gen.checks == ("exit", "outputs", "size", "root", "usage")
    assert mix.checks == ("exit", "outputs", "checksum", "root", "usage")
    assert (gen.success_threshold, gen.hold_limit_s, gen.unknown_limit_s) == (0.9, 3600, 1800)


def test_merges(specs: Specs) -> None:
    plan = specs.load(SEVERAL)
    hits, reco = plan.stage("merge_hits"), plan.stage("merge_reco")
    assert hits.merge == MergePlan(of_stage="gen", of_output="hits", target_bytes=100 * 2**20, method="hadd")
    assert reco.merge == MergePlan(of_stage="reco", of_output="default", target_bytes=2**31, method="command")
    assert (hits.script, reco.script) == ("", str(specs.folder / "gen.sh"))
    assert (hits.outputs[0].tree, hits.resources.cpus, reco.resources.cpus) == ("events", 1, 2)


def test_a_merge_takes_no_threshold_from_the_defaults(specs: Specs) -> None:
    text = SEVERAL.replace("  memory: 1.5 GB\n", "  memory: 1.5 GB\n  success_threshold: 0.5\n").replace(
        "    cpus: 2\n", "    cpus: 2\n    success_threshold: 0.75\n"
    )
    for source, expected in ((SEVERAL, (0.9, 1.0, 1.0)), (text, (0.5, 1.0, 0.75))):
        plan = specs.load(source)
        names = ("gen", "merge_hits", "merge_reco")
        assert tuple(plan.stage(name).success_threshold for name in names) == expected


def test_campaign_fields(specs: Specs) -> None:
    plan = specs.load(SEVERAL)
    assert (plan.outstage, plan.logs) == ("/area/x/out/z", "/logs")
    assert (plan.dag_id, plan.owner, plan.group, plan.role) == ("demo.z", "demo", "fermilab", "Production")
    assert (plan.phase, plan.schedule, plan.slices, plan.subruns) == ("commissioning", None, 1, 10)


def test_limits(specs: Specs) -> None:
    assert specs.load().limits == LimitsPlan()
    text = (specs.folder / "z.yaml").read_text(encoding="utf-8").replace("version: 1\n", LIMITED, 1)
    assert specs.load(text).limits == LimitsPlan(max_slices_in_flight=2, max_jobs_in_flight=8)
    assert specs.load(text.replace("slices_in_flight: 2, ", "")).limits == LimitsPlan(max_jobs_in_flight=8)


def test_the_root_check_needs_a_tree(specs: Specs) -> None:
    plain = specs.load().stage("gen")
    assert plain.checks == tuple(name for name in BASE_CHECKS if name not in ("hdf5", "manifest", "status"))
    text = SEVERAL.replace("  tree: events\n", "").replace(
        "  hits:\n    of: gen.hits\n", "  hits:\n    of: gen.hits\n    tree: t\n"
    )
    plan = specs.load(text)
    assert "root" not in plan.stage("gen").checks
    assert "root" in plan.stage("merge_hits").checks


def test_braces_in_the_area_survive(specs: Specs) -> None:
    plan = load_plan(specs.write(), specs=specs.root, area="/a{x}/é")
    assert plan.outstage == "/a{x}/é/outstage/demo/z"


def test_a_path_with_a_space_and_a_link(specs: Specs) -> None:
    specs.write()
    link = specs.root.parent / "linked specs"
    link.symlink_to(specs.root)
    plan = load_plan(link / "demo" / "z.yaml", specs=link, area="/area")
    assert plan.stage("gen").script == f"{link}/demo/gen.sh"


@pytest.mark.parametrize("text", ["", SEVERAL])
def test_round_trip(specs: Specs, text: str) -> None:
    plan = specs.load(text) if text else specs.load()
    assert CampaignPlan.from_dict(plan.to_dict()) == plan
    assert CampaignPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    with pytest.raises(TypeError, match="unknown keys"):
        CampaignPlan.from_dict({**plan.to_dict(), "color": "red"})


def test_importing_pulls_in_nothing_heavy() -> None:
    code = (
        "import sys; import include.campaign.resolve, include.campaign.catalogue; "
        "heavy = ('pandas', 'sqlalchemy', 'htcondor2', 'classad2', 'uproot', 'airflow', 'rich', 'typer'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
