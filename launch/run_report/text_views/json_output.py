"""Views as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass

from launch.run_report.text_views.items import View


def dump_views(views: Mapping[str, View]) -> str:
    """Return views, by item, as one JSON object in ASCII, in which control characters are escapes."""
    return json.dumps({item: to_json(view) for item, view in views.items()}, allow_nan=False)


def to_json(value: object) -> object:
    """Return a value in the types of JSON: numbers that are not finite become None, dates and the like texts."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
