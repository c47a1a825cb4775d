"""Decisions for people at a terminal: the label, how probable it is, the text; and which words spoke for or against it."""

from typing import IO

import numpy as np
import pandas as pd

from pipeline.new_texts.scorers import Scorer
from pipeline.stats.decisions import THRESHOLD
from pipeline.stats.metrics import log_odds
from pipeline.tables import Row

SHOWN = 3
"""Words of a text."""


def words_that_spoke(score: Scorer, tweets: pd.DataFrame, scores: np.ndarray) -> list[str]:
    """Of each text the words that move its log-odds most when left out (occlusion; Zeiler & Fergus 2014, arXiv:1311.2901).

    `fire +1.2, near -0.3`: by so much the word raises log P(target = 1) / P(target = 0). It holds for any classifier.
    """
    words = [text.split() for text in tweets["text"]]
    of_row = [(row, left_out) for row, some in enumerate(words) if len(some) > 1 for left_out in range(len(some))]
    if not of_row:
        return [""] * len(tweets)
    shorter = tweets.iloc[[row for row, _ in of_row]].reset_index(drop=True)
    texts = [" ".join(words[row][:out] + words[row][out + 1 :]) for row, out in of_row]
    without = log_odds(score(shorter.assign(text=texts, raw_text=texts)))
    whole = log_odds(scores)
    spoke: list[list[tuple[float, str]]] = [[] for _ in words]
    for (row, out), less in zip(of_row, without, strict=True):
        spoke[row].append((float(whole[row] - less), words[row][out]))
    most = [sorted(some, key=lambda one: -abs(one[0]))[:SHOWN] for some in spoke]
    return [", ".join(f"{word} {by:+.1f}" for by, word in some) for some in most]


def line(row: Row, labels: list[str]) -> str:
    """A decision, or those of several classifiers one below the other."""
    width, text = max(map(len, labels)), row["text"]
    if "label" not in row:
        scores = {name: score for name, score in row.items() if isinstance(score, float)}
        each = (f"  {labels[score > THRESHOLD]:{width}}  {score:.2f}  {name}" for name, score in scores.items())
        return "\n".join([text, *each])
    said = " " * width + "  not read" if pd.isna(row["score"]) else f"{row['label']:{width}}  {row['score']:.2f}"
    return f"{said}  {text}" + (f"   ({row['words']})" if row.get("words") else "")


def show(rows: pd.DataFrame, labels: list[str], stdout: IO[str]) -> None:
    for row in rows.to_dict("records"):
        print(line(row, labels), file=stdout, flush=True)
