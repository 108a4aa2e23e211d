"""airflow.cfg.template: what it sets exists in Airflow, and prodsys reads all of its own section."""

from __future__ import annotations

import json
import re
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = (ROOT / "airflow.cfg.template").read_text(encoding="utf-8")
AWKWARD_FOLDER = "/a folder/with %% sign"


def filled_in() -> ConfigParser:
    """Fill the template in as `prodsys up` does, with an awkward folder, and read it as Airflow does."""
    template = Template(TEMPLATE)
    assert template.is_valid()
    parser = ConfigParser()
    parser.read_string(template.substitute(dict.fromkeys(template.get_identifiers(), AWKWARD_FOLDER)))
    return parser


def airflow_options() -> dict[str, dict[str, Any]]:
    """Return Airflow's own description of its options, without importing it."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "config_templates" / "config.yml"
    described: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return described


def test_every_option_exists_in_airflow() -> None:
    known, parser = airflow_options(), filled_in()
    unknown = [
        f"[{section}] {option}"
        for section in parser.sections()
        if section != "prodsys"
        for option in parser[section]
        if option not in known.get(section, {}).get("options", {})
    ]
    assert unknown == []


def test_every_option_has_a_reason() -> None:
    """A comment above each option, or above the one it goes with."""
    bare, seen = [], False
    for line in TEMPLATE.splitlines():
        if line.startswith("#"):
            seen = True
        elif not line.strip():
            seen = False
        elif (
            re.match(r"\w+ =", line) and not seen and not line.startswith(("plugins_folder", "load_examples"))
        ):
            bare.append(line)
    assert bare == []


def test_paths_survive_interpolation() -> None:
    parser = filled_in()
    assert parser["core"]["dags_folder"] == "/a folder/with % sign"
    (bundle,) = json.loads(parser["dag_processor"]["dag_bundle_config_list"])
    assert set(bundle) == {"name", "classpath", "kwargs"}
    assert bundle["kwargs"]["specs"] == "/a folder/with % sign"


def test_section_prodsys_is_what_settings_reads() -> None:
    source = (ROOT / "plugins" / "prodsys_operators" / "settings.py").read_text(encoding="utf-8")
    body = source.split("class Settings:", 1)[1].split("\n    def ", 1)[0]
    fields = re.findall(r"^    (\w+): ", body, re.MULTILINE)
    assert sorted(filled_in()["prodsys"]) == sorted(fields)
