"""Hypothesis strategies that damage valid inputs: nested values, texts, bytes, tables."""

from __future__ import annotations

import copy
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
from hypothesis import reject
from hypothesis import strategies as st

BLOCK = {"block": "bottleneck", "depth": 1, "width": 8}
NUMBERS = [0, -1, 1, 3, 10**9, 2**63, 10**400, 10**4000, -(10**20), 0.5, 1e-320, 1e308, -1e308]
TEXTS = ["", "x", "x" * 10_000, "a\nb", "a\0b", "\x1b[31m", "\u202e", "\ud800", "bottleneck", ".:x", "os:path"]
VALUES: list[Any] = [
    *NUMBERS,
    *TEXTS,
    *(float("inf"), float("-inf"), float("nan"), True, None, [], {}, [[]], {"x": {}}, {1: 2}, {None: 1}, {"a\nb": 1}),
    *([0] * 2000, ["x" * 100] * 100, {f"k{i}": i for i in range(500)}, [BLOCK] * 1100, [BLOCK] * 900),
]
CELLS = [
    *("", " ", "nan", "NaN", "None", "inf", "-inf", "1e400", "-1", "0", "1.5", "101", "1,5", "50 %", "50%", "5 ± 1"),
    *("True", "yes", "ok", "failed", "running", "0x10", "1_000", "٣", "−5", " 5 ", "2024-01-01", "$x^$", "../../f"),
    *("[16, 32]", "(16, 32)", "[16, null]", "[]", "{}", "[[1]]", "16-32", "1" * 400, "x" * 5000, "a\0b", "\x1b[31m"),
    *('"', "a;b", "a\tb", "'", "`", "\\", "=1+1", "#", "\ufeff", "\u202e", "nan%", "1e-400", "9" * 25),
]
COLUMNS = [
    *("error_percent", "error", "acc", "space", "spec_id", "seed", "index", "status", "message", "macs", "params"),
    *("acts", "depth", "width", "block_widths", "stage_depths", "recipe_id", "study", "draw_id", "failed", "val/acc"),
    *("", " ", "error_1", "epoch_train_loss", "$x^$", "a,b", "0", "x" * 300, "../f", "a\0b", "\u202e"),
]
MAX_BYTES = 1 << 22  # repeated values can repeat values
CHARACTERS = "{}[]:,-&*!|>%@`\"'#\n\t \\\0\ufeff019.eE_;"

hostile = st.sampled_from(VALUES).map(copy.deepcopy) | st.integers() | st.floats() | st.text(max_size=20)
cells = st.sampled_from(CELLS) | st.floats().map(str) | st.integers().map(str) | st.text(max_size=8)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all items of nested mappings and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in [(*path, key), *places(item, (*path, key))]]


@st.composite
def mutated(draw: st.DrawFn, originals: Sequence[Any]) -> Any:
    """A valid mapping or list with one to three values replaced, removed, added or repeated."""
    value = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        if not (paths := places(value)):
            break
        *path, last = draw(st.sampled_from(paths))
        parent = value
        for key in path:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "remove", "add", "repeat"])):
            case "replace":
                parent[last] = draw(hostile)
            case "remove":
                del parent[last]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(TEXTS) | st.integers())] = draw(hostile)
            case "repeat" if isinstance(parent, list):
                parent.extend([parent[last]] * draw(st.sampled_from([1, 200])))
    return value


@st.composite
def damaged(draw: st.DrawFn, texts: Sequence[str]) -> str:
    """A valid text with parts removed, repeated, or replaced by characters with a special meaning."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        inserted = draw(
            st.sampled_from(
                ["", text[start:end] * 2, "[" * 5000, "&a [*a]", "*a", "!!int ''", "<<: ", "? ", "\t", "0x"]
            )
            | st.text(st.sampled_from(CHARACTERS), max_size=8)
            | st.text(max_size=8)
        )
        text = text[:start] + inserted + text[end:]
    return text


@st.composite
def damaged_bytes(draw: st.DrawFn, original: bytes) -> bytes:
    """Valid bytes with some changed, removed or repeated."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 8)))
        content[start:end] = draw(st.binary(max_size=8) | st.just(bytes(content[start:end]) * 2))
    return bytes(content)


