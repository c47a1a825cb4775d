"""Read new texts in batches, whatever their number: csv, parquet, JSON lines, or a text a line.

A csv file is read by the rules of `data.csv_file`: cells are text, and an empty one is nothing. The first bad row is an
`InputError` with its place: its row (1 is the first after a csv's header), or its line where there is no header.
"""

import csv
import io
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contracts import InputError
from pipeline.data.clean import clean, clean_keywords
from pipeline.data.csv_file import KINDS, LONGEST, not_a_csv
from pipeline.data.source import Columns

Format = Literal["csv", "parquet", "jsonl", "text"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "text",
}
DECISION = ("score", "target", "label")
"""The columns that scores are written in, beside the id's."""
ROW = "row"
"""What identifies texts that have no id: their places, from 1 on."""


class Batch(NamedTuple):
    """Some texts: `ids` (an id column as it stands, or `row`), and `tweets` as a classifier takes them, of equal length."""

    ids: pd.Series
    tweets: pd.DataFrame


Raw = Iterator[pd.DataFrame]
"""Batches as they stand in a file: columns `text` and, if there, `id`, `keyword` and `location`, of Python objects."""


def wanted(columns: Columns, there: list[str], where: str) -> dict[str, str]:
    """Their names by ours, of the columns that are there; an `InputError` without a text, or with an id of a decision's name."""
    if columns.text not in there:
        raise InputError(f"{where}: no column {columns.text}; it has {', '.join(there)}; name the texts' with --text")
    names = {"id": columns.id, "text": columns.text, "keyword": columns.keyword, "location": columns.location}
    found = {ours: theirs for ours, theirs in names.items() if theirs in there}
    if twice := [name for name in found.values() if there.count(name) > 1]:
        raise InputError(f"{where}: column {twice[0]} is there twice; rename or take out one of them")
    if found.get("id") in DECISION:
        raise InputError(f"{where}: column {found['id']}: a decision has a column of that name; call the ids otherwise")
    return found


def header_of(records: Iterator[list[str]], where: str) -> list[str]:
    try:
        header = next(records, [])
    except csv.Error as error:
        raise InputError(f"{where}: header: {not_a_csv(str(error))}") from None
    first = header[0].encode("utf-8", "surrogateescape") if header else b""
    for magic, kind in KINDS.items():
        if first.startswith(magic):
            raise InputError(f"{where}: {kind}")
    for name in header:
        check_text(name, f"{where}: header", empty=True)
    return header


def rows_of(records: Iterator[list[str]], header: list[str], where: str) -> Iterator[list[str]]:
    """Records with as many fields as the header; another one is an `InputError`."""
    number = 0
    try:
        for number, record in enumerate(records, start=1):
            if len(record) != len(header):
                problem = f"{len(record)} fields, and the header has {len(header)}; quote a text with commas"
                raise InputError(f"{where}: row {number}: {problem if record else 'a blank line; take it out'}")
            yield record
    except csv.Error as error:
        raise InputError(f"{where}: row {number + 1}: {not_a_csv(str(error))}") from None


def read_csv(stream: BinaryIO, columns: Columns, size: int, where: str) -> Raw:
    """As strictly as `data.csv_file`, but record by record: a stream is answered while it lasts."""
    # A byte that is not UTF-8 comes through as a lone surrogate, which tells in which cell it is.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    limit = csv.field_size_limit(LONGEST)
    try:
        records = csv.reader(text, strict=True)
        header = header_of(records, where)
        if not header:
            return
        names, rows = wanted(columns, header, where), rows_of(records, header, where)
        places = [header.index(name) for name in names.values()]
        while some := list(itertools.islice(rows, size)):
            yield pd.DataFrame([[record[at] for at in places] for record in some], columns=list(names), dtype=object)
    finally:
        csv.field_size_limit(limit)


def read_parquet(stream: BinaryIO, columns: Columns, size: int, where: str) -> Raw:
    try:
        file = pq.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False)
        names = wanted(columns, file.schema_arrow.names, where)
        for batch in file.iter_batches(size, columns=list(names.values())):
            cells = {ours: batch.column(theirs).to_pylist() for ours, theirs in names.items()}
            yield pd.DataFrame(cells, dtype=object)
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        raise InputError(f"{where}: not a parquet file: {' '.join(str(error).split())[:200]}") from None


