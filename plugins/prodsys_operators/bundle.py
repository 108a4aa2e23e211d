"""The DAG bundle: one DAG file a campaign spec, so that Airflow treats each campaign by itself."""

from __future__ import annotations

import hashlib
import importlib
import logging
import tempfile
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle

from include.campaign.catalogue import find_specs
from include.campaign.reader import MAX_BYTES
from include.errors import SpecError

log = logging.getLogger(__name__)

HEADER = "# Made by prodsys from a campaign spec: edit the spec, not this file."
DAG_FILE = """\
{header}
# Spec: {spec!a}, sha256 {digest}
# Airflow reads only files that have the words airflow and DAG in them.
from prodsys_operators.campaign_dag import compile_campaign

dag = compile_campaign({spec!a})
"""
TRUTH_FILE = """\
# Made by prodsys.
# Airflow reads only files that have the words airflow and DAG in them.
from prodsys_operators.truth import build_truth

dag = build_truth()
"""
"""Beside the campaigns' folders: no experiment can have its name."""


class CampaignBundle(BaseDagBundle):
    """Writes one DAG file for each campaign spec, and removes it when the spec is gone.

    A broken spec is then that file's import error, and a task's or a callback's own parse compiles its
    campaign alone. The file changes with the spec's content, so the dag-processor parses it again at once.
    """

    def __init__(self, *, specs: str, dags: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._specs = Path(specs)
        self._dags = Path(dags)

    @property
    def path(self) -> Path:
        """The folder of DAG files."""
        return self._dags

    def get_current_version(self) -> None:
        """Return None: the ledger pins the plan of a run, not the bundle."""

    def initialize(self) -> None:
        """Write the DAG files that are not there.

        Every task calls this: it must not read every spec, nor change or remove what others are using.
        """
        for file, spec in self._wanted().items():
            if not file.exists():
                _write_if_changed(file, self._content(spec))
        _write_if_changed(self._dags / "prodsys_truth.py", TRUTH_FILE)
        super().initialize()

    def refresh(self) -> None:
        """Bring the DAG files up to date with the specs; safe in several processes at once."""
        _import_what_dag_files_import()
        wanted = self._wanted()
        for file, spec in wanted.items():
            _write_if_changed(file, self._content(spec))
        _write_if_changed(self._dags / "prodsys_truth.py", TRUTH_FILE)
        # No spec at all is more likely a checkout in mid-air than the wish to end every campaign.
        for file in self._dags.glob("*/*.py") if wanted else ():
            if file not in wanted and _is_ours(file):
                file.unlink(missing_ok=True)

    def _wanted(self) -> dict[Path, Path]:
        """Return DAG file → spec; nothing where the specs cannot be listed, so that what runs goes on."""
        try:
            return {self._dag_file(spec): spec for spec in find_specs(self._specs)}
        except SpecError:
            log.exception("the campaign specs cannot be listed; the DAG files stay as they are")
            return {}

    def _dag_file(self, spec: Path) -> Path:
        return self._dags / spec.relative_to(self._specs).with_suffix(".py")

    def _content(self, spec: Path) -> str:
        try:
            # A pipe or a device is never opened: a read of it need not end.
            regular = spec.is_file() and spec.stat().st_size <= MAX_BYTES
            digest = hashlib.sha256(spec.read_bytes()).hexdigest()[:12] if regular else "not read"
        except OSError as error:  # the compile step says so in the UI, as this campaign's import error
            digest = type(error).__name__
        return DAG_FILE.format(header=HEADER, spec=str(spec.relative_to(self._specs)), digest=digest)


def _import_what_dag_files_import() -> None:
    """Import it in the dag-processor, which forks for each DAG file: a fork then has it already.

    Airflow does so by itself only for modules whose names begin with `airflow.`.
    """
    try:
        importlib.import_module("prodsys_operators.campaign_dag")
    except Exception:
        log.exception("prodsys cannot be imported; each campaign's import error says so too")


def _is_ours(file: Path) -> bool:
    return file.read_text(encoding="utf-8", errors="replace").startswith(HEADER)


def _write_if_changed(file: Path, content: str) -> None:
    if file.is_file() and file.read_text(encoding="utf-8", errors="replace") == content:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".", suffix=".part", delete=False) as part:
        part.write(content)
    Path(part.name).chmod(0o644)
    Path(part.name).replace(file)
