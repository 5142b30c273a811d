"""Extension of griffe, which reads the docstrings for the API reference."""

from __future__ import annotations

import re
from typing import Any

import griffe

SHARED = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)", re.MULTILINE)


class SharedDescriptions(griffe.Extension):
    """Give each name of an item like `x, y: shape (N,).` its own item."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object that has just been read."""
        if obj.docstring:
            obj.docstring.value = SHARED.sub(self._split, obj.docstring.value)

    @staticmethod
    def _split(item: re.Match[str]) -> str:
        indent, names, text = item.groups()
        return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))
