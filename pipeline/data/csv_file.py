"""Csv files, row by row and strictly: what is wrong with one is said with its line and row, or its row and column.

Python's csv module in its strict mode, as pandas reads a row with a field too many as shifted by one, a short one as padded, and
a second column of the same name as another one.
"""

import csv
import io
import itertools
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pandas as pd
import psutil

from pipeline.contracts import InputError, reason

LARGEST = 10**9
"""Bytes of a csv: five million tweets. A zip may promise more than a machine holds."""
MEMORY = 20
"""Bytes that prepare takes for each of a csv's: 1.8 GB for 800,000 tweets, whose csv has 0.1 GB."""
LONGEST = 100_000
"""Characters of a field: X's longest posts have 25,000. More is a quote that was never closed, or no tweet."""

HOLDS = "data.source must hold train.csv"
KAGGLE = "data/kaggle"
SAMPLE = "data/sample"
KINDS = {
    b"\x1f\x8b": "a gzip file; unpack it",
    b"PK\x03\x04": "a zip or Excel file; unpack it, or save it as csv",
    b"\xd0\xcf\x11\xe0": "an Excel file; save it as csv",
    b"PAR1": "a parquet file; save it as csv",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
}
"""What is given the name of a csv, by its first bytes."""

BROKEN = {
    "limit": f"longer than {LONGEST:,} characters; was a quote opened and never closed?",
    "unexpected end": "not a csv: a quote is opened and never closed",
    "expected after": "not a csv: a field goes on after its closing quote; within quotes, write a quote twice",
}
"""What the csv module says is wrong with a record, in words."""
Choose = Callable[[list[str], str], dict[str, str]]
"""Which of the columns of a header are read (ours → theirs); the other argument is the file's name for messages."""
UNREADABLE = re.compile("[\0\ud800-\udfff]")


def not_there(source: str, name: str = "") -> str:
    """What to say of a source that is not there, or of a file in it: how to get it, if that is known."""
    where = f"{source}/{name}" if name else source
    if ".dvc/tmp/exps/" in f"{Path.cwd().as_posix()}/":
        files = " ".join(f"-C {source}/{each}" for each in ("train.csv", "test.csv"))
        return f"{where}: not in this copy of the project, which lacks what git ignores: add `{files}` to `dvc exp run`"
    if os.path.normpath(source) == KAGGLE:
        rules = "accept the rules at kaggle.com/c/nlp-getting-started/rules"
        return f"{where}: not downloaded yet: {rules}, then run `python -m pipeline.kaggle.download`"
    return f"{where}: no such {'file' if name else 'file or folder'}; {HOLDS}"


def check_size(size: int, where: str, largest: int | None = None) -> None:
    """Raise `InputError` for a csv of more bytes than are allowed, or than this machine's memory can hold prepared."""
    if size > (largest := largest or LARGEST):
        raise InputError(f"{where}: {size / 1e9:.1f} GB, and no csv of tweets has more than {largest / 1e9:g} GB")
    if (needed := MEMORY * size) > (there := psutil.virtual_memory().total):
        problem = f"to prepare it takes some {needed / 1e9:.0f} GB of memory, and this machine has {there / 1e9:.0f} GB"
        raise InputError(f"{where}: {size / 1e9:.1f} GB: {problem}")


def has(source: Path, name: str) -> bool:
    """Whether a folder or a zip that can be read holds something of this name."""
    if source.is_dir():
        return os.path.lexists(source / name)
    with zipfile.ZipFile(source) as archive:
        return name in archive.namelist()


@contextmanager
def open_csv(source: Path, name: str, largest: int | None = None) -> Iterator[IO[bytes]]:
    """A file of a folder or zip, if it is not too large to be a csv of tweets; of a zip, no more than it declares is unpacked."""
    where = f"{source}/{name}"
    try:
        if source.is_dir():
            status = (source / name).stat()
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
                raise InputError(f"{where}: {kind}, not a file; {HOLDS}")
            check_size(status.st_size, where, largest)
            with (source / name).open("rb") as file:
                yield file
        elif source.is_file() and zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                if name not in archive.namelist():
                    held = ", ".join(archive.namelist()[:5]) or "nothing"
                    raise InputError(f"{where}: no such file; {HOLDS}, and holds {held:.100}")
                check_size(archive.getinfo(name).file_size, where, largest)
                with archive.open(name) as member:
                    yield member
        else:
            raise InputError(f"{source}: neither a folder nor a zip file, or one that was cut off; set data.source")
    except FileNotFoundError:
        raise InputError(not_there(str(source), name)) from None
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {reason(error)}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: it is encrypted
        raise InputError(f"{where}: cannot be unpacked: {reason(error)}; download {source.name} again") from None


