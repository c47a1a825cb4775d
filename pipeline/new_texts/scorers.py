"""Who scores new texts, and what decides: a trained classifier, the blend, or a prompt, at the threshold of the submission."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError
from scipy.special import expit

from pipeline.compare.blend_weights import ALL_ROWS, Weights, to_log_odds
from pipeline.compare.submission import BLEND
from pipeline.compare.submission import OUT as SUBMISSION
from pipeline.compare.taking_part import all_stages
from pipeline.contracts import PREPARED, InputError, first_fault, read_json, read_params, reason
from pipeline.data.source import DataParams
from pipeline.fit.model_store import read_classifier
from pipeline.stats.decisions import THRESHOLD

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
    if name and not path.is_file():
        return name, THRESHOLD
    try:
        choice = Choice.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; name a classifier (--classifier), or run `dvc repro submission`"
        ) from None
    except (OSError, ValidationError) as error:
        raise InputError(f"{path}: not what the stage submission writes: {first_fault(error)}") from None
    name = name or choice.chosen.classifier
    return name, next((one.threshold for one in choice.candidates if one.classifier == name), THRESHOLD)


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
