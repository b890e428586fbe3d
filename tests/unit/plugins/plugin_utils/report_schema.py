# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents of runs are held against the schema that users have."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).resolve().parents[4] / "docs" / "report.schema.json"


@functools.cache
def _validator() -> Any:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def validate(document: Any) -> None:
    """Raise AssertionError where the document is otherwise than the schema has it."""
    found = [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(document)]
    assert not found, "\n".join(found)


def validate_part(value: Any, definition: str) -> None:
    """Raise jsonschema.ValidationError where a part of a document is otherwise than the schema has it."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.validate(value, {"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]})
