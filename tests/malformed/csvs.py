"""Csv files and zips that are no tweets, or not as they should be."""

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from .case import PARAMS, TRAIN, Case, Spoil, both, instead, loop, recoded, removed, replaced, whole

HEADER = "id,keyword,location,text,target"
ROW = "3,fire,Rome,storm3 flood3 alarm3 street3,1"
WHERE = r"data/sample/train\.csv: "


def row(new: str) -> Callable[[Path], None]:
    """Another third row."""
    return replaced(TRAIN, ROW, new)


def header(new: str) -> Callable[[Path], None]:
    return replaced(TRAIN, HEADER, new)


def train(name: str, spoil: Spoil, message: str, **more: bool) -> Case:
    """What is wrong with the train file, by the message that follows its name."""
    return Case(name, spoil, WHERE + message, **more)


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
    train("An empty file", whole(TRAIN, ""), "not a csv: it is empty"),
    train("A header and no rows", whole(TRAIN, HEADER), "no rows"),
    Case(
        "An empty test set",
        whole("data/sample/test.csv", "id,keyword,location,text\n"),
        r"data/sample/test\.csv: no rows",
        process=True,
    ),
    train("No such file", removed(TRAIN), "no such file; .*"),
    train("A folder in its place", instead(TRAIN, Path.mkdir), "a folder, not a file; .*"),
    train("A pipe that no one writes to", instead(TRAIN, os.mkfifo), "a pipe or device, not a file; .*"),
    train("A symlink to itself", instead(TRAIN, loop), "cannot be read: Too many levels of symbolic links"),
    train(
        "A file that may not be read",
        lambda project: (project / TRAIN).chmod(0),
        "cannot be read: Permission denied",
        unless_root=True,
    ),
    train("Two header columns of one name", header(HEADER.replace("keyword", "text")), "no column keyword; .*"),
    train(
        "The text's column twice",
        both(
            header(HEADER + ",text"),
            recoded(TRAIN, lambda raw: raw.replace(b",0\n", b",0,b\n").replace(b",1\n", b",1,a\n")),
        ),
        "column text is there twice; rename or take out one of them",
    ),
    train("A column that is missing", header(HEADER.replace("target", "label")), "no column target; it has id, .*"),
    train(
        "Semicolons between fields",
        recoded(TRAIN, lambda raw: raw.replace(b",", b";")),
        "no column .*; its fields are separated by ';', and must be by commas",
    ),
    train("A field too many", row(ROW.replace(" ", ", ", 1)), r"line 4 \(row 3\): 6 fields, and the header has 5; .*"),
    train("A field too few", row("3,fire,Rome,1"), r"line 4 \(row 3\): 4 fields, and the header has 5; .*"),
    train(
        "A quote that is never closed",
        row(ROW.replace("storm", '"storm')),
        r"line 4 \(row 3\): not a csv: a quote is opened and never closed",
    ),
    train(
        "Text after a closing quote",
        row(ROW.replace("storm3", '"storm3"')),
        r"line 4 \(row 3\): not a csv: a field goes on after its closing quote; .*",
    ),
    train(
        "Latin-1",
        both(row(ROW.replace("Rome", "Zürich")), recoded(TRAIN, lambda raw: raw.decode().encode("latin-1"))),
        r"row 3, column location: not UTF-8 \(byte 0xfc\); save it as UTF-8",
    ),
    train("UTF-16", recoded(TRAIN, lambda raw: raw.decode().encode("utf-16")), "UTF-16; save it as UTF-8"),
    train("A NUL character", row(ROW.replace("storm3", "st\0rm")), r"row 3, column text: a NUL character; .*"),
    train(
        "A web page", whole(TRAIN, "<!DOCTYPE html>\n<html><body>Sign in</body></html>"), "an HTML page, not a csv; .*"
    ),
    train("A gzip file", recoded(TRAIN, gzip.compress), "a gzip file; unpack it"),
    train(
        "A field of 100 MB",
        instead(TRAIN, endless),
        r"line 3 \(row 2\): longer than 100,000 characters; .*",
    ),
    Case(
        "A million rows of one text",
        instead(TRAIN, a_million_of_one_text),
        r"params\.yaml: prepare\.folds: 5 is too many; groups of tweets with the rarer label: 1",
    ),
    train("An id twice, as a number", row("0" + ROW.replace("3,", "2,", 1)), "row 3, column id: '02' is there twice"),
    Case(
        "An id of both files",
        row(ROW.replace("3,", "101,", 1)),
        r"data/sample/test\.csv: row 1, column id: 101 is also in train\.csv",
    ),
    train(
        "An id with a point", row(ROW.replace("3,", "3.0,", 1)), r"row 3, column id: '3\.0' must be a whole number .*"
    ),
    train("No text", row("3,fire,Rome,\t ,1"), r"row 3, column text: '\\t ' must not be empty"),
    train(
        "A label that is none",
        row(ROW[:-1] + "2"),
        "row 3, column target: '2' must be one of 0, 1, not disaster, disaster",
        process=True,
    ),
    train(
        "One class only",
        recoded(TRAIN, lambda raw: raw.replace(b",0\n", b",1\n")),
        "column target: every row has the same label; .*",
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
    Case("An encrypted zip", zipped(encrypted), r"tweets\.zip/train\.csv: cannot be unpacked: .* is encrypted.*"),
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
]
