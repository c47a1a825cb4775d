"""What the ways in which threads wait for each other are worth: alone on the machine, and beside another job.

run: python -m benchmarks.waiting      (two to three minutes; close other programs first)

Three kinds of work, each on as many threads as there are cores, in a process of its own for each policy: small matrix products on
two threads, steps of training adapters on all layers of the packaged encoder, and prompts read by the packaged LLM in llama.cpp's
server. Each is timed alone, beside a process per core that only computes, and beside another process like itself. Half of the
speed alone is a fair share beside either. At the end: what `pipeline.waiting` chooses in each of these places.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count

import pandas as pd
import torch
from openai import OpenAI

from pipeline import waiting
from pipeline.contracts import read_params
from pipeline.device import choose_dtype, computing
from pipeline.finetune import adapters
from pipeline.finetune.params import LoraParams
from pipeline.process import run
from pipeline.prompting.params import PromptParams
from pipeline.prompting.server import embedded

POLICIES = {"default": {}, "spin briefly": waiting.SPINNING, "sleep": waiting.ASLEEP}
BUSY = "import os; above = os.getppid()\nwhile os.getppid() == above: pass"
TWEET = "the storm took the roof off and we had to leave the house "


@contextmanager
def products() -> Iterator[Callable[[], object]]:
    """Ten products of small matrices."""
    torch.set_num_threads(2)
    a, b = torch.randn(2, 256, 256)
    yield lambda: [a @ b for _ in range(10)]


@contextmanager
def training_steps() -> Iterator[Callable[[], object]]:
    """A step of training on a batch of 32 tweets of 26 tokens: forward, backward, update."""
    params = read_params("lora.minilm", LoraParams).model_copy(update={"layers": None})
    network, _ = adapters.with_adapters(params)
    device = torch.device("cpu")
    dtype = choose_dtype(params.precision, device)
    adapters.make_fast(network, dtype)
    optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad])
    ids, labels = torch.randint(1000, 20000, (32, 26)), torch.arange(32) % 2

    def step() -> None:
        with computing(device, dtype):
            loss = network(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    yield step


@contextmanager
def prompts() -> Iterator[Callable[[], object]]:
    """A prompt of some 150 tokens that shares nothing with the last one, and one token of reply."""
    params, number = read_params("prompt", PromptParams), count()
    with embedded(params.model, params.embedded).connect() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.api_key)
        yield lambda: client.completions.create(model="", prompt=f"{next(number)} {TWEET * 10}", max_tokens=1)


WORK = {"products": products, "training steps": training_steps, "prompts": prompts}


def work(name: str) -> None:
    """Be a worker: say when it is ready, and then how often a second the work was done in each of the seconds asked for."""
    with WORK[name]() as step:
        for _ in range(3):  # memory is claimed and kernels are chosen
            step()
        print("ready", flush=True)
        for line in sys.stdin:
            start, done = time.perf_counter(), 0
            while time.perf_counter() - start < float(line):
                step()
                done += 1
            print(done / (time.perf_counter() - start), flush=True)


class Worker:
    """A process that does one kind of work under a policy."""

    def __init__(self, name: str, policy: dict[str, str]) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in waiting.GIVEN} | policy
        command = [sys.executable, "-m", "benchmarks.waiting", "--worker", name]
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def begin(self, seconds: float) -> None:
        print(seconds, file=self.process.stdin, flush=True)

    def answer(self) -> str:
        """The next line that it says."""
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"a worker ended: {self.process.args}")
        return line.strip()


@contextmanager
def busy_cores() -> Iterator[None]:
    """A process per core that only computes."""
    with ExitStack() as stack:
        for _ in waiting.cores():
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", BUSY]))
            stack.callback(process.kill)
        yield


def speeds(name: str, policy: dict[str, str], seconds: float) -> tuple[float, float, float]:
    """How often a second the work is done: alone, beside busy cores, and beside a second worker."""
    with Worker(name, policy) as first, Worker(name, policy) as second:
        first.answer(), second.answer()  # both are ready
        first.begin(seconds)
        alone = float(first.answer())
        with busy_cores():
            first.begin(seconds)
            beside_busy = float(first.answer())
        second.begin(seconds + 1)
        first.begin(seconds)
        return alone, beside_busy, float(first.answer())


def table(rows: Sequence[tuple[str, str, tuple[float, float, float]]]) -> str:
    """The speeds, and the shares of the speed alone that are left beside others."""
    columns = ["work", "policy", "alone /s", "busy cores /s", "its like /s", "busy cores", "its like"]
    shown = [(name, policy, *found, *(f"{each / found[0]:.0%}" for each in found[1:])) for name, policy, found in rows]
    return str(pd.DataFrame(shown, columns=columns).to_markdown(index=False, floatfmt=".2f"))


def chosen() -> str:
    """What would be chosen now, for a process that starts."""
    before = waiting.snapshot()
    time.sleep(0.5)
    others = waiting.busy_elsewhere(before, waiting.snapshot(), len(waiting.cores()))
    said = " ".join(f"{name}={value}" for name, value in waiting.settings(others, {}).items())
    return f"{said} (others keep {others:.1f} of {len(waiting.cores())} cores busy)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4, help="for each measurement")
    parser.add_argument("--work", nargs="*", choices=WORK, default=list(WORK))
    parser.add_argument("--worker", choices=WORK, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker)
        return
    waiting.quiet()
    print(f"chosen alone: {chosen()}")
    with busy_cores():
        print(f"chosen beside busy cores: {chosen()}\n", flush=True)
    rows = [
        (name, policy, speeds(name, setting, given.seconds))
        for name in given.work
        for policy, setting in POLICIES.items()
    ]
    print(table(rows))


if __name__ == "__main__":
    run(main, many=True)
