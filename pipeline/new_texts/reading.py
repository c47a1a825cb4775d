"""Read new texts in batches, whatever their number: csv, parquet, JSON lines, or a text a line.

A csv file is read by the rules of `data.csv_file`: cells are text, and an empty one is nothing. The first bad row is an
`InputError` with its place: its row (1 is the first after a csv's header), or its line where there is no header.
"""

import io
import itertools
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, AnyStr, BinaryIO, Literal, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contracts import InputError, reason
from pipeline.data.clean import clean, clean_keywords
from pipeline.data.csv_file import Choose, check_text, columns_in, read_csv
from pipeline.data.source import Columns

Format = Literal["csv", "parquet", "jsonl", "text"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "text",
}  # fmt: skip
DECISION = ("score", "target", "label")
"""The columns that scores are written in, beside the id's."""
ROW = "row"
"""What identifies texts that have no id: their places, from 1 on, which are lines where there is no header."""
Skip = Callable[[str], None]
"""Told of each bad row in a line, where it is to be left out."""


class Batch(NamedTuple):
    """Some texts: `ids` (an id column as it stands, or `row`), and `tweets` as a classifier takes them, of equal length."""

    ids: pd.Series
    tweets: pd.DataFrame


def wanted(columns: Columns, there: list[str], where: str) -> dict[str, str]:
    """Their names by ours, of the columns that are there; an `InputError` without a text, or with an id of a decision's name."""
    named = {"id": columns.id, "text": columns.text, "keyword": columns.keyword, "location": columns.location}
    found = columns_in(there, {ours: theirs for ours, theirs in named.items() if theirs}, ["text"], where)
    if found.get("id") in DECISION:
        raise InputError(f"{where}: column {found['id']}: a decision has a column of that name; call the ids otherwise")
    return found


def read_parquet(stream: BinaryIO, choose: Choose, size: int, where: str) -> Iterator[pd.DataFrame]:
    try:
        file = pq.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False)
        names = choose(file.schema_arrow.names, where)
        for batch in file.iter_batches(size, columns=list(names.values())):
            cells = {ours: batch.column(theirs).to_pylist() for ours, theirs in names.items()}
            yield pd.DataFrame(cells, dtype=object)
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        raise InputError(f"{where}: not a parquet file: {reason(error)}") from None


def numbered(lines: Iterable[AnyStr], size: int) -> Iterator[list[tuple[int, AnyStr]]]:
    """Up to `size` lines at once, with their numbers, without the blank ones."""
    there = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    while some := list(itertools.islice(there, size)):
        yield some


def read_jsonl(
    stream: BinaryIO, choose: Choose, size: int, where: str, skip: Skip | None = None
) -> Iterator[pd.DataFrame]:
    """Each line may have other columns, but all lines have ids or none has."""
    has_ids: bool | None = None
    for some in numbered((line.removeprefix(BOM_UTF8) for line in stream), size):
        records = {}
        for number, line in some:
            at = f"{where}: line {number}"
            try:
                record = read_object(line, at)
                names = choose(list(record), at)
                has_ids = "id" in names if has_ids is None else has_ids
                if ("id" in names) != has_ids:
                    raise InputError(f"{at}: {'no id' if has_ids else 'an id'}, unlike the lines before")
                cells = {ours: record[theirs] for ours, theirs in names.items()}
                if half := re.search("[\ud800-\udfff]", "".join(map(str, cells.values()))):
                    raise InputError(f"{at}: \\u{ord(half[0]):x} is half of a character, whose other half was cut off")
                records[number] = cells
            except InputError as error:
                if skip is None:
                    raise
                skip(str(error))
        yield pd.DataFrame([*records.values()], index=[*records], dtype=object)


def read_object(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 (byte 0x{line[error.start]:02x})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error or 'nested too deeply'}") from None
    if not isinstance(record, dict):
        raise InputError(f'{where}: not an object such as {{"text": "..."}}')
    return record


def read_lines(stream: BinaryIO, _choose: Choose, size: int, _where: str) -> Iterator[pd.DataFrame]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    for some in numbered(text, size):
        numbers, lines = zip(*some, strict=True)
        yield pd.DataFrame({"text": [line.rstrip("\r\n") for line in lines]}, index=numbers, dtype=object)


READERS = {"csv": read_csv, "parquet": read_parquet, "jsonl": read_jsonl, "text": read_lines}


def checked(raw: pd.DataFrame, columns: Columns, where: str) -> Batch:
    """A batch whose index holds the places of its rows, as `prepare` would have it; `where` ends with what they are called.

    `raw`: columns `text` and, if there, `id`, `keyword` and `location`, of Python objects; the last two may be null.
    """
    for ours, column in raw.items():
        cells = column.rename(getattr(columns, str(ours)))
        needed = ours in ("id", "text")
        for row, value in (cells if needed else cells.dropna()).items():
            at = f"{where} {row}, column {cells.name}"
            if ours == "id" and isinstance(value, int) and not isinstance(value, bool):
                continue
            if not isinstance(value, str):
                raise InputError(
                    f"{at}: {value!r:.60} is {'neither a whole number nor a' if ours == 'id' else 'no'} text"
                )
            if needed and not value.strip():
                raise InputError(f"{at}: must not be empty")
            check_text(value, at)
    ids = raw["id"].rename(columns.id) if "id" in raw else pd.Series(raw.index, name=ROW)
    tweets = raw.reindex(columns=["keyword", "location", "text"]).astype("str").reset_index(drop=True)
    keyword, location = (tweets[name].str.strip().replace("", None) for name in ("keyword", "location"))
    cleaned, raw_text = tweets["text"].map(clean), tweets["text"]
    tweets = tweets.assign(keyword=clean_keywords(keyword), location=location, text=cleaned, raw_text=raw_text)
    return Batch(ids.reset_index(drop=True), tweets)


def good_rows(raw: pd.DataFrame, columns: Columns, where: str, skip: Skip) -> pd.DataFrame:
    """The rows that `checked` takes; `skip` is told of the others."""
    good = []
    for row in raw.index:
        try:
            checked(raw.loc[[row]], columns, where)
            good.append(row)
        except InputError as error:
            skip(str(error))
    return raw.loc[good]


def batches(
    stream: BinaryIO, kind: Format, columns: Columns, size: int, where: str, skip: Skip | None = None
) -> Iterator[Batch]:
    """The texts of a stream, at most `size` at once; an `InputError` for none, or without `skip` for the first bad one."""
    unit, rows = "row" if kind in ("csv", "parquet") else "line", 0
    read: Callable[..., Iterator[pd.DataFrame]] = partial(read_jsonl, skip=skip) if kind == "jsonl" else READERS[kind]
    for raw in read(stream, partial(wanted, columns), size, where):
        if len(raw):
            rows += len(raw)
            placed = raw.set_axis(raw.index if unit == "line" else range(rows - len(raw) + 1, rows + 1))
            good = good_rows(placed, columns, f"{where}: {unit}", skip) if skip else placed
            if len(good):
                yield checked(good, columns, f"{where}: {unit}")
    if not rows:
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
