"""Read and validate raw tweets: a folder or zip with train.csv and test.csv, in whatever column names params give."""

import io
import zipfile
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError
from pydantic import Field

from pipeline.contracts import InputError, Params, ProjectPath, first_row, reason
from pipeline.data.csv_file import check_rows, decode, not_there, read_file, read_zipped

OPTIONAL = ("keyword", "location", "group")


class Columns(Params):
    """What the csv files call their columns; null for a `keyword`, `location` or `group` that they lack."""

    id: str = "id"
    keyword: str | None = "keyword"
    location: str | None = "location"
    text: str = "text"
    target: str = "target"
    group: str | None = None
    """Rows that share a value here are never split between folds: an author, a conversation, an event."""


class DataParams(Params):
    """Where the tweets come from and what their columns and labels are called."""

    source: ProjectPath
    columns: Columns = Columns()
    labels: list[str] = Field(["not disaster", "disaster"])
    """Names of target 0 and target 1; the csv may hold the numbers or the names."""


def read_member(source: Path, name: str) -> tuple[str, str]:
    """The text of one csv file of the source, and where it is for messages."""
    where = f"{source}/{name}"
    try:
        if source.is_dir():
            raw = read_file(source / name)
        elif source.is_file() and zipfile.is_zipfile(source):
            raw = read_zipped(source, name)
        else:
            raise InputError(f"{source}: neither a folder nor a zip file, or one that was cut off; set data.source")
    except FileNotFoundError:
        raise InputError(not_there(str(source), name)) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: cannot be read: {reason(error)}") from None
    return decode(raw, where), where


def parse_csv(text: str, columns: dict[str, str], where: str) -> pd.DataFrame:
    """The wanted columns (ours → theirs) as strings, empty ones as "", indexed by data row (1 is the first after the header)."""
    text = text.rstrip("\r\n")
    header, rows = check_rows(text, where)
    if not header:
        raise InputError(f"{where}: not a csv: it is empty")
    if missing := [theirs for theirs in columns.values() if theirs not in header]:
        mark = next((mark for mark in (";", "\t", "|") if mark in header[0]), None)
        hint = f"; its fields are separated by {mark!r}, and must be by commas" if mark and len(header) == 1 else ""
        raise InputError(f"{where}: no column {', '.join(missing)}; it has {', '.join(map(shown, header))}{hint}")
    if twice := [theirs for theirs in columns.values() if header.count(theirs) > 1]:
        raise InputError(f"{where}: line 1: column {twice[0]} is there twice; rename or take out one of them")
    table = io.BytesIO(text.encode())
    frame = pd.read_csv(table, dtype=str, keep_default_na=False, skip_blank_lines=False, usecols=[*columns.values()])
    if len(frame) != rows:
        raise InputError(f"{where}: not a csv: {rows} rows by one reading of its quotes, {len(frame)} by another")
    frame = frame[list(columns.values())].set_axis(list(columns), axis="columns")
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="row"))


def shown(name: str) -> str:
    """A column's name, in quotes if something about it would not be seen."""
    return name if name.isprintable() and name == name.strip() != "" else repr(name)


def schema(labels: list[str] | None) -> pa.DataFrameSchema:
    """What every raw row must be; with `labels`, a target too."""
    columns = {
        "id": pa.Column(
            str,
            pa.Check.str_matches(r"^-?[0-9]{1,18}\Z", error="must be an integer of at most 18 digits"),
        ),
        "text": pa.Column(str, pa.Check(lambda texts: texts.str.strip() != "", error="must not be empty")),
    }
    if labels:
        allowed = ["0", "1", *labels]
        columns["target"] = pa.Column(str, pa.Check.isin(allowed, error=f"must be one of {', '.join(allowed)}"))
    return pa.DataFrameSchema(columns)


def validate(frame: pd.DataFrame, labels: list[str] | None, where: str, names: dict[str, str]) -> pd.DataFrame:
    """The frame with `id` (int64) and `target` (int8) as numbers; the first bad cell as an `InputError`.

    `names` (ours → theirs) are what the file calls its columns.
    """
    if frame.empty:
        raise InputError(f"{where}: no rows")
    try:
        schema(labels).validate(frame)
    except SchemaError as error:
        bad = error.failure_cases.iloc[0]
        problem = getattr(error.check, "error", None) or str(error.check)
        raise InputError(
            f"{where}: row {bad['index']}, column {names[error.schema.name]}: {bad['failure_case']!r:.60} {problem}"
        ) from None
    ids = frame["id"].astype("int64")
    if (again := ids.duplicated()).any():  # as numbers: 7 and 07 are the same
        row = first_row(again)
        raise InputError(f"{where}: row {row}, column {names['id']}: {frame['id'].iloc[row - 1]!r} is there twice")
    frame = frame.assign(id=ids)
    if labels:
        numeric = frame["target"].isin(["0", "1"])
        if (odd := numeric != numeric.iloc[0]).any():
            row, kinds = first_row(odd), ("names", "numbers") if numeric.iloc[0] else ("numbers", "names")
            raise InputError(
                f"{where}: row {row}, column {names['target']}: {frame['target'].iloc[row - 1]!r} is one of the {kinds[0]}, "
                f"and the rows before it hold {kinds[1]}; write all in one way"
            )
        numbers = {"0": 0, "1": 1, labels[0]: 0, labels[1]: 1}
        frame = frame.assign(target=frame["target"].map(numbers).astype("int8"))
        if frame["target"].nunique() < 2:
            raise InputError(f"{where}: column {names['target']}: every row has the same label; two classes are needed")
    return frame


def read_source(params: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test as validated frames: `id`, `text`, `OPTIONAL` (null where empty), and `target` in train."""
    if len(params.labels) != 2 or len(set(params.labels) | {"0", "1"}) < 4:
        raise InputError("params.yaml: data.labels: must be two different names, of target 0 and of target 1")
    frames = []
    for name, labels in (("train.csv", params.labels), ("test.csv", None)):
        text, where = read_member(Path(params.source), name)
        wanted = {ours: theirs for ours, theirs in params.columns if theirs and (labels or ours != "target")}
        frame = validate(parse_csv(text, wanted, where), labels, where, wanted)
        for column in OPTIONAL:
            values = frame[column] if column in frame else pd.Series("", index=frame.index, dtype="str")
            frame[column] = values.str.strip().replace("", None)
        frames.append(frame.reset_index(drop=True))
    train, test = frames
    if (shared := test["id"].isin(train["id"])).any():
        row = first_row(shared)
        number = test["id"].iloc[row - 1]
        there = first_row(train["id"] == number)
        where = f"{params.source}/test.csv: row {row}, column {params.columns.id}"
        raise InputError(f"{where}: {number} is also in train.csv (row {there})")
    return train, test
