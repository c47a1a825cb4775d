"""Group near-duplicate texts: retweets, and the same story with another link or a word changed; merge with given groups."""

import itertools
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

BLOCK = 2_000_000
"""Pairs that are looked at in one go: what bounds the memory."""
ROUNDING = 1e-9
"""What a bound is lowered by, so that no pair at the threshold is lost to the last digit."""


def shingles(words: list[str]) -> frozenset[str]:
    """The set of words and word pairs of a text: order counts, and one changed word of ten costs little."""
    return frozenset(words) | {f"{a} {b}" for a, b in itertools.pairwise(words)}


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """|a ∩ b| / |a ∪ b|, and 1 for two empty sets."""
    return len(a & b) / len(a | b) if a or b else 1.0


def shingle_sets(texts: Iterable[list[str]]) -> tuple[csr_array, np.ndarray]:
    """Which shingles that several have each text has, 0 or 1, shape (n, shingles), the rarest in the first column.

    And how many shingles it has, of those too that no other has: shape (n,).
    """
    known: dict[str, int] = {}
    codes, size = array("q"), array("i")
    for words in texts:
        numbers = [known.setdefault(word, len(known)) for word in words]
        of_text = {*numbers, *((a + 1 << 32) + b for a, b in itertools.pairwise(numbers))}
        codes.extend(of_text)
        size.append(len(of_text))
    code = np.frombuffer(codes, dtype=np.int64)
    shingle, times = np.unique(code, return_counts=True)
    shingle, times = shingle[times > 1], times[times > 1]
    at = np.searchsorted(shingle, code).clip(max=max(len(shingle) - 1, 0)).astype(np.int32)
    shared = shingle[at] == code if len(shingle) else np.zeros(len(code), dtype=bool)
    row = np.repeat(np.arange(len(size), dtype=np.int32), size)[shared]
    column = np.argsort(np.argsort(times, kind="stable")).astype(np.int32)[at[shared]]
    sets = csr_array((np.ones(len(row), dtype=np.int32), (row, column)), shape=(len(size), len(times)))
    sets.sort_indices()
    return sets, np.array(size)


class Entries(NamedTuple):
    """Shared shingles of texts, each array of shape (entries,): in the order of the texts, a text's rarest shingle first."""

    shingle: np.ndarray
    text: np.ndarray
    size: np.ndarray
    """How many shingles the text has."""
    left: np.ndarray
    """How many of them are not rarer than this one."""

    def take(self, which: np.ndarray | slice) -> "Entries":
        return Entries(*(values[which] for values in self))


def prefixes(sets: csr_array, size: np.ndarray, threshold: float) -> tuple[Entries, Entries]:
    """The rarest shingles of each text, of which two near texts share one: of the smaller text, and of the larger text.

    Overlap t of texts with a <= b shingles means that they share at least t / (1 + t) (a + b) of them, which is at least
    2t / (1 + t) a and at least t b: so many cannot all be among a text's most frequent ones (prefix filtering; Bayardo et al.
    2007, https://doi.org/10.1145/1242572.1242591).
    """
    text = np.repeat(np.arange(len(size), dtype=np.int32), np.diff(sets.indptr))
    left = sets.indptr[text + 1] - np.arange(sets.nnz, dtype=np.int32)
    entries = Entries(sets.indices, text, size[text], left)
    larger = entries.take(left >= threshold * size[text] - ROUNDING)
    larger = larger.take(np.bincount(larger.shingle, minlength=sets.shape[1])[larger.shingle] > 1)
    return larger.take(larger.left >= 2 * threshold / (1 + threshold) * larger.size - ROUNDING), larger


def possible(a: Entries, b: Entries, threshold: float) -> np.ndarray:
    """Distinct pairs of texts, shape (2, pairs), of entries with the same shingle, the smaller text in `a`.

    If it is the rarest shingle that they share, they share at most as many as are left in either (positional filtering; Xiao et
    al. 2008, https://doi.org/10.1145/1367497.1367516).
    """
    enough = np.minimum(a.left, b.left) >= threshold / (1 + threshold) * (a.size + b.size) - ROUNDING
    pairs = np.stack([a.text, b.text])[:, enough & (a.text < b.text)]
    return np.unique(pairs, axis=1) if pairs.size else pairs


