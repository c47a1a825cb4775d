"""Results of all stages, small and made up, for a report to be made of; one tweet tries to run a script."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HOSTILE = '</script><script>window.hacked = true; alert(1)</script><img src=x onerror="window.hacked = true">'
SCHOOLS = {
    "lora_minilm": "discriminative",
    "logistic": "discriminative",
    "naive_bayes": "generative",
    "gaussian_minilm": "generative",
    "prompt_few_shot": "prompted",
}
ACCURACY = dict(zip(SCHOOLS, (0.83, 0.80, 0.795, 0.79, 0.6), strict=True))
METRICS = ("accuracy", "f1", "precision", "recall", "roc_auc", "log_loss", "brier", "ece")


def with_ends(name: str, value: float, width: float = 0.01) -> dict[str, float]:
    return {name: value, f"{name}_low": value - width, f"{name}_high": value + width}


def around(value: float, width: float = 0.01) -> dict[str, float]:
    """The ends of an interval where a table has but one."""
    return {"low": value - width, "high": value + width}


def table(columns: str, rows: Iterable[Any], value: str | None = None) -> pd.DataFrame:
    """Rows under columns, with the ends of an interval around one of them."""
    frame = pd.DataFrame(rows, columns=columns.split())
    return frame.assign(low=(frame[value] - 0.01).clip(lower=0), high=frame[value] + 0.01) if value else frame


def scores(
    accuracy: dict[str, float] | None = None, standings: str = "best behind behind behind behind"
) -> pd.DataFrame:
    """As in evaluate/scores.csv, best first; `few` among the standings is short for too few rows."""
    ordered = sorted((accuracy or ACCURACY).items(), key=lambda item: -item[1])
    rows = []
    for place, ((name, value), standing) in enumerate(zip(ordered, standings.split(), strict=True), start=1):
        row: dict[str, Any] = {"classifier": name, "rank": None if standing == "few" else place}
        row |= {"standing": standing.replace("few", "too few rows")} | with_ends("to_best", value - ordered[0][1])
        row |= {"school": SCHOOLS[name], "rows": 7613, "unparsed": 0}
        for metric in METRICS:
            row |= with_ends(metric, value if metric == "accuracy" else 0.4)
        rows.append(row | {"shared_rows": 1080, "shared_accuracy": value, "groups": 6000.0, "noise": np.nan})
    return pd.DataFrame(rows)


def paired(accuracy: dict[str, float] | None = None) -> pd.DataFrame:
    """As in evaluate/paired.csv: differences of more than a point are real."""
    values = accuracy or ACCURACY
    rows = []
    for a, b in itertools.combinations(sorted(values, key=lambda name: SCHOOLS[name] != "generative"), 2):
        gain = values[a] - values[b]
        row = {"a": a, "b": b, "rows": 7613, "difference": gain} | around(gain)
        row |= {"only_a_right": 300, "only_b_right": 310, "mcnemar_p": 0.5, "group_p": 0.6}
        row |= {"p_holm": 0.9, "real": abs(gain) > 0.01, "rows_needed": 20000}
        rows.append(row)
    return pd.DataFrame(rows)


def tweets(n: int = 8) -> pd.DataFrame:
    texts = [HOSTILE, "Forest fire near the lake", "my mixtape is on fire", "NA", "null and void", "Flood in Leeds"]
    texts = [*texts, *(f"tweet number {i} & more" for i in range(n))][:n]
    return pd.DataFrame(
        {"id": range(n), "target": [1, 0] * (n // 2), "keyword": ["fire", None] * (n // 2), "raw_text": texts}
    )


def tables() -> dict[str, pd.DataFrame]:
    """The csv files of all stages, by path."""
    names, whole = list(SCHOOLS), [name for name in SCHOOLS if name != "prompt_few_shot"]
    pair = ("naive_bayes", "logistic")
    costs = pd.DataFrame(
        {"classifier": names, "fit_seconds": [200, 18, 15, 10, 0], "ms_per_text": [1.5, 0.02, 0.01, 0.02, 150]}
    )
    costs["latency_ms_p50"], costs["tweets_per_second"] = 4 * costs["ms_per_text"], 1000 / costs["ms_per_text"]
    costs["reads"], costs["reading_ms"] = [None, None, None, "embed_minilm", None], [None, None, None, 0.01, None]
    costs["peak_memory_mb"], costs["trainable_parameters"] = 500, [5e5, 6e4, 3e4, 1e5, None]
    costs["money"], costs["model"] = [None] * 4 + [0.5], [None] * 4 + ["m"]
    confusion = table("series actual predicted", itertools.product(names, (0, 1), (0, 1)))
    confusion["share"] = np.where(confusion["actual"] == confusion["predicted"], 0.8, 0.2)
    confusion["rows"] = (1000 * confusion["share"]).astype(int)
    curve = [
        {"size": size, "seeds": 3, "one_answer": 0.0, "series": name}
        | with_ends("accuracy", 0.5 + 0.04 * np.log2(size / 16) + lead * np.log(300 / size), 0.02)
        | with_ends("log_loss", 0.7 - 0.03 * np.log2(size / 16), 0.02)
        | with_ends("ece", 0.05, 0.02)
        for name, lead in (("naive_bayes", 0.01), ("logistic", 0.0), ("lora_minilm", 0.02))
        for size in (16, 64, 256, 1024)
    ]
    twins = {"generative": "naive_bayes", "discriminative": "logistic", "crossing": 300.0, "low": 200.0, "high": 450.0}
    twins |= {"share": 0.97, "first": 16, "last": 1024}
    twins |= with_ends("lead_at_first", 0.03) | with_ends("lead_at_last", -0.01, 0.009)
    methods = list(itertools.product(names, ("none", "temperature", "isotonic")))
    bins = [(*method, i, i / 10 + 0.05, i / 10, 100) for method, i in itertools.product(methods, range(10))]
    calibrated = pd.DataFrame(
        {"classifier": name, "method": method, "rows": 7613, "ece_debiased": 0.02, "reliability": 0.001}
        | with_ends("log_loss", 0.45 if method == "none" else 0.4)
        | with_ends("brier", 0.14)
        | with_ends("ece", 0.03)
        for name, method in methods
    )
    slices = pd.DataFrame(
        {"classifier": name, "slice": each, "rows": 300, "accuracy": 0.8 + gap, "p": 0.01, "p_holm": 0.04}
        | {"worse": gap < -0.05}
        | around(0.8 + gap, 0.03)
        | with_ends("difference", gap, 0.03)
        for name in whole
        for each, gap in (("has URL", 0.03), ("keyword: <b>fire</b>", -0.1), ("mention", -0.01))
    )
    apart = tweets().assign(generative="naive_bayes", discriminative="logistic", gap=0.5)
    apart = apart.assign(score_generative=0.3, score_discriminative=0.8, right=["discriminative", "generative"] * 4)
    doubtful = tweets().assign(suggested=[0, 1] * 4, quality=np.linspace(0.01, 0.2, 8), group=range(8))
    treated = table("treatment", [["keep"], ["drop"], ["relabel"]]).assign(classifier="naive_bayes", trained_without=50)
    treated = treated.assign(accuracy=0.8, **around(0.8), **with_ends("difference", 0.0))
    garbled = [("none", 0.0), ("drop", 0.1), ("drop", 0.3), ("substitute", 0.1), ("substitute", 0.3)]
    noise = [(name, kind, rate, 0.8 - rate / 5) for name in pair for kind, rate in garbled]
    lost = dict(zip(pair, (0.03, -0.02), strict=True))
    shift = [(name, what, value) for name in pair for what, value in (("seen", 0.8), ("unseen", 0.8 - lost[name]))]
    shift += [(name, "lost", value) for name, value in lost.items()]
    steps = [(name, "lora_minilm", share, 0.8 + 0.03 * share) for name in pair for share in np.linspace(0, 1, 6)]
    measures = (("accuracy score", 1000), ("few labels", 32), ("copies", 0), ("nearest distance", 0))
    samples = table("family measure rows", ((name, *one) for name in ("naive_bayes", "ngram_lm") for one in measures))
    return {
        "evaluate/scores.csv": scores(),
        "evaluate/paired.csv": paired(),
        "evaluate/costs.csv": costs,
        "evaluate/plots/confusion.csv": confusion,
        "crossover/curves.csv": pd.DataFrame(curve),
        "crossover/twins.csv": pd.DataFrame([twins]),
        "calibration/reliability.csv": table("classifier method bin predicted observed rows", bins, "observed"),
        "calibration/scores.csv": calibrated,
        "blend/weights.csv": pd.DataFrame(
            {"classifier": whole * 2, "fold": [-1] * 4 + [0] * 4, "weight": [0.7, 0.2, 0.1, 0] * 2}
        ),
        "cascade/cascade.csv": table("first second share accuracy", steps, "accuracy").assign(
            ms_per_text=1, money_per_1000=0
        ),
        "errors/slices.csv": slices,
        "errors/disagreements.csv": apart,
        "errors/confident_errors.csv": pd.concat([tweets().assign(classifier=name, score=0.99) for name in whole]),
        "errors/label_noise.csv": doubtful.assign(conflict=[True, False] * 4),
        "errors/relabelled.csv": treated,
        "generation/metrics.csv": samples.assign(generated=0.74, real=0.75, low=-0.03, high=0.01),
        "robustness/noise.csv": table("classifier kind rate value", noise, "value"),
        "robustness/shift.csv": table("classifier what value", shift, "value"),
    }


def write_results(root: Path, *, only: tuple[str, ...] | None = None) -> None:
    """All results (or those of some stages) below a folder, as the stages would leave them."""
    blended = {"best_single": "lora_minilm", "accuracy_blend": 0.84, "used": True} | with_ends("gain", 0.01, 0.008)
    words = [[word, (-1) ** i * (i + 1) / 4] for i, word in enumerate(HOSTILE.split())]
    seen = [{"classifier": "naive_bayes", "score": 0.7, "kind": "words", "words": words}]
    seen.append({"classifier": "prompt_few_shot", "score": None, "kind": "reply", "reply": "<b>Yes</b>"})
    samples = table(
        "family text target", [("naive_bayes", HOSTILE, 0), ("naive_bayes", HOSTILE, 1), ("gaussian", None, 0)]
    )
    samples = samples.assign(nearest_id=1, nearest_target=0, nearest_text=HOSTILE, distance=0.7)
    texts = {
        "blend/comparison.json": json.dumps(blended),
        "explanations/explanations.jsonl": tweets().assign(seen=[seen] * 8).to_json(orient="records", lines=True),
        "generation/samples.jsonl": samples.to_json(orient="records", lines=True),
    }
    texts |= {path: frame.to_csv(index=False) for path, frame in tables().items()}
    for path, text in texts.items():
        if only is None or path.split("/")[0] in only:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
