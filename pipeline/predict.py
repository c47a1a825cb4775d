"""Score new texts with any trained classifier, the blend or a prompt, as a stream: a million need no more memory than a thousand.

in:  texts on the command line, or a csv, parquet or JSON lines file, or a text a line (.txt); or standard input, as csv unless
     --format says otherwise, a text a line if it is a terminal. Columns are called as data.columns says; only the text is needed,
     and keyword and location are used if they are there.
out: a csv, parquet or JSON lines file, which appears when all is scored; or standard output, in the format of the input (a text a
     line is answered in csv, and at a terminal in words). A row for each text: its id, or `row` (from 1) where there is none;
     `score` = P(target = 1); `target`, 0 or 1; `label`, its name in data.labels. Where an LLM's reply could not be read, the last
     three are empty. Texts are written again only --with-text.
run: python -m pipeline.predict "Forest fire near La Ronge" --classifier naive_bayes --explain
     make predict INPUT=new.csv OUTPUT=scores.csv CLASSIFIER=naive_bayes

Without --classifier it is the one that submission/choice.json chose; `all` puts those in models/ side by side. The threshold is
the one found there for it, or one half; --threshold sets another one, --recall and --precision find one on out-of-fold scores.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, Self, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.contracts import InputError, read_params, reason, write_text
from pipeline.data.source import DataParams
from pipeline.new_texts.in_words import show, words_that_spoke
from pipeline.new_texts.reading import Batch, Format, batches, checked, format_of
from pipeline.new_texts.scorers import Scorer, all_trained, choose, open_scorer, threshold_reaching, written_at
from pipeline.new_texts.writing import decisions, open_writer, written_as
from pipeline.process import run
from pipeline.prompting.params import PromptParams
from pipeline.stats.decisions import THRESHOLD

ALL = "all"


class TextClassifier:
    """A trained classifier, opened once, as scikit-learn's users expect one; it works from any folder.

    `name` is as `--classifier` says; `project` is the folder with params.yaml and models/, this one's unless another is given.
    `texts` are strings, or a frame with the columns that data.columns names.
    """

    def __init__(self, name: str | None = None, project: Path | None = None) -> None:
        self.project = project or Path(__file__).parents[1]
        with contextlib.chdir(self.project), ExitStack() as stack:
            self.name, self.threshold = choose(name)
            self.data = read_params("data", DataParams)
            self._score = stack.enter_context(open_scorer(self.name))
            self._opened = stack.pop_all()
        self.classes_ = np.array([0, 1])

    def predict_proba(self, texts: str | Sequence[str] | pd.DataFrame) -> np.ndarray:
        """P(target) of each text, shape (n, 2); NaN where an LLM's reply could not be read."""
        with contextlib.chdir(self.project):
            score = self._score(batch_of(texts, self.data).tweets)
        return np.column_stack([1 - score, score])

    def predict(self, texts: str | Sequence[str] | pd.DataFrame) -> np.ndarray:
        """The target of each text, 0 or 1, shape (n,), at the classifier's threshold."""
        return np.asarray(self.predict_proba(texts)[:, 1] > self.threshold, dtype=int)

    def close(self) -> None:
        with contextlib.chdir(self.project):
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def batch_of(texts: str | Sequence[str] | pd.DataFrame, data: DataParams) -> Batch:
    """Texts as a classifier takes them; a single string is one text."""
    if isinstance(texts, pd.DataFrame):
        ours = {theirs: name for name, theirs in data.columns if theirs}
        raw = texts.rename(columns=ours).filter(["text", "keyword", "location"])
        raw = raw.astype(object).where(raw.notna(), None)
    else:
        raw = pd.DataFrame({"text": [texts] if isinstance(texts, str) else list(texts)}, dtype=object)
    return checked(raw.set_axis(range(1, len(raw) + 1)), data.columns, "texts: number")


def predict(texts: str | Sequence[str], classifier: str | None = None) -> np.ndarray:
    """P(target = 1) of each text, shape (n,), as `TextClassifier` gives it; the last classifier that was asked stays open."""
    project = Path.cwd() if Path("params.yaml").is_file() else Path(__file__).parents[1]
    with contextlib.chdir(project):
        name = choose(classifier)[0]
        made = written_at(name)
    if made is None:  # a prompt: it holds a connection and the store
        with TextClassifier(name, project) as opened_once:
            return np.asarray(opened_once.predict_proba(texts)[:, 1])
    return np.asarray(last_opened(name, project, made).predict_proba(texts)[:, 1])


@lru_cache(maxsize=1)
def last_opened(name: str, project: Path, _made: int) -> TextClassifier:
    return TextClassifier(name, project)


# --- the command ------------------------------------------------------------------------------------------------------


def opened(path: Path | None) -> BinaryIO:
    """A file, or standard input (None), as bytes."""
    try:
        return path.open("rb") if path else sys.stdin.buffer
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None


def rule_for(given: argparse.Namespace) -> tuple[list[str], float]:
    """The classifiers to ask, and the threshold of one alone."""
    if given.classifier == ALL:
        return all_trained(), THRESHOLD
    name, threshold = choose(given.classifier)
    if given.threshold is not None:
        threshold = given.threshold
    elif given.recall or given.precision:
        threshold, said = threshold_reaching(name, given.recall or 0.0, given.precision or 0.0)
        print(f"{name}: {said}", file=sys.stderr)
    return [name], threshold


