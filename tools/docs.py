"""The published results, and the pages that are made of them: README's comparison, docs/comparison.md and docs/study.md.

run: make docs   (or python -m tools.docs, after a run; python -m tools.docs pages: from the results that were kept before)

What a run found is kept in docs/results/seed-<n>, n being the seed of its folds: if git has the code that is there, and DVC has
nothing to do for it, so that what is published is of one run of one commit, and says which. Of several seeds the last one is
published, and the others stand beside it. In docs/study.template.md `{pairs}` and the like stand for what the results say.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import pandas as pd
import vl_convert

from pipeline.compare.scored import TwinsParams
from pipeline.compare.table import CLASSIFIER, ROWS, SCHOOL, pairs_among, pairs_table
from pipeline.contracts import InputError, Params, read_json, read_params, read_prepared, write_text
from pipeline.curves.twins import Twins
from pipeline.data.prepare import PrepareParams
from pipeline.environment import machine, output
from pipeline.notebooks.shown import learning_curves
from pipeline.places import STUDY
from pipeline.process import run
from pipeline.report.sentences import verdict
from pipeline.tables import Column, Table, interval, measured

DOCS, README = Path("docs"), Path("README.md")
RESULTS = DOCS / "results"
BEGIN, END = "<!-- comparison: begin (written by `make docs`) -->", "<!-- comparison: end -->"
CODE = ("pipeline", "prompts", "dvc.yaml", "study/dvc.yaml", "requirements")
KEPT = {
    "evaluate": ("table.md", "scores.csv", "paired.csv", "costs.csv"),
    "submission": ("choice.json",),
    "crossover": ("table.md", "curves.csv", "twins.csv"),
    "robustness": ("table.md",),
    "generation": ("table.md",),
}
"""What is kept of each stage, if it ran."""
NETWORKS = "(autoencoder|vae|gan|diffusion|flow_matching)_.+"
KINDS = ("lora_.+", "gaussian_.+", "logistic_.+", "knn_.+", NETWORKS, "naive_bayes", "logistic", "prompt_.+")
"""Of classifiers, by their names: README has the best of each."""
INK = {
    "text": ("#24292f", "#e6edf3"),
    "grid": ("#d8dee4", "#30363d"),
    "generative": ("#b8480a", "#f0975a"),
    "discriminative": ("#0067a8", "#5db4ea"),
    "prompted": ("#007a5c", "#3fc59f"),
}
"""Of the picture, in the light and in the dark, as in the report's page."""
THEMES = {theme: {name: both[i] for name, both in INK.items()} for i, theme in enumerate(("light", "dark"))}
NOT_RUN = "Not measured at this commit: `make study` does it."


class Found(Params):
    """The content of run.json: which run of what these results are of."""

    commit: str
    seed: int
    folds: int
    rows: int
    test_rows: int
    machine: dict[str, str]


class Results(NamedTuple):
    """What was kept of a run."""

    folder: Path
    run: Found
    scores: pd.DataFrame
    paired: pd.DataFrame
    costs: pd.DataFrame


# --- keeping ----------------------------------------------------------------------------------------------------------


def stage_of(name: str) -> str | None:
    """DVC's name for the stage whose results are kept: the study's, which has the main job's classifiers too, if it ran."""
    if (STUDY / name / KEPT[name][0]).is_file():
        return f"{STUDY}/dvc.yaml:{name}"
    return name if Path(name, KEPT[name][0]).is_file() else None


def check(stages: list[str]) -> str:
    """The commit that these stages' results are of; refused unless it made them."""
    commit = output("git", "rev-parse", "HEAD")
    if not commit:
        raise InputError("docs: no git repository: nothing says which code made these results")
    if changed := output("git", "status", "--porcelain", "--", *CODE):
        raise InputError(f"docs: {changed.split()[1]} is not as it was committed: commit, and run it again")
    asked = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", *stages]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode or json.loads(done.stdout):
        what = done.stderr.strip().splitlines()[-1] if done.returncode else ", ".join(json.loads(done.stdout))
        raise InputError(f"docs: not the results of this code and these params: {what[:200]}; `dvc repro` first")
    return commit


def keep() -> Path:
    """The folder in docs/results to which the last run's results were copied."""
    found = {name: stage for name in KEPT if (stage := stage_of(name))}
    if "evaluate" not in found:
        raise InputError("docs: evaluate/table.md: no such file; run `make repro` first")
    commit, prepared = check([*found.values()]), read_prepared()
    params = read_params("prepare", PrepareParams)
    folder = RESULTS / f"seed-{params.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    for name, stage in found.items():
        source = STUDY / name if stage.startswith(f"{STUDY}/") else Path(name)
        (folder / name).mkdir(parents=True)
        for file in KEPT[name]:
            shutil.copy(source / file, folder / name / file)
    here = Found(
        commit=commit[:12],
        seed=params.seed,
        folds=params.folds,
        rows=len(prepared.train),
        test_rows=len(prepared.test),
        machine={key: value for key, value in machine().items() if key in ("processor", "cores", "Python")},
    )
    write_text(folder / "run.json", here.model_dump_json(indent=2) + "\n")
    return folder


