"""A cheap classifier first, and a costly one for the tweets that the first is unsure of: how many of them are worth it?

At each share of the tweets passed on, those go to the second whose score by the first is nearest to one half, unread ones
before all. No label has a say in which, so nothing needs to be cross-fitted. A pair is compared on the rows that both scored.

A text's price is its part of the time that many take at once, on one machine, and money, both from `costs/`: they add up,
as the latency of one text alone does not. Two classifiers that read the same embedding pay for it once.

in:  data/prepared, predictions/*.parquet, costs/*.json
out: study/cascade/: cascade.csv, table.md
run: make study   (or python -m pipeline.stage --study compare.cascade)
"""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.stats import norm
from tqdm import tqdm

from pipeline.compare.scored import BootstrapParams, read_all, scored_rows
from pipeline.contracts import Predictions, read_costs, read_params, read_prepared
from pipeline.contracts.files import write_csv, write_text
from pipeline.places import STUDY
from pipeline.stats.bootstrap import bootstrap_means
from pipeline.stats.decisions import THRESHOLD, decided_rightly
from pipeline.stats.paired import variance_by_group
from pipeline.tables import Column, Table, page

OUT = STUDY / "cascade"
SHOWN = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""The shares of the page."""
SHARES = np.linspace(0, 1, 21).round(4)
AS_GOOD = 0.01
COLUMNS = ["first", "second", "share", "rows", "accuracy", "low", "high"]
COLUMNS += ["difference", "difference_low", "difference_high", "ms_per_text", "money_per_1000", "series"]


class CascadeParams(BootstrapParams):
    gain: float = Field(0.001, ge=0)
    """The accuracy by which a cascade must beat all that is cheaper to be worth its cost."""


class Price(NamedTuple):
    """What scoring a text takes; `reading_ms` of it go for the embedding that it `reads`."""

    ms_per_text: float
    money_per_1000: float
    reads: str | None = None
    reading_ms: float = 0.0

    def after(self, first: "Price", share: float) -> "Price":
        """Expected, of `first` for every text and this one for a share of them, which are embedded already if both read that."""
        own = self.ms_per_text - (self.reading_ms if self.reads == first.reads else 0.0)
        return Price(first.ms_per_text + share * own, first.money_per_1000 + share * self.money_per_1000)

    def at_most(self, other: "Price") -> bool:
        return self.ms_per_text <= other.ms_per_text and self.money_per_1000 <= other.money_per_1000


def price_of(classifier: Predictions) -> Price | None:
    """From its costs; the money went for all the rows that it scored. None where they do not say it."""
    costs, scored = read_costs(classifier.name), len(classifier.train) + len(classifier.test)
    money = costs.llm.money if costs.llm else 0.0
    if costs.ms_per_text is None or money is None:
        return None
    return Price(costs.ms_per_text, 1000 * money / scored, costs.reads, costs.reading_ms or 0.0)


def right_by_share(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Whether each row that both scored is decided rightly, by id: a column for each of `SHARES`; of two `scored_rows`."""
    shared = first.index.intersection(second.index, sort=False)
    right, right_of_second = (decided_rightly(rows.loc[shared]).to_numpy() for rows in (first, second))
    certainty = np.abs(first.loc[shared, "score"].fillna(THRESHOLD).to_numpy() - THRESHOLD)
    place = np.argsort(np.argsort(certainty, kind="stable"), kind="stable")
    by_share = {share: np.where(place < round(share * len(shared)), right_of_second, right) for share in SHARES}
    return pd.DataFrame(by_share, index=shared)


class Offer(NamedTuple):
    """A classifier, or a cascade of a pair at some share; whether it decides each row rightly, indexed by id."""

    price: Price
    lead: float
    right: pd.Series
    pair: tuple[str, str] | None = None


def gains_clearly(offer: Offer, best: Offer, groups: pd.Series, looks: int) -> bool:
    """Whether the 95 % interval of the mean gain over another, on the rows that both have, lies above 0; groups are by id.

    For so many looks together (Bonferroni), by the normal distribution: so far out no bootstrap draws often enough.
    """
    gain = (offer.right.astype(float) - best.right).dropna()
    error = np.sqrt(variance_by_group(gain.to_numpy(), groups[gain.index].to_numpy()))
    return bool(gain.mean() > norm.isf(0.025 / looks) * error)


