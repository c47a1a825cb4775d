"""The comparison as Markdown."""

from typing import Any

import pandas as pd
from tabulate import tabulate

DECISIONS = {"accuracy": "Accuracy", "f1": "F1", "precision": "Precision", "recall": "Recall"}
PROBABILITIES = {"roc_auc": "ROC-AUC", "log_loss": "Log loss", "brier": "Brier", "ece": "ECE"}
NAMES = ("Classifier", "School", "Scoring", "Calibration")
LOWER_IS_BETTER = ("log_loss", "brier", "ece")
COSTS = (
    "What it costs. Fitting is that of all folds together, with embedding the train texts once. Latency is that of one new "
    "text, from its words to its score, warm, through all the models that score it, its embedding included; texts/s is that of "
    "many at once, of an LLM one request after the other. All parameters are those of one fold's model, its encoder's included:"
)
FEW_GROUPS = 30


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that is also readable as text: names to the left, numbers to the right."""
    align = ["left" if name in NAMES or (not i and name != "Place") else "right" for i, name in enumerate(header)]
    return tabulate(rows, headers=header, tablefmt="pipe", colalign=align, disable_numparse=True)


def with_interval(row: pd.Series, metric: str) -> str:
    """`0.812 [0.803, 0.821]`; a dash where there is nothing to measure."""
    value, low, high = (row[key] for key in (metric, f"{metric}_low", f"{metric}_high"))
    return "–" if pd.isna(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def number(value: Any, digits: int = 0) -> str:
    return "–" if pd.isna(value) else f"{value:,.{digits}f}"


def against_best(row: Any) -> str:
    """The lead over the best in points, with its interval, and the standing that it gives."""
    value, low, high = (100 * row[f"to_best{end}"] for end in ("", "_low", "_high"))
    standing = str(row["standing"])
    return standing if standing == "best" else f"{value:+.2f} [{low:+.2f}, {high:+.2f}] {standing}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def cautions(scores: pd.DataFrame) -> list[str]:
    """Sentences on intervals that rest on few groups, and on scores that hang on noise: none where all is well."""
    few, noisy = scores["groups"].min(), scores["noise"].dropna()
    said = []
    if few < FEW_GROUPS:
        held = f"with fewer than {FEW_GROUPS} it may hold the truth less often than 95 times in 100"
        said.append(f"Few groups: some interval here rests on about {few:.0f} groups of one size; {held}.")
    if len(noisy):
        shares = ", ".join(f"{name} ({100 * share:.1f} %)" for name, share in noisy.items())
        said.append(f"Scores that hang on noise, and the share of decisions that another draw turns over: {shares}.")
    return said


def render_table(
    scores: pd.DataFrame,
    *,
    paired: pd.DataFrame,
    twins: list[tuple[str, str]],
    costs: pd.DataFrame,
    uncalibrated: pd.DataFrame,
    report: dict[str, Any],
    draws: int,
    alpha: float,
    wide: float,
    left_out: list[str],
) -> str:
    """Scores, costs and paired differences, as evaluate's main() collects them; one row a classifier or pair."""
    shared = int(scores["shared_rows"].iloc[0])
    rows = report["rows"]
    never_split = " and ".join(
        ["near-duplicate group", *([report["group_column"]["column"]] if "group_column" in report else [])]
    )
    intro = (
        f"Data: `{report['source']}`, {rows['train']:,} train rows in {len(report['folds'])} folds by {never_split}, "
        f"{rows['test']:,} test rows. All scores are out-of-fold, in brackets the 95 % interval by bootstrap over groups "
        f"({draws:,} draws). In the order of the difference in accuracy to the best of those with the most rows, on the rows "
        f"that the two share; all share {shared:,}. Behind and ahead are real differences (p < {alpha} by a test that respects "
        "groups, by Holm's method corrected for the tests that are declared: each against the best, and the twins). A tie is "
        "want of evidence, not proof of equality; unsure is a difference that the correction alone leaves open; where the "
        f"interval is wider than ±{100 * wide:g} points the rows are too few to say even that, and to give a place. Lower is "
        f"better for {', '.join(PROBABILITIES[metric] for metric in LOWER_IS_BETTER)}. ECE and its interval lean upwards: noise "
        "only ever adds to its gaps."
    )
    decided = [
        [
            number(row["rank"]),
            str(name),
            row["school"],
            number(row["rows"]),
            number(row["unparsed"]),
            against_best(row),
            f"{row['shared_accuracy']:.3f}",
        ]
        + [with_interval(row, metric) for metric in DECISIONS]
        for name, row in scores.iterrows()
    ]
    decided_header = [
        "Place",
        "Classifier",
        "School",
        "Rows",
        "Unparsed",
        "Against the best, points",
        f"Accuracy on {shared:,}",
        *DECISIONS.values(),
    ]
    probable = [
        [str(name), *(with_interval(row, metric) for metric in PROBABILITIES)] for name, row in scores.iterrows()
    ]
    cost_columns = {
        "Fit, s": ("fit_seconds", 1),
        "Latency p50, ms": ("latency_ms_p50", 2),
        "p95, ms": ("latency_ms_p95", 2),
        "Texts/s": ("tweets_per_second", 0),
        "Peak memory, MB": ("peak_memory_mb", 0),
        "Trainable parameters": ("trainable_parameters", 0),
        "Total parameters": ("total_parameters", 0),
        "Requests": ("requests", 0),
        "of them new": ("new_requests", 0),
        "Prompt tokens": ("prompt_tokens", 0),
        "of them cached": ("cached_tokens", 0),
        "Money": ("money", 2),
    }
    shown = {
        title: column for title, column in cost_columns.items() if column[0] in costs and costs[column[0]].notna().any()
    }
    cost_rows = [
        [str(name), *(number(row[column], digits) for column, digits in shown.values())]
        for name, row in costs.iterrows()
    ]
    best = scores.index[scores["standing"] == "best"][0]
    pairs = [*zip(paired["a"], paired["b"], strict=True)] if len(paired) else []
    twin_rows, best_rows = paired[[pair in twins for pair in pairs]], paired[[best in pair for pair in pairs]]
    parts = [
        intro,
        markdown(decided_header, decided),
        *cautions(scores),
        "As probabilities, of rows that were read, as they come (not all have a temperature; `calibration` gives one to each):",
        markdown(["Classifier", *PROBABILITIES.values()], probable),
        COSTS,
        markdown(["Classifier", *shown], cost_rows),
    ]
    if len(uncalibrated):
        parts += ["Before and after calibration:", calibration_table(uncalibrated, scores, costs)]
    if len(twin_rows):
        parts += ["Twins, which see the same features (generative − discriminative):", pairs_table(twin_rows)]
    if len(best_rows):
        parts += [
            "Each against the best, on the rows that both scored (all pairs are in `evaluate/paired.csv`):",
            pairs_table(best_rows[::-1]),
        ]
    return "\n\n".join(parts + left_out) + "\n"