def answered(
    given: argparse.Namespace, batch: Batch, scorers: dict[str, Scorer], threshold: float, labels: list[str]
) -> pd.DataFrame:
    """A row for each text of a batch, as it is written."""
    scores = {name: score(batch.tweets) for name, score in scorers.items()}
    name = next(iter(scores))
    if given.classifier == ALL:
        found = pd.DataFrame({batch.ids.name: batch.ids} | scores)
    else:
        found = decisions(batch.ids, scores[name], threshold, labels)
    if given.with_text:
        found["text"] = batch.tweets["raw_text"].to_numpy()
    if given.explain:
        found["words"] = words_that_spoke(scorers[name], batch.tweets, scores[name])
    return found


def score_stream(given: argparse.Namespace) -> None:
    """Read, score and write batch by batch; whatever else is said goes to standard error."""
    source, target = (None if str(path) == "-" else path for path in (given.input, given.output))
    by_hand = source is None and not given.format and (bool(given.texts) or sys.stdin.isatty())
    kind = "text" if by_hand else format_of(source, given.format)
    to = written_as(target, kind)
    if source and target and source.resolve() == target.resolve():
        raise InputError(f"{target}: is the input; write to another file")
    data = read_params("data", DataParams)
    columns = data.columns.model_copy(update={"text": given.text} if given.text else {})
    names, threshold = rule_for(given)
    alone = given.classifier != ALL
    in_lines = by_hand and target is None
    given.with_text |= in_lines
    if by_hand and not given.texts:
        given.batch = 1
        print("a text a line; Ctrl-D ends", file=sys.stderr)
    skipped: list[str] = []
    rows = unread = positive = 0
    stdout = sys.stdout
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        typed = "\n".join(" ".join(text.split()) for text in given.texts).encode()
        file = stack.enter_context(io.BytesIO(typed) if given.texts else opened(source))
        scorers = {name: stack.enter_context(open_scorer(name)) for name in names}
        in_words = partial(show, labels=data.labels, stdout=stdout)
        write = in_words if in_lines else stack.enter_context(open_writer(target, to, stdout))
        progress = stack.enter_context(tqdm(desc=", ".join(names), unit=" texts", disable=in_lines or None))
        skip = skipped.append if given.on_error == "skip" else None
        for batch in batches(file, kind, columns, given.batch, str(source or "standard input"), skip):
            found = answered(given, batch, scorers, threshold, data.labels)
            write(found)
            rows += len(found)
            if alone:
                unread += int(found["score"].isna().sum())
                positive += int(found["target"].sum())
            progress.update(len(found))
        if unread and unread > read_params("prompt", PromptParams).max_unparsed * rows:
            raise InputError(f"{names[0]}: {unread} of {rows} replies could not be read, more than prompt.max_unparsed")
    said = [f"predict: {rows:,} texts by {', '.join(names)}"]
    if alone:
        said.append(f", {positive:,} above {threshold:.3g}: {data.labels[1]}")
    if unread:
        said.append(f"; {unread:,} replies could not be read")
    if skipped:
        aside = target.with_suffix(".skipped.txt") if target else Path("skipped.txt")
        write_text(aside, "\n".join(skipped) + "\n")
        said.append(f"; {len(skipped):,} bad rows left out: {aside}")
    if skipped or not in_lines:
        print(*said, sep="", file=sys.stderr)


def share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError("between 0 and 1")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", help="texts to score, each in quotes")
    parser.add_argument("--classifier", help="such as naive_bayes, lora_minilm, prompt_zero_shot or blend; or all")
    parser.add_argument("--input", type=Path, default=Path("-"), help="a file, or - for standard input")
    parser.add_argument("--output", type=Path, default=Path("-"), help="a file, or - for standard output")
    parser.add_argument(
        "--format", choices=get_args(Format), help="of standard input, or where a file's name says none"
    )
    parser.add_argument("--text", help="the texts' column, if it is not that of data.columns")
    parser.add_argument("--batch", type=int, default=1024, help="texts at once")
    parser.add_argument("--with-text", action="store_true", help="write the texts, too")
    parser.add_argument(
        "--explain", action="store_true", help="write the words that spoke: as many scorings as a text has words"
    )
    parser.add_argument(
        "--on-error", choices=["stop", "skip"], default="stop", help="leave bad rows out, and say which"
    )
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--threshold", type=share, help="what a score must be above")
    rule.add_argument("--recall", type=share, help="find this share of the positives, as out-of-fold scores say")
    rule.add_argument("--precision", type=share, help="be right on this share of what is called positive")
    given = parser.parse_args()
    if given.batch < 1:
        parser.error("--batch must be 1 or more")
    if given.classifier == ALL and (given.explain or given.threshold or given.recall or given.precision):
        parser.error("all: several classifiers have no threshold in common, and are explained one at a time")
    if given.texts and (str(given.input) != "-" or given.format):
        parser.error("texts, or --input and --format, not both")
    try:
        score_stream(given)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run(main, many=True)
