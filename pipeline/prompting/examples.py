"""Which labelled tweets are shown before the question: none, the same ones, or the most similar ones."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from pipeline.contracts import InputError
from pipeline.data.embeddings import Embeddings
from pipeline.fit.subsets import unanimous
from pipeline.prompting.prompt_file import Examples, Tweet


def records(tweets: pd.DataFrame) -> list[Any]:
    """Each tweet's fields by name."""
    return tweets.to_dict("records")


def pool_of(train: pd.DataFrame) -> pd.DataFrame:
    """What may be shown: the `unanimous` tweets, with their `label`."""
    known = train[train["train_target"].notna()]
    labels = known["train_target"].to_numpy(dtype="int64")
    return known.assign(label=labels).iloc[unanimous(known, labels)]


def choose_fixed(pool: pd.DataFrame, examples: Examples) -> list[Tweet]:
    """Balanced, seeded examples in a seeded order: what is shown last weighs most, so the order must not be the same always."""
    half = examples.count // 2
    if (rarest := pool["label"].value_counts().reindex([0, 1], fill_value=0).min()) < half:
        raise InputError(f"prompt examples: {half} of each label are wanted, {rarest} are there")
    chosen = [pool[pool["label"] == label].sample(half, random_state=examples.seed) for label in (0, 1)]
    return records(pd.concat(chosen).sample(frac=1, random_state=examples.seed))


def choose_retrieved(
    pool: pd.DataFrame, vectors: np.ndarray, asked: pd.DataFrame, queries: np.ndarray, count: int
) -> list[list[Tweet]]:
    """For each tweet asked about, the nearest of the pool by cosine of their vectors, none of its own group, nearest last."""
    if len(pool) <= count:
        raise InputError(f"prompt examples: {count} are wanted, {len(pool)} are there")
    # More than wanted by as many as a group has here, since all of the query's own may be among the nearest.
    spare = int(pool["group"].value_counts().max())
    index = NearestNeighbors(n_neighbors=min(count + spare, len(pool)), metric="cosine").fit(vectors)
    shown, groups = records(pool), pool["group"].to_numpy()
    found = []
    for distances, neighbours, own in zip(*index.kneighbors(queries), asked["group"], strict=True):
        others = [(d, i) for d, i in zip(distances, neighbours, strict=True) if groups[i] != own]
        found.append([shown[i] for _, i in sorted(others[:count], reverse=True)])
    return found


def choose_examples(
    examples: Examples, pool: pd.DataFrame, asked: pd.DataFrame, embeddings: Embeddings | None
) -> list[list[Tweet]]:
    """The examples for each tweet asked about. `pool` and `asked` have a column `row`: the place of their vectors."""
    if examples.choice == "fixed":
        return [choose_fixed(pool, examples)] * len(asked)
    if embeddings is None:
        raise ValueError("retrieval needs embeddings")
    vectors = np.concatenate([embeddings.train, embeddings.test])
    return choose_retrieved(pool, vectors[pool["row"]], asked, vectors[asked["row"]], examples.count)
