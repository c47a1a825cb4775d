"""Two cold runs: what `benchmarks.cold_twice` says about two folders, and about the pipeline itself."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Command, git

from benchmarks.cold_twice import compare, other_outputs, scores_apart

SCORES = pd.DataFrame({"id": [1, 2, 3, 4], "split": "train", "score": [0.1, 0.49, 0.9, None]})


def write(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    path = folder / "predictions" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)
    return path


def test_what_differs_is_measured(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write(first, "same", SCORES)
    write(second, "same", SCORES)
    write(first, "shifted", SCORES)
    write(second, "shifted", SCORES.assign(score=[0.1, 0.51, 0.9, None]))
    write(first, "rounded", SCORES)
    write(second, "rounded", SCORES.assign(score=[0.1 + 1e-9, 0.49, 0.9, None]))
    write(first, "uncalibrated/read", SCORES)
    write(second, "uncalibrated/read", SCORES.assign(score=[0.1, 0.49, None, 0.2]))
    write(first, "alone", SCORES)
    for folder, target in ((first, 0), (second, 1)):
        (folder / "submission").mkdir()
        (folder / "submission/submission.csv").write_text(f"id,target\n1,{target}\n")
    found = compare(first, second)
    found.index = found.index.str.removeprefix("predictions/").str.removesuffix(".parquet")
    assert found["bytes"].to_dict() == {
        "alone": "in one run",
        "rounded": "different",
        "same": "same",
        "shifted": "different",
        "submission/submission.csv": "different",
        "uncalibrated/read": "different",
    }
    assert found.loc["shifted", "largest difference"] == pytest.approx(0.02)
    assert found.loc["shifted", "flips"] == 0.25
    assert found.loc["rounded", "largest difference"] == pytest.approx(1e-9)
    assert found.loc["rounded", "flips"] == 0
    assert found.loc["uncalibrated/read", ["largest difference", "flips"]].tolist() == [1, 0.5]
    assert found.loc[["same", "alone"], ["largest difference", "flips"]].isna().all(axis=None)


def test_scores_of_other_tweets_are_not_compared(tmp_path: Path) -> None:
    first = write(tmp_path, "a", SCORES)
    second = write(tmp_path, "b", SCORES.assign(id=[1, 2, 3, 5]))
    assert np.isnan(scores_apart(first, second)).all()
    second.write_bytes(b"no parquet")
    assert np.isnan(scores_apart(first, second)).all()


def test_other_outputs_are_told_apart_by_the_locks(tmp_path: Path) -> None:
    for folder, hashed in (("first", "1"), ("second", "2")):
        outs = [{"path": path, "md5": hashed} for path in ("release/a", "costs/a.json", "predictions/a.parquet")]
        write(tmp_path / folder, "a", SCORES)
        lock = {"stages": {"a": {"outs": [*outs, {"path": "release/b", "md5": "0"}]}}}
        (tmp_path / folder / "dvc.lock").write_text(str(lock))
    assert other_outputs(tmp_path / "first", tmp_path / "second") == ["release/a"], "costs hold times"


@pytest.mark.slow
def test_two_cold_runs_give_the_same_bytes(project: Path, command: Command, tmp_path: Path) -> None:
    """Of lora see test_training_is_repeatable; of all stages `python -m benchmarks.cold_twice`."""
    pytest.importorskip("torch")
    git(project, "init", "-q")
    (project / "predictions").mkdir()
    (project / "predictions/left.parquet").write_bytes(b"what an earlier run left")
    quick = ["-S", "counts.ngrams=[1]", "-S", "vectors.vae.epochs=3", "-S", "classifiers.vectors=[vae]"]
    stages = ["counts@naive_bayes", "counts@logistic", "vectors@vae-minilm"]
    runs = tmp_path / "runs"
    runs.mkdir()
    done = command("benchmarks.cold_twice", *stages, *quick, "--keep", str(runs), PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "other outputs that differ: none" in done.stdout
    table = [line.split("|")[1:3] for line in done.stdout.splitlines() if line.startswith("| predictions/")]
    names = {name.strip().removeprefix("predictions/").removesuffix(".parquet"): said.strip() for name, said in table}
    assert names == dict.fromkeys(["naive_bayes", "logistic", "vae_minilm"], "same")

    # A run that another result came of would have been noticed.
    shutil.copy(runs / "second/predictions/vae_minilm.parquet", runs / "second/predictions/naive_bayes.parquet")
    assert compare(runs / "first", runs / "second")["bytes"]["predictions/naive_bayes.parquet"] == "different"


def test_adapters_are_saved_in_the_same_order_every_time(tmp_path: Path) -> None:
    """PEFT keeps the names of modules as sets: what is in them must not come out as the process's hashes have it."""
    pytest.importorskip("peft")
    import json

    import tiny_encoder
    from peft import LoraConfig, get_peft_model

    from pipeline.contracts import read_params
    from pipeline.finetune import encoder
    from pipeline.finetune.adapters import in_order
    from pipeline.finetune.params import LoraParams

    params = tiny_encoder.make_tiny(
        "bert", tmp_path / "base", read_params("lora.minilm", LoraParams, ROOT / "params.yaml")
    )
    model, _, whole = encoder.load(params.base_model)
    names = ["query", "key", "value", "dense"]
    network = get_peft_model(
        model, LoraConfig(target_modules=names, exclude_modules=["pooler.dense"], modules_to_save=whole)
    )
    in_order(network).save_pretrained(tmp_path / "adapter")
    saved = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert saved["target_modules"] == sorted(names)
    assert not [value for value in vars(network.peft_config["default"]).values() if isinstance(value, set)]
