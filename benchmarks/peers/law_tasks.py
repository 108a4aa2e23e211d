"""The chain for law: two workflows and a merge, each branch a job. Runs in the peers' Python."""

from __future__ import annotations

import os
import subprocess

import law
import luigi

law.contrib.load("htcondor")

FOLDER = os.environ["PEERS_FOLDER"]


class Stage(law.htcondor.HTCondorWorkflow, law.LocalWorkflow):
    n = luigi.IntParameter()
    stage = ""

    def create_branch_map(self):
        return dict(enumerate(range(self.n)))

    def output(self):
        return law.LocalFileTarget(f"{FOLDER}/{self.stage}.{self.branch}")

    def inputs(self):
        return []

    def run(self):
        words = [f"{FOLDER}/payload.sh", self.stage, str(self.branch), self.output().abspath]
        subprocess.run([*words, *self.inputs()], check=True)

    def htcondor_output_directory(self):
        return law.LocalDirectoryTarget(f"{FOLDER}/law.{self.stage}")

    def htcondor_bootstrap_file(self):
        return law.JobInputFile(path=f"{FOLDER}/bootstrap.sh", share=True, render_job=True)

    def htcondor_job_config(self, config, job_num, branches):  # noqa: ARG002  law's own words
        config.custom_content.append(("request_memory", "100MB"))
        config.custom_content.append(("request_disk", "50MB"))
        return config


class Gen(Stage):
    stage = "gen"


class Reco(Stage):
    stage = "reco"

    def workflow_requires(self):
        return {"gen": Gen.req(self)}

    def requires(self):
        return Gen.req(self)

    def inputs(self):
        return [self.input().abspath]


class Merge(Stage):
    stage = "merge"

    def create_branch_map(self):
        return {0: None}

    def workflow_requires(self):
        return {"reco": Reco.req(self)}

    def requires(self):
        return [Reco.req(self, branch=branch) for branch in range(self.n)]

    def output(self):
        return law.LocalFileTarget(f"{FOLDER}/merged.txt")

    def inputs(self):
        return [target.abspath for target in self.input()]
