"""How long a new tweet takes: alone, and as one of many."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.contracts import Costs

TIMED = 50
"""Tweets that are scored one at a time, at most."""
SECONDS = 1.0
"""After which no further tweet is scored alone; and four times of what the scoring of many must take to be trusted."""
FEWEST, MOST = 5, 2048
"""Tweets that are scored alone, and at once, however slow it is; and that are scored at once, however fast."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one tweet alone, of which shape (n,); and tweets a second of many at once."""

    ms: np.ndarray
    tweets_per_second: float


def timed(score: Callable[[pd.DataFrame], np.ndarray], tweets: pd.DataFrame) -> tuple[Latency, pd.Series]:
    """How fast tweets are scored, of those with different texts, and what those that were scored at once got, by row."""
    drawn = tweets.drop_duplicates("text").sample(frac=1, random_state=0)
    warm_until = time.perf_counter() + SECONDS
    for row in range(3):  # what is loaded, compiled or cached at first is no part of it
        score(drawn.iloc[[row % len(drawn)]])
        if time.perf_counter() > warm_until:
            break
    ms: list[float] = []
    for row in range(min(TIMED, len(drawn))):
        start = time.perf_counter()
        score(drawn.iloc[[row]])
        ms.append(1000 * (time.perf_counter() - start))
        if sum(ms) > 1000 * SECONDS and len(ms) >= FEWEST:
            break
    size, most = FEWEST, min(MOST, len(drawn))
    while True:
        many = drawn.head(size)
        start = time.perf_counter()
        scores = score(many)
        seconds = time.perf_counter() - start
        if seconds > SECONDS / 4 or size >= most:
            break
        size = min(4 * size, most)  # too few to tell what a call costs from what a tweet does
    return Latency(np.array(ms), len(many) / seconds), pd.Series(list(scores), many.index)


def with_latency(costs: Costs, latency: Latency, to_read: Costs | None = None) -> Costs:
    """The costs with the latency in them.

    `to_read` are those of what a tweet goes through before: its percentiles are added, and if it has none there are none here.
    """
    p50, p95 = np.percentile(latency.ms, [50, 95]).tolist()
    per_tweet = 1 / latency.tweets_per_second
    if to_read:
        if to_read.latency_ms_p50 is None or to_read.latency_ms_p95 is None or to_read.tweets_per_second is None:
            return costs
        p50, p95 = p50 + to_read.latency_ms_p50, p95 + to_read.latency_ms_p95
        per_tweet += 1 / to_read.tweets_per_second
    return costs.model_copy(update={"latency_ms_p50": p50, "latency_ms_p95": p95, "tweets_per_second": 1 / per_tweet})
