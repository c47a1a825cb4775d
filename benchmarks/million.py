"""Seconds and memory of prepare, naive_bayes, logistic and evaluate against rows, up to a million: is growth near-linear?

run: python -m benchmarks.million --source data/kaggle --rows 10000 100000 1000000

Each size gets a folder of its own, outside of the project and gone afterwards, with tweets made from those of the source: at
least half of a tweet's words replaced by words drawn from all tweets (often ones often, so that the vocabulary stays lopsided),
which makes it a new text, and 1 to 20 near-duplicates of each such text, most of them alone. The stages run there as in a
repro, with one value of each hyperparameter and 200 bootstrap draws. Memory is what is resident of a stage and of all that it
started, sampled, so what workers share counts more than once. `n_log_n` is by how much seconds of CPU, which other work on the
machine changes little, grow from one size to the next, over the growth of n log n: 1 is equal.
"""

import argparse
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from ruamel.yaml import YAML
from tqdm import tqdm

from pipeline.contracts import InputError, read_params
from pipeline.data.source import Columns, DataParams, read_source
from pipeline.process import run

ROOT = Path(__file__).parents[1]
STAGES = {
    "prepare": "data.prepare",
    "naive_bayes": "counts.naive_bayes",
    "logistic": "counts.logistic",
    "evaluate": "compare.evaluate",
}
FIXED: dict[str, dict[str, object]] = {
    "counts": {"ngrams": [1], "min_count": [2]},
    "naive_bayes": {"event_model": ["multinomial"], "alpha": [1.0]},
    "logistic": {"C": [0.2]},
    "evaluate": {"draws": 200},
    "prepare": {"conflicts": "keep"},
}
LARGEST = 20
"""Rows in the largest group that is made."""
SHORTEST = 8
"""Words of a tweet to start from: of shorter ones too many would be near-duplicates by chance."""
TEST_SHARE = 0.1
WORD = re.compile(r"(?!http|www|@)\S*\w\S*", re.IGNORECASE)


def edited(words: list[str], drawn: list[str], rng: np.random.Generator) -> list[str]:
    """A near-duplicate: one word replaced, the last word cut off, retweeted, or with another link."""
    match rng.integers(4):
        case 0:
            at = int(rng.integers(len(words)))
            return [*words[:at], drawn[0], *words[at + 1 :]]
        case 1:
            return words[:-1]
        case 2:
            return ["RT", f"@user{rng.integers(10**6)}:", *words]
        case _:
            return [*words, f"http://t.co/{rng.integers(10**9):x}"]


def make(tweets: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """So many rows made from raw tweets, in random order, with new ids: `id`, `keyword`, `location`, `text`, `target`."""
    rng = np.random.default_rng(seed)
    split = [text.split() for text in tweets["text"]]
    drawable = np.array([word for words in split for word in words if WORD.fullmatch(word)], dtype=object)
    usable = [row for row, words in enumerate(split) if sum(map(bool, map(WORD.fullmatch, words))) >= SHORTEST]
    sizes = np.arange(1, LARGEST + 1)
    frequency = 1 / sizes**2
    texts: list[str] = []
    origin: list[int] = []
    with tqdm(total=rows, desc="tweets", unit="row", unit_scale=True) as progress:
        while len(texts) < rows:
            row = usable[rng.integers(len(usable))]
            words = list(split[row])
            places = [at for at, word in enumerate(words) if WORD.fullmatch(word)]
            replaced = rng.permutation(places)[: int(np.ceil(rng.uniform(0.5, 0.8) * len(places)))]
            for at, word in zip(replaced, rng.choice(drawable, len(replaced)), strict=True):
                words[at] = word
            size = int(rng.choice(sizes, p=frequency / frequency.sum()))
            copies = [words, *(edited(words, list(rng.choice(drawable, 1)), rng) for _ in range(size - 1))]
            texts += [" ".join(copy) for copy in copies]
            origin += [row] * size
            progress.update(size)
    order = rng.permutation(len(texts))[:rows]
    made = tweets.iloc[np.array(origin)[order]].reset_index(drop=True)
    return made.assign(id=np.arange(rows), text=np.array(texts, dtype=object)[order])


def set_up(folder: Path, tweets: pd.DataFrame, rows: int) -> None:
    """The two csv files, in the project's own column names, and params that point at them."""
    (folder / "raw").mkdir(parents=True)
    made = make(tweets, rows + int(TEST_SHARE * rows), seed=0)
    made[:rows].to_csv(folder / "raw" / "train.csv", index=False)
    made[rows:].drop(columns="target").to_csv(folder / "raw" / "test.csv", index=False)
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    columns = {name: None if name == "group" else name for name in Columns.model_fields}
    params["data"] |= {"source": "raw", "columns": columns}
    for section, values in FIXED.items():
        params[section] |= values
    yaml.dump(params, folder / "params.yaml")


def resident(process: psutil.Process) -> int:
    """Bytes in memory of a process and all that it started; 0 if one of them ended in between."""
    try:
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


def measure(arguments: list[str], folder: Path) -> dict[str, float]:
    """Run a module with its arguments in the folder: seconds on the clock, seconds of CPU, and MB (10^6 bytes) at its peak."""
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    with (folder / "log.txt").open("w+", encoding="utf-8") as log:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        stage = psutil.Popen([sys.executable, "-m", *arguments], cwd=folder, env=environment, stdout=log, stderr=log)
        while stage.poll() is None:
            peak = max(peak, resident(stage))
            time.sleep(0.1)
        seconds = time.perf_counter() - start
        if stage.returncode:
            log.seek(0)
            raise InputError(f"{arguments[-1]} failed: {log.read().strip().splitlines()[-1]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak / 1e6}


def with_growth(measured: pd.DataFrame) -> pd.DataFrame:
    """The measured rows with `n_log_n`, the growth of seconds of CPU since the size before over that of n log n."""
    n_log_n = measured["rows"] * np.log(measured["rows"])
    ratio = measured["cpu_seconds"] / n_log_n
    return measured.assign(n_log_n=ratio / ratio.groupby(measured["stage"]).shift())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="train rows")
    parser.add_argument("--source", help="a folder or zip with train.csv (data.source of params.yaml if not given)")
    parser.add_argument("--scratch", type=Path, help="where the folders are made (the system's temporary folder)")
    given = parser.parse_args()
    if min(given.rows) < 1000:
        raise InputError("--rows: at least 1000, smaller runs measure the start of Python alone")
    params = read_params("data", DataParams)
    tweets, _ = read_source(params.model_copy(update={"source": given.source or params.source}))
    found: list[dict[str, Any]] = []
    for rows in sorted(given.rows):
        with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
            set_up(Path(scratch), tweets, rows)
            for stage, module in STAGES.items():
                found.append({"rows": rows, "stage": stage} | measure(["pipeline.stage", module], Path(scratch)))
                print(found[-1], flush=True)
    table = with_growth(pd.DataFrame(found))
    print("\n" + table.to_markdown(index=False, floatfmt=(",.0f", "", ",.1f", ",.1f", ",.0f", ".2f")))


if __name__ == "__main__":
    run(main)
