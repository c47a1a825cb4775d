"""From the files to the best submission: how long it says it will take, what it does, and what it says to expect."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import ROOT, Command, said
from tiny_encoder import make_tiny
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig

from pipeline.contracts import read_params
from pipeline.finetune import encoder
from pipeline.finetune.params import LoraParams
from pipeline.kaggle.best import flop, outlook


def test_arithmetic_is_counted_as_torch_counts_it() -> None:
    params = read_params("lora.minilm", LoraParams, ROOT / "params.yaml")
    model = encoder.load(params.base_model)[0].eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.ones(4, 26, dtype=torch.long))
    forward = flop(params.model_copy(update={"layers": None}), 4, 0, 1, 26)  # of a single fold, nothing is learnt
    assert forward == pytest.approx(counter.get_total_flops(), rel=0.1)


def test_frozen_layers_cost_a_pass_and_trained_ones_two_an_epoch_and_fold(tmp_path: Path) -> None:
    tiny = make_tiny("bert", tmp_path)
    a_row = flop(tiny, 1, 0, 1, 26) / 2  # of each of two layers

    def rows(**changes: object) -> float:
        return flop(tiny.model_copy(update=changes), 100, 10, 5, 26) / a_row

    assert rows(layers=1, epochs=1) == pytest.approx(5 * 2 * 80 + (100 + 5 * 10) + (100 + 10))
    assert rows(layers=2, epochs=3, seeds=[0, 1]) == pytest.approx(2 * 2 * (5 * 3 * 2 * 80 + 100 + 5 * 10))


def test_what_larger_encoders_are_said_to_cost_is_that_arithmetic(tmp_path: Path) -> None:
    page = (ROOT / "docs/fine-tuning.md").read_text(encoding="utf-8")
    params = read_params("lora.minilm", LoraParams, ROOT / "params.yaml")
    params = params.model_copy(update={"layers": None, "base_model": str(tmp_path)})
    shapes = {"crisis": (768, 3072, 12), "deberta_base": (768, 3072, 12), "deberta_large": (1024, 4096, 24)}
    for preset, (width, inner, depth) in shapes.items():
        BertConfig(hidden_size=width, intermediate_size=inner, num_hidden_layers=depth).save_pretrained(tmp_path)
        needed = flop(params, 7613, 3263, 5, 26)
        row = next(line for line in page.splitlines() if line.startswith("|") and preset in line.split("|")[1])
        shown = [f"{needed / 1e15:.2f}", f"{needed / 0.55 / 400e9 / 60:.0f}", f"{needed / 0.55 / 8.1e12:.0f}"]
        assert [cell.strip() for cell in row.split("|")[3:6]] == shown


def test_the_score_to_expect_has_the_chance_of_both_kinds_of_rows() -> None:
    here = {"expected_accuracy": 0.85, "expected_low": 0.84, "expected_high": 0.86}
    told = outlook({"accuracy": 0.845} | here, 3263)
    assert "expected public score: 0.8500, with 95 % between 0.8342 and 0.8658;" in told  # √(0.01² + 0.01225²)


@pytest.mark.parametrize(
    "missing", ["lora.mpnet.base_model=nowhere/at/all", "lora.mpnet.base_model=package:no_such/model"]
)
def test_an_encoder_that_is_not_there_is_told_before_any_work(project: Path, command: Command, missing: str) -> None:
    done = command("pipeline.kaggle.best", "--source", "data/sample", missing, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert missing.partition("=")[2] in done.stderr
    assert not (project / "data/prepared").exists()


def test_it_ends_with_a_csv_and_what_to_expect_of_it(project: Path, command: Command) -> None:
    few = [f"classifiers.{kind}=[]" for kind in ("encoders", "vectors", "lora")]
    few = ["--quick", "--source", "data/sample", *few, "classifiers.counts=[naive_bayes, logistic]"]
    printed = said(command("pipeline.kaggle.best", *few))
    chosen = json.loads((project / "submission/choice.json").read_text())["chosen"]
    assert re.search(r"about \d+ (s|min) in all, less what has been done", printed)
    assert f"expected public score: {chosen['expected_accuracy']:.4f}" in printed
    assert len(pd.read_csv(project / "submission/submission.csv")) == 20
    assert json.loads((project / ".dvc/tmp/stages/seconds.json").read_text()).keys() >= {"prepare", "submission"}
