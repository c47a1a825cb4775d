"""Points of the store: computed once, and anew if what determines them has changed, or they are not as they were written."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from huggingface_hub import constants
from made import Made
from tiny_encoder import make_tiny

from pipeline import code
from pipeline.code import LIBRARIES, computing
from pipeline.contracts import InputError, Prepared, read_yaml
from pipeline.curves import points
from pipeline.curves.points import made_by, stored_point
from pipeline.finetune.encoder import files_digest
from pipeline.finetune.lora import Lora
from pipeline.fit.cross_fit import training_rows


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path))
    return tmp_path / "learning_curve"


def counting(calls: list[tuple[int, int]], *, semi_supervised: bool = False, by: int = 1) -> Made:
    """A classifier that says how often label 1 was among those it got."""

    def fit(tweets: pd.DataFrame, labels: np.ndarray, seed: int) -> float:
        calls.append((len(tweets), int((labels >= 0).sum())))
        return float(labels[labels >= 0].mean() + 1e-3 * seed)

    return Made(fit, lambda share, tweets: np.full(len(tweets), share), {"a": by}, semi_supervised=semi_supervised)


def test_a_point_is_computed_once(sample: Prepared, store: Path) -> None:
    calls: list[tuple[int, int]] = []
    first = stored_point(counting(calls), sample, "made", 0, 32, 0)
    assert calls == [(32, 32)]
    assert (stored_point(counting(calls), sample, "made", 0, 32, 0) == first).all()
    assert len(calls) == 1
    others = [("made otherwise", 0, 32, 0), ("made", 1, 32, 0), ("made", 0, 16, 0), ("made", 0, 32, 1)]
    for n, other in enumerate(others, start=2):
        stored_point(counting(calls), sample, *other)
        assert len(calls) == n
    stored_point(counting(calls, by=2), sample, "made", 0, 32, 0)
    assert len(calls) == len(others) + 2


def test_one_that_learns_without_labels_gets_the_other_tweets_too(sample: Prepared, store: Path) -> None:
    calls: list[tuple[int, int]] = []
    stored_point(counting(calls, semi_supervised=True), sample, "made", 2, 32, 0)
    assert calls == [(len(training_rows(sample.train, 2)[0]), 32)]


def with_checksum(path: Path, scores: list[float]) -> bytes:
    numbers = np.array(scores).tobytes()
    return points.checksum(path, numbers) + numbers


def flipped(path: Path, content: bytes) -> bytes:
    """With one bit turned: the scores are still possible ones."""
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


SPOILT: dict[str, Callable[[Path, bytes], bytes]] = {
    "cut": lambda path, content: content[: len(content) // 2],
    "a bit flipped": flipped,
    "another's": lambda path, content: with_checksum(Path("of another point.scores"), [0.5] * 98),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_entry_is_computed_anew(how: str, sample: Prepared, store: Path) -> None:
    calls: list[tuple[int, int]] = []
    first = stored_point(counting(calls), sample, "made", 0, 32, 0)
    assert len(first) == 98
    (path,) = store.iterdir()
    whole = path.read_bytes()
    path.write_bytes(SPOILT[how](path, whole))
    for _ in range(2):
        assert (stored_point(counting(calls), sample, "made", 0, 32, 0) == first).all()
    assert len(calls) == 2, "once more, and then from the store again"
    assert path.read_bytes() == whole


def test_scores_that_are_no_probabilities_are_refused_and_not_kept(sample: Prepared, store: Path) -> None:
    diverged = counting([])
    diverged.ask = lambda share, tweets: np.full(len(tweets), np.nan)
    with pytest.raises(InputError, match="are no probabilities"):
        stored_point(diverged, sample, "made", 0, 32, 0)
    assert not store.exists()


def made(family: str = "counts.naive_bayes") -> str:
    own = counting([])
    own.family = lambda: family  # type: ignore[method-assign]
    return made_by(own)


@pytest.mark.parametrize(
    ("file", "old", "new", "matters"),
    [
        ("curves/points.py", "labels, seed), ", "labels, seed + 1), ", True),
        ("counts/naive_bayes.py", "alpha=alpha)", "alpha=2 * alpha)", True),
        ("counts/counts.py", "binary=True", "binary=False", True),
        ("counts/counts.py", '"""The features that the twins share', '"""What the twins share', False),
        ("counts/on_counts.py", "# there is nothing left to learn", "# all is known", False),
        ("contracts/prepared.py", '"duplicate" if "duplicate" in tweets else "group"', '"group"', True),
        ("vectors/gaussian.py", "tol=1e-9", "tol=1e-8", False),
    ],
)  # fmt: skip
def test_points_are_thrown_away_by_what_computes_them_and_by_nothing_else(
    file: str, old: str, new: str, matters: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "ROOT", tmp_path)
    before, path = made(), tmp_path / "pipeline" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert (made() != before) is matters


def test_a_library_s_other_version_throws_points_away(monkeypatch: pytest.MonkeyPatch) -> None:
    of_counts, of_networks = made(), made("vectors.vae")
    real = code.version
    monkeypatch.setattr(code, "version", lambda name: "0.1" if name == "torch" else real(name))
    assert made() == of_counts, "naive Bayes knows no torch"
    assert made("vectors.vae") != of_networks
    monkeypatch.setattr(code, "version", lambda name: "0.1" if name == "scikit-learn" else real(name))
    assert made() != of_counts


NO_NUMBERS = {"accelerate", "datasets", "dvclive", "ftfy", "joblib", "pipeline", "pydantic", "safetensors"}
NO_NUMBERS |= {"threadpoolctl", "tqdm"}
"""Libraries that carry, check or show numbers, or clean the texts that a point is stored under."""


def test_the_version_of_every_library_that_computes_is_known() -> None:
    curves = read_yaml(ROOT / "study/params.yaml")["learning_curve"]["curves"].values()
    modules = set().union(*(computing(f"pipeline.{curve['family']}", "pipeline.curves.points") for curve in curves))
    for path in (ROOT / f"{module.replace('.', '/')}.py" for module in modules):
        imported = {name.split(".")[0] for name in code.read(path)[1]} if path.is_file() else set()
        assert imported - sys.stdlib_module_names <= NO_NUMBERS | {*LIBRARIES}, path


def test_other_weights_under_the_same_name_throw_points_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in a folder is known by its files, one of the hub by its commit."""
    params = make_tiny("bert", tmp_path)
    before = made_by(Lora(params))
    (tmp_path / ".DS_Store").write_text("nothing of a model")
    assert made_by(Lora(params)) == before
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(flipped(weights, weights.read_bytes()))
    assert made_by(Lora(params)) != before
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub/models--some--model"
    (repository / "refs").mkdir(parents=True)
    for commit in ("a" * 40, "b" * 40):
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "snapshots" / commit / "config.json").write_text("{}")
        (repository / "refs/main").write_text(commit)
        assert files_digest("some/model") == commit
    for nowhere in (str(tmp_path / "nowhere"), "some/other"):
        with pytest.raises(InputError, match=f"{nowhere}: cannot be loaded"):
            files_digest(nowhere)
