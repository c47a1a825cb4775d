"""How near fine-tuning comes to what this machine can multiply, and where the rest of the time goes.

run: python -m benchmarks.training minilm layers=null      (after `dvc repro prepare`; alone on the machine)

The peak is the speed of large square products in the dtype of the preset, in this run. Work is 2 FLOP a weight and token
of the tuned layers forward, and as many for the gradient of their inputs (frozen weights need none); padding, attention, adapters
and all else is overhead. Layers without adapters are computed before the first step: in the pipeline, once for all folds.
"""

import argparse
import time

import pandas as pd
from torch.profiler import ProfilerActivity, profile

from benchmarks.ablation import with_switches
from pipeline.contracts import InputError, read_prepared
from pipeline.finetune.lora import Lora
from pipeline.finetune.training import History
from pipeline.kaggle.best import shape, speed
from pipeline.process import run

SKIPPED = 10
"""Steps at the start, in which memory is claimed and kernels are chosen."""


class Clock:
    """Told of the training after every tenth step; times, and has a profiler watch, those after the first ten."""

    def __init__(self, profiler: profile | None = None) -> None:
        self.ends: list[float] = []
        self.profiler = profiler

    def __call__(self, history: History) -> None:
        if len(history.loss) >= SKIPPED * (1 + len(self.ends)):
            self.ends.append(time.perf_counter())
            if self.profiler and len(self.ends) == 1:
                self.profiler.start()

    def steps_per_second(self) -> float:
        return SKIPPED * (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])


def shares(tweets: pd.DataFrame, own: Lora) -> pd.Series:
    """Of the time of a step, by torch's operation, largest first."""
    profiler = profile(activities=[ProfilerActivity.CPU])
    own.train(tweets, tweets["target"].to_numpy(), 0, report=Clock(profiler))
    profiler.stop()
    times = pd.Series({each.key: each.self_cpu_time_total for each in profiler.key_averages()})
    return (times / times.sum()).sort_values(ascending=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="a key of lora in params.yaml")
    parser.add_argument("switches", nargs="*", help="NAME=VALUE, in place of the preset's")
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    if given.steps < 3 * SKIPPED:
        raise InputError(f"--steps: at least {3 * SKIPPED}, of which the first {SKIPPED} are not counted")
    own = with_switches(Lora.read(given.preset), " ".join([*given.switches, "epochs=1", "validation=0"]))
    count = given.steps * own.params.batch_size
    train = read_prepared().train
    tweets = train.sample(count, random_state=0, replace=len(train) < count)
    peak, clock = speed(own.params), Clock()
    model = own.train(tweets, tweets["target"].to_numpy(), 0, report=clock)
    tokens = sum(model.rows(tweets)["length"]) / count
    start = time.perf_counter()
    model.merged().predict(tweets)
    predicted = count / (time.perf_counter() - start)
    trained = clock.steps_per_second() * own.params.batch_size
    of_layer, tuned, _ = shape(own.params, tokens)
    forward = of_layer * tuned
    print(f"peak {peak / 1e9:.0f} GFLOP/s; {tokens:.1f} tokens a tweet, {forward / 1e9:.2f} GFLOP forward")
    for name, rate, passes in (("training", trained, 2), ("prediction", predicted, 1)):
        print(f"{name}: {rate:.0f} tweets/s, {rate * passes * forward / peak:.0%} of the peak")
    print("a step's time by operation:")
    for name, share in shares(tweets, own).head(12).items():
        print(f"  {share:6.1%}  {name}")


if __name__ == "__main__":
    run(main)
