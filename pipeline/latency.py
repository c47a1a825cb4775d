"""How long a new tweet takes: alone, and as one of many."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contracts import Costs, read_costs

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


def of_requests(seconds: list[list[float]]) -> Latency | None:
    """Of the requests about each tweet, sent one after the other; 0 for one that was not timed, whose tweet is left out."""
    ms = np.array([1000 * sum(of_tweet) for of_tweet in seconds if of_tweet and all(of_tweet)])
    return Latency(ms, 1000 / ms.mean()) if len(ms) else None


def with_latency(costs: Costs, latency: Latency | None) -> Costs:
    """The costs with the latency in them, if there is one."""
    if latency is None:
        return costs
    p50, p95 = np.percentile(latency.ms, [50, 95]).tolist()
    times = {"latency_ms_p50": p50, "latency_ms_p95": p95, "tweets_per_second": latency.tweets_per_second}
    return costs.model_copy(update=times)


def after_reading(costs: Costs, reads: str) -> Costs:
    """The costs with those of what a tweet goes through before, `costs/<reads>.json`: also its percentiles are added."""
    before = read_costs(reads)

    def both(name: str) -> Any:
        own, other = getattr(costs, name), getattr(before, name)
        return None if own is None or other is None else own + other

    ms = both("ms_per_text")
    added = {name: both(name) for name in ("latency_ms_p50", "latency_ms_p95", "total_parameters")}
    added |= {"fit_seconds": costs.fit_seconds + (before.embedding_seconds or 0)}
    added |= {"tweets_per_second": ms and 1000 / ms, "reads": reads, "reading_ms": before.ms_per_text}
    return costs.model_copy(update=added)
