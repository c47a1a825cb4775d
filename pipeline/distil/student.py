"""One small encoder that learns what a larger classifier, its teacher, says of texts. Discriminative: p(label | text).

in:  data/prepared, what the teachers read, the base model of a preset of lora
out: predictions/student.parquet, costs/student.json, models/student/refit/{fp32,int8}: ONNX, which needs no torch
run: dvc repro study/dvc.yaml:distil@student   (or python -m pipeline.stage distil.student)

A teacher scores no text that it has learnt from, and a student that scores a fold has teachers that never saw it: they leave two
folds out, ten of them for five folds. Started again after it was interrupted it goes on from the last finished epoch.
Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531; teachers that have not seen a text: as in stacking (Wolpert 1992).
"""

import argparse
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Self, get_args

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.special import expit

from pipeline.compare.taking_part import family_of
from pipeline.contracts import InputError, Name, Params, Prepared, read_costs, read_params, read_prepared, write_text
from pipeline.counts.transductive_naive_bayes import unlabelled
from pipeline.data.source import DataParams
from pipeline.distil.onnx_encoder import NETWORK, OnnxEncoder, Reads, with_rule
from pipeline.fit.classifier import Classifier, read_classifier_of
from pipeline.fit.cross_fit import MODELS, REFIT, cross_fit, inner_splits, part
from pipeline.fit.model_store import write_cross_fit
from pipeline.places import results
from pipeline.stats.bootstrap import bootstrap_means
from pipeline.stats.metrics import log_odds
from pipeline.stats.post_hoc_calibration import calibrated_by_fold, inverse_temperature
from pipeline.stats.threshold import best_threshold

Weights = Literal["fp32", "int8"]
INNER_FOLDS = 5
"""Where the tweets have no folds of their own."""


