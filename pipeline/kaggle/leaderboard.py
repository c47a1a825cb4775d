"""What was submitted: a row each with its out-of-fold estimate and public score, and how far the two are apart.

in:  leaderboard/submissions.csv
out: leaderboard/metrics.json, leaderboard/scatter.svg
run: python -m pipeline.kaggle.leaderboard   (by hand only after a merge of two tables; submit does it by itself)
"""

import json
import math
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from pipeline.contracts import write_text
from pipeline.kaggle.record import TABLE, Submission, as_csv, read_rows
from pipeline.kaggle.validate import TEST_ROWS
from pipeline.process import run

OUT = Path("leaderboard")


def noise(score: float) -> float:
    """Half the width of the 95 % interval of a public score: so many tweets leave so much to chance."""
    return 1.96 * math.sqrt(max(0.0, score * (1 - score)) / TEST_ROWS)


def doubt(row: Submission) -> float:
    """Half the width of the estimate's interval, 0 where that is not known."""
    low, high = row.estimate_low, row.estimate_high
    return 0.0 if low is None or high is None else (high - low) / 2


def chance(public: float, doubt: float) -> float:
    """By how much estimate and public score may differ without reason, 95 %: the widths of both intervals together."""
    return math.hypot(noise(public), doubt)


def verdict(row: Submission) -> dict[str, Any] | None:
    """The estimate, the public score, the difference of the two and how much of it may be chance; None without a score."""
    if row.public_score is None:
        return None
    found = row.model_dump(
        include={"classifier", "estimate", "estimate_low", "estimate_high", "nested_estimate", "public_score"}
    )
    apart = row.public_score - row.estimate
    return found | {"difference": apart, "chance": chance(row.public_score, doubt(row))}


def summary(rows: list[Submission]) -> dict[str, Any]:
    """The last and the best of those that have a score, and by how much the scores differ from the estimates."""
    verdicts = [one for row in rows if (one := verdict(row))]
    found: dict[str, Any] = {"submissions": len(rows), "scored": len(verdicts)}
    if verdicts:
        apart = [one["difference"] for one in verdicts]
        found["latest"] = verdicts[-1]
        found["best"] = max(verdicts, key=lambda one: float(one["public_score"]))
        found["mean_difference"] = sum(apart) / len(apart)
        found["beyond_chance"] = sum(abs(one["difference"]) > one["chance"] for one in verdicts)
    return found


def scatter(rows: list[Submission]) -> str:
    """Public scores by estimates with the intervals of both as SVG; those in the band differ by no more than chance.

    The band has the chance of both, of the estimate's that of the widest interval.
    """
    points = [
        row.model_dump() | {"low": public - noise(public), "high": public + noise(public)}
        for row in rows
        if (public := row.public_score) is not None
    ]
    ends = [one[end] for one in points for end in ("estimate", "estimate_low", "estimate_high", "low", "high")]
    known = [end for end in ends if end is not None] or [0.785, 0.855]
    low, high = min(known) - 0.005, max(known) + 0.005
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    axis = alt.Axis(format=".1%", tickCount=6)
    x = alt.X("estimate:Q", title="Out-of-fold accuracy", scale=scale, axis=axis)
    y = alt.Y("public_score:Q", title="Public score", scale=scale, axis=axis)
    y_low = alt.Y("low:Q", scale=scale)
    widest = max((doubt(row) for row in rows if row.public_score is not None), default=0.0)
    steps = [low + (high - low) * step / 20 for step in range(21)]
    band = [(at, chance(at, widest)) for at in steps]
    equal = [{"estimate": at, "public_score": at, "low": at - half, "high": at + half} for at, half in band]
    lines = alt.Chart(alt.Data(values=equal))
    layers = [
        lines.mark_area(opacity=0.12, color="gray", clip=True).encode(x=x, y=y_low, y2="high:Q"),
        lines.mark_line(strokeDash=[4, 4], color="gray").encode(x=x, y=y),
    ]
    if points:  # a legend of nothing is no picture
        dots = alt.Chart(alt.Data(values=points)).encode(color=alt.Color("classifier:N", title=None))
        layers += [
            dots.mark_rule().encode(x=alt.X("estimate_low:Q", scale=scale), x2="estimate_high:Q", y=y),
            dots.mark_rule().encode(x=x, y=y_low, y2="high:Q"),
            dots.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y),
        ]
    title = alt.Title(
        "Estimates and public scores",
        subtitle=f"Band: ±{100 * chance((low + high) / 2, widest):.2f} points, the chance of test tweets and estimates (95 %)",
    )
    svg: str = vl_convert.vegalite_to_svg(alt.layer(*layers).properties(title=title, width=420, height=420).to_dict())
    return svg


def save(rows: list[Submission]) -> None:
    """Write the table, and what is made of it."""
    write_text(TABLE, as_csv(rows))
    write_text(OUT / "metrics.json", json.dumps(summary(rows), indent=2) + "\n")
    write_text(OUT / "scatter.svg", scatter(rows))


def main() -> None:
    rows = read_rows()
    save(rows)
    print(f"{OUT}: {len(rows)} submissions, {sum(row.public_score is not None for row in rows)} with a public score")


if __name__ == "__main__":
    run(main)