def worthwhile(rows: dict[str, pd.DataFrame], prices: dict[str, Price], params: CascadeParams) -> list[tuple[str, str]]:
    """The pairs that at some share beat whatever costs less and is worth its own cost, by `gain` and by more than chance makes.

    The first is the cheaper and the less accurate one. Accuracies are leads as in `rank`: not all score the same rows.
    """
    if not rows:
        return []
    right = {name: decided_rightly(one) for name, one in rows.items()}
    reference = max(right.values(), key=lambda one: (len(one), one.mean())).astype(float)

    def offer(price: Price, right: pd.Series, pair: tuple[str, str] | None = None) -> Offer:
        lead = float((right - reference).mean())  # what one of the two did not score drops out
        return Offer(price, lead, right, pair)

    groups = pd.concat([one["group"] for one in rows.values()])
    groups = groups[~groups.index.duplicated()]
    alone = {name: offer(prices[name], right[name]) for name in rows}

    def may_come_first(first: str, second: str) -> bool:
        return prices[first].at_most(prices[second]) and alone[first].lead < alone[second].lead

    pairs = [pair for pair in itertools.permutations(rows, 2) if may_come_first(*pair)]
    offers = [*alone.values()]
    for first, second in pairs:
        by_share = right_by_share(rows[first], rows[second])
        offers += [
            offer(prices[second].after(prices[first], share), by_share[share], (first, second))
            for share in SHARES[1:-1].tolist()
        ]
    worth: list[Offer] = []
    for one in sorted(offers, key=lambda one: (one.price[:2], -one.lead)):
        best = max((other for other in worth if other.price.at_most(one.price)), key=lambda one: one.lead, default=None)
        enough = not best or one.lead >= best.lead + params.gain
        if enough and (not best or not one.pair or gains_clearly(one, best, groups, len(pairs))):
            worth.append(one)
    return list(dict.fromkeys(one.pair for one in worth if one.pair))


def curve_of(first: pd.DataFrame, second: pd.DataFrame, params: CascadeParams) -> pd.DataFrame:
    """By share passed on: the accuracy, and by how much it differs from that of the second classifier alone."""
    right = right_by_share(first, second).astype(float)
    values = np.concatenate([right, right.sub(right[1.0], axis=0)], axis=1)
    low, high = bootstrap_means(values, first.loc[right.index, "group"].to_numpy(), params.draws, params.seed)
    names = ["accuracy", "difference", "low", "difference_low", "high", "difference_high"]
    found = pd.DataFrame(np.concatenate([values.mean(axis=0), low, high]).reshape(len(names), -1).T, columns=names)
    return found.assign(share=right.columns, rows=len(right))


def render(cascades: pd.DataFrame, left_out: list[str]) -> str:
    """The page: the accuracy of each cascade at some shares, and what it takes."""
    if cascades.empty:
        return page("No cascade is worth its cost.", *left_out)
    rows, shares = [], [f"{share:.0%}" for share in SHOWN]
    for series, curve in cascades.groupby("series", sort=False):
        at = curve.set_index("share").loc[[*SHOWN]]
        cells = [f"{row.accuracy:.3f} ({row.ms_per_text:.2f})" for row in at.itertuples()]
        as_good = curve.loc[curve["difference_low"] > -AS_GOOD, "share"].min()
        rows.append([series, at["rows"].iloc[0], *cells, as_good])
    table = pd.DataFrame(rows, columns=["series", "rows", *shares, "as_good"])
    columns = [Column("First → second", "series"), Column("Rows", "rows", ",.0f")]
    columns += [Column(share, share, order="rows") for share in shares]
    columns.append(Column("As good", "as_good", ".0%"))
    intro = (
        "Accuracy, and in brackets expected ms a text of many at once (an embedding that both read is paid once), by the share "
        "of the texts that the first classifier is least sure of and passes on to the second; at 100 % the second decides alone. "
        "A cascade is worth its cost if at some share the 95 % interval of its gain over the best of what is cheaper lies above "
        "0, corrected for how many were tried. As good: the least share at which the cascade loses "
        f"less than {100 * AS_GOOD:g} point to the second alone, by the low end of the 95 % interval (bootstrap over "
        "groups). Money and all shares are in `cascade/cascade.csv`."
    )
    return page(intro, Table(table, columns).markdown(), *left_out)


def main() -> None:
    params, prepared = read_params("cascade", CascadeParams), read_prepared()
    classifiers, left_out = read_all(prepared)
    prices = {one.name: price for one in classifiers if (price := price_of(one))}
    left_out += [f"left out {one.name}: what it takes is not known" for one in classifiers if one.name not in prices]
    rows = {one.name: scored_rows(prepared, one) for one in classifiers if one.name in prices}
    pairs = worthwhile(rows, prices, params)
    curves = [pd.DataFrame(columns=COLUMNS)] if not pairs else []
    for first, second in tqdm(pairs, desc="cascade", unit="pair"):
        curve = curve_of(rows[first], rows[second], params)
        expected = [prices[second].after(prices[first], share)._asdict() for share in curve["share"]]
        curve = curve.assign(first=first, second=second, series=f"{first} → {second}")
        curves.append(pd.concat([curve, pd.DataFrame(expected)], axis=1))
    cascades = pd.concat(curves)[COLUMNS]
    write_csv(OUT / "cascade.csv", cascades, 5)
    write_text(OUT / "table.md", render(cascades, left_out))