class StudentParams(Params):
    teacher: list[Name] = Field(["lora_minilm"], min_length=1)
    """A classifier that takes part, or several, whose mean log-odds it learns; they are fitted anew, on fewer folds."""
    unlabelled: bool = True
    """Whether it learns of the test texts, too, what its teacher says of them."""
    like: Name = "minilm"
    """The preset of lora whose base model, adapters and batches it has."""
    depth: int = Field(5, ge=1)
    """How many of the base model's layers are kept, from the words on."""
    epochs: int = Field(3, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    label_weight: float = Field(0.5, ge=0, le=1)
    """Of a text's own label, beside what the teacher says."""
    weights: Weights = "int8"
    """Which of the two folders scores; the other is written, too."""


@dataclass(frozen=True)
class Pupil:
    """A trained student: the folder that it was written to, and what scores by it."""

    folder: Path
    encoder: OnnxEncoder
    seconds: float = 0.0
    parameters: tuple[int, int] = (0, 0)
    """Trainable ones, and all."""
    temporary: TemporaryDirectory[str] | None = None
    """What deletes the folder when it is forgotten."""

    def predict(self, tweets: pd.DataFrame) -> np.ndarray:
        return self.encoder.predict(tweets["text"].tolist())


class Student(Classifier):
    school = "discriminative"
    presets = False
    semi_supervised = True
    params_type = StudentParams
    params: StudentParams

    @classmethod
    def read(cls, preset: str | None = None) -> Self:  # noqa: ARG003 - there are none
        return cls(read_params(cls.name(), StudentParams))

    def teachers(self) -> list[Classifier]:
        """Those that params name, with their own params."""
        where = "params: student.teacher"
        return [read_classifier_of(*family_of(name, where), where) for name in self.params.teacher]

    def with_inputs(self, prepared: Prepared) -> Prepared:
        for teacher in self.teachers():
            prepared = teacher.with_inputs(prepared)
        return prepared

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Pupil:
        """From tweets of which some have no label (-1). The teachers leave out one fold of the others at a time.

        The folds are those of the column `fold`, if there are several, or else inner ones.
        """
        from pipeline.distil import export, teach  # noqa: PLC0415 - to score it takes no torch

        known = labels >= 0
        folds = tweets["fold"].to_numpy()[known].astype(int)
        if len(np.unique(folds)) < 2:
            for number, (_, held) in enumerate(inner_splits(labels[known], tweets["group"][known], INNER_FOLDS, seed)):
                folds[held] = number
        soft = teach.what_teachers_say(self.teachers(), tweets, labels, folds)
        soft[known] += self.params.label_weight * (labels[known] - soft[known])
        small = teach.Small.of(self.params.like, self.params.depth, self.params.epochs, self.params.learning_rate)
        model = small.train(tweets, soft, seed, resumable=True)
        place = TemporaryDirectory()
        names = read_params("data", DataParams).labels
        export.write(small.whole(model), model.tokenizer, small.params.max_tokens, names, Path(place.name))
        encoder = OnnxEncoder.open(Path(place.name) / self.params.weights)
        return Pupil(Path(place.name), encoder, model.seconds, small.sizes(), place)

    def parameters(self, model: Pupil) -> int:
        return model.parameters[0]

    def save(self, model: Pupil, folder: Path) -> None:
        shutil.copytree(model.folder, folder, dirs_exist_ok=True)

    def load(self, folder: Path) -> Pupil:
        return Pupil(folder, OnnxEncoder.open(folder / self.params.weights))

    def forecast(self, folds: int) -> str:
        """What the teachers will take, as far as their own stages tell."""
        count = folds * (folds - 1) // 2 + folds
        time = "how long is not known, for its costs are not there"
        with suppress(InputError):
            seconds = sum(read_costs(name).fit_seconds for name in self.params.teacher) / folds * count
            time = f"about {seconds / 60:.0f} min less what the store has"
        return f"student: {count} fits of {' and '.join(self.params.teacher)}, {time}; then {folds + 1} of its own"

    @classmethod
    def main(cls) -> None:
        """Score all tweets out of fold, and export the model that learns from all."""
        argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
        own = cls.read()
        prepared = own.with_inputs(read_prepared())
        train, of_weights = prepared.train, []
        print(own.forecast(train["fold"].nunique()))

        def fit_fold(fold: int, tweets: pd.DataFrame, labels: np.ndarray) -> Pupil:
            more = unlabelled(prepared, fold) if own.params.unlabelled else prepared.test.head(0)
            return own.fit(pd.concat([tweets, more]), np.append(labels, np.full(len(more), -1)))

        def predict(pupil: Pupil, tweets: pd.DataFrame) -> np.ndarray:
            texts = tweets["text"].tolist()
            scores = {kind: OnnxEncoder.open(pupil.folder / kind).predict(texts) for kind in get_args(Weights)}
            of_weights.append(pd.DataFrame(scores, index=tweets.index))
            return scores[own.params.weights]

        def keep(pupil: Pupil) -> tuple[float, tuple[int, int]]:
            return pupil.seconds, pupil.parameters

        fitted = cross_fit(cls.name(), prepared, fit_fold, predict, keep, refit=True, save=own.save)
        seconds, sizes = zip(*fitted.kept, strict=True)
        targets, folds = train["target"].to_numpy(), train["fold"].to_numpy()
        factor = inverse_temperature(fitted.train, targets)
        scores, _ = calibrated_by_fold(fitted.train, targets, folds, "temperature")
        fitted = replace(
            fitted,
            train=scores,
            test=expit(factor * log_odds(fitted.test)),
            fit_seconds=max(fitted.fit_seconds, sum(seconds)),
        )
        threshold = best_threshold(targets, scores)
        both = pd.concat(of_weights[: len(seconds) - 1]).reindex(train.index)
        for kind in get_args(Weights):
            folder = results(MODELS) / cls.name() / part(REFIT) / kind
            reads = with_rule(folder, factor, threshold)
            write_text(folder / "README.md", card(own.params, kind, both, train, reads, folder / NETWORK))
        write_cross_fit(cls.name(), own, prepared, fitted, trainable=sizes[0][0], total=sizes[0][1])


CARD = """# {name}, {kind}

Tells {labels[1]} from {labels[0]} in short texts: the lowest {depth} layers of {base}, taught by {teacher}; {megabytes:.1f} MB.

- Reads `text` as the pipeline cleans it, {reads.longest} tokens at most. `tokenizer.json` makes the tokens, `model.onnx` two
  logits; P({labels[1]}) is the logistic of their difference, divided by the temperature in `encoder.json`.
- Out of fold on {rows:,} texts, by models made like this one that never saw them or a near-duplicate: accuracy {accuracy:.4f}
  [{low:.4f}, {high:.4f}] at one half; {same:.2%} of the labels are those of the other precision. The best threshold there is
  {threshold:.3f}.
- A score is about one text: no evidence that what it says is true. Other years and languages were not measured.
- Licence: the base model's.
"""


def card(
    params: StudentParams, kind: Weights, scores: pd.DataFrame, train: pd.DataFrame, reads: Reads, network: Path
) -> str:
    """What is in a folder, for those who get it alone; `scores` are out-of-fold ones, a column for each precision."""
    decided = scores > 0.5
    right = (decided[kind].to_numpy() == train["target"]).to_numpy(dtype=float)
    low, high = bootstrap_means(right, train["group"].to_numpy(), 1000, 0)
    return CARD.format(
        name="student", kind=kind, labels=reads.labels, reads=reads, base=f"the base model of lora.{params.like}",
        depth=params.depth, teacher=" and ".join(params.teacher), megabytes=network.stat().st_size / 1e6,
        rows=len(train), accuracy=right.mean(), low=low[0], high=high[0], threshold=reads.threshold,
        same=(decided["fp32"] == decided["int8"]).mean(),
    )  # fmt: skip


FAMILY = Student
