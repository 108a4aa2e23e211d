"""What a job leaves behind when it has run: report, log and output."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from include.campaign.naming import area_of

if TYPE_CHECKING:
    from include.campaign.plan import CampaignPlan, StagePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Whose jobs: those of one cluster."""

    tag: str
    run: int
    schedd: str
    cluster: int


def leave(
    plan: CampaignPlan, stage: StagePlan, left: Left, process: int, content: bytes, *, code: int = 0
) -> None:
    """Write what the job of one subrun leaves, as `prodsys_job` does; no output with a code other than 0."""
    name = f"{left.cluster}.{process}.1-{process:08x}"
    logs, outstage = (
        Path(area_of(base, stage=stage.name, run=left.run, tag=left.tag)) / name
        for base in (plan.logs, plan.outstage)
    )
    logs.mkdir(parents=True)
    span = {"run": left.run, "first_subrun": process, "last_subrun": process}
    outputs = []
    if code == 0:
        output = stage.outputs[0]
        file = outstage / output.file_name.format(run=left.run, subrun=process)
        outstage.mkdir(parents=True)
        file.write_bytes(content)
        told = {"sha256": hashlib.sha256(content).hexdigest(), "adler32": f"{zlib.adler32(content):08x}"}
        place = {"name": output.name, "file": file.name, "path": str(file), "size": len(content)}
        outputs.append({**place, **told, **span, "events": output.events})
    report: dict[str, object] = {
        "version": 1,
        "tag": left.tag,
        "execution": name,
        "cluster": left.cluster,
        "process": process,
    }
    report |= {"schedd": left.schedd, "global_job_id": "g", "host": "wn1", "site": None, "node": {"cpus": 8}}
    report |= {"started": 2.0, "ended": 3.0, "exit_code": code, "exit_signal": None, "error": None, **span}
    report |= {"failed_at": "script" if code else None, "cpu_s": 1.0, "max_rss_kb": 1, "outputs": outputs}
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    report["selfcheck"] = hashlib.sha256(text.encode()).hexdigest()
    (logs / "report.json").write_text(json.dumps(report))
    (logs / "job.log").write_text("starting\nKilled\n")
