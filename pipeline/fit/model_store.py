"""What a cross-fitted classifier leaves: predictions, costs, and models that score new tweets as they scored the test tweets.

models/<name>/classifier.json says what it is; fold-<k>/ or refit/ hold its models (of several seeds in seed-<s>/ inside).
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipeline.contracts import (
    Costs,
    InputError,
    Prepared,
    peak_memory_mb,
    predictions_frame,
    prepared_digest,
    write_costs,
    write_predictions,
)
from pipeline.fit.classifier import Classifier, family_called
from pipeline.fit.cross_fit import MODELS, CrossFit, Kept, mean_log_odds
from pipeline.fit.model_files import read_json, write_json
from pipeline.latency import Latency, after_reading, timed, with_latency
from pipeline.places import anywhere, results

FILE = "classifier.json"
TOLERANCE = 0.05
"""Of a saved model's scores: rounded weights and other batches differ by less, a part that was not saved by more."""


class Description(BaseModel):
    """The content of classifier.json."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal[1] = 1
    family: Annotated[str, StringConstraints(pattern=r"^(counts|distil|finetune|vectors)\.[a-z][a-z0-9_]*$")]
    preset: Annotated[str, StringConstraints(pattern=r"^\w[\w-]*$")] | None
    test_rows: Literal["mean log-odds", "refit"]
    parts: list[Annotated[str, StringConstraints(pattern=r"^(fold-\d+|refit)$")]] = Field(min_length=1)
    """Folders of the models that score a new tweet."""
    seeds: int = Field(ge=1)
    """How many models there are in each."""
    determined_by: dict[str, Any]
    """The params that it was trained with."""
    prepared: str
    """Hash of the prepared tweets that it was trained on."""


@dataclass(frozen=True)
class Trained:
    """A trained classifier: from tweets to P(target = 1).

    The tweets' columns are `text` (cleaned), `keyword`, `location` (string or null) and `raw_text`.
    """

    name: str
    models: int
    """How many score each tweet."""
    read: Callable[[pd.DataFrame], pd.DataFrame]
    """Adds what the models read beside the columns: embeddings."""
    score: Callable[[pd.DataFrame], np.ndarray]
    """Scores of tweets that have it."""

    def __call__(self, tweets: pd.DataFrame) -> np.ndarray:
        """P(target = 1) of each tweet, shape (n,), as a test tweet was scored: the models' mean log-odds, or the refit's."""
        return self.score(self.read(tweets)) if len(tweets) else np.zeros(0)


def write_description(
    name: str, own: Classifier, test_rows: Literal["mean log-odds", "refit"], parts: list[str], prepared: str
) -> Description:
    """Write `models/<name>/classifier.json`."""
    description = Description(
        family=own.family(),
        preset=own.preset,
        test_rows=test_rows,
        parts=parts,
        seeds=max(1, len(seeds_in(results(MODELS) / name / parts[0]))),
        determined_by=json.loads(json.dumps(own.determined_by)),
        prepared=prepared,
    )
    write_json(results(MODELS) / name / FILE, description)
    return description


def read_family(
    name: str, folder: Path = MODELS, again: Callable[[str], str] = lambda _: "run `dvc repro`"
) -> tuple[Classifier, Description]:
    """The family of the classifier whose predictions are called `name`, with the params that made its models.

    They must have been trained on the prepared tweets, if there are any; `again` says of a name what to run if they were not.
    """
    own = anywhere(folder / name)
    if not re.fullmatch(r"\w[\w-]*", name):
        raise InputError(f"{name}: not a classifier's name")
    if not (own / FILE).is_file():
        known = ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{FILE}"))) or "none"
        raise InputError(f"{own}: no such model (there: {known}); {again(name)}")
    description = read_json(own / FILE, Description)
    family = family_called(description.family, description.preset, str(own / FILE))
    if (digest := prepared_digest()) and description.prepared != digest:
        raise InputError(f"{own}: trained on other tweets than data/prepared has now; {again(name)}")
    where = f"{own / FILE}: determined_by"
    return family.from_saved(description.determined_by, description.preset, where), description


def read_classifier(
    name: str, folder: Path = MODELS, again: Callable[[str], str] = lambda _: "run `dvc repro`"
) -> Trained:
    """The classifier whose predictions are called `name`, its models loaded once, whatever params.yaml says now."""
    family, description = read_family(name, folder, again)
    return opened(name, anywhere(folder / name), family, description.parts, description.seeds)


def opened(name: str, folder: Path, family: Classifier, parts: list[str], seeds: int) -> Trained:
    """The classifier whose models are in these parts of a folder, so many in each."""
    of_part = [load_part(family, folder / part, seeds) for part in parts]

    def score(tweets: pd.DataFrame) -> np.ndarray:
        try:
            of_each = [np.stack([family.predict(model, tweets) for model in models]) for models in of_part]
            scores = np.stack([mean_log_odds(each) if len(each) > 1 else each[0] for each in of_each])
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise InputError(f"{folder}: it cannot score these tweets: {' '.join(str(error).split())[:200]}") from None
        finally:
            family.forget()
        if not ((scores >= 0) & (scores <= 1)).all():
            raise InputError(f"{folder}: its scores are no probabilities; run `dvc repro` to train it anew")
        return mean_log_odds(scores)

    return Trained(name, sum(map(len, of_part)), family.read_new, score)


def seeds_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("seed-*"))


def load_part(family: Classifier, folder: Path, seeds: int) -> list[Any]:
    """The model of one part, or one of each seed."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; run `dvc repro` to train it anew")
    paths = seeds_in(folder) or [folder]
    if len(paths) != seeds:
        raise InputError(f"{folder}: {len(paths)} models, and there were {seeds}; run `dvc repro` to train it anew")
    return [family.load(path) for path in paths]


