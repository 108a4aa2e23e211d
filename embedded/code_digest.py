"""Which code a service has loaded."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOADED = ("include", "plugins")
"""Folders from which Airflow's services import."""


def code_digest(checkout: Path) -> str:
    """Return a digest of names and contents of all Python files that Airflow's services import."""
    digest = hashlib.sha256()
    files = sorted(file for folder in LOADED for file in (checkout / folder).rglob("*.py"))
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(checkout)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
