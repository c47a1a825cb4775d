"""The lora stage as a process: killed and started again, shared between two, and what it hands on to others."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Command, as_module, said, set_param
from huggingface_hub import ModelCard
from peft import PeftModel
from tiny_encoder import make_tiny
from transformers import AutoModelForSequenceClassification

from pipeline.contracts import InputError, Prepared
from pipeline.data.source import DataParams
from pipeline.finetune import lora
from pipeline.finetune.params import LoraParams
from tools import release


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LoraParams:
    return make_tiny("bert", tmp_path_factory.mktemp("bert"))


def predictions(project: Path) -> np.ndarray:
    return pd.read_parquet(project / "predictions/lora_minilm.parquet")["score"].to_numpy()


@pytest.mark.slow
def test_killed_or_shared_by_two_processes_it_ends_with_the_same_predictions(
    project: Path, command: Command, here: Command, tiny: LoraParams, tmp_path: Path
) -> None:
    set_param(project, "lora.minilm", tiny.model_copy(update={"epochs": 4, "device": "auto"}).model_dump())
    said(here("pipeline.data.prepare"))
    stage = ("pipeline.finetune.lora", "minilm")
    said(here(*stage))
    whole = predictions(project)

    launch = ["accelerate.commands.launch", "--cpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no"]
    own = {"DISASTER_TWEETS_STORE": str(tmp_path / "shared")}
    said(command(*launch, "--dynamo_backend=no", *as_module(*stage), **own))
    # The order of a sum differs, and a fast training makes more of that in a few rows.
    assert np.abs(predictions(project) - whole).mean() < 1e-3
    assert predictions(project) == pytest.approx(whole, abs=0.03)

    store, dice = tmp_path / "killed", random.Random(0)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *as_module(*stage)],
            cwd=project,
            env=os.environ | {"DISASTER_TWEETS_STORE": str(store)},
            stderr=log,
        )
        while process.poll() is None and len(list(store.glob("training/*.pt"))) < 3:
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 0.3))  # at any point of the third fold
        process.kill()
        assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    said(here(*stage, DISASTER_TWEETS_STORE=str(store)))
    assert (predictions(project) == whole).all()
    curve = pd.read_json(project / "training/lora_minilm/plots/custom/loss.json")
    assert set(curve["series"]) == {f"fold-{number}" for number in range(5)}


def test_a_release_says_what_the_model_says_and_where_it_comes_from(
    tiny: LoraParams, sample: Prepared, data_params: DataParams, tmp_path: Path
) -> None:
    (Path(tiny.base_model) / "README.md").write_text("---\nlicense: mit\n---\n")
    labels = sample.train["target"].to_numpy()
    params = tiny.model_copy(update={"inputs": ["keyword", "text"], "epochs": 1})
    model = lora.Lora(params).fit(sample.train, labels)
    release.release(model, tmp_path, "owner/base", data_params.labels, sample.test)
    ends = {"": 0.8, "_low": 0.7, "_high": 0.9}
    scores = pd.Series({f"{metric}{end}": value for metric in release.METRICS for end, value in ends.items()})
    release.card("lora_tiny", params, data_params, sample, scores, "owner/base").save(tmp_path / "README.md")

    expected = model.predict(sample.test)
    found = release.classify(tmp_path, params, sample.test, "disaster")
    assert found == pytest.approx(expected, abs=1e-4)
    base = AutoModelForSequenceClassification.from_pretrained(params.base_model, num_labels=2)
    adapter = PeftModel.from_pretrained(base, tmp_path / "adapter")
    assert lora.LoraModel([adapter], model.tokenizer, params).predict(sample.test) == pytest.approx(expected, abs=1e-4)

    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == "owner/base"
    assert card.data.license == "mit"
    assert card.data.eval_results[0].metric_value == 0.8
    assert "[0.700, 0.900]" in card.text
    written = "".join(path.read_text() for kind in ("*.json", "*.md") for path in tmp_path.rglob(kind))
    assert params.base_model not in written


def test_a_release_of_what_was_not_evaluated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; run `dvc repro evaluate`"):
        release.read_scores("lora_minilm", tmp_path / "scores.csv")
    (tmp_path / "scores.csv").write_text("classifier,accuracy\nlogistic,0.8\n")
    with pytest.raises(InputError, match="lora_minilm was not evaluated"):
        release.read_scores("lora_minilm", tmp_path / "scores.csv")