def columns_in(header: list[str], named: dict[str, str], needed: Iterable[str], where: str) -> dict[str, str]:
    """Of the columns `named` (ours → theirs) those that the header has, each once; of those `needed` (ours) none is missing."""
    if missing := [named[ours] for ours in needed if named[ours] not in header]:
        mark = next((mark for mark in (";", "\t", "|") if mark in header[0]), None) if len(header) == 1 else None
        hint = f"; its fields are separated by {mark!r}, and must be by commas" if mark else ""
        there = ", ".join(name if name.isprintable() and name == name.strip() != "" else repr(name) for name in header)
        raise InputError(f"{where}: no column {', '.join(missing)}; it has {there} (see data.columns){hint}")
    found = {ours: theirs for ours, theirs in named.items() if theirs in header}
    if twice := [theirs for theirs in found.values() if header.count(theirs) > 1]:
        raise InputError(f"{where}: column {twice[0]} is there twice; rename or take out one of them")
    return found


def read_csv(stream: IO[bytes], choose: Choose, size: int, where: str) -> Iterator[pd.DataFrame]:
    """The columns that `choose` finds in the header, as texts, up to `size` rows at once, as the stream brings them.

    A byte that is not UTF-8 comes through as a lone surrogate: see `check_text`.
    """
    rows = rows_of(io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=""), where)
    header = next(rows, None)
    if header is None:
        raise InputError(f"{where}: not a csv: it is empty")
    columns = choose(header, where)
    places = [header.index(theirs) for theirs in columns.values()]
    while some := list(itertools.islice(rows, size)):
        yield pd.DataFrame([[row[at] for at in places] for row in some], columns=list(columns), dtype=object)


def rows_of(lines: Iterator[str], where: str) -> Iterator[list[str]]:
    """The header of a csv, and its rows, each with as many fields as the header and none of them endless.

    Blank lines are no rows; `sep=;` in the first line, for a spreadsheet, is what separates fields.
    """
    csv.field_size_limit(LONGEST)
    first = next(lines, "")
    mark = re.fullmatch(r'"?sep=([^"\r\n])"?\s*', first, re.IGNORECASE)
    skipped, delimiter = (1, mark[1]) if mark else (0, ",")
    records = csv.reader(lines if mark else itertools.chain([first], lines), strict=True, delimiter=delimiter)
    number, line, header = 0, skipped + 1, list[str]()
    try:
        for record in records:
            if record and not (len(record) == 1 and record[0].isspace()):
                if not header:
                    check_header(header := record, where)
                elif len(record) != len(header):
                    problem = f"{len(record)} fields, and the header has {len(header)}; quote a text with commas"
                    raise InputError(f"{where}: line {line} (row {number}): {problem}")
                yield record
                number += 1
            line = skipped + records.line_num + 1
    except csv.Error as error:
        at = f"{where}: line {line}" + (f" (row {number})" if header else "")
        problem = next((words for part, words in BROKEN.items() if part in str(error)), f"not a csv: {error}")
        raise InputError(f"{at}: {problem}") from None


def check_header(header: list[str], where: str) -> None:
    """Raise `InputError` if this is no line of text, or of a web page."""
    first = "".join(header)
    raw = first.encode("utf-8", "surrogateescape")
    if kind := next((kind for magic, kind in KINDS.items() if raw.startswith(magic)), None):
        raise InputError(f"{where}: {kind}")
    if first.lstrip().lower().startswith(("<!doctype", "<html")):
        raise InputError(f"{where}: an HTML page, not a csv; was it downloaded without being signed in?")
    check_text(first, f"{where}: line 1")


def check_text(text: str, where: str) -> None:
    """Raise `InputError` for a text that is none."""
    if (found := UNREADABLE.search(text)) is None:
        return
    if found[0] == "\0":
        raise InputError(f"{where}: a NUL character; save it as UTF-8, and not as UTF-16")
    byte = f" (byte 0x{ord(found[0]) - 0xDC00:02x})" if "\udc80" <= found[0] <= "\udcff" else ""
    raise InputError(f"{where}: not UTF-8{byte}; save it as UTF-8")
