"""LoRA learns, is saved whole, and scores a tweet the same whatever stands beside it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from pipeline.contracts import InputError, Prepared, read_params

torch = pytest.importorskip("torch")

from peft import PeftModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import (  # noqa: E402
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from pipeline.classifiers import encoder, lora  # noqa: E402
from pipeline.classifiers.cross_fit import training_rows  # noqa: E402
from pipeline.packaged import locate  # noqa: E402

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.1,
}
FAMILIES = {
    "bert": (BertForSequenceClassification, BertConfig),
    "roberta": (RobertaForSequenceClassification, RobertaConfig),
}


@pytest.fixture(scope="module")
def default() -> lora.LoraParams:
    return read_params("lora.minilm", lora.LoraParams, ROOT / "params.yaml")


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(
    request: pytest.FixtureRequest, default: lora.LoraParams, tmp_path_factory: pytest.TempPathFactory
) -> lora.LoraParams:
    """Params with a small, randomly initialised encoder of one architecture, without a head, in a folder."""
    model_class, config_class = FAMILIES[request.param]
    tokenizer = AutoTokenizer.from_pretrained(locate(default.base_model))
    torch.manual_seed(0)
    model = model_class(config_class(vocab_size=len(tokenizer), **SHAPE))
    folder = tmp_path_factory.mktemp(request.param)
    getattr(model, model.base_model_prefix).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return default.model_copy(update={"base_model": str(folder), "batch_size": 10, "dropout": 0.0, "device": "cpu"})


def ten(sample: Prepared) -> tuple[pd.DataFrame, np.ndarray]:
    distinct = sample.train.drop_duplicates("group", keep=False)
    rows = pd.concat([distinct[distinct["target"] == label].head(5) for label in (0, 1)])
    return rows, rows["target"].to_numpy()


def test_it_overfits_ten_rows(tiny: lora.LoraParams, sample: Prepared) -> None:
    rows, labels = ten(sample)
    model = lora.fit(rows, labels, tiny.model_copy(update={"epochs": 150, "learning_rate": 3e-3, "precision": "fp32"}))
    assert ((lora.predict(model, rows) > 0.5) == labels).all()
    assert np.mean(model.losses[-10:]) < 0.8 * model.losses[0]


def test_a_saved_model_is_whole_and_its_adapters_matter(
    tiny: lora.LoraParams, sample: Prepared, tmp_path: Path
) -> None:
    rows, labels = ten(sample)
    fitted = lora.fit(rows, labels, tiny.model_copy(update={"epochs": 5, "learning_rate": 1e-2, "precision": "fp32"}))
    before = lora.predict(fitted, sample.test)
    after = lora.predict(lora.save(fitted, tmp_path, sample.test), sample.test)
    assert after == pytest.approx(before, abs=1e-5)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert any("classifier" in name for name in saved)
    assert any("lora_A" in name for name in saved)
    base, _, _ = encoder.load(tiny.base_model)
    zeroed = PeftModel.from_pretrained(base, tmp_path)
    for name, parameter in zeroed.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()
    without = lora.predict(lora.LoraModel(zeroed, fitted.tokenizer, fitted.params), sample.test)
    assert np.abs(without - before).max() > 1e-3


def test_a_head_that_was_not_saved_is_noticed(
    tiny: lora.LoraParams, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = ten(sample)
    fitted = lora.fit(rows, labels, tiny.model_copy(update={"epochs": 5, "learning_rate": 1e-2, "precision": "fp32"}))
    write = fitted.network.save_pretrained

    def forgetful(folder: Path) -> None:
        write(folder)
        weights = load_file(folder / "adapter_model.safetensors")
        save_file(
            {name: tensor for name, tensor in weights.items() if "classifier" not in name},
            folder / "adapter_model.safetensors",
        )

    monkeypatch.setattr(fitted.network, "save_pretrained", forgetful)
    with pytest.raises(InputError, match=r"was(?: not)? saved"):
        lora.save(fitted, tmp_path, sample.test)


def test_a_tweets_score_depends_on_no_other_tweet(tiny: lora.LoraParams, sample: Prepared) -> None:
    rows, labels = ten(sample)
    model = lora.fit(rows, labels, tiny.model_copy(update={"epochs": 1, "precision": "fp32"}))
    scores = lora.predict(model, sample.test)
    order = np.random.default_rng(0).permutation(len(sample.test))
    assert lora.predict(model, sample.test.iloc[order]) == pytest.approx(scores[order], abs=1e-5)
    assert lora.predict(model, sample.test.iloc[[7]]) == pytest.approx(scores[[7]], abs=1e-5)


def test_training_is_repeatable(tiny: lora.LoraParams, sample: Prepared) -> None:
    rows, labels = ten(sample)
    params = tiny.model_copy(update={"epochs": 2, "dropout": 0.1})
    assert lora.fit(rows, labels, params).losses == lora.fit(rows, labels, params).losses
    other = lora.fit(rows, labels, params.model_copy(update={"seed": 1}))
    assert lora.fit(rows, labels, params).losses != other.losses


def test_an_epoch_visits_every_row_once(default: lora.LoraParams, sample: Prepared) -> None:
    tokenizer = AutoTokenizer.from_pretrained(locate(default.base_model))
    numbers = list(range(len(sample.train)))
    rows = encoder.tokenize(tokenizer, sample.train["text"].tolist(), 128, numbers)
    batches = list(encoder.training_batches(rows, tokenizer, 32, torch.Generator().manual_seed(0)))
    assert sorted(number for batch in batches for number in batch["labels"].tolist()) == numbers
    padding = sum((batch["attention_mask"] == 0).sum() for batch in batches) / sum(
        batch["attention_mask"].numel() for batch in batches
    )
    assert padding < 0.2, "random batches of these tweets are a third padding"


def test_a_model_that_is_not_there_is_one_clear_line(default: lora.LoraParams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for missing in ("./no/such/folder", "package:no_such_package/model", "package:peft/model"):
        with pytest.raises(InputError) as error:
            encoder.load(missing)
        assert missing in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_it_beats_a_dummy_by_far(default: lora.LoraParams, sample: Prepared) -> None:
    model = lora.fit(*training_rows(sample.train, held_out=0), default)
    held_out = sample.train[sample.train["fold"] == 0]
    scores = lora.predict(model, held_out)
    assert ((scores > 0.5) == held_out["target"]).mean() > 0.7
    # the same story told with a link more or less, and a direction that any reader would agree with
    texts = [
        "Houses burned down, two people dead",
        "Houses burned down, two people dead http",
        "my new mixtape is fire, listen",
    ]
    real, linked, joke = lora.predict(model, pd.DataFrame({"text": texts}))
    assert abs(real - linked) < 0.2
    assert real > joke + 0.3
