"""Read and validate raw tweets: a folder or zip with train.csv and test.csv, in whatever column names params give."""

import io
import zipfile
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError

from pipeline.contracts import InputError, Params

OPTIONAL = ("keyword", "location", "group")


class Columns(Params):
    """What the csv files call their columns; null for a `keyword`, `location` or `group` that they lack."""

    id: str
    keyword: str | None
    location: str | None
    text: str
    target: str
    group: str | None
    """Rows that share a value here are never split between folds: an author, a conversation, an event."""


class DataParams(Params):
    """Where the tweets come from and what their columns and labels are called."""

    source: str
    columns: Columns
    labels: list[str]
    """Names of target 0 and target 1; the csv may hold the numbers or the names."""


def read_member(source: Path, name: str) -> tuple[str, str]:
    """The text of one csv file of the source, and where it is for messages."""
    where = f"{source}/{name}"
    try:
        if source.is_dir():
            raw = (source / name).read_bytes()
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                raw = archive.read(name)
        else:
            raise InputError(f"{source}: neither a folder nor a zip file; set data.source in params.yaml")
    except (OSError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{where}: no such file; data.source must hold train.csv and test.csv") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{where}: line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8") from None
    if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")):
        raise InputError(f"{where}: an HTML page, not a csv; was it downloaded without being signed in?")
    return text, where


def parse_csv(text: str, columns: dict[str, str], where: str) -> pd.DataFrame:
    """The wanted columns (ours → theirs) as strings, empty ones as "", indexed by data row (1 is the first after the header)."""
    try:
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, skip_blank_lines=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{where}: not a csv: {' '.join(str(error).split())}") from None
    if missing := [theirs for theirs in columns.values() if theirs not in frame.columns]:
        raise InputError(f"{where}: no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    frame = frame[list(columns.values())].set_axis(list(columns), axis="columns")
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="row"))


def schema(labels: list[str] | None) -> pa.DataFrameSchema:
    """What every raw row must be; with `labels`, a target too."""
    columns = {
        "id": pa.Column(
            str,
            [
                pa.Check.str_matches(r"^-?\d{1,18}$", error="must be an integer"),
                pa.Check(lambda ids: ~ids.duplicated(), error="is there twice"),
            ],
        ),
        "text": pa.Column(str, pa.Check(lambda texts: texts.str.strip() != "", error="must not be empty")),
    }
    if labels:
        allowed = ["0", "1", *labels]
        columns["target"] = pa.Column(str, pa.Check.isin(allowed, error=f"must be one of {', '.join(allowed)}"))
    return pa.DataFrameSchema(columns)


def validate(frame: pd.DataFrame, labels: list[str] | None, where: str) -> pd.DataFrame:
    """The frame with `id` (int64) and `target` (int8) as numbers; the first bad cell as an `InputError`."""
    if frame.empty:
        raise InputError(f"{where}: no rows")
    try:
        schema(labels).validate(frame)
    except SchemaError as error:
        bad = error.failure_cases.iloc[0]
        problem = getattr(error.check, "error", None) or str(error.check)
        raise InputError(
            f"{where}: row {bad['index']}, column {error.schema.name}: {bad['failure_case']!r:.60} {problem}"
        ) from None
    frame = frame.assign(id=frame["id"].astype("int64"))
    if labels:
        numbers = {"0": 0, "1": 1, labels[0]: 0, labels[1]: 1}
        frame = frame.assign(target=frame["target"].map(numbers).astype("int8"))
        if frame["target"].nunique() < 2:
            raise InputError(f"{where}: column target: every row has the same label; two classes are needed")
    return frame


def read_source(params: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test as validated frames: `id`, `text`, `OPTIONAL` (null where empty), and `target` in train."""
    if len(params.labels) != 2 or len(set(params.labels) | {"0", "1"}) < 4:
        raise InputError("params.yaml: data.labels: must be two different names, of target 0 and of target 1")
    frames = []
    for name, labels in (("train.csv", params.labels), ("test.csv", None)):
        text, where = read_member(Path(params.source), name)
        wanted = {ours: theirs for ours, theirs in params.columns if theirs and (labels or ours != "target")}
        frame = validate(parse_csv(text, wanted, where), labels, where)
        for column in OPTIONAL:
            values = frame[column] if column in frame else pd.Series("", index=frame.index, dtype="str")
            frame[column] = values.str.strip().replace("", None)
        frames.append(frame.reset_index(drop=True))
    train, test = frames
    if shared := set(train["id"]) & set(test["id"]):
        raise InputError(f"{params.source}/test.csv: column id: {min(shared)} is also in train.csv")
    return train, test
