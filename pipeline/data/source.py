"""Read and validate raw tweets: a folder or zip with train.csv and test.csv, in whatever column names params give."""

from pathlib import Path

import pandas as pd
from pydantic import Field

from pipeline.contracts import InputError, Params, ProjectPath, first_row
from pipeline.data.csv_file import UNREADABLE, check_text, columns_in, open_csv, read_csv

OPTIONAL = ("keyword", "location", "group")
CHUNK = 50_000
"""Rows that are read at once."""


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


def read_file(source: Path, name: str, columns: dict[str, str]) -> pd.DataFrame:
    """These columns (ours → theirs) of a csv as strings, empty cells as "", indexed by row (1 is the first after the header)."""
    where, chunks, rows = f"{source}/{name}", list[pd.DataFrame](), 0
    with open_csv(source, name) as stream:
        for chunk in read_csv(stream, lambda header, at: columns_in(header, columns, columns, at), CHUNK, where):
            for ours, theirs in columns.items():
                for row in chunk.index[chunk[ours].str.contains(UNREADABLE)]:
                    check_text(chunk[ours][row], f"{where}: row {rows + row + 1}, column {theirs}")
            chunks.append(chunk.astype("str"))
            rows += len(chunk)
    if not rows:
        raise InputError(f"{where}: no rows")
    return pd.concat(chunks).set_axis(pd.RangeIndex(1, rows + 1, name="row"))


def validate(frame: pd.DataFrame, labels: list[str] | None, where: str, names: dict[str, str]) -> pd.DataFrame:
    """The frame with `id` (int64) and, with labels, `target` (int8) as numbers; the first bad cell as an `InputError`.

    `names` (ours → theirs) are what the file calls its columns.
    """

    def refuse(odd: pd.Series, column: str, problem: str) -> None:
        if odd.any():
            row = first_row(odd)
            value = frame[column].iloc[row - 1]
            raise InputError(f"{where}: row {row}, column {names[column]}: {value!r:.60} {problem}")

    refuse(~frame["id"].str.fullmatch("-?[0-9]{1,18}"), "id", "must be an integer of at most 18 digits")
    refuse(frame["text"].str.strip() == "", "text", "must not be empty")
    ids = frame["id"].astype("int64")
    refuse(ids.duplicated(), "id", "is there twice")  # as numbers: 7 and 07 are the same
    if labels is None:
        return frame.assign(id=ids)
    known = {"0": 0, "1": 1, labels[0]: 0, labels[1]: 1}
    refuse(~frame["target"].isin(known), "target", f"must be one of {', '.join(known)}")
    numeric = frame["target"].isin(["0", "1"])
    kinds = ("names", "numbers") if numeric.iloc[0] else ("numbers", "names")
    problem = f"is one of the {kinds[0]}, and the rows before it hold {kinds[1]}; write all in one way"
    refuse(numeric != numeric.iloc[0], "target", problem)
    targets = frame["target"].map(known).astype("int8")
    if targets.nunique() < 2:
        raise InputError(f"{where}: column {names['target']}: every row has the same label; two classes are needed")
    return frame.assign(id=ids, target=targets)


def read_source(params: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test as validated frames: `id`, `text`, `OPTIONAL` (null where empty), and `target` in train."""
    if len(params.labels) != 2 or len(set(params.labels) | {"0", "1"}) < 4:
        raise InputError("params.yaml: data.labels: must be two different names, of target 0 and of target 1")
    frames = []
    for name, labels in (("train.csv", params.labels), ("test.csv", None)):
        named = {ours: theirs for ours, theirs in params.columns if theirs and (labels or ours != "target")}
        frame = validate(read_file(Path(params.source), name, named), labels, f"{params.source}/{name}", named)
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
