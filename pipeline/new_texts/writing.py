"""Write decisions batch by batch: csv, parquet or JSON lines. A file appears when it is whole, or not at all.

Texts are written again only if they are asked for: a line is found by its id. None can pass for a formula in a spreadsheet.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contracts import InputError, written_whole
from pipeline.new_texts.reading import SUFFIXES, Format
from pipeline.spreadsheet import inert

Write = Callable[[pd.DataFrame], None]

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def decisions(ids: pd.Series, scores: np.ndarray, threshold: float, labels: list[str]) -> pd.DataFrame:
    """The ids with `score` = P(target = 1), `target` (0/1) and `label`, its name; all three null where a reply was not read."""
    targets = pd.Series(scores > threshold, index=ids.index).astype("Int8").mask(np.isnan(scores))
    names = targets.map({0: labels[0], 1: labels[1]}).astype("str")
    return pd.DataFrame({ids.name: ids, "score": scores, "target": targets, "label": names})


def lines_to(file: IO[str], kind: Format) -> Write:
    """As csv with a header, or as JSON lines; each batch can be read when it is written, for somebody may wait for it."""
    header = True

    def write(rows: pd.DataFrame) -> None:
        nonlocal header
        if kind == "csv":
            for column in {rows.columns[0], "label"} & {*rows}:
                for value in rows[column].unique():
                    if isinstance(value, str) and inert(value) != value and not _NUMBER.fullmatch(value):
                        problem = "would be a formula in a spreadsheet; write .jsonl or .parquet instead"
                        raise InputError(f"column {column}: {value!r:.60} {problem}")
            shown = rows.assign(**{name: rows[name].map(inert) for name in ("text", "words") if name in rows})
            shown.to_csv(file, index=False, header=header, lineterminator="\n")
            header = False
        else:
            plain = rows.astype(object).where(rows.notna(), None)
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in plain.to_dict("records"))
        file.flush()

    return write


@contextmanager
def parquet_to(path: Path) -> Iterator[Write]:
    """Ids have the type that those of the first batch have."""
    writer: pq.ParquetWriter | None = None
    opened = ExitStack()

    def write(rows: pd.DataFrame) -> None:
        nonlocal writer
        try:
            table = pa.Table.from_pandas(rows, schema=writer.schema if writer else None, preserve_index=False)
        except (pa.ArrowException, OverflowError):
            raise InputError(
                f"column {rows.columns[0]}: texts and numbers cannot be mixed in a parquet file; write .jsonl or .csv"
            ) from None
        writer = writer or opened.enter_context(pq.ParquetWriter(path, table.schema))
        writer.write_table(table)

    with opened:
        yield write


def written_as(path: Path | None, read: Format) -> Format:
    """By the file's suffix; on standard output (None) JSON lines are answered by JSON lines, and all else by csv."""
    if path is None:
        return "jsonl" if read == "jsonl" else "csv"
    found = SUFFIXES.get(path.suffix.lower(), "text")
    if found == "text":
        raise InputError(f"{path}: decisions are written as .csv, .parquet or .jsonl; name the output so")
    return found


@contextmanager
def open_writer(path: Path | None, kind: Format, stdout: IO[str]) -> Iterator[Write]:
    """What to give each batch of decisions to; None for standard output."""
    if path is None:
        if isinstance(stdout, TextIOWrapper):
            stdout.reconfigure(encoding="utf-8")  # whatever the terminal is: it is data
        yield lines_to(stdout, kind)
        stdout.flush()
        return
    with written_whole(path) as partial:
        if kind == "parquet":
            with parquet_to(partial) as write:
                yield write
        else:
            with partial.open("w", encoding="utf-8", newline="") as file:
                yield lines_to(file, kind)
