"""Cascades: who is passed on, what it takes, and which pairs are worth their cost."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made import predicted, rows_of

from pipeline.compare.cascade import CascadeParams, Price, curve_of, price_of, render, right_by_share, worthwhile
from pipeline.contracts import Costs, LlmCosts, Prepared, read_params, write_costs
from pipeline.stats.decisions import decided_rightly

PARAMS = read_params("cascade", CascadeParams, ROOT / "study/params.yaml").model_copy(update={"draws": 200})
ROWS = 1000


def sure(right: np.ndarray, certainty: np.ndarray, targets: np.ndarray) -> pd.DataFrame:
    """Rows decided rightly or not, with scores that far from one half."""
    return rows_of(targets, 0.5 + np.where(right, 1, -1) * (2 * targets - 1) * certainty)


def test_the_least_certain_are_passed_on_and_unread_ones_before_all() -> None:
    """20 rows, all 1: the first is wrong on the three that it is least sure of, one of them unread; the second always right."""
    scores = np.linspace(0.6, 0.95, 20)
    scores[[4, 9]], scores[15] = [0.48, 0.46], np.nan
    targets = np.ones(20, dtype=int)
    right = right_by_share(rows_of(targets, scores), rows_of(targets, np.full(20, 0.9)))
    assert right.sum().tolist() == [17, 18, 19, *[20] * 18]
    assert [list(np.flatnonzero(~right[share])) for share in (0.0, 0.05, 0.1)] == [[4, 9, 15], [4, 9], [9]]


def test_the_curve_has_each_share_with_its_interval_on_the_rows_that_both_scored() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, ROWS)
    first = sure(rng.random(ROWS) < 0.7, rng.random(ROWS) / 2, targets).iloc[:900]
    second = sure(rng.random(ROWS) < 0.9, rng.random(ROWS) / 2, targets).iloc[100:]
    right, curve = right_by_share(first, second), curve_of(first, second, PARAMS).set_index("share")
    assert right.index.tolist() == list(range(100, 900))
    assert (right[0.0] == decided_rightly(first).loc[100:]).all()
    assert (right[1.0] == decided_rightly(second).loc[:899]).all()
    assert curve["accuracy"].tolist() == pytest.approx(right.mean().tolist())
    assert curve["difference"].tolist() == pytest.approx((right.mean() - right[1.0].mean()).tolist())
    assert ((curve["low"] < curve["accuracy"]) & (curve["accuracy"] < curve["high"])).all()
    assert (curve.loc[1.0, ["difference", "difference_low", "difference_high"]] == 0).all()
    assert curve.loc[0.0, "difference_high"] < 0


def test_a_tweet_is_expected_to_take_the_first_and_a_share_of_the_second() -> None:
    """And an embedding that both read once."""
    cheap, costly = Price(2.0, 0.0), Price(100.0, 5.0)
    assert [costly.after(cheap, share) for share in (0.0, 0.25)] == [cheap, Price(27.0, 1.25)]
    assert cheap.at_most(costly)
    assert not costly.at_most(cheap)
    assert not Price(1.0, 9.0).at_most(costly), "faster, but dearer"
    first, second = Price(6.0, 0.0, "embed_minilm", 5.0), Price(9.0, 0.0, "embed_minilm", 5.0)
    assert second.after(first, 0.5) == Price(8.0, 0.0)
    assert second.after(first._replace(reads="embed_mpnet"), 0.5) == Price(10.5, 0.0)


def test_money_is_that_of_the_rows_scored(sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = dict.fromkeys(LlmCosts.model_fields, 0) | {"model": "m", "endpoint": "remote", "scoring": "s"}
    answers = LlmCosts.model_validate(asked | {"calibration": "none", "money": 0.3})
    write_costs("llm", Costs(fit_seconds=0, tweets_per_second=1000 / 150, peak_memory_mb=1, llm=answers))
    write_costs("own", Costs(fit_seconds=0, tweets_per_second=1000 / 1.5, peak_memory_mb=1))
    llm, own = (predicted(name, "prompted", sample.train[:40], [0.5] * 40, sample.test[:20]) for name in ("llm", "own"))
    assert price_of(llm) == Price(pytest.approx(150), pytest.approx(5.0))
    assert price_of(own) == Price(pytest.approx(1.5), 0.0)
    times = {"tweets_per_second": 125, "latency_ms_p50": 90, "reads": "embed_minilm", "reading_ms": 5}
    write_costs("own", Costs(fit_seconds=0, peak_memory_mb=1, **times))
    assert price_of(own) == Price(8, 0.0, "embed_minilm", 5)
    write_costs("own", Costs(fit_seconds=0, peak_memory_mb=1, latency_ms_p50=90))
    assert price_of(own) is None


def test_pairs_that_are_worth_their_cost_are_found() -> None:
    """The cheap one is wrong only where it is unsure, so a fifth of the rows passed on is as good as all."""
    rng = np.random.default_rng(0)
    targets, doubt = rng.integers(0, 2, ROWS), rng.permutation(np.linspace(0, 0.5, ROWS))
    rows = {
        "cheap": sure((doubt > 0.1) | (rng.random(ROWS) < 0.3), doubt, targets),
        "costly": sure(rng.random(ROWS) < 0.95, rng.random(ROWS) / 2, targets),
        "slow": sure(rng.random(ROWS) < 0.94, rng.random(ROWS) / 2, targets),
        "random": sure(rng.random(ROWS) < 0.6, rng.random(ROWS) / 2, targets),
    }
    prices = {"cheap": Price(1, 0), "costly": Price(50, 2), "slow": Price(90, 2), "random": Price(0.9, 0)}
    found = worthwhile(rows, prices, PARAMS)
    assert ("cheap", "costly") in found
    # nothing is gained by asking one that is no better than the costly one, nor by a first that is unsure at random
    assert not {("cheap", "slow"), ("random", "slow"), ("random", "costly"), ("costly", "slow")} & set(found)
    assert all(prices[first].at_most(prices[second]) for first, second in found)
    assert worthwhile(rows, prices, PARAMS.model_copy(update={"gain": 0.9})) == []
    dear = prices | {"cheap": Price(0.5, 9)}
    assert ("cheap", "costly") not in worthwhile(rows, dear, PARAMS), "it saves time, and costs more money"


@pytest.mark.parametrize(("rows_scored", "runs", "at_most"), [(486, 20, 1), (7613, 2, 0)])
def test_equal_classifiers_make_few_cascades_by_chance(rows_scored: int, runs: int, at_most: int) -> None:
    """Ten, right about 80 % of the rows whatever they are sure of: by the least gain alone 60 and 4 seemed to be worth it."""
    found = 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        targets = rng.integers(0, 2, rows_scored)
        rows = {
            f"{name}": sure(rng.random(rows_scored) < 0.8, rng.random(rows_scored) / 2, targets) for name in range(10)
        }
        found += len(worthwhile(rows, {name: Price(1.0 + int(name), 0.0) for name in rows}, PARAMS))
    assert found <= at_most


def test_the_page_says_from_which_share_on_a_cascade_is_as_good() -> None:
    rng = np.random.default_rng(0)
    targets, doubt = rng.integers(0, 2, ROWS), rng.permutation(np.arange(1, ROWS + 1) / (2 * ROWS))
    first, second = sure(doubt > 0.1, doubt, targets), sure(np.full(ROWS, True), doubt, targets)
    prices = [Price(50.0, 2.0).after(Price(1.0, 0.0), share)._asdict() for share in np.linspace(0, 1, 21)]
    curve = curve_of(first, second, PARAMS).assign(series="cheap → costly").join(pd.DataFrame(prices))
    (line,) = [line for line in render(curve, ["left out x"]).splitlines() if line.startswith("| cheap → costly")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[1:4] == ["1,000", "0.800 (1.00)", "0.850 (3.50)"]
    assert cells[-1] == "20%"
    assert "left out x" in render(curve.iloc[:0], ["left out x"])
