"""Group near-duplicate texts: retweets, and the same story with another link or a word changed; merge with given groups."""

import itertools

import numpy as np
import pandas as pd
from datasketch import MinHash, MinHashLSH
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

PERMUTATIONS = 128


def shingles(words: list[str]) -> frozenset[str]:
    """The set of words and word pairs of a text: order counts, and one changed word of ten costs little."""
    return frozenset(words) | {f"{a} {b}" for a, b in itertools.pairwise(words)}


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """|a ∩ b| / |a ∪ b|, and 1 for two empty sets."""
    return len(a & b) / len(a | b) if a or b else 1.0


def bands(threshold: float) -> tuple[int, int]:
    """Bands b and rows r of the hashing: the most selective that still propose 99.5 % of pairs at the threshold.

    A pair with overlap t is proposed with probability 1 - (1 - t^r)^b. One too many costs a check, one too few a leak.
    """
    for rows in range(8, 1, -1):
        if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= 0.995:
            return PERMUTATIONS // rows, rows
    return PERMUTATIONS, 1


def first_seen(groups: np.ndarray) -> np.ndarray:
    """The groups numbered 0 to k - 1 in order of first appearance."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def merge_groups(groups: np.ndarray, shared: pd.Series) -> np.ndarray:
    """Group numbers of shape (n,): rows of one group, or of one value of `shared`, are together, and so is what these connect.

    A row whose `shared` is null has its group alone.
    """
    rows = np.flatnonzero(shared.notna())
    values = pd.factorize(shared.iloc[rows])[0]
    size = int(groups.max(initial=-1)) + 1
    count = size + int(values.max(initial=-1)) + 1  # the nodes: groups, then values
    graph = coo_array((np.ones(len(rows)), (groups[rows], size + values)), shape=(count, count))
    return first_seen(connected_components(graph, directed=False)[1][groups])


def group_near_duplicates(texts: list[list[str]], threshold: float) -> np.ndarray:
    """Group numbers of shape (n,), 0 to k - 1 in order of first appearance, for n texts given as words.

    Two texts are joined when their `shingles` overlap by at least `threshold` (Jaccard), and groups are what is connected so.
    Candidate pairs come from locality-sensitive hashing of MinHashes (Broder 1997; Leskovec et al., Mining of Massive
    Datasets, ch. 3), each then checked exactly: near-linear in n. Texts without any word stay alone.
    """
    unique: dict[tuple[str, ...], int] = {}
    owner = np.array([unique.setdefault(tuple(words), len(unique)) for words in texts])
    sets = [shingles(list(words)) for words in unique]
    hashes = MinHash.bulk([[item.encode() for item in items] for items in sets], num_perm=PERMUTATIONS, seed=1)
    index = MinHashLSH(num_perm=PERMUTATIONS, params=bands(threshold))
    pairs: list[tuple[int, int]] = []
    for i, (items, minhash) in enumerate(zip(sets, hashes, strict=True)):
        pairs += [(i, j) for j in index.query(minhash) if jaccard(items, sets[j]) >= threshold] if items else []
        if items:
            index.insert(i, minhash)
    a, b = np.array(pairs, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(len(sets), len(sets)))
    groups = connected_components(graph, directed=False)[1][owner]
    empty = np.array([not words for words in texts])
    groups[empty] = groups.max(initial=0) + 1 + np.arange(empty.sum())
    return first_seen(groups)
