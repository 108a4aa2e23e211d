"""The spec's JSON Schema, for editors; `prodsys schema --write` makes campaign_specs/schema.json of it."""

from __future__ import annotations

import json
from typing import Any

from include.campaign.spec import SPEC_KEYS_THAT_MAY_BE_NULL, CampaignSpec

SCHEMA_FILE = "schema.json"
"""Its name in the folder of specs."""


def schema_text() -> str:
    """Return the schema as the text of a file."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_tidied(CampaignSpec.model_json_schema()),
        "title": "prodsys campaign",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _tidied(node: Any, key: str = "") -> Any:
    """Return the schema without pydantic's titles, and without null where the reader refuses it."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("properties"), dict):
        properties = {name: _tidied(item, name) for name, item in node["properties"].items()}
        node = {**node, "properties": properties}
    rest = {
        name: item if name == "properties" else _tidied(item, key)
        for name, item in node.items()
        if not (name == "title" and isinstance(item, str)) and not (name == "default" and item is None)
    }
    if "anyOf" in rest and key not in SPEC_KEYS_THAT_MAY_BE_NULL:
        choices = [choice for choice in rest["anyOf"] if choice != {"type": "null"}]
        rest = {**rest, "anyOf": choices} if len(choices) > 1 else {**_less(rest), **choices[0]}
    return rest


def _less(node: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in node.items() if name != "anyOf"}
