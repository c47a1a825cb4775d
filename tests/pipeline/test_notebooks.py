"""The notebooks run from top to bottom on what a run leaves, say what is missing, and are committed without outputs."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Command, git, said, set_param
from nbformat import NotebookNode
from report_results import HOSTILE, write_results
from safetensors.numpy import save_file

from pipeline.contracts import Predictions, Prepared, predictions_frame, read_prepared
from pipeline.notebooks.agreement import agreement, rightly
from pipeline.notebooks.pages import READ, execute, page
from pipeline.notebooks.plane import boundary, drawn_by_twins, ellipse, on_plane
from pipeline.notebooks.tweets import families, shares, shares_by, shares_with

NOTEBOOKS = sorted((ROOT / "notebooks").glob(READ))


def cells(notebook: NotebookNode, kind: str) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs_and_in_short_cells(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in cells(notebook, "code"):
        assert (cell.outputs, cell.execution_count) == ([], None)
        assert len(cell.source.splitlines()) <= 14, cell.source
    assert "```" not in "".join(cell.source for cell in cells(notebook, "markdown"))
    shown = nbformat.read(path.parent / "executed" / path.name, as_version=4)
    assert [cell.source for cell in shown.cells] == [cell.source for cell in notebook.cells], "`make notebooks` runs it"


# --- what they are made of ----------------------------------------------------------------------------------------------


def tweets(*rows: tuple[str, int, int]) -> pd.DataFrame:
    """Tweets of text, target and group; their keyword is their first word."""
    frame = pd.DataFrame(rows, columns=["text", "target", "group"])
    return frame.assign(id=range(len(rows)), keyword=frame["text"].str.split().str[0])


FEW = tweets(
    ("fire in the old mill tonight", 1, 0),
    ("fire in the old mill tonight!", 0, 0),
    ("fire in the new mill tonight", 1, 0),
    ("fireworks at the lake", 0, 1),
    ("fire sale", 0, 2),
    ("crash on the bridge", 1, 3),
    ("crash on the bridge http", 1, 3),
)


def test_shares_have_wilsons_interval() -> None:
    """Five of ten: 0.2366 to 0.7634 (Wilson 1927); none of none is nothing."""
    found = shares({"ten": pd.Series([0, 1] * 5), "none": pd.Series([], dtype=int)})
    assert found.loc["ten"].tolist() == pytest.approx([10, 0.5, 0.2366, 0.7634], abs=1e-4)
    assert found.loc["none", "rows"] == 0
    assert [*shares_by(FEW, "keyword")["rows"].items()] == [("crash", 2), ("fire", 4), ("fireworks", 1)]


def test_phrases_are_whole_words() -> None:
    found = shares_with(FEW, ["fire", "the old mill", "mi", "on"])
    assert found["rows"].to_dict() == {"fire": 4, "the old mill": 2, "mi": 0, "on": 2}
    assert found.loc["fire", "share"] == 0.5


def test_families_are_near_duplicates_side_by_side() -> None:
    found = families(FEW)
    assert found["id"].tolist() == [0, 1, 2, 5, 6]
    assert found["overlap"].iloc[[0, 1, 3, 4]].tolist() == [1, 1, 1, 1]
    assert found["overlap"].iloc[2] == pytest.approx(8 / 14), "6 words and 5 pairs each, of which 5 and 3 are shared"
    assert families(FEW[3:5]).empty, "where nothing is alike there is nothing to show"
    assert shares_by(FEW.assign(keyword=None), "keyword").empty


def test_an_ellipse_holds_its_share() -> None:
    mean, covariance = np.array([1.0, -2.0]), np.array([[2.0, 0.8], [0.8, 0.5]])
    drawn = np.random.default_rng(0).multivariate_normal(mean, covariance, size=20_000)
    contour = ellipse(mean, covariance, 0.5)
    inverse = np.linalg.inv(covariance)
    squared = [np.einsum("ni,ij,nj->n", x, inverse, x) for x in (contour[["x", "y"]].to_numpy() - mean, drawn - mean)]
    assert np.ptp(squared[0]) < 1e-9, "all of the contour is equally far"
    assert (squared[1] < squared[0][0]).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("weights", "intercept"), [([1.0, 0.0], -1.0), ([0.0, 2.0], -2.0), ([1.0, -1.0], 0.0), ([3.0, 1.0], 9.0)]
)
def test_a_boundary_is_where_the_score_is_0(weights: list[float], intercept: float) -> None:
    box = np.array([[0.0, 0.0], [2.0, 4.0], [1.0, 1.0]])
    ends = boundary(np.array(weights), intercept, box).to_numpy()
    assert ends @ weights + intercept == pytest.approx([0, 0], abs=1e-12)
    assert np.linalg.norm(ends[1] - ends[0]) >= 2 * np.linalg.norm([2, 4]) - 1e-9, "through all of the box"


def test_twins_part_two_clouds() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    x = rng.normal(size=(300, 20)) + 4 * labels[:, None] * np.eye(20)[3]
    points = on_plane(x, labels)
    ellipses, lines = drawn_by_twins(points, labels)
    assert set(ellipses["what"]) == {"p(x | 0)", "p(x | 1)"}
    assert lines["what"].tolist() == ["generative"] * 2 + ["discriminative"] * 2
    assert lines.groupby("what")["x"].mean().abs().max() < 1.5, (
        "between the clouds, which differ in the first direction"
    )


def test_agreement_by_hand(sample: Prepared) -> None:
    rows = sample.train["target"].to_numpy()
    halves = np.arange(len(rows)) % 2 == 0
    scores = {"perfect": rows, "half": np.where(halves, rows, 1 - rows), "never": 1 - rows}
    found = [
        Predictions(name, "generative", "none", predictions_frame(sample.train, "train", each), sample.test.head(0))
        for name, each in scores.items()
    ]
    right = rightly(sample, found)
    assert right.mean().tolist() == [1, halves.mean(), 0]
    pairs = agreement(sample, right).set_index(["a", "b"])
    assert pairs.loc[("perfect", "never"), ["share", "kappa"]].iloc[0] == 0
    assert pairs.loc[("half", "perfect"), "share"] == halves.mean()
    assert pairs.loc[("half", "half"), "kappa"] == 1
    assert pairs.loc[("half", "never"), "both_wrong"] == 1
    assert pairs.loc[("never", "half"), "both_wrong"] == pytest.approx(1 - halves.mean())
    part = Predictions("part", "prompted", "none", found[0].train.head(20), found[0].test)
    assert len(rightly(sample, [*found, part])) == 20


# --- as they run --------------------------------------------------------------------------------------------------------


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in cells(notebook, "code") for output in cell.outputs]


def printed(notebook: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in outputs(notebook) if output.output_type == "stream")


def charts(notebook: NotebookNode) -> int:
    return sum("image/svg+xml" in output.get("data", {}) for output in outputs(notebook))


def complete(project: Path) -> None:
    """Add what the notebooks read besides: two clouds for an encoder's vectors, and the tables of errors and of the study."""
    prepared = read_prepared(project / "data/prepared")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(prepared.train), 8)) + prepared.train["target"].to_numpy()[:, None]
    (project / "data/embed").mkdir(parents=True)
    save_file(
        {"train": x.astype(np.float32), "test": x[: len(prepared.test)].astype(np.float32)},
        project / "data/embed/minilm.safetensors",
        metadata={"prepared": prepared.digest},
    )
    write_results(project, only=("errors",))
    write_results(project / "study", only=("crossover", "generation"))
    set_param(project, "twins.pairs", [["naive_bayes", "logistic"]])


