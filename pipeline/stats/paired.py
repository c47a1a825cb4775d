"""Which of two classifiers is better, which of many: differences on paired rows, corrected for how many are looked at.

Near-duplicates are not independent evidence, so the test behind a verdict flips groups of rows and not rows; McNemar's own
test, which takes every row for a new one, stands beside it for comparison with what others report.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import normal_sample_size_one_tail

from pipeline.stats.bootstrap import CELLS, bootstrap_means
from pipeline.stats.decisions import decided_rightly

ALPHA = 0.05  # of all tests of a family together
POWER = 0.8
WIDE = 0.05
"""Half the width up to which an interval of a difference can show a tie: naive Bayes and a fine-tuned MPNet are less apart."""
ORDER = {"ahead": 0, "best": 1, "ties": 2, "unsure": 2, "behind": 2, "too few rows": 3}
"""Of the standings in a table; among those of one number it is that of `rank`."""


def compare_pair(a: pd.DataFrame, b: pd.DataFrame, draws: int, seed: int) -> dict[str, Any]:
    """Accuracy of a minus accuracy of b on the rows both cover, both as `scored_rows`.

    The interval is by grouped bootstrap; `mcnemar_p` is exact and takes rows for independent, `group_p` is its like for groups.
    """
    return compare_pairs({"a": a, "b": b}, [("a", "b")], draws, seed)["a", "b"]


def compare_pairs(
    rows: dict[str, pd.DataFrame], pairs: list[tuple[str, str]], draws: int, seed: int
) -> dict[tuple[str, str], dict[str, Any]]:
    """What `compare_pair` finds for each pair of names; pairs that cover the same rows share the drawing of them."""
    right = {name: decided_rightly(one).astype(np.int8) for name, one in rows.items()}
    shared = {(a, b): rows[a].index.intersection(rows[b].index, sort=False) for a, b in pairs}
    alike: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for pair in pairs:
        alike.setdefault(tuple(shared[pair]), []).append(pair)
    found = {}
    for members in alike.values():
        index = shared[members[0]]
        groups = rows[members[0][0]].loc[index, "group"].to_numpy()
        at_once = max(1, CELLS // max(1, len(index)))
        for start in range(0, len(members), at_once):
            some = members[start : start + at_once]
            gains = np.stack([right[a].loc[index] - right[b].loc[index] for a, b in some], axis=1)
            low, high = bootstrap_means(gains, groups, draws, seed)
            for i, pair in enumerate(some):
                found[pair] = described(gains[:, i].astype(int), groups, low[i], high[i])
    return {pair: found[pair] for pair in pairs}


def described(gain: np.ndarray, groups: np.ndarray, low: float, high: float) -> dict[str, Any]:
    """A pair by the gain of each row (-1, 0 or 1) and its group, both of shape (n,), and the interval of the mean gain."""
    return {
        "rows": len(gain),
        "difference": float(gain.mean()),
        "low": low,
        "high": high,
        "only_a_right": int((gain > 0).sum()),
        "only_b_right": int((gain < 0).sum()),
        "mcnemar_p": exact_mcnemar(gain),
        "group_p": exact_mcnemar(sum_by_group(gain, groups)),
        "design_effect": design_effect(gain, groups),
    }


def helps(pair: dict[str, Any], margin: float) -> bool:
    """Whether the first of a pair, a blend, gains over the other and, by the interval's low end, loses less than the margin."""
    return bool(pair["difference"] > 0 and pair["low"] > -margin)