def timed_saved(saved: Trained, test: pd.DataFrame, expected: np.ndarray) -> Latency:
    """How fast a saved classifier scores test tweets that have what it reads.

    It is refused if it scores them otherwise than `expected`, shape (n,).
    """
    test = test.reset_index(drop=True)
    latency, scores = timed(saved.score, test)
    apart = (scores - expected[scores.index]).abs()
    if apart.max() > TOLERANCE:
        worst = test["id"].iloc[apart.idxmax()]
        raise InputError(
            f"models/{saved.name}: read back, it scores tweet {worst} otherwise, by {apart.max():.2g}: not all of it was saved"
        )
    return latency


def write_cross_fit(
    name: str,
    own: Classifier,
    prepared: Prepared,
    fitted: CrossFit[Kept],
    *,
    trainable: int,
    total: int,
    reads: str | None = None,
    alone: bool = True,
    noise: float | None = None,
) -> None:
    """Write `predictions/<name>.parquet` and `costs/<name>.json`; the parameter counts are those of one fold's model.

    The models that were saved are described, and timed, unless other processes that do not come here share the work (not
    `alone`). `reads` names the costs of getting from a text to what the models read.
    """
    train = predictions_frame(prepared.train, "train", fitted.train)
    test = predictions_frame(prepared.test, "test", fitted.test)
    write_predictions(name, [train, test], prepared, own.school, fitted.test_rows, noise=noise)
    costs = Costs(
        fit_seconds=fitted.fit_seconds,
        peak_memory_mb=peak_memory_mb(),
        trainable_parameters=trainable,
        total_parameters=total,
    )
    description = write_description(name, own, fitted.test_rows, fitted.parts, prepared.digest)
    if alone and len(prepared.test):
        saved = opened(name, results(MODELS) / name, own, fitted.parts, description.seeds)
        costs = with_latency(costs, timed_saved(saved, prepared.test, fitted.test))
    write_costs(name, after_reading(costs, reads) if reads else costs)