@pytest.fixture
def with_notebooks(project: Path, command: Command) -> Path:
    """The project's copy with a light run's results, and one tweet that would be a script if it were let."""
    path = project / "data/sample/train.csv"
    raw = pd.read_csv(path)
    raw.loc[0, ["text", "keyword"]] = [HOSTILE, "flood"]
    raw.to_csv(path, index=False)
    git(project, "init", "-q")
    set_param(project, "counts.ngrams", [1])
    for stage in ("data.prepare", "counts.naive_bayes", "counts.logistic"):
        said(command(f"pipeline.{stage}"))
    (project / "notebooks").mkdir()
    for notebook in NOTEBOOKS:
        (project / "notebooks" / notebook.name).write_bytes(notebook.read_bytes())
    return project


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_they_run_on_what_is_there_and_say_what_is_not(with_notebooks: Path) -> None:
    """First without what the light install leaves out, then with all of it; from their folder and from the root."""
    paths = sorted((with_notebooks / "notebooks").glob("*.ipynb"))
    twins, errors = (execute(path, path.parent) for path in paths[1:])
    for missing in (
        "dvc repro embed@minilm",
        "crossover/curves.csv is not there: `make study`",
        "samples.jsonl is not there: `make study`",
    ):
        assert missing in printed(twins)
    assert "errors/slices.csv is not there: `dvc repro errors` makes it" in printed(errors)
    assert (charts(twins), charts(errors)) == (3, 2)

    complete(with_notebooks)
    run = [execute(path, with_notebooks) for path in paths]
    assert [charts(notebook) for notebook in run] == [3, 5, 3]
    assert "is not there" not in "".join(map(printed, run))

    pages = [page(notebook, "a notebook") for notebook in run]
    for html in pages:
        assert not re.search(r"""<(?:script|link|img|iframe)[^>]*\b(?:src|href)=["']?(?:https?:)?//""", html)
        assert "<script>window.hacked" not in html
        assert not re.search(r"\$[^$<\n]*\\", html), "no formula is left in LaTeX"
    assert "&lt;script&gt;window.hacked" in pages[2]
    assert pages[1].count("<math") > 20
