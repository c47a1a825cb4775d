"""The verdict in two sentences, from what evaluate found: who is best, and what the school does."""

import pandas as pd

from pipeline.compare.table import pairs_among
from pipeline.stats.paired import judged

Pairs = list[tuple[str, str]]
JUDGED = {"real": "a real difference", "ties": "a tie", "unsure": "not sure", "too few rows": "too few rows to tell"}


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def joined(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def points(value: float) -> str:
    return f"{abs(100 * value):.1f} points"


def between(low: float, high: float, scale: float = 100) -> str:
    """An interval, in points."""
    return f"[{scale * low:+.1f}, {scale * high:+.1f}]"


def best_sentence(scores: pd.DataFrame) -> str:
    """Who is best, with whom it ties, and of whom that is not known; scores as in evaluate/scores.csv."""
    best = scores[scores["standing"] == "best"].iloc[0]
    ahead, tied, unsure, few = (
        [str(name) for name in scores.loc[scores["standing"] == one, "classifier"]]
        for one in ("ahead", "ties", "unsure", "too few rows")
    )
    right = (
        f"{best['classifier']} ({best['school']}) is right most often, about {percent(best['accuracy'])} of "
        f"{best['rows']:,} texts [{100 * best['accuracy_low']:.1f}, {100 * best['accuracy_high']:.1f}]"
    )
    if len(scores) == 1:
        return f"{right}; there is no other to compare it with."
    said = f"{right}, but not by a real difference: it ties with {joined(tied)}" if tied else right
    if "behind" in set(scores["standing"]) and not tied:
        said += f", and ahead of {'the rest' if ahead or unsure or few else 'every other'} by more than chance explains"
    said += f"; {joined(ahead)} did not score all of them, and on those scored is ahead of it" if ahead else ""
    said += f"; the difference to {joined(unsure)} is not sure" if unsure else ""
    return f"{said}; {joined(few)} scored too few texts to be placed." if few else f"{said}."


def twin_clause(pair: pd.Series) -> str:
    """What one generative twin gains or loses."""
    gain = pair["difference"]
    ends = between(pair["low"], pair["high"])
    if not gain:
        return f"{pair['a']} is exactly as accurate as {pair['b']} {ends}"
    side = "ahead of" if gain > 0 else "behind"
    return f"{pair['a']} is {points(gain)} {side} {pair['b']} {ends}, {JUDGED[judged(pair)]}"


def twins_sentence(paired: pd.DataFrame, twins: Pairs) -> str:
    """What being generative costs or gains beside a twin that sees the same features."""
    clauses = [twin_clause(pair) for _, pair in pairs_among(paired, twins).iterrows()]
    if not clauses:
        return "What the school does is open: no two twins ran."
    return f"Of a generative classifier and its discriminative twin, which see the same features, {'; '.join(clauses)}."


def verdict(scores: pd.DataFrame, paired: pd.DataFrame, twins: Pairs) -> list[str]:
    """The best and the twins, a sentence or two each."""
    return [best_sentence(scores), twins_sentence(paired, twins)]
