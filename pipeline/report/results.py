"""What the other stages have found, as far as it is there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.contracts import InputError
from pipeline.spreadsheet import as_it_was, each_text

Tables = dict[str, Any]
"""The files of a folder by stem: a frame for a csv, a dictionary for a json, a list of them for a jsonl."""


def read_csv(path: Path) -> pd.DataFrame:
    """A table that a stage wrote: nothing is missing but what is empty, since tweets may say NA or null."""
    try:
        return each_text(pd.read_csv(path, keep_default_na=False, na_values=[""]), as_it_was)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def read_file(path: Path) -> Any:
    try:
        if path.suffix == ".csv":
            return read_csv(path)
        text = path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `dvc repro {path.parent.name}` first") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON: {error}") from None


def read_results(files: Mapping[str, Sequence[str]], *roots: Path) -> tuple[dict[str, Tables], list[str]]:
    """The tables of each stage that ran, by its `files`, and the names of those that did not; without evaluate no report.

    A stage ran if one of its files is in one of the folders, of which the first counts; then all must be.
    """
    found, missing = {}, []
    for stage, names in files.items():
        ran = [root / stage for root in roots if any((root / stage / name).is_file() for name in names)]
        if ran or stage == "evaluate":
            folder = (ran or [roots[0] / stage])[0]
            found[stage] = {Path(name).stem: read_file(folder / name) for name in names}
        else:
            missing.append(stage)
    return found, missing
