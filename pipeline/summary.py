"""What a run found, in a few lines for a terminal: the ranking, what was submitted, where to look, what to do next."""

import csv
import itertools
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.contracts import read_json
from pipeline.data.csv_file import KAGGLE, SAMPLE

ROWS = 6
NAME = 30
"""Characters of a classifier's name."""
PAGES = ("report/index.html", "evaluate/table.md")
PREDICT = "Next: make predict INPUT=new.csv OUTPUT=scores.csv"
NEXT = {
    SAMPLE: [
        "Next: for Kaggle's real tweets accept kaggle.com/c/nlp-getting-started/rules,",
        "then: .venv/bin/python -m pipeline.kaggle.download && make kaggle",
    ],
    KAGGLE: [PREDICT, "or, to send the submission: .venv/bin/python -m pipeline.kaggle.submit"],
}
"""By data.source; for others it is PREDICT."""

Row = Mapping[str, str]


def ranking(scores: Sequence[Row]) -> list[str]:
    """The best classifiers in the order of evaluate, and below them the best of those that scored a part of the rows."""
    most = max(int(row["rows"]) for row in scores)
    whole = [row for row in scores if int(row["rows"]) == most]
    part = [row for row in scores if int(row["rows"]) < most]
    best = whole[: ROWS - bool(part)]
    best += part[: ROWS - len(best)]
    lines = [f"{f'{len(best)} of {len(scores)} classifiers':{NAME}} {'school':14} {'accuracy, %':17} {'rows':>10}"]
    for row in best:
        mean, low, high = (100 * float(row[f"accuracy{end}"] or "nan") for end in ("", "_low", "_high"))
        accuracy, rows = f"{mean:.1f} [{low:.1f}, {high:.1f}]", f"{int(row['rows']):,}{'' if row in whole else ' only'}"
        lines.append(f"{row['classifier']:{NAME}.{NAME}} {row['school']:14} {accuracy:17} {rows:>10}")
    return lines


def verdict(page: str) -> list[str]:
    """The verdict's paragraphs on a page such as report/summary.md, as lines of at most 80 columns."""
    paragraphs = itertools.takewhile(lambda one: not one.startswith("|"), page.split("\n\n")[1:])
    return [
        line for one in paragraphs for part in one.splitlines() for line in textwrap.wrap(part.replace("−", "-"), 80)
    ]


def summary(
    scores: Sequence[Row], said: Sequence[str], chosen: Mapping[str, Any] | None, pages: Sequence[str], source: str
) -> list[str]:
    """Lines of at most 80 columns, from evaluate/scores.csv, the verdict, the `chosen` of choice.json, and paths of pages."""
    lines = [*(ranking(scores) if scores else []), *said]
    if chosen:
        nested = f"({100 * chosen['nested_accuracy']:.1f} nested)" if "nested_accuracy" in chosen else "out of fold"
        what = f"{chosen['classifier']:.{NAME}}, {100 * chosen['accuracy']:.1f} %"
        lines.append(f"submission/submission.csv: {what} {nested}")
    if pages:
        lines.append(f"To look at: {', '.join(pages)}")
    return [*lines, *NEXT.get(os.path.normpath(source), [PREDICT])]


def results_in_words(folder: Path, source: str) -> list[str]:
    """The `summary` of the results that lie in a folder, of the tweets of a data.source."""
    table, choice = folder / "evaluate/scores.csv", folder / "submission/choice.json"
    scores: list[Row] = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines())) if table.is_file() else []
    chosen = read_json(choice)["chosen"] if choice.is_file() else None
    pages = [str(folder / page) for page in PAGES if (folder / page).is_file()]
    page = folder / "report/summary.md"
    said = verdict(page.read_text(encoding="utf-8")) if page.is_file() else []
    return summary(scores, said, chosen, pages, source)