# --- pages ------------------------------------------------------------------------------------------------------------


def read_results(folder: Path = RESULTS) -> list[Results]:
    """All that was kept, by rising seed: the last is the one that is published."""
    found = []
    for path in sorted(folder.glob("seed-*/run.json"), key=lambda path: int(path.parent.name.removeprefix("seed-"))):
        tables = [pd.read_csv(path.parent / "evaluate" / f"{name}.csv") for name in ("scores", "paired", "costs")]
        found.append(Results(path.parent, Found.model_validate(read_json(path)), *tables))
    if not found:
        raise InputError(f"{folder}: no results; `make docs` keeps those of a run")
    return found


def origin(run: Found) -> str:
    """Where results come from, in a sentence."""
    return (
        f"{run.rows:,} labelled texts in {run.folds} folds by near-duplicate group, drawn with seed {run.seed}; code at commit "
        f"{run.commit}; {run.machine.get('processor', 'unknown processor')}, {run.machine.get('cores', '?')} cores."
    )


def chosen_of(last: Results) -> dict[str, Any]:
    """What was submitted, as submission/choice.json has it; empty if nothing was."""
    path = last.folder / "submission/choice.json"
    return dict(read_json(path)["chosen"]) if path.is_file() else {}


def submitted(chosen: dict[str, Any]) -> list[str]:
    """The paragraph on `chosen_of`, with its own estimate and the nested one."""
    if not chosen:
        return []
    own = interval(chosen, "accuracy", ".1f", 100, unit=" %")
    nested = interval(chosen, "nested_accuracy", ".1f", 100, ("nested_low", "nested_high"), unit=" %")
    said = f"The submission is of {chosen['classifier']}: {own} out of fold, and {nested} when each fold is decided by what "
    return [f"{said}is chosen on the others ({chosen['why']})."]


def best_of_each(scores: pd.DataFrame) -> pd.DataFrame:
    """The first of each of the `KINDS` that are there, in their order."""
    each = [scores.index[scores["classifier"].str.fullmatch(kind)] for kind in KINDS]
    return scores[scores.index.isin([places[0] for places in each if len(places)])]


def picture(scores: pd.DataFrame, ink: dict[str, str]) -> str:
    """Accuracies with their intervals as SVG, one line a classifier, in the colours of the schools."""
    schools = [name for name in ink if name in set(scores["school"])]
    scale = alt.Scale(domain=schools, range=[ink[one] for one in schools])
    colour = alt.Color("school:N", scale=scale, title=None, legend=alt.Legend(orient="top", symbolType="circle"))
    y = alt.Y("classifier:N", sort=scores["classifier"].tolist(), title=None)
    x, x_low = (
        alt.X(f"{column}:Q", title="Accuracy out of fold, 95 % interval")
        .scale(zero=False, nice=False, padding=12)
        .axis(format=".0%", tickCount=8)
        for column in ("accuracy", "accuracy_low")
    )
    rows = alt.Data(values=json.loads(scores.to_json(orient="records")))
    base = alt.Chart(rows, width=560, height={"step": 21}).encode(y=y, color=colour)
    spans = base.mark_rule(strokeWidth=2).encode(x=x_low, x2="accuracy_high:Q")
    chart = spans + base.mark_point(filled=True, size=70, opacity=1).encode(x=x)
    return as_svg(chart, ink)


def as_svg(chart: Any, ink: dict[str, str]) -> str:
    """A chart as SVG without a background, in the ink of a theme."""
    text = {"labelColor": ink["text"], "labelFontSize": 13}
    grid = {"gridColor": ink["grid"], "tickColor": ink["grid"], "domain": False, "labelLimit": 300}
    title = {"titleColor": ink["text"], "titleFontSize": 13, "titleFontWeight": "normal"}
    chart = chart.configure(view={"stroke": None}, axis=text | grid | title, legend=text, header=text)
    return str(vl_convert.vegalite_to_svg(chart.to_dict() | {"background": None}))


def themed(name: str, alternative: str) -> str:
    """A picture in a page, light or dark as the reader has it."""
    dark = f'<source media="(prefers-color-scheme: dark)" srcset="{name}-dark.svg">'
    return f'<picture>\n  {dark}\n  <img alt="{alternative}" src="{name}-light.svg">\n</picture>'


