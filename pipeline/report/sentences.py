"""The verdict in a few sentences, from what evaluate found: who is best, what less takes, and what the school does.

The terminal, the report and README say the same.
"""

import numpy as np
import pandas as pd

from pipeline.compare.table import pairs_among
from pipeline.stats.paired import judged
from pipeline.tables import interval, number, short

Pairs = list[tuple[str, str]]
INVENTED = (
    "These tweets are the sample's, and invented: a demonstration. On the real ones the order is another: a fine-tuned encoder "
    "is ahead, then come classifiers over sentence embeddings, those on counts, and prompts to an LLM as small as this one."
)
STEPS = 5
"""The most of what is listed by time."""
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
    return f"[{number(low, '+.1f', scale)}, {number(high, '+.1f', scale)}]"


def best_sentence(scores: pd.DataFrame) -> str:
    """Who is best, with whom it ties, and of whom that is not known; scores as in evaluate/scores.csv."""
    best = scores[scores["standing"] == "best"].iloc[0]
    ahead, tied, unsure, few = (
        [str(name) for name in scores.loc[scores["standing"] == one, "classifier"]]
        for one in ("ahead", "ties", "unsure", "too few rows")
    )
    accuracy = interval(best, "accuracy", ".1f", 100, unit=f" % of {best['rows']:,} texts")
    right = f"Of single classifiers {best['classifier']} ({best['school']}) is right most often, about {accuracy}"
    if len(scores) == 1:
        return f"{right}; there is no other to compare it with."
    said = f"{right}, but not by a real difference: it ties with {joined(tied)}" if tied else right
    if "behind" in set(scores["standing"]) and not tied:
        others = "the others" if ahead or unsure or few else "every other"
        said += f", and ahead of {others} by more than chance explains"
    of_these = "; whether it does with {} is not sure" if tied else ", but for {}, where that is not sure"
    said += of_these.format(joined(unsure)) if unsure else ""
    said += f"; {joined(ahead)} did not score all of them, and on those scored is ahead of it" if ahead else ""
    return f"{said}; {joined(few)} scored too few texts to be placed." if few else f"{said}."


def twin_clause(pair: pd.Series) -> str:
    """What one generative twin gains or loses."""
    gain, ends, verdict = pair["difference"], between(pair["low"], pair["high"]), judged(pair)
    if verdict == "ties" or not gain:
        return f"{pair['a']} ties with {pair['b']} ({number(gain, '+.1f', 100)} points {ends})"
    side = "ahead of" if gain > 0 else "behind"
    return f"{pair['a']} is {points(gain)} {side} {pair['b']} {ends}, {JUDGED[verdict]}"


def twins_sentence(paired: pd.DataFrame, twins: Pairs) -> str:
    """What being generative costs or gains beside a twin that sees the same features."""
    clauses = [twin_clause(pair) for _, pair in pairs_among(paired, twins).iterrows()]
    if not clauses:
        return "What the school does is open: no two twins ran."
    return f"Of a generative classifier and its discriminative twin, which see the same features, {'; '.join(clauses)}."


def beaten_by_none_before(values: pd.Series) -> pd.Series:
    """Whether each value, in the order of rising cost, is larger than all before it."""
    return pd.Series(values > values.cummax().shift(fill_value=-1))


def unbeaten(scores: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Of those that scored all rows the ones that none beats in less time a text, cheapest first."""
    whole = scores[scores["rows"] == scores["rows"].max()]
    timed = whole.merge(costs[["classifier", "ms_per_text"]], on="classifier").dropna(subset="ms_per_text")
    ordered = timed.sort_values(["ms_per_text", "accuracy"], ascending=[True, False])
    return pd.DataFrame(ordered[beaten_by_none_before(ordered["accuracy"])])


def budget(scores: pd.DataFrame, costs: pd.DataFrame) -> list[str]:
    """What to take by the time, the labels and the money there are: a paragraph, and a list in Markdown."""
    said, lines, best = [], [], scores[scores["standing"] == "best"].iloc[0]["classifier"]
    ladder = unbeaten(scores, costs)
    ms = dict(zip(costs["classifier"], costs["ms_per_text"], strict=True))
    if len(ladder) > 1:
        cheapest = ladder.iloc[0]
        gain, *ends = (-cheapest[f"to_best{end}"] for end in ("", "_high", "_low"))
        said.append(
            f"It gains {number(gain, '.1f', 100)} points {between(*ends)} over {cheapest['classifier']}, and takes "
            f"{short(ms[best] / cheapest['ms_per_text'])} times as long for a text."
        )
        tied = costs["classifier"].isin(scores.loc[scores["standing"] == "ties", "classifier"])
        if len(faster := costs[tied & (costs["ms_per_text"] < ms[best])]):
            least = faster.loc[faster["ms_per_text"].idxmin(), "classifier"]
            said.append(f"Of those that tie with it, {least} takes the least time.")
        steps = ladder.iloc[np.unique(np.linspace(0, len(ladder) - 1, STEPS).round().astype(int))]
        lines += [
            f"{short(row['ms_per_text'])} ms a text: {row['classifier']}, {percent(row['accuracy'])}"
            for _, row in steps.iterrows()
        ]
    of_llm = costs.reindex(columns=["classifier", "example_labels", "money"])
    asked = scores[scores["school"] == "prompted"].merge(of_llm, on="classifier")
    if len(asked := asked[asked["example_labels"] == 0]):
        first = asked.iloc[0]
        paid = f", for {first['money']:.2f}" if first["money"] else ""
        lines.append(
            f"without a label: {first['classifier']}, {percent(first['accuracy'])} of {first['rows']:,} texts{paid}"
        )
    listed = "\n".join(["What to take, many texts at once:\n", *(f"- {line}" for line in lines)])
    return [*([" ".join(said)] if said else []), *([listed] if lines else [])]


def verdict(scores: pd.DataFrame, paired: pd.DataFrame, costs: pd.DataFrame, twins: Pairs) -> list[str]:
    """The best, what to take for less, and the twins: a paragraph each."""
    return [best_sentence(scores), *budget(scores, costs), twins_sentence(paired, twins)]