def sum_by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sum of the values, shape (n,), over each group, shape (groups,)."""
    _, group = np.unique(groups, return_inverse=True)
    return np.bincount(group, weights=values)


def without_zeros(chances: np.ndarray) -> tuple[np.ndarray, int]:
    """The chances without those at both ends that are 0 as a float, and how many are gone at the start: of n, about √n stay."""
    possible = np.flatnonzero(chances)
    return chances[possible[0] : possible[-1] + 1], int(possible[0])


def exact_mcnemar(gains: np.ndarray) -> float:
    """Two-sided p of a sum of whole numbers, shape (k,), each of which is as likely to have either sign.

    Of rows, which gain -1, 0 or 1, this is McNemar's test (1947), exact. Of groups, each with the sum of its rows' gains, it is
    the exact form of Obuchowski's test for clustered pairs (1998, https://pubmed.ncbi.nlm.nih.gov/9699234): a group counts once,
    however many rows say the same, and the difference tested is that of the rows' accuracies, as in the interval.
    """
    sizes, times = np.unique(np.abs(gains[gains != 0]).astype(int), return_counts=True)
    chance, least = np.ones(1), 0  # of each sum of the gains that come out positive, from the least one on
    for size, count in zip(sizes, times, strict=True):
        of_count, fewest = without_zeros(stats.binom.pmf(np.arange(count + 1), count, 0.5))
        by_remainder = np.pad(chance, (0, -len(chance) % size)).reshape(-1, size).T
        added = np.stack([np.convolve(sums, of_count) for sums in by_remainder], axis=1).ravel()
        chance, lower = without_zeros(added)
        least += lower + size * fewest
    at_most = int(np.abs(gains).sum() - abs(gains.sum())) // 2
    return float(min(1.0, 2 * chance[: max(0, at_most + 1 - least)].sum()))


def variance_by_group(values: np.ndarray, groups: np.ndarray) -> float:
    """Variance of the mean of values, shape (n,), over groups, as of a ratio (Cochran 1977, section 6.3) and of the bootstrap."""
    return float(np.sum(sum_by_group(values - values.mean(), groups) ** 2)) / len(values) ** 2


def design_effect(gain: np.ndarray, groups: np.ndarray) -> float:
    """How many times as large groups make the variance of the mean gain (Kish 1965); 1 where gains do not vary."""
    alone = float(gain.var() / len(gain))
    return variance_by_group(gain, groups) / alone if alone else 1.0


def rows_needed(difference: float, discordant: float, design: float, alpha: float) -> float:
    """The number of rows on which McNemar's test finds such a difference with power `POWER` (Connor 1987, Biometrics 43:207).

    `discordant` is the share of rows on which exactly one is right; `alpha` is two-sided; times the design effect.
    """
    null, found = np.sqrt(discordant), np.sqrt(max(discordant - difference**2, 0.0))
    rows = normal_sample_size_one_tail(difference, POWER, alpha / 2, std_null=null, std_alternative=found)
    return float(np.ceil(rows * design))


def with_verdicts(paired: pd.DataFrame, best: str, twins: list[tuple[str, str]]) -> pd.DataFrame:
    """The pairs, as `compare_pair` finds them, with `p_holm`, `real` and `rows_needed`, which all but the tested lack.

    Tested is a family that is declared beforehand: each classifier against the best, and each generative one against its twin.
    `p_holm` is `group_p` corrected for it (Holm 1979), `real` is `p_holm` < `ALPHA`. The best is found on the same rows: of 19
    that are equally good and err apart some one is called behind in every fourth or fifth run, any given one in one of fifty
    (benchmarks/selection.py). `rows_needed` is empty where a difference is real or zero; it is for the level that Holm leaves to
    the others, `ALPHA` / their number.
    """
    if not len(paired):
        return paired
    tested = paired[[best in pair or pair in twins for pair in zip(paired["a"], paired["b"], strict=True)]]
    real, p_holm, _, _ = multipletests(tested["group_p"], alpha=ALPHA, method="holm")
    level, unsure = ALPHA / max(1, (~real).sum()), tested[~real & (tested["difference"] != 0)]
    discordant = (unsure["only_a_right"] + unsure["only_b_right"]) / unsure["rows"]
    sizes = zip(unsure["difference"], discordant, unsure["design_effect"], strict=True)
    needed = pd.Series([int(rows_needed(*one, level)) for one in sizes], unsure.index, dtype="Int64")
    found = tested.assign(p_holm=p_holm, real=pd.array(real, dtype="boolean"), rows_needed=needed)
    return paired.join(found[["p_holm", "real", "rows_needed"]])


def judged(pair: Any) -> str:
    """`real`, `too few rows` where the interval is wide, `ties` where chance explains the difference before any correction, or
    `unsure` where Holm's correction alone leaves it open: what a tested pair says.
    """
    if pair["real"]:
        return "real"
    narrow = pair["high"] - pair["low"] <= 2 * WIDE  # of a single group it has no ends
    return "too few rows" if not narrow else "ties" if pair["group_p"] >= ALPHA else "unsure"


def places(ranked: list[str], best: str, paired: pd.DataFrame) -> pd.DataFrame:
    """By name, in the order of their places: `rank`, `standing`, and `to_best`, the lead over the best, with its ends.

    `ranked` is from `rank`, `paired` from `with_verdicts`. Ahead, by a real difference, is only who did not score all that the
    best did; who has too few rows has no place, and comes last.
    """
    found: dict[str, tuple[str, float, float, float]] = {best: ("best", 0.0, 0.0, 0.0)}
    for pair in paired.to_dict("records"):
        if best in (pair["a"], pair["b"]):
            lead, low, high, other = pair["difference"], pair["low"], pair["high"], pair["a"]
            if other == best:
                lead, low, high, other = -lead, -high, -low, pair["b"]
            said = judged(pair)
            found[other] = ("ahead" if lead > 0 else "behind") if said == "real" else said, lead, low, high
    order = sorted(ranked, key=lambda name: ORDER[found[name][0]])
    columns = ["standing", "to_best", "to_best_low", "to_best_high"]
    table = pd.DataFrame([found[name] for name in order], index=pd.Index(order, name="classifier"), columns=columns)
    table.insert(0, "rank", range(1, len(order) + 1))
    return table.assign(rank=table["rank"].astype("Int64").where(table["standing"] != "too few rows"))
