"""Integrated gradients sum to the log-odds, for tweets that a small encoder of several architectures reads."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_encoder import make_tiny

from pipeline.contracts import InputError, Prepared
from pipeline.errors import integrated_gradients
from pipeline.errors.integrated_gradients import TOLERANCE, explain, load, lora_explainer
from pipeline.finetune import adapters, encoder
from pipeline.finetune.lora import Lora
from pipeline.finetune.params import LoraParams


def tiny_model(params: LoraParams) -> tuple[torch.nn.Module, object]:
    torch.manual_seed(1)
    model, tokenizer, _ = encoder.load(params.base_model)
    return model.eval().requires_grad_(False), tokenizer


def log_odds(model: torch.nn.Module, tokenizer: object, params: LoraParams, tweet: pd.DataFrame) -> float:
    """The model's own, by the way that it is asked in training."""
    rows = encoder.tokenize(model, tokenizer, tweet, params.inputs, params.max_tokens)
    batch, _ = next(encoder.batches(rows, tokenizer, 1, [0]))
    with torch.no_grad():
        logits = model(**batch).logits[0]
    return float(logits[1] - logits[0])


@pytest.mark.parametrize(
    ("family", "inputs"), [("roberta", ["text"]), ("mpnet", ["keyword", "location", "text"]), ("llama", ["text"])]
)
def test_words_and_the_base_sum_to_the_log_odds(
    family: str, inputs: list[str], tmp_path: Path, sample: Prepared
) -> None:
    params = make_tiny(family, tmp_path).model_copy(update={"inputs": inputs})
    model, tokenizer = tiny_model(params)
    tweet = sample.train[sample.train["keyword"].notna()].iloc[[3]]
    found = explain(model, tokenizer, params, tweet, 16)
    assert found.log_odds == pytest.approx(log_odds(model, tokenizer, params, tweet), abs=TOLERANCE)
    assert sum(abs(weight) for _, weight in found.words) > TOLERANCE
    *context, text = (tweet[column].fillna("").iloc[0] for column in inputs)
    assert [word for word, _ in found.words] == [*", ".join(filter(None, context)).split(), *text.split()]


def test_a_tokenizer_without_places_is_shown_by_its_tokens_and_a_sum_that_is_wrong_is_refused(
    tmp_path: Path, sample: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = make_tiny("bertweet", tmp_path)
    model, tokenizer = tiny_model(params)
    tweet = sample.train.iloc[[0]].assign(text="fire now")
    found = explain(model, tokenizer, params, tweet, 16)
    assert "".join(word.replace("@@", "") for word, _ in found.words) == "firenow"
    assert found.log_odds == pytest.approx(log_odds(model, tokenizer, params, tweet), abs=TOLERANCE)
    monkeypatch.setattr(integrated_gradients, "TOLERANCE", 0.0)
    monkeypatch.setattr(integrated_gradients, "DOUBLINGS", 0)
    with pytest.raises(InputError, match=r"raise explanations\.steps"):
        explain(model, tokenizer, params, tweet, 8)


def test_the_models_of_the_tweet_s_own_fold_explain_it(
    tmp_path: Path, sample: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several seeds: the mean of their models, each as it was saved for the fold that the tweet was held out in."""
    params = make_tiny("bert", tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    for fold in (1, 2):
        for seed in (0, 1):
            torch.manual_seed(10 * fold + seed)
            network, _ = adapters.with_adapters(params)
            network.save_pretrained(f"models/lora_tiny/fold-{fold}/seed-{seed}", save_embedding_layers=False)
    explainer = lora_explainer("lora_tiny", Lora(params), 16)
    found = {}
    for fold in (1, 2):
        tweet = sample.train.iloc[[0]].assign(fold=fold)
        saved = load(params, Path(f"models/lora_tiny/fold-{fold}"))
        each = [log_odds(model, tokenizer, params, tweet) for model, tokenizer in saved]
        found[fold] = explainer(tweet).log_odds
        assert found[fold] == pytest.approx(sum(each) / 2, abs=TOLERANCE)
        assert abs(each[0] - each[1]) > TOLERANCE
    assert abs(found[1] - found[2]) > TOLERANCE
