"""Read and validate raw tweets: a folder or zip with train.csv and test.csv, in whatever column names params give."""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from pipeline.contracts import InputError, Params, ProjectPath, first_row
from pipeline.data.csv_file import UNREADABLE, check_text, columns_in, has, open_csv, read_csv

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
    """These columns (ours → theirs) of a csv as strings, empty cells as "", indexed by row (1 is the first after the header).

    The ids may be missing.
    """
    where, chunks, rows = f"{source}/{name}", list[pd.DataFrame](), 0

    def choose(header: list[str], at: str) -> dict[str, str]:
        named = (theirs.strip().casefold() for theirs in header)  # ID, say, is no file without ids
        optional = {"id"} - {ours for ours, theirs in columns.items() if theirs.casefold() in named}
        return columns_in(header, columns, columns.keys() - optional, at)

    with open_csv(source, name) as stream:
        for chunk in read_csv(stream, choose, CHUNK, where):
            for ours in map(str, chunk):
                for row in chunk.index[chunk[ours].str.contains(UNREADABLE)]:
                    check_text(chunk[ours][row], f"{where}: row {rows + row + 1}, column {columns[ours]}")
            chunks.append(chunk.astype("str"))
            rows += len(chunk)
    if not rows:
        raise InputError(f"{where}: no rows")
    return pd.concat(chunks).set_axis(pd.RangeIndex(1, rows + 1, name="row"))


def targets_of(labels: list[str]) -> dict[str, int]:
    """What a cell may hold, and the target that it stands for: the labels, and 0 and 1 unless a label is called so."""
    named = {labels[0]: 0, labels[1]: 1} if len(labels) == 2 else {}
    if len(named) != 2 or labels == ["1", "0"]:
        raise InputError("params.yaml: data.labels: must be two different names, of target 0 and of target 1")
    numbers = {"0": 0, "1": 1}
    return numbers | named if all(named.get(name, number) == number for name, number in numbers.items()) else named


def validate(frame: pd.DataFrame, labels: list[str] | None, where: str, names: dict[str, str]) -> pd.DataFrame:
    """The frame with `id` (int64) and, with labels, `target` (int8) as numbers; the first bad cell as an `InputError`.

    `names` (ours → theirs) are what the file calls its columns.
    """

    def refuse(odd: pd.Series, column: str, problem: str) -> None:
        if odd.any():
            row = first_row(odd)
            value = frame[column].iloc[row - 1]
            raise InputError(f"{where}: row {row}, column {names[column]}: {value!r:.60} {problem}")

    numbers = frame.copy()
    if "id" in frame:
        digits = frame["id"].str.removeprefix("-").str.zfill(19)
        whole = frame["id"].str.fullmatch("-?[0-9]{1,19}") & (digits <= str(2**63 - 1))
        refuse(~whole, "id", f"must be a whole number of at most {2**63 - 1}")
        numbers["id"] = frame["id"].astype("int64")
        refuse(numbers["id"].duplicated(), "id", "is there twice")  # as numbers: 7 and 07 are the same
    refuse(frame["text"].str.strip() == "", "text", "must not be empty")
    if labels is None:
        return numbers
    known = targets_of(labels)
    cells = frame["target"].str.strip()
    plain = cells.str.lower().replace({"true": "1", "false": "0"} if "0" in known and "1" in known else {})
    cells = cells.where(cells.isin(known), plain.str.replace(r"\.0*\Z", "", regex=True))
    refuse(~cells.isin(known), "target", f"must be one of {', '.join(known)}")
    kinds = dict.fromkeys({"0", "1"} - {*labels}, "numbers") | dict.fromkeys({*labels} - {"0", "1"}, "names")
    written = cells.map(kinds)
    first = next(iter(written.dropna()), None)
    refuse(written.notna() & (written != first), "target", f"is none of the {first} that the rows before it hold")
    targets = cells.map(known).astype("int8")
    if targets.nunique() < 2:
        raise InputError(f"{where}: column {names['target']}: every row has the same label; two classes are needed")
    return numbers.assign(target=targets)


def read_source(params: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test as validated frames: `id`, `text`, `OPTIONAL` (null where empty), and `target` in train.

    Rows of a file without ids are numbered. Without a test.csv there are no test rows.
    """
    targets_of(params.labels)
    frames: list[pd.DataFrame] = []
    for name, labels in (("train.csv", params.labels), ("test.csv", None)):
        named = {ours: theirs for ours, theirs in params.columns if theirs and (labels or ours != "target")}
        if labels or has(Path(params.source), name):
            frame = validate(read_file(Path(params.source), name, named), labels, f"{params.source}/{name}", named)
        else:
            frame = frames[0].iloc[:0].drop(columns="target")
        for column in OPTIONAL:
            values = frame[column] if column in frame else pd.Series("", index=frame.index, dtype="str")
            frame[column] = values.str.strip().replace("", None)
        frames.append(frame.reset_index(drop=True))
    taken = [frame["id"].to_numpy() for frame in frames if "id" in frame]
    free = np.setdiff1d(np.arange(1, sum(map(len, frames)) + 1), np.concatenate([[0], *taken]))
    for frame in frames:
        if "id" not in frame:
            frame.insert(0, "id", free[: len(frame)])
            free = free[len(frame) :]
    train, test = frames
    if (shared := test["id"].isin(train["id"])).any():
        at = f"{params.source}/test.csv: row {first_row(shared)}, column {params.columns.id}"
        raise InputError(f"{at}: {test.loc[shared, 'id'].iloc[0]} is also in train.csv")
    return train, test
