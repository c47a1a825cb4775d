"""What the service tells Prometheus of itself: no text, and no word of one."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

UNSURE = 0.1
"""Of P(target = 1) on either side of the threshold: a decision that is as near may well be the other one."""
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """In a registry of its own; shares are counts divided by counts, which Prometheus does over any time."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        here: dict[str, Any] = {"namespace": "tweets", "registry": self.registry}
        self.requests = Counter("requests", "Requests by route and status", ["route", "status"], **here)
        self.seconds = Histogram("request_seconds", "From a request to its answer", ["route"], buckets=SECONDS, **here)
        self.waiting = Gauge("queue_texts", "Texts that wait", ["classifier"], **here)
        self.batches = Histogram("batch_texts", "Texts scored together", ["classifier"], buckets=SIZES, **here)
        self.scoring = Histogram("batch_seconds", "What a batch takes", ["classifier"], buckets=SECONDS, **here)
        self.decisions = Counter("decisions", "Texts decided, by label", ["classifier", "label"], **here)
        self.unsure = Counter("unsure", f"Of these within {UNSURE} of the threshold", ["classifier"], **here)
        self.faults = Counter("faults", "Texts that were answered by an error", ["classifier"], **here)

    def request(self, route: str, status: int, seconds: float) -> None:
        self.requests.labels(route, status).inc()
        self.seconds.labels(route).observe(seconds)

    def batch(self, name: str) -> Callable[[int, float], None]:
        def told(size: int, seconds: float) -> None:
            self.batches.labels(name).observe(size)
            self.scoring.labels(name).observe(seconds)

        return told

    def decided(self, name: str, threshold: float, labels: list[str], answers: list[float | str]) -> None:
        """Count the answers of a request."""
        scores = [each for each in answers if not isinstance(each, str)]
        positive = sum(score > threshold for score in scores)
        self.decisions.labels(name, labels[1]).inc(positive)
        self.decisions.labels(name, labels[0]).inc(len(scores) - positive)
        self.unsure.labels(name).inc(sum(abs(score - threshold) < UNSURE for score in scores))
        self.faults.labels(name).inc(len(answers) - len(scores))
