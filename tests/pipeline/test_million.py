"""The benchmark of many rows makes what it says, measures what a stage takes and says when it is too much."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SAMPLE

from benchmarks import million
from pipeline.data.clean import clean, words
from pipeline.data.near_duplicates import group_near_duplicates


@pytest.fixture(scope="module")
def tweets() -> pd.DataFrame:
    return pd.read_csv(SAMPLE / "train.csv")


def test_rows_are_new_texts_in_groups_of_at_most_twenty(tweets: pd.DataFrame) -> None:
    made = million.make(tweets, 3000, seed=0)
    assert made["id"].tolist() == list(range(3000))
    assert not set(made["text"]) & set(tweets["text"])
    groups = group_near_duplicates(made["text"].map(clean).map(words).tolist(), 0.5)
    sizes = np.bincount(groups)
    assert 10 < sizes.max() <= million.LARGEST
    assert (sizes == 1).mean() > 0.5
    assert (made.groupby(groups)["target"].nunique() == 1).all(), "a text's near-duplicates carry its label"
    assert made.equals(million.make(tweets, 3000, seed=0))


def table(cpu: list[float], mb: float = 100.0) -> pd.DataFrame:
    rows = [10**4, 10**5, 10**6]
    one = pd.DataFrame({"rows": rows, "stage": "prepare", "seconds": cpu, "cpu_seconds": cpu, "peak_mb": mb})
    return million.with_growth(one)


def test_growth_is_held_against_n_log_n_and_time_and_memory_against_their_limits() -> None:
    near_linear = table([0.001 * n * np.log(n) for n in (10**4, 10**5, 10**6)])
    assert near_linear["n_log_n"].tolist()[1:] == pytest.approx([1, 1])
    assert near_linear["exponent"].tolist()[1:] == pytest.approx([1 + np.log10(5 / 4), 1 + np.log10(6 / 5)])
    assert million.broken(near_linear, minutes=1e6, gigabytes=16, slack=1.25) == []
    (problem,) = million.broken(table([1, 10, 1000]), minutes=20, gigabytes=16, slack=1.25)
    assert problem.startswith("prepare, 1,000,000 rows: 8.33 times")
    problems = million.broken(table([60, 600, 1300], mb=16_500), minutes=20, gigabytes=16, slack=1.25)
    assert problems[0] == "1,000,000 rows took 21.7 min, more than 20"
    assert [problem.split(":")[1] for problem in problems[1:]] == [" 16,500 MB, more than 16 GB"] * 3


@pytest.mark.slow
def test_the_four_stages_run_on_what_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--rows", "1000", "--source", str(SAMPLE), "--scratch", str(tmp_path), "--slack", "10"]
    monkeypatch.setattr(sys, "argv", ["million", *arguments])
    million.main()
    printed = capsys.readouterr().out
    assert all(f"{stage} " in printed for stage in million.STAGES)
    assert not list(tmp_path.iterdir()), "what is made is gone afterwards"
