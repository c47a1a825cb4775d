"""Which labelled tweets are shown before the question: none, the same ones, or the most similar ones."""

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from pipeline.contracts import InputError
from pipeline.data.embeddings import Embeddings
from pipeline.fit.subsets import unanimous
from pipeline.prompting.prompt_file import FixedExamples, RetrievedExamples, Tweet


def records(tweets: pd.DataFrame) -> list[Tweet]:
    """Each tweet's fields by name."""
    return [{str(name): value for name, value in row.items()} for row in tweets.to_dict("records")]


def pool_of(train: pd.DataFrame) -> pd.DataFrame:
    """What may be shown: the `unanimous` tweets, with their `label`."""
    known = train[train["train_target"].notna()]
    labels = known["train_target"].to_numpy(dtype="int64")
    return known.assign(label=labels).iloc[unanimous(known, labels)]


def choose_fixed(pool: pd.DataFrame, examples: FixedExamples) -> list[Tweet]:
    """Balanced, seeded examples in a seeded order: what is shown last weighs most, so the order must not be the same always."""
    half = examples.count // 2
    enough_of_each(pool, half)
    chosen = [pool[pool["label"] == label].sample(half, random_state=examples.seed) for label in (0, 1)]
    return records(pd.concat(chosen).sample(frac=1, random_state=examples.seed))


def choose_retrieved(
    pool: pd.DataFrame, vectors: np.ndarray, asked: pd.DataFrame, queries: np.ndarray, examples: RetrievedExamples
) -> list[list[Tweet]]:
    """For each tweet asked about, the nearest of the pool by cosine, none of its own group, nearest last.

    `vectors` are those of the pool, shape (n, d), `queries` those of the tweets asked about, shape (m, d), all of unit length.
    """
    labels = pool["label"].to_numpy()
    strata = [labels == 0, labels == 1] if examples.balanced else [np.full(len(pool), fill_value=True)]
    wanted = examples.count // len(strata)
    if examples.balanced:
        enough_of_each(pool, wanted + 1)
    elif len(pool) <= wanted:
        raise InputError(f"prompt examples: {wanted} are wanted, {len(pool)} are there")
    found: list[list[tuple[float, int]]] = [[] for _ in range(len(asked))]
    groups, own = pool["group"].to_numpy(), asked["group"].to_numpy()
    for stratum in strata:
        members = np.flatnonzero(stratum)
        # More than wanted by as many as a group has here, since all of the query's own may be among the nearest.
        spare = int(np.unique(groups[members], return_counts=True)[1].max(initial=1))
        neighbours_asked = min(wanted + spare, len(members))
        index = NearestNeighbors(n_neighbors=neighbours_asked, metric="cosine").fit(vectors[members])
        distances, neighbours = index.kneighbors(queries)
        for n, (row, which) in enumerate(zip(distances, members[neighbours], strict=True)):
            others = [(d, i) for d, i in zip(row, which, strict=True) if groups[i] != own[n]]
            found[n] += others[:wanted]
    shown = records(pool)
    return [[shown[i] for _, i in sorted(nearest, reverse=True)] for nearest in found]


def enough_of_each(pool: pd.DataFrame, half: int) -> None:
    if (rarest := pool["label"].value_counts().reindex([0, 1], fill_value=0).min()) < half:
        raise InputError(f"prompt examples: {half} of each label are wanted, {rarest} are there")


def choose_examples(
    examples: FixedExamples | RetrievedExamples | None,
    pool: pd.DataFrame,
    asked: pd.DataFrame,
    embeddings: Embeddings | None,
) -> list[list[Tweet]]:
    """The examples for each tweet asked about. `pool` and `asked` have a column `row`: the place of their vectors.

    Rows of the test set are asked about with `row` counted on from the end of the train set.
    """
    if examples is None:
        return [[] for _ in range(len(asked))]
    if isinstance(examples, FixedExamples):
        return [choose_fixed(pool, examples)] * len(asked)
    if embeddings is None:
        raise ValueError("retrieval needs embeddings")
    vectors = np.concatenate([embeddings.train, embeddings.test])
    return choose_retrieved(pool, vectors[pool["row"]], asked, vectors[asked["row"]], examples)
