"""Csv files and zips that are no tweets, or not as they should be."""

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from .case import PARAMS, TRAIN, Case, both, instead, loop, recoded, removed, replaced, whole

HEADER = "id,keyword,location,text,target"
ROW = "3,fire,Rome,storm3 flood3 alarm3 street3,1"
WHERE = r"data/sample/train\.csv: "


def row(new: str) -> Callable[[Path], None]:
    """Another third row."""
    return replaced(TRAIN, ROW, new)


def header(new: str) -> Callable[[Path], None]:
    return replaced(TRAIN, HEADER, new)


def zipped(change: Callable[[zipfile.ZipFile], None], names: tuple[str, ...] = ("train.csv", "test.csv")) -> Callable:
    """The source as a zip, with something about it changed before it is closed."""

    def spoil(project: Path) -> None:
        with zipfile.ZipFile(project / "tweets.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, csv in zip(names, ("train.csv", "test.csv"), strict=True):
                archive.write(project / "data/sample" / csv, name)
            change(archive)
        replaced(PARAMS, "source: data/sample", "source: tweets.zip")(project)

    return spoil


def declared(size: int) -> Callable[[zipfile.ZipFile], None]:
    return lambda archive: setattr(archive.filelist[0], "file_size", size)


def encrypted(archive: zipfile.ZipFile) -> None:
    archive.filelist[0].flag_bits |= 1


def endless(path: Path) -> None:
    with path.open("w") as file:
        file.write(f"{HEADER}\n1,,,A fire,1\n2,,,")
        for _ in range(100):
            file.write("x" * 10**6)
        file.write(",0\n")


def a_million_of_one_text(path: Path) -> None:
    rows = (f"{n},,,The same tweet again and again http://t.co/a,{n % 2}\n" for n in range(-1_000_000, 0))
    path.write_text(f"{HEADER}\n{''.join(rows)}")


CASES = [
    Case("An empty file", whole(TRAIN, ""), WHERE + "not a csv: it is empty"),
    Case("A header and no rows", whole(TRAIN, HEADER), WHERE + "no rows"),
    Case(
        "An empty test set",
        whole("data/sample/test.csv", "id,keyword,location,text\n"),
        r"data/sample/test\.csv: no rows",
        process=True,
    ),
    Case("No such file", removed(TRAIN), WHERE + "no such file; .*"),
    Case("A folder in its place", instead(TRAIN, Path.mkdir), WHERE + "a folder, not a file; .*"),
    Case("A pipe that no one writes to", instead(TRAIN, os.mkfifo), WHERE + "a pipe or device, not a file; .*"),
    Case("A broken symlink", instead(TRAIN, lambda path: path.symlink_to("nowhere")), WHERE + "no such file; .*"),
    Case("A symlink to itself", instead(TRAIN, loop), WHERE + "cannot be read: Too many levels of symbolic links"),
    Case(
        "A file that may not be read",
        lambda project: (project / TRAIN).chmod(0),
        WHERE + "cannot be read: Permission denied",
        unless_root=True,
    ),
    Case("Two header columns of one name", header(HEADER.replace("keyword", "text")), WHERE + "no column keyword; .*"),
    Case(
        "The text's column twice",
        both(
            header(HEADER + ",text"),
            recoded(TRAIN, lambda raw: raw.replace(b",0\n", b",0,b\n").replace(b",1\n", b",1,a\n")),
        ),
        WHERE + "line 1: column text is there twice; rename or take out one of them",
    ),
    Case(
        "A column that is missing", header(HEADER.replace("target", "label")), WHERE + "no column target; it has id, .*"
    ),
    Case(
        "A header with spaces",
        header(HEADER.replace(",", ", ")),
        WHERE + "no column keyword, location, text, target; it has id, ' keyword', ' location', ' text', ' target'",
    ),
    Case("A header in capitals", header(HEADER.upper()), WHERE + "no column id, .*; it has ID, KEYWORD, .*"),
    Case(
        "Semicolons between fields",
        recoded(TRAIN, lambda raw: raw.replace(b",", b";")),
        WHERE + "no column .*; its fields are separated by ';', and must be by commas",
    ),
    Case(
        "Tabs between fields",
        recoded(TRAIN, lambda raw: raw.replace(b",", b"\t")),
        WHERE + r"no column .*; its fields are separated by '\\t', and must be by commas",
    ),
    Case(
        "A comma at the end of each row",
        recoded(TRAIN, lambda raw: raw.replace(b"Rome", b",Rome")),
        WHERE + r"line 2 \(row 1\): 6 fields, and the header has 5; .*",
    ),
    Case(
        "A field too many",
        row(ROW.replace(" ", ", ", 1)),
        WHERE + r"line 4 \(row 3\): 6 fields, and the header has 5; .*",
    ),
    Case("A field too few", row("3,fire,Rome,1"), WHERE + r"line 4 \(row 3\): 4 fields, and the header has 5; .*"),
    Case("A blank line", row("\n" + ROW), WHERE + r"line 4 \(row 3\): a blank line; take it out"),
    Case(
        "A quote that is never closed",
        row(ROW.replace("storm", '"storm')),
        WHERE + r"line 4 \(row 3\): not a csv: a quote is opened and never closed",
    ),
    Case(
        "Text after a closing quote",
        row(ROW.replace("storm3", '"storm3"')),
        WHERE + r"line 4 \(row 3\): not a csv: a field goes on after its closing quote; .*",
    ),
    Case(
        "Latin-1",
        both(row(ROW.replace("Rome", "Zürich")), recoded(TRAIN, lambda raw: raw.decode().encode("latin-1"))),
        WHERE + r"line 4 \(row 3, column location\): not UTF-8 \(byte 0xfc\); save it as UTF-8",
    ),
    Case("UTF-16", recoded(TRAIN, lambda raw: raw.decode().encode("utf-16")), WHERE + "UTF-16; save it as UTF-8"),
    Case(
        "UTF-16 without its mark",
        recoded(TRAIN, lambda raw: raw.decode().encode("utf-16-le")),
        WHERE + "line 1: a NUL character; .*",
    ),
    Case(
        "A NUL character",
        row(ROW.replace("storm3", "st\0rm")),
        WHERE + r"line 4 \(row 3, column text\): a NUL character; .*",
    ),
    Case(
        "Two files in one, a byte order mark between",
        recoded(TRAIN, lambda raw: raw + b"\xef\xbb\xbf" + raw),
        WHERE + r"row 41, column id: '\\ufeffid' must be an integer of at most 18 digits",
    ),
    Case(
        "Two byte order marks",
        recoded(TRAIN, lambda raw: b"\xef\xbb\xbf" * 2 + raw),
        WHERE + r"no column id; it has '\\ufeffid', keyword, .*",
    ),
    Case(
        "A web page",
        whole(TRAIN, "\n<!DOCTYPE html><html><body>Sign in</body></html>"),
        WHERE + "an HTML page, not a csv; .*",
    ),
    Case("A gzip file", recoded(TRAIN, gzip.compress), WHERE + "a gzip file; unpack it"),
    Case(
        "An Excel file",
        whole(TRAIN, b"PK\x03\x04\x14\x00\x06\x00[Content_Types].xml"),
        WHERE + "a zip or Excel file; .*",
    ),
    Case(
        "A field of 100 MB",
        instead(TRAIN, endless),
        WHERE + r"line 3 \(row 2, column text\): longer than 100,000 characters; .*",
    ),
    Case(
        "A million rows of one text",
        instead(TRAIN, a_million_of_one_text),
        r"params\.yaml: prepare\.folds: 5 is too many; groups of tweets with the rarer label: 1",
    ),
    Case("An id twice", row(ROW.replace("3,", "2,", 1)), WHERE + "row 3, column id: '2' is there twice"),
    Case(
        "An id twice, as a number",
        row("0" + ROW.replace("3,", "2,", 1)),
        WHERE + "row 3, column id: '02' is there twice",
    ),
    Case(
        "An id of both files",
        row(ROW.replace("3,", "101,", 1)),
        r"data/sample/test\.csv: row 1, column id: 101 is also in train\.csv \(row 3\)",
    ),
    Case(
        "An id of 20 digits",
        row("9" * 19 + ROW),
        WHERE + "row 3, column id: '99999999999999999993' must be an integer of at most 18 digits",
    ),
    Case(
        "An id with a point",
        row(ROW.replace("3,", "3.0,", 1)),
        WHERE + r"row 3, column id: '3\.0' must be an integer .*",
    ),
    Case(
        "An id in Arabic digits", row(ROW.replace("3,", "٣,", 1)), WHERE + "row 3, column id: '٣' must be an integer .*"
    ),
    Case("No id", row(ROW[1:]), WHERE + "row 3, column id: '' must be an integer .*"),
    Case(
        "A control character in an id", row("\x1b" + ROW), WHERE + r"row 3, column id: '\\x1b3' must be an integer .*"
    ),
    Case("No text", row("3,fire,Rome,\t ,1"), WHERE + r"row 3, column text: '\\t ' must not be empty"),
    Case(
        "A label that is none",
        row(ROW[:-1] + "2"),
        WHERE + "row 3, column target: '2' must be one of 0, 1, not disaster, disaster",
        process=True,
    ),
    Case("A label of NaN", row(ROW[:-1] + "NaN"), WHERE + "row 3, column target: 'NaN' must be one of .*"),
    Case(
        "Names among numbers",
        row(ROW[:-1] + "disaster"),
        WHERE + "row 3, column target: 'disaster' is one of the names, and the rows before it hold numbers; .*",
    ),
    Case(
        "One class only",
        recoded(TRAIN, lambda raw: raw.replace(b",0\n", b",1\n")),
        WHERE + "column target: every row has the same label; .*",
    ),
    Case(
        "A zip without the files",
        zipped(lambda _: None, ("nlp/train.csv", "nlp/test.csv")),
        r"tweets\.zip/train\.csv: no such file; .*, and holds nlp/train\.csv, nlp/test\.csv",
    ),
    Case(
        "A zip that unpacks to 5 GB",
        zipped(declared(5 * 10**9)),
        r"tweets\.zip/train\.csv: 5\.0 GB, and no csv of tweets has more than 1 GB",
    ),
    Case(
        "A zip that holds more than it declares",
        zipped(declared(10)),
        r"tweets\.zip/train\.csv: cannot be unpacked: .*; download tweets\.zip again",
    ),
    Case("An encrypted zip", zipped(encrypted), r"tweets\.zip/train\.csv: encrypted; unpack it, .*"),
    Case(
        "A zip that was cut off",
        both(zipped(lambda _: None), recoded("tweets.zip", lambda raw: raw[: len(raw) // 2])),
        r"tweets\.zip: neither a folder nor a zip file, or one that was cut off; .*",
    ),
    Case(
        "A read-only folder to write to",
        lambda project: (project / "data/prepared").chmod(0o555),
        r"data/prepared/train\.parquet: cannot be written: Permission denied",
        unless_root=True,
    ),
    Case(
        "A file in the place of the folder to write to",
        both(lambda project: (project / "data/prepared").rename(project / "old"), whole("data/prepared", "")),
        r"data/prepared/train\.parquet: cannot be written: (File exists|Not a directory)",
    ),
    Case(
        "A symlink to itself in the place of the folder to write to",
        both(lambda project: (project / "data/prepared").rename(project / "old"), instead("data/prepared", loop)),
        r"data/prepared/train\.parquet: cannot be written: (File exists|Too many levels of symbolic links)",
    ),
]
