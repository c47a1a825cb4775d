"""Csv files and zips that are no tweets, or not as they should be."""

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from .case import PARAMS, TRAIN, Case, Spoil, both, instead, loop, recoded, removed, replaced, whole

HEADER = "id,keyword,location,text,target"
ROW = "3,fire,Rome,storm3 flood3 alarm3 street3,1"
TEST = "data/sample/test.csv"
WHERE, UNPACKED = r"data/sample/train\.csv: ", r"/train\.csv: cannot be unpacked: .*"
FOURTH = r"line 4 \(row 3\): "


def train(name: str, spoil: Spoil, message: str, **more: bool) -> Case:
    """What is wrong with the train file, by the message that follows its name."""
    return Case(name, spoil, WHERE + message, **more)


def row(name: str, new: str, message: str, **more: bool) -> Case:
    """Another third row."""
    return train(name, replaced(TRAIN, ROW, new), message, **more)


def header(name: str, new: str, message: str) -> Case:
    return train(name, replaced(TRAIN, HEADER, new), message)


def raw(name: str, change: Callable[[bytes], bytes], message: str) -> Case:
    return train(name, recoded(TRAIN, change), message)


def in_zip(name: str, spoil: Spoil, message: str) -> Case:
    return Case(name, spoil, r"tweets\.zip" + message)


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


def denied(path: str, mode: int) -> Spoil:
    return lambda project: (project / path).chmod(mode)


def text_twice(raw: bytes) -> bytes:
    return raw.replace(b"text,target\n", b"text,target,text\n").replace(b",0\n", b",0,b\n").replace(b",1\n", b",1,a\n")


def latin_1(raw: bytes) -> bytes:
    return raw.decode().replace("3,fire,Rome", "3,fire,Zürich").encode("latin-1")


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
    train("An empty file", whole(TRAIN, ""), "not a csv: it is empty"),
    train("A header and no rows", whole(TRAIN, HEADER), "no rows"),
    Case(
        "An empty test set", whole(TEST, "id,keyword,location,text\n"), r"data/sample/test\.csv: no rows", process=True
    ),
    train("No such file", removed(TRAIN), "no such file; .*"),
    train("A folder in its place", instead(TRAIN, Path.mkdir), "a folder, not a file; .*"),
    train("A pipe that no one writes to", instead(TRAIN, os.mkfifo), "a pipe or device, not a file; .*"),
    train("A symlink to itself", instead(TRAIN, loop), "cannot be read: Too many levels of symbolic links"),
    train("A file that may not be read", denied(TRAIN, 0), "cannot be read: Permission denied", unless_root=True),
    header("Two header columns of one name", HEADER.replace("keyword", "text"), "no column keyword; .*"),
    raw("The text's column twice", text_twice, "column text is there twice; rename or take out one of them"),
    header("A column that is missing", HEADER.replace("target", "label"), "no column target; it has id, .*"),
    raw(
        "Semicolons between fields",
        lambda raw: raw.replace(b",", b";"),
        "no column .*; its fields are separated by ';', .*",
    ),
    row("A field too many", ROW.replace(" ", ", ", 1), FOURTH + "6 fields, and the header has 5; .*"),
    row(
        "A quote that is never closed",
        ROW.replace("storm", '"storm'),
        FOURTH + "not a csv: a quote is opened and never closed",
    ),
    row(
        "Text after a closing quote",
        ROW.replace("storm3", '"storm3"'),
        FOURTH + "not a csv: a field goes on after its closing quote; .*",
    ),
    raw("Latin-1", latin_1, r"row 3, column location: not UTF-8 \(byte 0xfc\); save it as UTF-8"),
    raw("UTF-16", lambda raw: raw.decode().encode("utf-16"), "UTF-16; save it as UTF-8"),
    row("A NUL character", ROW.replace("storm3", "st\0rm"), r"row 3, column text: a NUL character; .*"),
    train("A web page", whole(TRAIN, "<!DOCTYPE html>\n<html>Sign in</html>"), "an HTML page, not a csv; .*"),
    raw("A gzip file", gzip.compress, "a gzip file; unpack it"),
    train("A field of 100 MB", instead(TRAIN, endless), r"line 3 \(row 2\): longer than 100,000 characters; .*"),
    Case(
        "A million rows of one text",
        instead(TRAIN, a_million_of_one_text),
        r"params\.yaml: prepare\.folds: 5 is too many; groups of tweets with the rarer label: 1",
    ),
    row("An id twice, as a number", "0" + ROW.replace("3,", "2,", 1), "row 3, column id: '02' is there twice"),
    Case(
        "An id of both files",
        replaced(TRAIN, ROW, ROW.replace("3,", "101,", 1)),
        r"data/sample/test\.csv: row 1, column id: 101 is also in train\.csv",
    ),
    row("An id with a point", ROW.replace("3,", "3.0,", 1), r"row 3, column id: '3\.0' must be a whole number .*"),
    row("No text", "3,fire,Rome,\t ,1", r"row 3, column text: '\\t ' must not be empty"),
    row("A label that is none", ROW[:-1] + "2", "row 3, column target: '2' must be one of 0, 1, .*", process=True),
    raw("One class only", lambda raw: raw.replace(b",0\n", b",1\n"), "column target: every row has the same label; .*"),
    in_zip(
        "A zip without the files",
        zipped(lambda _: None, ("nlp/train.csv", "nlp/test.csv")),
        r"/train\.csv: no such file; .*, and holds nlp/train\.csv, nlp/test\.csv",
    ),
    in_zip("A zip that unpacks to 5 GB", zipped(declared(5 * 10**9)), r"/train\.csv: 5\.0 GB, and no csv .* than 1 GB"),
    in_zip("A zip that holds more than it declares", zipped(declared(10)), UNPACKED + "; download tweets\\.zip again"),
    in_zip("An encrypted zip", zipped(encrypted), UNPACKED + " is encrypted.*"),
    in_zip(
        "A zip that was cut off",
        both(zipped(lambda _: None), recoded("tweets.zip", lambda raw: raw[: len(raw) // 2])),
        ": neither a folder nor a zip file, or one that was cut off; .*",
    ),
    Case(
        "A read-only folder to write to",
        denied("data/prepared", 0o555),
        r"data/prepared/train\.parquet: cannot be written: Permission denied",
        unless_root=True,
    ),
]