def as_json(value: Any) -> bytes:
    """The value as JSON; rejects examples that JSON cannot represent and very large ones."""
    try:
        content = json.dumps(value).encode()
    except (TypeError, ValueError):
        return reject()
    return content if len(content) <= MAX_BYTES else reject()


def json_files(originals: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """JSON files with a mutated value, damaged text, or random bytes."""
    texts = [json.dumps(original, indent=1) for original in originals]
    return mutated(originals).map(as_json) | damaged(texts).map(encoded) | st.binary()


def encoded(text: str) -> bytes:
    """The text in UTF-8; lone surrogates become invalid bytes."""
    return text.encode("utf-8", "surrogatepass")


@st.composite
def delimited_files(draw: st.DrawFn, originals: Sequence[Mapping[str, Sequence[Any]]]) -> bytes:
    """A CSV file with some cells and column names replaced, sometimes with damaged text or another encoding."""
    table = {name: list(map(str, values)) for name, values in draw(st.sampled_from(originals)).items()}
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(sorted(table)))
        table[name][draw(st.integers(0, len(table[name]) - 1))] = draw(cells)
    for _ in range(draw(st.integers(0, 2))):
        table[draw(st.sampled_from(COLUMNS))] = table.pop(draw(st.sampled_from(sorted(table))))
    delimiter = draw(st.sampled_from(",,,;\t"))
    text = pd.DataFrame(table).to_csv(index=False, sep=delimiter, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    if draw(st.integers(0, 3)) == 0:
        text = draw(damaged([text]))
    encode: Callable[[str], bytes] = draw(
        st.sampled_from(
            [encoded, encoded, encoded, lambda text: text.encode("utf-16", "surrogatepass"), _latin, _zipped]
        )
    )
    return encode(text)


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _zipped(text: str) -> bytes:
    return gzip.compress(encoded(text))


@st.composite
def parquet_files(draw: st.DrawFn, originals: Sequence[Mapping[str, Sequence[Any]]]) -> bytes:
    """A Parquet file with some columns replaced by columns of any type, sometimes with damaged bytes."""
    table: dict[str, Any] = dict(draw(st.sampled_from(originals)))
    rows = len(next(iter(table.values())))
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(COLUMNS) | st.sampled_from(sorted(table)))
        table[name] = draw(st.sampled_from(_COLUMN_TYPES).flatmap(lambda s: st.lists(s, min_size=rows, max_size=rows)))
    index_or_category = draw(st.none() | st.sampled_from(["index", "category"]))
    name = draw(st.sampled_from(list(table)))
    buffer = io.BytesIO()
    try:
        frame = pd.DataFrame(table)
        if index_or_category == "index":
            frame = frame.set_index(name)
        elif index_or_category == "category":
            frame[name] = frame[name].astype("category")
        frame.to_parquet(buffer)
    except Exception:  # what cannot be written in the first place is no input
        reject()
    content = buffer.getvalue()
    return draw(damaged_bytes(content)) if draw(st.integers(0, 4)) == 0 else content


_instants = st.sampled_from([datetime(2026, 1, 1, tzinfo=UTC), datetime(1, 1, 1), datetime(9999, 12, 31)])
_COLUMN_TYPES = [
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(),
    st.none() | st.booleans(),
    cells,
    st.none() | cells,
    st.binary(max_size=8),
    st.none(),
    _instants,
    _instants.map(lambda instant: instant.date()),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**6), max_value=10**6),
    st.just(Decimal("1e20")),
    st.lists(st.integers(-5, 10**6), max_size=3),
    st.lists(st.none() | st.floats(), max_size=3),
    st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2),
    st.fixed_dictionaries({"a": st.integers(0, 9)}),
]
