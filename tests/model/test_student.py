"""The student: no teacher scores what it has learnt from, exports say what the network says, and need no torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from conftest import ROOT, clean_environment
from made import Made
from scipy.special import expit, logit
from tiny_encoder import make_tiny, some

from pipeline.contracts import InputError, Prepared
from pipeline.distil import export, student, teach
from pipeline.distil.onnx_encoder import NETWORK, READS, OnnxEncoder
from pipeline.distil.student import Student, StudentParams
from pipeline.fit.cross_fit import REFIT, training_rows

ENCODERS = ["bert", "roberta", "mpnet", "electra", "distilbert", "deberta-v3", "modernbert"]
TEXTS = ["Forest fire near La Ronge Sask. Canada", "so", "I love fruits, and all that grows in a garden", "fire"]


# --- teachers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held_out", [0, 2, 4, REFIT])
def test_no_teacher_scores_what_it_learnt_from_and_none_saw_the_fold_that_is_held_out(
    held_out: int, sample: Prepared
) -> None:
    learnt: list[set[int]] = []

    def predict(ids: set[int], asked: pd.DataFrame) -> np.ndarray:
        assert not ids & {*asked["id"]}
        return np.full(len(asked), 0.2 + 0.1 * len(learnt))

    def fit(tweets: pd.DataFrame, labels: np.ndarray, seed: int) -> set[int]:
        assert labels.min() == 0
        learnt.append({*tweets["id"]})
        return learnt[-1]

    tweets, labels = training_rows(sample.train, held_out)
    folds = tweets["fold"].to_numpy()
    both = pd.concat([tweets, sample.test])
    marked = np.append(labels, np.full(len(sample.test), -1))
    said = teach.what_teachers_say([Made(fit, predict)], both, marked, folds)
    unseen = {*sample.train.loc[sample.train["fold"] == held_out, "id"]} | {*sample.test["id"]}
    assert not any(ids & unseen for ids in learnt)
    numbers = np.unique(folds)
    assert len(learnt) == len(numbers)
    of_fold = {fold: 0.2 + 0.1 * (place + 1) for place, fold in enumerate(numbers)}
    assert said[: len(tweets)] == pytest.approx([of_fold[fold] for fold in folds])
    assert said[len(tweets) :] == pytest.approx(expit(np.mean([logit(one) for one in of_fold.values()])))


def test_the_teacher_of_a_pair_of_folds_is_the_same_whichever_of_them_is_held_out(
    sample: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[int, list[tuple[frozenset[int], int]]] = {}

    def says(_: object, tweets: pd.DataFrame, labels: np.ndarray, others: pd.DataFrame, fold: int) -> np.ndarray:
        asked[held_out].append((frozenset(tweets["id"]), fold))
        return np.full(len(others), 0.5)

    monkeypatch.setattr(teach, "says", says)
    for held_out in (*range(5), REFIT):
        asked[held_out] = []
        tweets, labels = training_rows(sample.train, held_out)
        teach.what_teachers_say(
            [Made(lambda *_: None, lambda *_: np.zeros(0))], tweets, labels, tweets["fold"].to_numpy()
        )
    assert len({one for fold in range(5) for one in asked[fold]}) == 10
    assert [fold for _, fold in asked[REFIT]] == [*range(5)], (
        "seeds of the teacher's own stage, whose models are in the store"
    )


# --- exports ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ENCODERS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Both exports of a small network of each architecture, and the log-odds that the network gives `TEXTS`."""
    folder = tmp_path_factory.mktemp(request.param)
    params = make_tiny(request.param, folder)
    small = teach.Small(params.model_copy(update={"layers": None}), 1)
    network, tokenizer = small.fresh()
    whole = network.merge_and_unload().eval()
    export.write(whole, tokenizer, 16, ["no", "yes"], folder / "out")
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True, truncation=True, max_length=16)
    logits = whole(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    return folder / "out", (logits[:, 1] - logits[:, 0]).detach().numpy()


def test_exports_of_any_encoder_say_what_the_network_says_one_by_one_and_together(
    exported: tuple[Path, np.ndarray],
) -> None:
    folder, expected = exported
    whole, eighths = (OnnxEncoder.open(folder / name) for name in ("fp32", "int8"))
    assert whole.log_odds(TEXTS) == pytest.approx(expected, abs=1e-4)
    found = eighths.log_odds(TEXTS)
    assert np.abs(found - expected).max() < 0.05 * (1 + np.abs(expected).max())
    assert np.concatenate([eighths.log_odds([text]) for text in TEXTS]) == pytest.approx(found, abs=1e-4)
    assert (folder / "int8" / NETWORK).stat().st_size < 0.6 * (folder / "fp32" / NETWORK).stat().st_size


def outside(path: Path) -> None:
    """Let the network's weights be those of another file."""
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="elsewhere", size_threshold=0)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def other_inputs(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"attention_mask", b"attention_mosk"))


FAULTS = {
    "weights in another file": (NETWORK, outside),
    "a network cut off": (NETWORK, cut),
    "other inputs": (NETWORK, other_inputs),
    "no tokenizer": ("tokenizer.json", lambda path: path.write_text("{}")),
    "no settings": (READS, lambda path: path.write_text('{"format": 2}')),
    "a file that is missing": (READS, lambda path: path.unlink()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_export_that_is_none_is_refused_in_a_line(fault: str, tmp_path: Path) -> None:
    small = teach.Small(make_tiny("bert", tmp_path).model_copy(update={"layers": None}), 1)
    network, tokenizer = small.fresh()
    export.write(network.merge_and_unload().eval(), tokenizer, 16, ["no", "yes"], tmp_path / "out")
    name, change = FAULTS[fault]
    change(tmp_path / "out" / "fp32" / name)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        OnnxEncoder.open(tmp_path / "out" / "fp32")


def test_more_layers_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"student\.depth is 3, but .* has 2 layers"):
        teach.Small(make_tiny("bert", tmp_path).model_copy(update={"layers": None}), 3).fresh()


# --- the family -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_overfits_ten_rows_and_what_is_saved_scores_alike_without_torch(
    sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "store"))
    params = make_tiny("bert", tmp_path)
    rows, labels = some(sample)
    teacher = Made(lambda *_: None, lambda _, asked: np.full(len(asked), 0.5))
    own = Student(StudentParams(epochs=80, depth=2, learning_rate=5e-3, label_weight=1.0))
    monkeypatch.setattr(own, "teachers", lambda: [teacher])
    monkeypatch.setattr(teach, "read_params", lambda *_: params)
    monkeypatch.setattr(student, "read_params", lambda *_: type("Data", (), {"labels": ["no", "yes"]}))
    fitted = own.fit(rows, labels)
    assert ((fitted.predict(rows) > 0.5) == labels).all()
    own.save(fitted, tmp_path / "saved")
    assert own.load(tmp_path / "saved").predict(rows) == pytest.approx(fitted.predict(rows))
    rows[["text"]].to_json(tmp_path / "rows.json")
    program = (
        "import sys; import pandas as pd;"
        "from pathlib import Path; from pipeline.distil.student import FAMILY, StudentParams;"
        "own = FAMILY(StudentParams()); model = own.load(Path('saved')); print(*own.predict(model, pd.read_json('rows.json')));"
        "assert not {'torch', 'transformers', 'onnx', 'peft'} & {*sys.modules}"
    )
    environment = clean_environment(tmp_path / "store", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    assert [float(one) for one in done.stdout.split()] == pytest.approx(fitted.predict(rows))
