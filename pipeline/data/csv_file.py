"""A csv file as text: read within bounds, and what is wrong with it said with row and column before anything is made of it.

Python's csv module, in its strict mode, goes over the rows first: pandas reads a row with a field too many as shifted by one,
a short one as padded, and a second column of the same name as another one.
"""

import csv
import itertools
import os
import re
import stat
import zipfile
import zlib
from pathlib import Path

from pipeline.contracts import InputError

LARGEST = 10**9
"""Bytes of a csv: five million tweets. A zip may promise more than a machine holds."""
LONGEST = 100_000
"""Characters of a field: X's longest posts have 25,000. More is a quote that was never closed, or no tweet."""

HOLDS = "data.source must hold train.csv and test.csv"
KAGGLE = "data/kaggle"
KINDS = {
    b"\x1f\x8b": "a gzip file; unpack it",
    b"PK\x03\x04": "a zip or Excel file; unpack it, or save it as csv",
    b"\xd0\xcf\x11\xe0": "an Excel file; save it as csv",
    b"PAR1": "a parquet file; save it as csv",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
}
"""What is given the name of a csv, by its first bytes."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


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


def read_file(path: Path) -> bytes:
    """The bytes of a file, if it is one, and not too large to be a csv of tweets."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise InputError(f"{path}: {kind}, not a file; {HOLDS}")
    check_size(status.st_size, str(path), LARGEST)
    return path.read_bytes()


def read_zipped(source: Path, name: str, largest: int | None = None) -> bytes:
    """The bytes of a zip's member. No more is unpacked than it declares, and what it declares is looked at first."""
    where = f"{source}/{name}"
    try:
        with zipfile.ZipFile(source) as archive:
            if name not in archive.namelist():
                held = ", ".join(archive.namelist()[:5]) or "nothing"
                raise InputError(f"{where}: no such file; {HOLDS}, and holds {held:.100}")
            member = archive.getinfo(name)
            check_size(member.file_size, where, largest or LARGEST)
            if member.flag_bits & 1:
                raise InputError(f"{where}: encrypted; unpack it, and set data.source to the folder")
            with archive.open(member) as file:
                return file.read(member.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{where}: cannot be unpacked: {error}; download {source.name} again") from None


def check_size(size: int, where: str, largest: int) -> None:
    if size > largest:
        raise InputError(f"{where}: {size / 1e9:.1f} GB, and no csv of tweets has more than {largest / 1e9:g} GB")


def decode(raw: bytes, where: str) -> str:
    """The text of a csv; bytes of another encoding or kind of file, and NUL characters, are refused."""
    for magic, kind in KINDS.items():
        if raw.startswith(magic):
            raise InputError(f"{where}: {kind}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = place(raw[: error.start].decode("utf-8-sig"))
        raise InputError(f"{where}: {at}: not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8") from None
    if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")):
        raise InputError(f"{where}: an HTML page, not a csv; was it downloaded without being signed in?")
    if (nul := text.find("\0")) >= 0:
        raise InputError(f"{where}: {place(text[:nul])}: a NUL character; save it as UTF-8, and not as UTF-16")
    return text


def place(before: str) -> str:
    """Where a csv goes on after the text `before`: its line, and its row and column if there are any."""
    line = f"line {before.count(chr(10)) + 1}"
    rows = csv.reader(_LINE.findall(before + "x"))
    try:
        header, number = next(rows), 0
        last: list[str] = []
        for number, last in enumerate(rows, start=1):  # noqa: B007 - the last of them is wanted
            pass
    except csv.Error:
        return line
    return f"{line} (row {number}, column {header[len(last) - 1]})" if 0 < len(last) <= len(header) else line


def check_rows(text: str, where: str) -> tuple[list[str], int]:
    """The header of a csv and the number of its rows, each with as many fields as the header and none of them endless."""
    limit = csv.field_size_limit(LONGEST)
    rows = csv.reader((match[0] for match in _LINE.finditer(text)), strict=True)
    number, line, header = 0, 1, []
    try:
        header = next(rows, [])
        line = rows.line_num + 1
        for number, fields in enumerate(rows, start=1):
            if len(fields) != len(header):
                problem = f"{len(fields)} fields, and the header has {len(header)}; quote a text with commas"
                at = f"{where}: line {line} (row {number})"
                raise InputError(f"{at}: {problem if fields else 'a blank line; take it out'}")
            line = rows.line_num + 1
    except csv.Error as error:
        raise InputError(f"{where}: {broken(text, line, number + 1 if header else 0, header, str(error))}") from None
    finally:
        csv.field_size_limit(limit)
    return header, number


def not_a_csv(error: str) -> str:
    """What the csv module says is wrong with a record, in words."""
    if "limit" in error:
        return f"longer than {LONGEST:,} characters; was a quote opened and never closed?"
    if "unexpected end" in error:
        return "not a csv: a quote is opened and never closed"
    if "expected after" in error:
        return "not a csv: a field goes on after its closing quote; within quotes, write a quote twice"
    return f"not a csv: {error}"


def broken(text: str, line: int, row: int, header: list[str], error: str) -> str:
    """What is wrong with the record that begins on a line, and where, from what the csv module says of it."""
    at = f"line {line} (row {row})" if header else f"line {line}"
    if "limit" in error:
        start = next(itertools.islice(_LINE.finditer(text), line - 1, None)).start()
        beginning = text[start : start + 3 * LONGEST * max(1, len(header))]
        csv.field_size_limit(len(beginning))
        fields = next(csv.reader(_LINE.findall(beginning)))
        column = next((name for name, field in zip(header, fields, strict=False) if len(field) > LONGEST), None)
        at = f"line {line} (row {row}, column {column})" if column else at
    return f"{at}: {not_a_csv(error)}"
