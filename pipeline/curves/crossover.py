"""Where learning curves cross: from how many labels on does a discriminative classifier overtake its generative twin?

Ng & Jordan (2001, https://papers.nips.cc/paper/2020-on-discriminative-vs-generative-classifiers) expect one crossing: the
generative twin ahead while labels are few, the discriminative one in the end.

in:  data/prepared, study/learning_curve/*.parquet
out: study/crossover/: table.md, metrics.json, twins.csv, curves.csv (accuracy, log loss, calibration error by number of labels,
     and the share of models that call every text the same)
run: make study   (or python -m pipeline.stage --study curves.crossover)
"""

import json
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.compare.scored import BootstrapParams, TwinsParams
from pipeline.contracts import InputError, read_params, read_prepared, write_text
from pipeline.contracts.files import write_csv
from pipeline.curves.learning_curve import LearningCurveParams, read_curve
from pipeline.curves.prompt_curve import PromptCurveParams
from pipeline.curves.twins import Twins
from pipeline.places import STUDY
from pipeline.stats.decisions import THRESHOLD, decide
from pipeline.stats.metrics import METRICS, weighted
from pipeline.tables import LOW_HIGH, Column, Row, Table, interval, page, spread

OUT = STUDY / "crossover"
SHOWN = {"accuracy": "Accuracy", "log_loss": "Log loss", "ece": "Calibration error"}


class CrossoverParams(BootstrapParams):
    """Draws are of whole curves, over seeds and groups."""


