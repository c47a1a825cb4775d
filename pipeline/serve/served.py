"""A trained classifier as the service asks it: any texts, also bad ones, and an answer to each."""

from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import pandas as pd

from pipeline.contracts import InputError, prepared_digest, read_json, read_params
from pipeline.data.source import Columns, DataParams
from pipeline.environment import commit
from pipeline.fit.cross_fit import MODELS
from pipeline.fit.model_store import FILE
from pipeline.new_texts.reading import checked, good_rows
from pipeline.new_texts.scorers import Scorer, choose, open_scorer
from pipeline.places import anywhere

COLUMNS = Columns()
"""What a text's fields are called here, whatever the csv files call them."""
FIELDS = ["text", "keyword", "location"]
WARM = ["Fire", "Forest fire near La Ronge Sask. Canada", "all of it again, and longer " * 8]


def record(item: Any, longest: int) -> dict[str, str | None]:
    """A text, alone or with keyword and location; an `InputError` for what is none."""
    found = {"text": item} if isinstance(item, str) else item
    if not isinstance(found, dict) or "text" not in found:
        raise InputError("a text is a string, or an object with text and, if known, keyword and location")
    if more := found.keys() - set(FIELDS):
        raise InputError(f"a text has {', '.join(FIELDS)}, and nothing called {min(more)!r:.60}")
    for name, value in found.items():
        if not isinstance(value, str) and (name == "text" or value is not None):
            raise InputError(f"{name} must be a string")
        if value and len(value) > longest:
            raise InputError(f"{name} has {len(value):,} characters; at most {longest:,} are read")
    return dict.fromkeys(FIELDS) | found


class Served:
    """A classifier that was opened once. All but the constructor runs in the thread that scores."""

    def __init__(self, name: str | None, longest: int) -> None:
        self.name, self.threshold = choose(name)
        self.longest = longest
        self.labels = read_params("data", DataParams).labels
        path = anywhere(MODELS / self.name / FILE)
        learnt = read_json(path).get("prepared") if path.is_file() else prepared_digest()
        self.version = f"{commit() or 'no commit'}, data {str(learnt)[:12]}"
        self.opened = ExitStack()
        self.score: Scorer

    def open(self) -> Self:
        """Load it, and let it score once, so that the first text need not wait."""
        self.score = self.opened.enter_context(open_scorer(self.name))
        if not self.name.startswith("prompt_"):  # an LLM may be paid for
            self.answer(WARM)
        return self

    def answer(self, items: list[Any]) -> list[float | str]:
        """P(target = 1) of each item, or a sentence on why there is none: an error belongs to its item alone."""
        found: dict[int, float | str] = {}
        records = {}
        for number, item in enumerate(items):
            try:
                records[number] = record(item, self.longest)
            except InputError as error:
                found[number] = str(error)
        raw = pd.DataFrame.from_dict(records, orient="index", columns=FIELDS, dtype=object)
        if len(raw):
            raw = raw.where(raw.notna(), None)
            try:
                tweets = checked(raw, COLUMNS, "text").tweets
            except InputError:
                faults: list[str] = []
                good = good_rows(raw, COLUMNS, "text", faults.append)
                bad = raw.index.difference(good.index)
                found |= {number: fault.partition(": ")[2] for number, fault in zip(bad, faults, strict=True)}
                raw, tweets = good, checked(good, COLUMNS, "text").tweets
            found |= dict(zip(raw.index, self.scores(tweets), strict=True))
        return [found[number] for number in range(len(items))]

    def scores(self, tweets: pd.DataFrame) -> list[float | str]:
        """The same of tweets that can be read; where not all can be scored together, each alone."""
        try:
            scores = self.score(tweets) if len(tweets) else np.zeros(0)
        except InputError as error:
            if len(tweets) == 1:
                return [str(error)]
            return [one for row in range(len(tweets)) for one in self.scores(tweets.iloc[[row]].reset_index(drop=True))]
        return ["the LLM's reply could not be read" if np.isnan(score) else float(score) for score in scores]

    def label(self, score: float) -> str:
        return self.labels[score > self.threshold]
