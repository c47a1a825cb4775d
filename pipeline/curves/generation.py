"""What only generative models can do: make new tweets. How good are they?

Each family is fitted to the training folds and sampled; one fold is held out as real tweets that no model has seen.

- classification accuracy score: a fixed logistic regression learns from samples alone, and from as many real tweets; both are
  tested on the held-out tweets (Ravuri & Vinyals 2019, https://arxiv.org/abs/1905.10887)
- few labels: the family is fitted to n labelled tweets, and its samples are added to them; is that better than the n alone?
- memorised or new: how far the nearest training tweet is from a sample, and from a held-out tweet
- diversity: how far samples of a class are from each other, held-out tweets likewise; of texts also distinct-1 and -2

Families over texts generate words (keywords and the order of a bag tell nothing here); those over embeddings generate vectors
in their own space, shown by the training tweet next to them.

in:  data/prepared, data/embed
out: study/generation/: samples.jsonl (every sample, with its nearest training tweet), metrics.csv, table.md
run: make study   (or python -m pipeline.stage --study curves.generation)
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from pipeline.compare.scored import BootstrapParams
from pipeline.contracts import InputError, Params, Prepared, read_params, read_prepared, write_text, written_whole
from pipeline.contracts.files import write_csv
from pipeline.curves.sample_quality import (
    Measure,
    Rows,
    accuracy_score,
    diversity,
    gain,
    nearest,
    novelty,
    points,
    right_after,
)
from pipeline.fit.classifier import Classifier, read_classifier_of
from pipeline.fit.cross_fit import training_rows
from pipeline.fit.subsets import nested_order
from pipeline.places import STUDY
from pipeline.tables import LOW_HIGH, Column, Table, page, spread
from pipeline.vectors.space import vectors

OUT = STUDY / "generation"
SAMPLE = ["family", "target", "text", "nearest_id", "nearest_target", "nearest_text", "distance"]


class AugmentationParams(Params):
    sizes: list[Annotated[int, Field(ge=8)]] = Field([32, 128, 512])
    """Numbers of labelled tweets that a family is fitted to."""
    added: float = Field(4.0, gt=0)
    """Samples for each of them."""
    seeds: int = Field(5, ge=2)
    """Subsets of each size, the folds held out in turn."""


class GenerationParams(BootstrapParams):
    families: list[str] = Field(min_length=1)
    """Modules under `pipeline` whose FAMILY has `samples`."""
    encoder: str
    """Whose embeddings those under `vectors` are fitted to."""
    fold: int = Field(0, ge=0)
    """Held out."""
    per_class: int = Field(500, ge=10)
    """Samples of each class, and real tweets that they are compared to; no more than the rarer class has for training."""
    C: float = Field(1.0, gt=0)
    """Inverse strength of the L2 penalty of the logistic regression that learns from them."""
    augmentation: AugmentationParams = AugmentationParams()


def read_family(name: str, encoder: str) -> Classifier:
    """A family that can sample."""
    family = read_classifier_of(name, encoder if name.startswith("vectors.") else None, f"generation.families: {name}")
    if not family.samples:
        raise InputError(f"generation.families: {name}: it cannot sample")
    return family


def real_rows(model: Any, tweets: pd.DataFrame) -> Rows:
    """Real tweets as the family's samples are: texts, or vectors in its space."""
    if "vector" not in tweets:
        return tweets["text"].to_numpy(dtype=object)
    x = vectors(tweets)
    return np.asarray(model.space.transform(x)) if hasattr(model, "space") else x


def generated_rows(family: Classifier, model: Any, numbers: Sequence[int], seed: int) -> tuple[Rows, np.ndarray]:
    """So many samples of label 0 and of label 1, and their labels."""
    drawn = [family.sample(model, label, n, 2 * seed + label) for label, n in enumerate(numbers)]
    rows = [np.array(each, dtype=object) if isinstance(each, list) else each for each in drawn]
    return np.concatenate(rows), np.repeat([0, 1], numbers)


