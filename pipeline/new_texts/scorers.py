"""Who scores new texts, and what decides: a trained classifier, the blend, or a prompt, at the threshold of the submission."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel
from scipy.special import expit

from pipeline.compare.blend_weights import ALL_ROWS, Weights, to_log_odds
from pipeline.compare.scored import scored_rows
from pipeline.compare.submission import BLEND
from pipeline.compare.submission import OUT as SUBMISSION
from pipeline.compare.taking_part import all_stages
from pipeline.contracts import (
    PREDICTIONS,
    PREPARED,
    InputError,
    read_json,
    read_params,
    read_predictions,
    read_prepared,
    reason,
    validated,
)
from pipeline.data.source import DataParams
from pipeline.fit.cross_fit import MODELS
from pipeline.fit.model_store import read_classifier
from pipeline.places import STUDY, anywhere
from pipeline.stats.decisions import THRESHOLD, decide
from pipeline.stats.threshold import reaching

Scorer = Callable[[pd.DataFrame], np.ndarray]
"""From tweets (`text` cleaned, `keyword`, `location`, `raw_text`) to P(target = 1), shape (n,); NaN for a reply not read."""


class Ruled(BaseModel):
    classifier: str
    threshold: float


class Choice(BaseModel):
    """The part of submission/choice.json that says who decides, and at which threshold."""

    chosen: Ruled
    candidates: list[Ruled]


def choose(name: str | None, path: Path = SUBMISSION / "choice.json") -> tuple[str, float]:
    """The classifier and its threshold: the one that would be submitted if no name is given, one half if none was fitted."""
    if not path.is_file():
        if name:
            return name, THRESHOLD
        raise InputError(f"{path}: no such file; name a classifier (--classifier), or run `dvc repro submission`")
    choice = validated(Choice, read_json(path), f"{path}: not what the stage submission writes: choice")
    name = name or choice.chosen.classifier
    return name, next((one.threshold for one in choice.candidates if one.classifier == name), THRESHOLD)


def all_trained() -> list[str]:
    """The classifiers in models/, those of the study, too."""
    files = [path for folder in (Path(), STUDY) for path in sorted((folder / MODELS).glob("*/classifier.json"))]
    if not files:
        raise InputError(f"{MODELS}: no trained classifiers; run `make repro` first")
    return [path.parent.name for path in files]


def written_at(name: str) -> int | None:
    """When a trained classifier was made, in nanoseconds; None of one that is not kept in files."""
    path = Path(BLEND) / "weights.csv" if name == BLEND else anywhere(MODELS / name / "classifier.json")
    return path.stat().st_mtime_ns if path.is_file() else None


def threshold_reaching(name: str, recall: float, precision: float) -> tuple[float, str]:
    """The threshold that reaches a share on the out-of-fold scores of a classifier, and in words what it costs there."""
    path = Path(BLEND) / f"{BLEND}.parquet" if name == BLEND else anywhere(PREDICTIONS / f"{name}.parquet")
    prepared = read_prepared()
    rows = scored_rows(prepared, read_predictions(path, prepared))
    targets, scores = rows["target"].to_numpy(), rows["score"].to_numpy()
    try:
        threshold, found, right = reaching(targets, scores, recall=recall, precision=precision)
    except ValueError:
        wanted = f"precision of {precision:.0%}" if precision else f"recall of {recall:.0%}"
        raise InputError(f"{name}: no threshold has a {wanted} on its out-of-fold scores") from None
    at_half = (decide(targets, scores) == targets).mean()
    accuracy = (decide(targets, scores, threshold) == targets).mean()
    return threshold, (
        f"threshold {threshold:.3f}: out of fold it finds {found:.1%} of the positives, {right:.1%} of what it calls one is "
        f"one, and {accuracy:.1%} of all are decided rightly, {at_half:.1%} at one half"
    )


def read_weights(path: Path = Path(BLEND) / "weights.csv") -> tuple[list[str], Weights]:
    """The blend's members, and their weights, of those whose weight is not 0."""
    try:
        table = pd.read_csv(path)
        rows = table[(table["fold"] == ALL_ROWS) & (table["weight"] > 0)]
        method, intercept = str(rows["method"].iloc[0]), float(rows["intercept"].iloc[0])
        return rows["classifier"].tolist(), Weights(method, intercept, rows["weight"].to_numpy(dtype=float))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path}: not what the stage blend writes ({reason(error)}); run `dvc repro blend`") from None


@contextmanager
def open_blend() -> Iterator[Scorer]:
    names, weights = read_weights()
    with ExitStack() as stack:
        members = [stack.enter_context(open_scorer(name)) for name in names]

        def score(tweets: pd.DataFrame) -> np.ndarray:
            log_odds = to_log_odds(np.stack([member(tweets) for member in members], axis=1))
            return np.asarray(expit(weights(log_odds)))

        yield score


def check_labels(path: Path = PREPARED / "report.json") -> None:
    """Raise `InputError` if data.labels are others than those of the tweets that all classifiers here have learnt from."""
    wanted = read_params("data", DataParams).labels
    if path.is_file() and (learnt := read_json(path).get("labels", wanted)) != wanted:
        raise InputError(
            f"params.yaml: data.labels: {' / '.join(wanted)}, and the classifiers have learnt to tell {' / '.join(learnt)}; "
            "run `dvc repro`"
        )


def train_anew(name: str) -> str:
    """What makes a classifier of this name, for an error that misses it: a command if there is one, or else like names."""
    stages = all_stages()
    if name in stages:
        return f"run `dvc repro {stages[name]}`"
    near = " or ".join(difflib.get_close_matches(name, stages))
    return "no stage makes it: see `classifiers` in params.yaml" + (f", or did you mean {near}?" if near else "")


@contextmanager
def open_scorer(name: str) -> Iterator[Scorer]:
    """A classifier by the name of its predictions, loaded once, to be asked any number of times within the block."""
    check_labels()
    if name == BLEND:
        with open_blend() as score:
            yield score
    elif name.startswith("prompt_"):
        from pipeline.new_texts.prompted import open_prompt  # noqa: PLC0415 - only prompts need openai

        with open_prompt(name.removeprefix("prompt_")) as score:
            yield score
    elif name.startswith("imported_"):
        raise InputError(f"{name}: imported answers say nothing of new texts; take another with --classifier")
    else:
        yield read_classifier(name, again=train_anew)
