"""How a served classifier answers at 1, 8 and 64 clients, batching on and off; how soon it is ready, and what memory it takes.

Each client sends a text and waits for its answer, and loadtest (npm) counts; clients and service share this machine's cores.

run: python -m benchmarks.service student      (npx, of Node.js, fetches loadtest; alone on the machine)
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import psutil
import requests

from pipeline.contracts import InputError
from pipeline.process import run

TEXT = "Forest fire near La Ronge Sask. Canada: all residents asked to shelter in place"
PORT = 8321
URL = f"http://127.0.0.1:{PORT}"


@contextmanager
def serving(name: str, *options: str) -> Iterator[tuple[psutil.Process, float]]:
    """The service, when it is ready, and how many seconds that took."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.serve", "--classifier", name, "--port", str(PORT), *options]
    process = subprocess.Popen(command)
    try:
        while True:
            try:
                if requests.get(f"{URL}/v2/health/ready", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.02)
            if process.poll() is not None:
                raise InputError(f"the service of {name} has ended, see above")
        yield psutil.Process(process.pid), time.perf_counter() - start
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def load(clients: int, texts: int, *amount: str) -> dict[str, float]:
    """What loadtest says of so many clients who send so many texts a request."""
    body = ["-m", "POST", "-T", "application/json", "--data", json.dumps({"texts": [TEXT] * texts})]
    command = ["npx", "--yes", "loadtest@8", "-k", "-c", str(clients), *amount, *body, f"{URL}/predict"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {
        f"p{share} ms": float(ms) for share, ms in re.findall(r"^ *(50|95|99)% +(\d+) ms", done.stdout, re.MULTILINE)
    }
    (errors,) = re.findall(r"Total errors: +(\d+)", done.stdout)
    (rate,) = re.findall(r"Effective rps: +(\d+)", done.stdout)
    return found | {"texts/s": float(rate) * texts, "errors": float(errors)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier")
    name = parser.parse_args().classifier
    rows = []
    for batching, options in {"on": (), "off": ("--max-batch", "1")}.items():
        with serving(name, *options) as (process, ready):
            load(8, 1, "-n", "200")  # what is claimed and chosen at first is no part of it
            for clients, texts in ((1, 1), (8, 1), (64, 1), (8, 32)):
                found = load(clients, texts, "-t", "10")
                rows.append({"batching": batching, "clients": clients, "texts a request": texts} | found)
            if batching == "on":
                before = process.memory_info().rss
                load(64, 1, "-n", "100000")
                grown = process.memory_info().rss - before
                print(f"ready after {ready:.1f} s; {before / 1e6:.0f} MB, {grown / 1e6:+.1f} after 100,000 requests")
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".0f"))


if __name__ == "__main__":
    run(main)