def pairs_table(paired: pd.DataFrame) -> str:
    rows = [
        [
            f"{row['a']} − {row['b']}",
            number(row["rows"]),
            f"{100 * row['difference']:+.2f} [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]",
            f"{row['only_a_right']} : {row['only_b_right']}",
            *(p_value(row[p]) for p in ("mcnemar_p", "group_p", "p_holm")),
            number(row["rows_needed"]),
        ]
        for _, row in paired.iterrows()
    ]
    header = ["Difference in accuracy", "Shared rows", "Points", "Only one right", "McNemar p", "by group", "corrected"]
    return markdown([*header, "Rows needed"], rows)


def calibration_table(before: pd.DataFrame, after: pd.DataFrame, costs: pd.DataFrame) -> str:
    """What a calibration did to each classifier that has one, and how many labels examples and calibration took."""
    metrics = {"accuracy": "Accuracy", "f1": "F1", "ece": "ECE"}
    rows = []
    for name in map(str, after.index[after.index.isin(before.index)]):
        raw, calibrated, cost = (table.loc[[name]].iloc[0] for table in (before, after, costs))
        row = [name, str(cost["scoring"]), str(cost["calibration"])]
        row += [number(cost["example_labels"]), number(cost["calibration_labels"])]
        row += [f"{raw['positives']:.2f} → {calibrated['positives']:.2f}"]
        row += [f"{with_interval(raw, metric)} → {with_interval(calibrated, metric)}" for metric in metrics]
        rows.append(row)
    labels = ["Labels for examples", "for calibration"]
    return markdown(["Classifier", "Scoring", "Calibration", *labels, "Share of positives", *metrics.values()], rows)
