"""Score new texts with any trained classifier, the blend or a prompt, as a stream: a million need no more memory than a thousand.

in:  a csv, parquet or JSON lines file, or a text a line (.txt); or standard input, as csv unless --format says otherwise.
     Columns are called as data.columns says; only the text is needed, and keyword and location are used if they are there.
out: a csv, parquet or JSON lines file, which appears when all is scored; or standard output, in the format of the input (texts
     are answered in csv). A row for each text: its id, or `row` (from 1) where there is none; `score` = P(target = 1);
     `target`, 0 or 1; `label`, its name in data.labels. Where an LLM's reply could not be read, the last three are empty.
     Texts are not written again: join by id.
run: make predict INPUT=new.csv OUTPUT=scores.csv CLASSIFIER=naive_bayes
     python -m pipeline.predict --input new.csv --output scores.csv --classifier naive_bayes
     echo "Forest fire near La Ronge" | python -m pipeline.predict --format text --classifier naive_bayes

Without --classifier it is the one that submission/choice.json chose. The threshold is the one found there for it, or one half.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.contracts import InputError, read_params, reason
from pipeline.data.source import DataParams
from pipeline.new_texts.reading import Format, batches, checked, format_of
from pipeline.new_texts.scorers import choose, open_scorer
from pipeline.new_texts.writing import decisions, open_writer, written_as
from pipeline.process import run
from pipeline.prompting.params import PromptParams


def predict(texts: Sequence[str], classifier: str | None = None) -> np.ndarray:
    """P(target = 1) of each text, shape (n,), by a classifier's name; by default the one that would be submitted.

    To score more than once without loading it each time, see `open_scorer`.
    """
    columns = read_params("data", DataParams).columns
    raw = pd.DataFrame({"text": list(texts)}, dtype=object, index=pd.RangeIndex(1, len(texts) + 1))
    tweets = checked(raw, columns, "texts: number").tweets
    with open_scorer(choose(classifier)[0]) as score:
        return score(tweets)


@contextmanager
def opened(path: Path | None) -> Iterator[BinaryIO]:
    """A file's bytes, or those of standard input (None)."""
    try:
        file = path.open("rb") if path else sys.stdin.buffer
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    with file:
        yield file


def score_stream(given: argparse.Namespace) -> None:
    """Read, score and write batch by batch; whatever else is said goes to standard error."""
    source, target = (None if str(path) == "-" else path for path in (given.input, given.output))
    kind = format_of(source, given.format)
    to = written_as(target, kind)
    if source and target and source.resolve() == target.resolve():
        raise InputError(f"{target}: is the input; write to another file")
    data = read_params("data", DataParams)
    columns = data.columns.model_copy(update={"text": given.text} if given.text else {})
    name, threshold = choose(given.classifier)
    rows = unread = positive = 0
    stdout = sys.stdout
    with (
        redirect_stdout(sys.stderr),
        opened(source) as file,
        open_scorer(name) as score,
        open_writer(target, to, stdout) as write,
        tqdm(desc=name, unit=" texts") as progress,
    ):
        for batch in batches(file, kind, columns, given.batch, str(source or "standard input")):
            found = decisions(batch.ids, score(batch.tweets), threshold, data.labels)
            write(found)
            rows += len(found)
            unread += int(found["score"].isna().sum())
            positive += int(found["target"].sum())
            progress.update(len(found))
        if unread and unread > read_params("prompt", PromptParams).max_unparsed * rows:
            raise InputError(f"{name}: {unread} of {rows} replies could not be read, more than prompt.max_unparsed")
    print(
        f"predict: {rows:,} texts by {name}, {positive:,} above {threshold:.3g}: {data.labels[1]}"
        + (f"; {unread:,} replies could not be read" if unread else ""),
        file=sys.stderr,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", help="such as naive_bayes, lora_minilm, prompt_zero_shot or blend")
    parser.add_argument("--input", type=Path, default=Path("-"), help="a file, or - for standard input")
    parser.add_argument("--output", type=Path, default=Path("-"), help="a file, or - for standard output")
    parser.add_argument(
        "--format", choices=get_args(Format), help="of standard input, or where a file's name says none"
    )
    parser.add_argument("--text", help="the texts' column, if it is not that of data.columns")
    parser.add_argument("--batch", type=int, default=1024, help="texts at once")
    given = parser.parse_args()
    if given.batch < 1:
        parser.error("--batch must be 1 or more")
    try:
        score_stream(given)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run(main, many=True)
