"""The JSON Schema of spec files, for editors and other languages.

It is published as docs/spec.schema.json; a test holds the two equal.
"""

from __future__ import annotations

import json
from typing import Any

from designspace.spec import ModelSpec

VERSION = 1
"""Of the spec's format; it changes when a file that was valid no longer is, or means another network."""


def spec_schema() -> dict[str, Any]:
    """The schema of a spec file: the fields of ModelSpec, and a `provenance` mapping that loading leaves alone."""
    schema = ModelSpec.model_json_schema()
    provenance = {
        "type": "object",
        "title": "Provenance",
        "description": "Where the network comes from; free, and not part of its identity.",
    }
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A convolutional network",
        "version": VERSION,
    }
    return head | schema | {"title": head["title"], "properties": schema["properties"] | {"provenance": provenance}}


def text() -> str:
    """The schema as indented JSON."""
    return json.dumps(spec_schema(), indent=2, ensure_ascii=False) + "\n"