def weights_of_draws(curve: pd.DataFrame, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed, (draws, seeds), and each group, (draws, groups), is drawn; both by number from 0.

    The same draws for every classifier, so that differences are paired.
    """
    rng = np.random.default_rng(seed)
    seeds, groups = int(curve["seed"].max()) + 1, int(curve["group"].max()) + 1
    by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    by_group = rng.poisson(1.0, size=(draws, groups))  # the bootstrap's counts of many groups, one by one
    return by_seed.astype(np.float32), by_group.astype(np.float32)


def curve_of(curve: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Each metric by size, with the ends of its 95 % interval over seeds and groups, and how many models have `one_answer`."""
    by_seed, by_group = weights_of_draws(curve, draws, seed)
    rows = []
    for size, part in curve.groupby("size"):
        targets, scores = part["target"].to_numpy(), part["score"].to_numpy()
        drawn = weighted(targets, scores, by_seed[:, part["seed"]] * by_group[:, part["group"]])
        low, high = np.percentile(drawn, [2.5, 97.5], axis=1)
        called = (part["score"] > THRESHOLD).groupby(part["seed"]).mean()
        row = {"size": size, "seeds": len(called), "one_answer": called.isin([0, 1]).mean()}
        itself = weighted(targets, scores, np.ones((1, len(part))))[:, 0]
        for end, values in (("", itself), ("_low", low), ("_high", high)):
            row |= {f"{metric}{end}": value for metric, value in zip(METRICS, values, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def leads(
    generative: pd.DataFrame, discriminative: pd.DataFrame, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy of the first minus that of the second, on the points that both have.

    Sizes, shape (sizes,), the lead at each, and in each of the bootstrap's draws, shape (draws, sizes).
    """
    keys = ["size", "seed", "id"]
    both = generative.merge(discriminative[[*keys, "score"]], on=keys, suffixes=("", "_other"))
    by_seed, by_group = weights_of_draws(generative, draws, seed)
    sizes, lead, drawn = [], [], []
    for size, part in both.groupby("size"):
        targets = part["target"].to_numpy()
        gain = (decide(targets, part["score"].to_numpy()) == targets).astype(np.float32)
        gain -= decide(targets, part["score_other"].to_numpy()) == targets
        weights = by_seed[:, part["seed"]] * by_group[:, part["group"]]
        sizes.append(size)
        lead.append(gain.mean())
        drawn.append(weights @ gain / weights.sum(axis=1))
    return np.array(sizes, dtype=float), np.array(lead), np.stack(drawn, axis=1)


def crossing(sizes: np.ndarray, lead: np.ndarray) -> float:
    """The number of labels at which the lead falls through 0 for good, on a logarithmic scale; NaN if it does not.

    `lead` by rising size, both of shape (sizes,): it must be above 0 somewhere, and not from there to the end.
    """
    ahead = np.flatnonzero(lead > 0)
    if not len(ahead) or ahead[-1] == len(lead) - 1:
        return float("nan")
    a, b = ahead[-1], ahead[-1] + 1
    x, y = np.log(sizes[[a, b]])
    return float(np.exp(x + (y - x) * lead[a] / (lead[a] - lead[b])))


def find_crossing(
    generative: str, discriminative: str, sizes: np.ndarray, lead: np.ndarray, drawn: np.ndarray
) -> Twins:
    """Of the lead by size, shape (sizes,), and in the bootstrap's draws, shape (draws, sizes)."""
    crossings = np.array([crossing(sizes, each) for each in drawn])
    crossed = crossings[~np.isnan(crossings)]
    low, high = np.percentile(crossed, [2.5, 97.5]) if len(crossed) else (np.nan, np.nan)
    at_ends = np.stack([lead, *np.percentile(drawn, [2.5, 97.5], axis=0)])[:, [0, -1]].T.tolist()
    return Twins(
        *(generative, discriminative, crossing(sizes, lead), float(low), float(high), len(crossed) / len(crossings)),
        *(int(sizes[0]), *at_ends[0]),
        *(int(sizes[-1]), *at_ends[1]),
    )


def lead_at(end: str, row: Row) -> str:
    """With the `first` or the `last` number of labels: `16: +3.0 [+1.0, +5.0]`, in points."""
    return f"{row[end]:,}: {interval(row, f'lead_at_{end}', '+.1f', 100)}"


TWINS = [
    Column("Generative", "generative"),
    Column("Discriminative", "discriminative"),
    Column("Fewest labels: lead, points", partial(lead_at, "first"), order="lead_at_first"),
    Column("Most labels: lead, points", partial(lead_at, "last"), order="lead_at_last"),
    Column("Crossing, labels", "crossing", ",.0f", ends=LOW_HIGH),
    Column("Draws that cross", "share", ".0%"),
]


def one_answer(curves: dict[str, pd.DataFrame]) -> list[str]:
    """Where models call every held-out text the same: of these the curves say which label is more frequent, and no more."""
    found = [
        f"{name} with {row['size']:,.0f} labels: {row['one_answer']:.0%}"
        for name, curve in curves.items()
        for _, row in curve[curve["one_answer"] > 0].iterrows()
    ]
    said = f"Models that call every text the same, and so know no more than a majority: {'; '.join(found)}."
    return [said] if found else []


def render(curves: dict[str, pd.DataFrame], twins: list[Twins], draws: int) -> str:
    """The page: each metric by number of labels, and each pair's crossing."""
    parts = [f"On held-out texts, 95 % intervals by bootstrap over seeds and groups ({draws:,} draws)."]
    measured = pd.concat([curve.assign(series=name) for name, curve in curves.items()])
    sizes = {size: f"{size:,}" for size in sorted(measured["size"].unique())}
    for metric, title in SHOWN.items():
        by_size = spread(measured, Column("Classifier", "series"), sizes, "size", partial(interval, name=metric))
        parts += [f"{title} by number of labels:", by_size.markdown()]
    parts += one_answer(curves)
    if twins:
        parts += [
            "Twins: the generative one's lead in accuracy, and where it is lost:",
            Table(pd.DataFrame(map(asdict, twins)), TWINS).markdown(),
            "\n".join(pair.verdict() for pair in twins),
        ]
    return page(*parts)


def curve_names() -> list[str]:
    """The curves that params name: what others have left in the folder is not drawn."""
    prompts = [f"prompt_{name}" for name in read_params("prompt_curve", PromptCurveParams).prompts]
    fitted = read_params("learning_curve", LearningCurveParams).classifiers
    return sorted([*fitted, *prompts, *(f"{name}_platt" for name in prompts)])


def main() -> None:
    params, pairs = read_params("crossover", CrossoverParams), read_params("twins", TwinsParams).pairs
    prepared = read_prepared()
    paths = [path for name in curve_names() if (path := STUDY / f"learning_curve/{name}.parquet").is_file()]
    if not paths:
        raise InputError("learning_curve: no curves; run `make study`")
    scored = {path.stem: read_curve(path, prepared) for path in paths}
    curves = {
        name: curve_of(curve, params.draws, params.seed)
        for name, curve in tqdm(scored.items(), desc="crossover", unit="curve")
    }
    twins = [
        find_crossing(a, b, *leads(scored[a], scored[b], params.draws, params.seed))
        for a, b in pairs
        if a in scored and b in scored
    ]
    measured = pd.concat([curve.assign(series=name) for name, curve in curves.items()])
    last = {name: {one: round(float(curve[one].iloc[-1]), 4) for one in SHOWN} for name, curve in curves.items()}
    write_csv(OUT / "curves.csv", measured, 5)
    write_csv(OUT / "twins.csv", pd.DataFrame(map(asdict, twins)), 5)
    write_text(OUT / "table.md", render(curves, twins, params.draws))
    write_text(OUT / "metrics.json", json.dumps(last, indent=2) + "\n")