def comparison(results: list[Results], twins: list[tuple[str, str]]) -> str:
    """README's block: the verdict, and of the published run the best of each kind with its accuracy by other folds."""
    *others, last = results
    costs = last.costs[["classifier", "fit_seconds", "latency_ms_p50"]]
    scores = best_of_each(last.scores).merge(costs, on="classifier")
    chosen = chosen_of(last)
    if chosen.get("classifier") == "blend":
        scores = pd.concat([pd.DataFrame([chosen | {"school": "all of them"}]), scores], ignore_index=True)
    accuracy = measured("Accuracy, %", "accuracy", ".1f", 100)
    columns = [CLASSIFIER, SCHOOL, ROWS, accuracy]
    for one in others:
        title = f"seed {one.run.seed}"
        elsewhere = {row["classifier"]: accuracy.text(row) for row in one.scores.to_dict("records")}
        scores[title] = scores["classifier"].map(elsewhere)
        columns.append(Column(title, title, order="accuracy"))
    of_others = "; under a seed, by other folds" if others else ""
    columns += [Column("Fit, s", "fit_seconds", ",.0f"), Column("One text, ms", "latency_ms_p50", ",.1f")]
    parts = [
        *verdict(last.scores, last.paired, last.costs, twins),
        *submitted(chosen),
        Table(scores, columns).markdown(),
        f"{origin(last.run)} In brackets 95 % intervals{of_others}. [All classifiers, all measures](docs/comparison.md).",
    ]
    return "\n\n".join(parts)


def whole_comparison(results: list[Results]) -> str:
    """docs/comparison.md: each run's own page."""
    parts = ["# The comparison", "*Written by `make docs` from docs/results.*"]
    for one in reversed(results):
        table = (one.folder / "evaluate/table.md").read_text(encoding="utf-8").strip()
        parts += [f"## Folds of seed {one.run.seed}", origin(one.run), table]
    return "\n\n".join(parts) + "\n"


def curves_in_words(twins: pd.DataFrame) -> Iterator[str]:
    """Of each pair: its lead with the fewest and the most labels, and whether the curves cross."""
    for _, row in twins.iterrows():
        ends = [interval(row, f"lead_at_{end}", "+.1f", 100, unit=" points") for end in ("first", "last")]
        yield (
            f"- {row['generative']} against {row['discriminative']}: {ends[0]} at {row['first']:,} labels, {ends[1]} at "
            f"{row['last']:,}. {Twins(**{str(key): value for key, value in row.items()}).verdict()}"
        )


def study(last: Results, template: str, twins: list[tuple[str, str]]) -> dict[Path, str]:
    """docs/study.md, and its figure if there are curves, by path."""

    def page(stage: str) -> str:
        path = last.folder / stage / "table.md"
        return path.read_text(encoding="utf-8").strip() if path.is_file() else NOT_RUN

    values = {
        "origin": origin(last.run),
        "verdict": "\n\n".join(verdict(last.scores, last.paired, last.costs, twins)),
        "pairs": pairs_table(pairs_among(last.paired, twins)),
        "curves": page("crossover"),
        "robustness": page("robustness"),
        "generation": page("generation"),
        "leads": "",
    }
    made = {}
    if (last.folder / "crossover").is_dir():
        of_curves = pd.read_csv(last.folder / "crossover/curves.csv")
        for theme, ink in THEMES.items():
            made[DOCS / f"learning_curves-{theme}.svg"] = as_svg(learning_curves(of_curves, twins, ink), ink)
        words = curves_in_words(pd.read_csv(last.folder / "crossover/twins.csv"))
        values["leads"] = "\n".join([themed("learning_curves", "Accuracy by number of labels, of twins"), "", *words])
    try:
        return {DOCS / "study.md": template.format_map(values)} | made
    except (KeyError, ValueError) as error:
        raise InputError(f"{DOCS / 'study.template.md'}: {error} is not among the results") from None


def pages() -> dict[Path, str]:
    """All pages that are made of the results, by path."""
    results, twins = read_results(), read_params("twins", TwinsParams).pairs
    readme = README.read_text(encoding="utf-8")
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{README}: the markers of the comparison are missing")
    made = {README: f"{before}{BEGIN}\n\n{comparison(results, twins)}\n\n{END}{after}"}
    made[DOCS / "comparison.md"] = whole_comparison(results)
    made |= {DOCS / f"comparison-{theme}.svg": picture(results[-1].scores, ink) for theme, ink in THEMES.items()}
    return made | study(results[-1], (DOCS / "study.template.md").read_text(encoding="utf-8"), twins)


def main() -> None:
    if sys.argv[1:] != ["pages"]:
        print(f"docs: kept in {keep()}")
    for path, text in pages().items():
        write_text(path, text)


if __name__ == "__main__":
    run(main)