def of_each_class(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Positions of so many rows of each label, drawn at random."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.choice(np.flatnonzero(labels == label), number, replace=False) for label in (0, 1)])


def augmented(
    family: Classifier, prepared: Prepared, size: int, seed: int, params: GenerationParams
) -> tuple[float, float]:
    """Accuracy on a held-out fold after `size` labelled tweets with samples of a model of them, and without."""
    train, folds = prepared.train, sorted(prepared.train["fold"].unique().tolist())
    fold = folds[seed % len(folds)]
    tweets, labels = training_rows(train, fold)
    known = nested_order(tweets, labels, seed)[:size]
    tweets, labels = tweets.iloc[known], labels[known]
    model = family.fit(tweets, labels, seed)
    real = train[train["fold"] == fold]
    rows, held_out, targets = real_rows(model, tweets), real_rows(model, real), real["target"].to_numpy()
    numbers = [round(params.augmentation.added * (labels == label).sum()) for label in (0, 1)]
    new, of_new = generated_rows(family, model, numbers, seed)
    both, of_both = np.concatenate([rows, new]), np.concatenate([labels, of_new])
    with_samples = right_after(both, of_both, held_out, targets, params.C).mean()
    return float(with_samples), float(right_after(rows, labels, held_out, targets, params.C).mean())


def examine(family: Classifier, prepared: Prepared, params: GenerationParams) -> tuple[pd.DataFrame, list[Measure]]:
    """The samples of a family that has learnt from all training folds, and all that is measured of them.

    A row for each sample: its text if it has one, and the training tweet nearest to it.
    """
    name, train = family.name(), prepared.train
    tweets, labels = training_rows(train, params.fold)
    real = train[train["fold"] == params.fold]
    targets, groups = real["target"].to_numpy(), real["group"].to_numpy()
    model = family.fit(tweets, labels, params.seed)
    number = min(params.per_class, int(np.bincount(labels, minlength=2).min()))
    new, of_new = generated_rows(family, model, [number, number], params.seed)
    rows, held_out = real_rows(model, tweets), real_rows(model, real)
    of_train, of_real, of_samples = points([rows, held_out], [new])
    distance, position = nearest(of_train, of_samples)
    near = tweets.iloc[position][["id", "target", "text"]].add_prefix("nearest_")
    samples = near.assign(family=name, target=of_new, text=new if new.ndim == 1 else None, distance=distance)
    as_many = of_each_class(labels, number, params.seed)
    # of each class as many samples as held-out tweets
    compared = min(number, int(np.bincount(targets, minlength=2).min()))
    ours, theirs = (of_each_class(each, compared, params.seed).reshape(2, -1) for each in (of_new, targets))
    learnt = (new, of_new), (rows[as_many], labels[as_many])
    measures = [
        accuracy_score(name, *learnt, (held_out, targets), groups, C=params.C, draws=params.draws, seed=params.seed),
        *novelty(name, distance, nearest(of_train, of_real)[0]),
        *diversity(
            name, [(new[own], of_samples[own]) for own in ours], [(held_out[own], of_real[own]) for own in theirs]
        ),
    ]
    return samples[SAMPLE].reset_index(drop=True), measures


def few_labels(family: Classifier, prepared: Prepared, params: GenerationParams) -> list[Measure]:
    """What samples add to each number of labels that every fold has."""
    most = min(len(training_rows(prepared.train, fold)[0]) for fold in prepared.train["fold"].unique())
    sizes, seeds = [size for size in params.augmentation.sizes if size <= most], range(params.augmentation.seeds)
    asked = tqdm([(size, seed) for size in sizes for seed in seeds], desc=f"  {family.name()}", unit="fit", leave=False)
    found = {(size, seed): augmented(family, prepared, size, seed, params) for size, seed in asked}
    return [gain(family.name(), size, [found[size, seed] for seed in seeds]) for size in sizes]


# --- the page ----------------------------------------------------------------------------------------------------------

MEASURED = (
    "Memorised or new, and how diverse; in brackets real texts. Texts are compared by the cosine of TF-IDF, vectors by Euclid "
    "in the space of the family, so that distances in one space say nothing of those in another:"
)
BY_FAMILY = Column("Family", "family")
LEARNT = [
    BY_FAMILY,
    Column("Learnt from", "rows", ",.0f"),
    Column("Accuracy after samples", "generated", ".3f"),
    Column("after real texts", "real", ".3f"),
    Column("Difference, points", "value", "+.1f", 100, LOW_HIGH),
]
MEASURES = {
    "nearest distance": "Distance to training, median",
    "closer than 1 % of real": "Closer than 1 % of real",
    "copies": "Copies",
    "mean pairwise distance": "Distance to each other, mean",
    "self-similarity": "Self-similarity",
    "distinct-1": "Distinct-1",
    "distinct-2": "Distinct-2",
}


def render(metrics: pd.DataFrame, fold: int, added: float, seeds: int) -> str:
    """From a row for each `Measure`."""
    metrics = metrics.assign(value=metrics["generated"] - metrics["real"])
    measured = metrics[metrics["measure"].isin(MEASURES)]
    parts = [
        f"Fitted without fold {fold}, which is what real texts mean below; 95 % intervals.",
        "A logistic regression learns from samples, or from as many real training texts (classification accuracy score):",
        Table(metrics[metrics["measure"] == "accuracy score"], LEARNT).markdown(),
        MEASURED,
        spread(
            measured, BY_FAMILY, MEASURES, "measure", lambda row: f"{row['generated']:.3f} ({row['real']:.3f})"
        ).markdown(),
    ]
    few = metrics[metrics["measure"] == "few labels"]
    if len(few):
        sizes = {size: f"{size:,} labels" for size in few["rows"].unique()}
        parts += [
            f"Accuracy after n labelled texts, and what {added:g} samples for each add, in points ({seeds} subsets):",
            spread(few, BY_FAMILY, sizes, "rows", lambda row: f"{row['real']:.3f} {LEARNT[-1].text(row)}").markdown(),
        ]
    return page(*parts)


def main() -> None:
    params, prepared = read_params("generation", GenerationParams), read_prepared()
    if params.fold not in set(prepared.train["fold"]):
        raise InputError(f"generation.fold: there is no fold {params.fold}")
    families = [read_family(name, params.encoder) for name in params.families]
    samples: list[pd.DataFrame] = []
    measures: list[Measure] = []
    for family in tqdm(families, desc="generation", unit="family"):
        with_inputs = family.with_inputs(prepared)
        lines, found = examine(family, with_inputs, params)
        samples.append(lines)
        measures += found + few_labels(family, with_inputs, params)
    metrics = pd.DataFrame(map(asdict, measures))
    with written_whole(OUT / "samples.jsonl") as partial:
        pd.concat(samples).to_json(partial, orient="records", lines=True, force_ascii=False)
    write_csv(OUT / "metrics.csv", metrics, 5)
    write_text(OUT / "table.md", render(metrics, params.fold, params.augmentation.added, params.augmentation.seeds))
