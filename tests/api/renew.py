"""Writes docs/reference/openapi.json from the application."""

import json
from pathlib import Path

from wimsmith.api.app import build_api

TARGET = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"

if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(build_api(None).openapi(), indent=1, ensure_ascii=False, sort_keys=True)
    TARGET.write_text(text + "\n", encoding="utf-8")