def near(sets: csr_array, size: np.ndarray, pairs: np.ndarray, threshold: float) -> np.ndarray:
    """Those of the pairs, shape (2, pairs), that overlap by at least the threshold."""
    found = [pairs[:, :0]]
    for start in range(0, pairs.shape[1], BLOCK // 10):
        a, b = some = pairs[:, start : start + BLOCK // 10]
        both = sets[a].multiply(sets[b]).sum(axis=1)
        found.append(some[:, both / (size[a] + size[b] - both) >= threshold])
    return np.concatenate(found, axis=1)


def components(pairs: np.ndarray, n: int) -> np.ndarray:
    """A number for each of n texts, shape (n,): the same for those that the pairs, shape (2, pairs), connect."""
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1])


def with_the_smallest(smaller: Entries, larger: Entries, threshold: float) -> np.ndarray:
    """Candidates, shape (2, pairs): for each shingle the smallest text that has it, with all others: linear in the entries."""
    smallest = np.full(larger.shingle.max(initial=0) + 1, -1)
    smallest[smaller.shingle[::-1]] = np.arange(len(smaller.shingle))[::-1]  # the last one written stays
    at = smallest[larger.shingle]
    return possible(smaller.take(at[at >= 0]), larger.take(at >= 0), threshold)


def of_other_components(smaller: Entries, larger: Entries, label: np.ndarray, threshold: float) -> Iterator[np.ndarray]:
    """Candidates, shape (2, pairs), block by block: all texts that share a shingle and not yet a component.

    A shingle's entries lie together, and in them a component's: an entry's partners are those before and after its component.
    """
    n = len(label)
    keys = larger.shingle.astype(np.int64) * n + label[larger.text]
    order = np.argsort(keys, kind="stable")
    keys, larger = keys[order], larger.take(order)
    for first in range(0, len(smaller.text), BLOCK):
        some = smaller.take(slice(first, first + BLOCK))
        begins = some.shingle.astype(np.int64) * n
        own = begins + label[some.text]
        of_shingle = np.searchsorted(keys, begins), np.searchsorted(keys, begins + n)
        of_component = np.searchsorted(keys, own), np.searchsorted(keys, own + 1)
        starts = np.stack([of_shingle[0], of_component[1]], axis=1).ravel()
        counts = np.stack([of_component[0], of_shingle[1]], axis=1).ravel() - starts
        entry = np.repeat(np.arange(len(own)), 2)
        entry, starts, counts = (values[counts > 0] for values in (entry, starts, counts))
        ends = np.cumsum(counts)
        cuts = np.searchsorted(ends, np.arange(0, ends[-1] if len(ends) else 0, BLOCK))
        for begin, end in itertools.pairwise([*np.unique(cuts), len(ends)]):
            many = counts[begin:end]
            within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
            partner = np.repeat(starts[begin:end], many) + within
            yield possible(some.take(np.repeat(entry[begin:end], many)), larger.take(partner), threshold)


def group_near_duplicates(texts: Iterable[list[str]], threshold: float) -> np.ndarray:
    """Group numbers of shape (n,), 0 to k - 1 in order of first appearance, for n texts given as words, which are read once.

    Two texts are joined when their `shingles` overlap by at least `threshold` (Jaccard), and groups are what is connected so.
    No such pair is missed, and few others are looked at: of texts that share a rare shingle, those which are not connected yet.
    """
    sets, size = shingle_sets(texts)
    n = len(size)
    order = np.argsort(size, kind="stable")
    sets, size = sets[order], size[order]  # from here on a text with a smaller number has no more shingles
    smaller, larger = prefixes(sets, size, threshold)
    linked = near(sets, size, with_the_smallest(smaller, larger, threshold), threshold)
    label = components(linked, n)
    for pairs in of_other_components(smaller, larger, label, threshold):
        apart = pairs[:, label[pairs[0]] != label[pairs[1]]]
        if (found := near(sets, size, apart, threshold)).size:
            linked = np.concatenate([linked, found], axis=1)
            label = components(linked, n)
    labels = np.empty(n, dtype=int)
    labels[order] = label
    return pd.factorize(labels)[0]


def merge_groups(groups: np.ndarray, shared: pd.Series) -> np.ndarray:
    """Group numbers of shape (n,): rows of one group, or of one value of `shared`, are together, and so is what these connect.

    A row whose `shared` is null has its group alone.
    """
    rows = np.flatnonzero(shared.notna())
    values = pd.factorize(shared.iloc[rows])[0]
    size = int(groups.max(initial=-1)) + 1
    count = size + int(values.max(initial=-1)) + 1  # the nodes: groups, then values
    return np.asarray(pd.factorize(components(np.stack([groups[rows], size + values]), count)[groups])[0])