def read_jsonl(stream: BinaryIO, columns: Columns, size: int, where: str) -> Raw:
    """Each line may have other columns, but all lines have ids or none has."""
    has_ids: bool | None = None
    lines = enumerate(stream, start=1)
    while some := list(itertools.islice(lines, size)):
        records = []
        for number, line in some:
            record = read_object(line, f"{where}: line {number}")
            names = wanted(columns, list(record), f"{where}: line {number}")
            has_ids = "id" in names if has_ids is None else has_ids
            if ("id" in names) != has_ids:
                problem = "missing; the lines before have one" if has_ids else "the lines before have none"
                raise InputError(f"{where}: line {number}, column {columns.id}: {problem}")
            records.append({ours: record[theirs] for ours, theirs in names.items()})
        yield pd.DataFrame(records, dtype=object)


def read_object(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 (byte 0x{line[error.start]:02x})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error or 'nested too deeply'}") from None
    if not isinstance(record, dict):
        raise InputError(f'{where}: not an object such as {{"text": "..."}}')
    return record


def read_lines(stream: BinaryIO, _columns: Columns, size: int, _where: str) -> Raw:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    while some := [line.rstrip("\r\n") for line in itertools.islice(text, size)]:
        yield pd.DataFrame({"text": some}, dtype=object)


READERS: dict[Format, Callable[[BinaryIO, Columns, int, str], Raw]] = {
    "csv": read_csv,
    "parquet": read_parquet,
    "jsonl": read_jsonl,
    "text": read_lines,
}


def check_text(value: object, where: str, *, empty: bool = False) -> None:
    """Raise `InputError` unless the value is a text, and, if it must be, one that says something."""
    if not isinstance(value, str):
        raise InputError(f"{where}: {value!r:.60} is no text")
    if not empty and not value.strip():
        raise InputError(f"{where}: must not be empty")
    if "\0" in value:
        raise InputError(f"{where}: a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        byte = f" (byte 0x{code - 0xDC00:02x})" if 0xDC80 <= code <= 0xDCFF else ""
        raise InputError(f"{where}: not UTF-8{byte}; save it as UTF-8") from None


def check_id(value: object, where: str) -> None:
    if isinstance(value, str):
        check_text(value, where)
    elif not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where}: {value!r:.60} is neither a text nor a whole number")


def optional(values: pd.Series, where: str) -> list[str | None]:
    """A keyword's or location's cells, stripped; None where they are empty."""
    there = [not (value is None or (isinstance(value, float) and math.isnan(value))) for value in values]
    for row, value in values[there].items():
        check_text(value, f"{where} {row}, column {values.name}", empty=True)
    return [value.strip() or None if is_there else None for value, is_there in zip(values, there, strict=True)]


def checked(raw: pd.DataFrame, columns: Columns, where: str) -> Batch:
    """A batch whose index holds the places of its rows, as `prepare` would have it; `where` ends with what they are called."""
    for row, text in raw["text"].items():
        check_text(text, f"{where} {row}, column {columns.text}")
    ids = raw["id"].rename(columns.id) if "id" in raw else pd.Series(raw.index, index=raw.index, name=ROW)
    for row, value in ids.items():
        check_id(value, f"{where} {row}, column {ids.name}")
    keyword, location = (
        pd.array(optional(raw[name], where) if name in raw else [None] * len(raw), dtype="str")
        for name in ("keyword", "location")
    )
    tweets = pd.DataFrame(
        {
            "keyword": clean_keywords(pd.Series(keyword)),
            "location": location,
            "text": pd.array([clean(text) for text in raw["text"]], dtype="str"),
            "raw_text": pd.array(raw["text"].tolist(), dtype="str"),
        }
    )
    return Batch(ids.reset_index(drop=True), tweets)


def batches(stream: BinaryIO, kind: Format, columns: Columns, size: int, where: str) -> Iterator[Batch]:
    """The texts of a stream, at most `size` at once; an `InputError` if there are none, or at the first bad one."""
    unit, first = "row" if kind in ("csv", "parquet") else "line", 1
    for raw in READERS[kind](stream, columns, size, where):
        if len(raw):
            places = pd.RangeIndex(first, first + len(raw))
            yield checked(raw.set_axis(places), columns, f"{where}: {unit}")
            first += len(raw)
    if first == 1:
        raise InputError(f"{where}: no texts")


def format_of(path: Path | None, given: Format | None) -> Format:
    """By the file's suffix; what is given, or csv, for standard input (None)."""
    if path is None:
        if given == "parquet":
            raise InputError("--format parquet: parquet is read from files alone, not from standard input")
        return given or "csv"
    found = SUFFIXES.get(path.suffix.lower(), given)
    if found is None:
        raise InputError(f"{path}: what is in it? Its name ends with none of {', '.join(SUFFIXES)}; say --format")
    return found
