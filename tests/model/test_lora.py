"""LoRA learns, on any transformer; is saved whole; scores a tweet the same whatever stands beside it; goes on where it was."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from pipeline.contracts import InputError, Prepared, read_params

torch = pytest.importorskip("torch")

from peft import PeftModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_encoder import FAMILIES, killed_at, make_tiny  # noqa: E402

from pipeline.finetune import adapters, dropout, encoder, frozen_layers, lora, merged_products, training  # noqa: E402
from pipeline.finetune.params import LoraParams  # noqa: E402
from pipeline.fit.cross_fit import training_rows  # noqa: E402
from pipeline.fit.model_store import opened, timed_saved  # noqa: E402


@pytest.fixture(scope="module")
def default() -> LoraParams:
    return read_params("lora.minilm", LoraParams, ROOT / "params.yaml")


@pytest.fixture(scope="module")
def tiny(default: LoraParams, tmp_path_factory: pytest.TempPathFactory) -> LoraParams:
    return make_tiny("bert", tmp_path_factory.mktemp("bert"), default)


@pytest.fixture(scope="module", params=FAMILIES)
def tiny_of_each(
    request: pytest.FixtureRequest, default: LoraParams, tmp_path_factory: pytest.TempPathFactory
) -> LoraParams:
    return make_tiny(request.param, tmp_path_factory.mktemp(request.param), default)


def ten(sample: Prepared) -> tuple[pd.DataFrame, np.ndarray]:
    distinct = sample.train.drop_duplicates("group", keep=False)
    rows = pd.concat([distinct[distinct["target"] == label].head(5) for label in (0, 1)])
    return rows, rows["target"].to_numpy()


def test_any_family_overfits_ten_rows_and_is_saved_whole(
    tiny_of_each: LoraParams, sample: Prepared, tmp_path: Path
) -> None:
    rows, labels = ten(sample)
    fitted = lora.fit(rows, labels, tiny_of_each.model_copy(update={"epochs": 60, "learning_rate": 5e-3}))
    before = fitted.predict(rows)
    assert ((before > 0.5) == labels).all()
    after = lora.save_and_reload(fitted, tmp_path, rows).predict(rows)
    assert after == pytest.approx(before, abs=1e-4)
    assert any("lora_A" in name for name in load_file(tmp_path / "adapter_model.safetensors"))


@pytest.mark.parametrize("variant", ["lora", "rslora", "dora", "loha", "lokr"])
def test_any_variant_learns_and_is_saved_whole(
    tiny: LoraParams, sample: Prepared, tmp_path: Path, variant: str
) -> None:
    rows, labels = ten(sample)
    params = tiny.model_copy(update={"variant": variant, "epochs": 60, "learning_rate": 5e-3})
    fitted = lora.fit(rows, labels, params)
    before = fitted.predict(rows)
    assert ((before > 0.5) == labels).mean() >= 0.9
    assert lora.save_and_reload(fitted, tmp_path, rows).predict(rows) == pytest.approx(before, abs=1e-4)
    of_peft = PeftModel.from_pretrained(encoder.load(params.base_model)[0], tmp_path)
    by_either = [
        lora.LoraModel(network, fitted.tokenizer, params).predict(rows)
        for network in (of_peft, adapters.read(tmp_path, params)[0])
    ]
    assert (by_either[0] == by_either[1]).all(), "read by our loader it is what PEFT reads"
    names = "".join(adapters.trained(fitted.network))
    marks = {"dora": "lora_magnitude_vector", "loha": "hada_w1_a", "lokr": "lokr_w"}
    assert marks.get(variant, "lora_A") in names
    scale = {"lora": 32 / 16, "rslora": 32 / 4}
    if variant in scale:
        layer = next(each for each in fitted.network.modules() if isinstance(getattr(each, "scaling", None), dict))
        assert layer.scaling["default"] == scale[variant]


def test_peft_warns_nobody_and_asks_no_hub(tiny: LoraParams, sample: Prepared, tmp_path: Path) -> None:
    rows, _ = ten(sample)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network, tokenizer = adapters.with_adapters(tiny)
    network.peft_config[
        "default"
    ].base_model_name_or_path = "nobody/nothing"  # as that of a GGUF file: no config beside it
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(InputError, match="calls all of"):  # it was not trained
            lora.save_and_reload(lora.LoraModel(network, tokenizer, tiny), tmp_path, rows)


def test_adapters_matter(tiny: LoraParams, sample: Prepared, tmp_path: Path) -> None:
    rows, labels = ten(sample)
    fitted = lora.fit(rows, labels, tiny)
    before = fitted.predict(sample.test)
    fitted.network.save_pretrained(tmp_path)
    assert any("classifier" in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    base, _, _ = encoder.load(tiny.base_model)
    zeroed = PeftModel.from_pretrained(base, tmp_path)
    for name, parameter in zeroed.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()
    without = lora.LoraModel(zeroed, fitted.tokenizer, fitted.params).predict(sample.test)
    assert np.abs(without - before).max() > 1e-3


def test_a_head_that_was_not_saved_is_noticed(
    tiny: LoraParams, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = ten(sample)
    fitted = lora.fit(rows, labels, tiny)
    write = fitted.network.save_pretrained

    def forgetful(folder: Path, **_: object) -> None:
        write(folder)
        weights = load_file(folder / "adapter_model.safetensors")
        save_file(
            {name: tensor for name, tensor in weights.items() if "classifier" not in name},
            folder / "adapter_model.safetensors",
        )

    monkeypatch.setattr(fitted.network, "save_pretrained", forgetful)
    with pytest.raises(InputError, match=r"classifier\S* has shape None"):
        lora.save_and_reload(fitted, tmp_path, sample.test)


def test_a_folder_of_adapters_is_read_in_one_way() -> None:
    readers = [
        path.name
        for path in (ROOT / "pipeline").rglob("*.py")
        if re.search(r"PeftModel\.from_pretrained|adapter_model\.safetensors", path.read_text())
    ]
    assert readers == ["adapters.py"]


def test_a_model_that_calls_everything_the_same_is_refused(tiny: LoraParams, sample: Prepared, tmp_path: Path) -> None:
    rows, _ = ten(sample)
    fitted = lora.fit(rows, np.ones(10), tiny.model_copy(update={"epochs": 30}))
    with pytest.raises(InputError, match=r"calls all of \d+ tweets 1"):
        lora.save_and_reload(fitted, tmp_path, sample.test)


def test_a_loss_that_is_no_number_stops_the_training(tiny: LoraParams, sample: Prepared) -> None:
    rows, labels = ten(sample)
    with pytest.raises(InputError, match="training diverged: the loss of step"):
        lora.fit(rows, labels, tiny.model_copy(update={"learning_rate": 1e30}))


def test_a_tweets_score_depends_on_no_other_tweet(tiny_of_each: LoraParams, sample: Prepared) -> None:
    rows, labels = ten(sample)
    model = lora.fit(rows, labels, tiny_of_each.model_copy(update={"epochs": 1}))
    scores = model.predict(sample.test)
    order = np.random.default_rng(0).permutation(len(sample.test))
    assert model.predict(sample.test.iloc[order]) == pytest.approx(scores[order], abs=1e-5)
    assert model.predict(sample.test.iloc[[7]]) == pytest.approx(scores[[7]], abs=1e-5)


def test_training_is_repeatable(tiny: LoraParams, sample: Prepared) -> None:
    rows, labels = ten(sample)
    params = tiny.model_copy(update={"epochs": 2, "dropout": 0.1, "hidden_dropout": 0.1})
    assert lora.fit(rows, labels, params).history.loss == lora.fit(rows, labels, params).history.loss
    assert lora.fit(rows, labels, params, seed=1).history.loss != lora.fit(rows, labels, params).history.loss


# --- layers below the adapters ------------------------------------------------------------------------------------------


def test_reused_layers_say_what_they_said(tiny_of_each: LoraParams, sample: Prepared) -> None:
    """Adapters on the top layer only: training and prediction are the same with and without the memory of the rest."""
    rows, labels = ten(sample)
    params = tiny_of_each.model_copy(update={"layers": 1, "epochs": 3})
    frozen = lora.Lora(params).frozen
    assert frozen is not None
    plain, reusing = lora.fit(rows, labels, params), lora.fit(rows, labels, params, frozen=frozen)
    assert reusing.history.loss == pytest.approx(plain.history.loss, abs=1e-4)
    assert reusing.predict(sample.test) == pytest.approx(plain.predict(sample.test), abs=1e-4)
    again = lora.fit(rows, labels, params, seed=0, frozen=frozen)
    assert again.history.loss == reusing.history.loss


def test_a_part_of_a_batch_is_recalled_as_wide_as_the_batch(tiny: LoraParams) -> None:
    """Processes that share a batch get rows of it: those that fell to one may all be the shorter ones."""
    params = tiny.model_copy(update={"layers": 1})
    frozen = lora.Lora(params).frozen
    assert frozen is not None
    model = lora.LoraModel(*adapters.with_adapters(params), params, frozen)
    rows = model.rows(pd.DataFrame({"text": ["fire", "houses burned down near the river"]}))
    batch, _ = next(encoder.batches(rows, model.tokenizer, 2, [0, 1]))
    frozen.recall(batch)
    whole = model.network(**batch).logits
    part = {name: tensor[:1] for name, tensor in batch.items()}
    frozen.recall(part)
    assert model.network(**part).logits[0].tolist() == pytest.approx(whole[0].tolist(), abs=1e-5)


def test_reused_layers_do_not_run_again(tiny: LoraParams, sample: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = ten(sample)
    params = tiny.model_copy(update={"layers": 1, "epochs": 1})
    frozen = lora.Lora(params).frozen
    lora.fit(rows, labels, params, frozen=frozen)
    monkeypatch.setattr(frozen_layers.FrozenLayers, "run", lambda *_: pytest.fail("they ran"))
    lora.fit(rows, labels, params, seed=1, frozen=frozen).predict(rows)


def test_latency_is_of_models_that_remember_no_tweet(
    tiny: LoraParams, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers below the adapters run for each tweet that is timed, once for all models that share them, as in predict."""
    params = tiny.model_copy(update={"layers": 1, "epochs": 1})
    family = lora.Lora(params)
    frozen = family.frozen
    assert frozen is not None
    model = family.fit(*ten(sample), 0)
    for fold in (0, 1):
        model.network.save_pretrained(tmp_path / f"fold-{fold}", save_embedding_layers=False)
    tweets = sample.test.drop_duplicates("text").head(8)
    expected = family.predict(model, tweets)
    assert len(frozen.known) >= 8, "they are remembered from scoring them"
    ran = []
    run = frozen_layers.FrozenLayers.run
    monkeypatch.setattr(frozen_layers.FrozenLayers, "run", lambda *of: (ran.append(len(of[3]["input_ids"])), run(*of)))
    latency = timed_saved(opened("lora_tiny", tmp_path, family, ["fold-0", "fold-1"], 1), tweets, expected)
    alone, at_once = ran[: ran.index(5)], ran[ran.index(5) :]
    assert len(alone) == 2 + len(latency.ms) == 2 + 8, "of the three that warm up, the first still remembers"
    assert sum(at_once) in (5, 5 + 8)


def test_all_layers_have_adapters_unless_told_otherwise(tiny: LoraParams) -> None:
    assert lora.Lora(tiny).frozen is None
    model, _, _ = encoder.load(tiny.base_model)
    assert len(adapters.target_modules(model, tiny)) == 2 * 6
    assert len(adapters.target_modules(model, tiny.model_copy(update={"layers": 1}))) == 6
    chosen = adapters.target_modules(model, tiny.model_copy(update={"target_modules": ["query", "output.dense"]}))
    assert len(chosen) == 2 * 3
    with pytest.raises(InputError, match=r"no linear layer is called q_proj; known here: dense, key, query, value"):
        adapters.target_modules(model, tiny.model_copy(update={"target_modules": ["q_proj"]}))
    with pytest.raises(InputError, match=r"layers is 7, but .* has 2"):
        adapters.target_modules(model, tiny.model_copy(update={"layers": 7}))


# --- what is learnt, and how fast ---------------------------------------------------------------------------------------


def test_the_learning_rate_falls_with_every_layer_below(tiny: LoraParams) -> None:
    network, _ = adapters.with_adapters(tiny)
    groups = adapters.parameter_groups(network, 1.0, 0.5)
    assert [group["lr"] for group in groups] == [1.0, 0.5, 0.25]
    assert sum(len(group["params"]) for group in groups) == len(adapters.trained(network))


def test_the_loss_is_that_of_smoothed_weighted_soft_labels() -> None:
    logits, labels = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1.0, 0.25])
    loss = training.cross_entropy(logits, labels, torch.tensor([0.5, 2.0]), 0.1)
    logp = logits.log_softmax(dim=1)
    smooth = torch.tensor([[0.05, 0.95], [0.9 * 0.75 + 0.05, 0.9 * 0.25 + 0.05]])
    assert loss.item() == pytest.approx(-(smooth * logp * torch.tensor([0.5, 2.0])).sum().item())
    assert training.class_weights(np.array([0, 0, 0, 1]), "balanced").tolist() == pytest.approx([2 / 3, 2.0])


def test_dropout_by_bytes_drops_the_share_and_keeps_the_mean() -> None:
    layer = torch.nn.Sequential(torch.nn.Dropout(0.1))
    dropout.use_bytes(layer)
    values = torch.full((1000, 301), 2.0, requires_grad=True)
    dropped = layer.train()(values)
    dropped.sum().backward()
    assert (dropped == 0).float().mean().item() == pytest.approx(26 / 256, abs=0.003)
    assert dropped.mean().item() == pytest.approx(2.0, abs=0.01)
    assert ((values.grad == 0) == (dropped == 0)).all()
    columns = (dropped == 0).float().mean(dim=0)
    assert 0.05 < columns.min() < columns.max() < 0.16, "any place is dropped as often as any other"
    assert (layer.eval()(values) == values).all()


@pytest.mark.parametrize("variant", ["lora", "rslora"])
def test_one_merged_product_is_the_three_and_has_their_gradients(tiny: LoraParams, variant: str) -> None:
    network, tokenizer = adapters.with_adapters(tiny.model_copy(update={"variant": variant}))
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = dict(tokenizer(["houses burned down", "fire"], padding=True, return_tensors="pt"))

    def logits_and_gradients() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        network.zero_grad()
        logits = network(**batch).logits
        logits[:, 1].sum().backward()
        return logits, {
            name: p.grad for name, p in network.named_parameters() if p.requires_grad and p.grad is not None
        }

    by_three, gradients = logits_and_gradients()
    merged_products.use_merged_products(network)
    replaced = [module for module in network.modules() if "forward" in vars(module)]
    by_one, same = logits_and_gradients()
    assert len(replaced) == 2 * 6
    assert torch.allclose(by_one, by_three, atol=1e-5)
    assert same.keys() == gradients.keys()
    assert all(torch.allclose(same[name], gradients[name], atol=1e-4) for name in gradients)


def test_what_cannot_be_merged_is_left_alone(tiny: LoraParams) -> None:
    for change in ({"variant": "dora"}, {"variant": "loha"}, {"dropout": 0.1}):
        network, _ = adapters.with_adapters(tiny.model_copy(update=change))
        merged_products.use_merged_products(network)
        assert not any("forward" in vars(module) for module in network.modules())


def test_soft_labels_are_the_mean_of_near_duplicates() -> None:
    tweets = pd.DataFrame({"group": [7, 3, 7, 7]})
    assert lora.group_means(tweets, np.array([1, 1, 0, 1])) == pytest.approx([2 / 3, 1, 2 / 3, 2 / 3])


def test_early_stopping_goes_back_to_the_best_epoch(tiny: LoraParams, sample: Prepared) -> None:
    rows, labels = sample.train.head(60), sample.train["target"].head(60).to_numpy()
    params = tiny.model_copy(update={"epochs": 30, "validation": 0.3, "patience": 2, "learning_rate": 2e-2})
    model = lora.fit(rows, labels, params)
    losses = model.history.validation_loss
    assert len(losses) < 30
    assert len(losses) == np.argmin(losses) + 1 + 2
    learnt, held_out = lora.split_by_group(rows, labels, 0.3, 0)
    assert not set(rows["group"].iloc[learnt]) & set(rows["group"].iloc[held_out])
    scores = model.predict(rows.iloc[held_out])
    own = np.where(labels[held_out] == 1, scores, 1 - scores)
    assert -np.log(own).mean() == pytest.approx(min(losses), abs=1e-4)


# --- going on after an interruption -------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [0.0, 0.3])
def test_a_training_goes_on_from_its_last_epoch_bit_for_bit(
    tiny: LoraParams, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validation: float
) -> None:
    rows, labels = sample.train.head(40), sample.train["target"].head(40).to_numpy()
    params = tiny.model_copy(update={"epochs": 4, "dropout": 0.1, "hidden_dropout": 0.1, "validation": validation})
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "whole"))
    whole = lora.fit(rows, labels, params, resumable=True)
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "broken"))
    steps = killed_at(monkeypatch, 6, 14)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            lora.fit(rows, labels, params, resumable=True)
    broken = lora.fit(rows, labels, params, resumable=True)
    assert broken.history.loss == whole.history.loss
    assert (broken.predict(sample.test) == whole.predict(sample.test)).all()
    # what is finished is not done again, and is recognised by everything that determines it
    before = len(steps)
    lora.fit(rows, labels, params, resumable=True)
    assert len(steps) == before
    lora.fit(rows, 1 - labels, params, resumable=True)
    assert len(steps) > before


def test_a_checkpoint_is_told_apart_by_all_that_determines_it(
    tiny: LoraParams, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path))
    rows, labels = ten(sample)

    def path(params: LoraParams, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Path:
        torch.manual_seed(seed)
        model = lora.LoraModel(*adapters.with_adapters(params), params)
        return lora.checkpoint_path(model, [model.rows(tweets, labels)], seed)

    same = path(tiny, rows, labels)
    assert same == path(tiny.model_copy(update={"seeds": [0, 1], "test_rows": "refit"}), rows, labels)
    others = [
        path(tiny, rows, 1 - labels),
        path(tiny, rows.iloc[::-1], labels),
        path(tiny, rows, labels, seed=1),
        path(tiny.model_copy(update={"epochs": 6}), rows, labels),
        path(tiny.model_copy(update={"precision": "bf16"}), rows, labels),
    ]
    assert len({same, *others}) == 6


# --- what the encoder reads ---------------------------------------------------------------------------------------------


def test_columns_before_the_last_are_the_first_text_of_a_pair(tiny: LoraParams) -> None:
    model, tokenizer, _ = encoder.load(tiny.base_model)
    tweets = pd.DataFrame({"keyword": ["fire", None], "location": ["Rome", "Oslo"], "text": ["all out", "it burns"]})
    rows = encoder.tokenize(model, tokenizer, tweets, ["keyword", "location", "text"], 128)
    assert [tokenizer.decode(ids) for ids in rows["input_ids"]] == [
        "[CLS] fire, rome [SEP] all out [SEP]",
        "[CLS] oslo [SEP] it burns [SEP]",
    ]


def test_no_input_is_longer_than_the_model_has_positions(tiny_of_each: LoraParams) -> None:
    model, tokenizer, _ = encoder.load(tiny_of_each.base_model)
    tweets = pd.DataFrame({"text": ["fire " * 2000]})
    rows = encoder.tokenize(model, tokenizer, tweets, ["text"], 10**6)
    if rows["length"][0] <= 1024:
        batch, _ = next(encoder.batches(rows, tokenizer, 1, [0]))
        assert model(**batch).logits.isfinite().all()


def test_bertweet_reads_links_mentions_and_emoji_as_it_was_taught(default: LoraParams, tmp_path: Path) -> None:
    params = make_tiny("bertweet", tmp_path, default)
    _, tokenizer, _ = encoder.load(params.base_model)
    read = tokenizer.decode(tokenizer("@user http 🔥 it burns")["input_ids"], skip_special_tokens=True)
    assert read.replace(" ", "") == "@USERHTTPURL:fire:itburns"


def test_an_epoch_visits_every_row_once(tiny: LoraParams, sample: Prepared) -> None:
    model, tokenizer, _ = encoder.load(tiny.base_model)
    numbers = np.arange(len(sample.train))
    rows = encoder.tokenize(model, tokenizer, sample.train, ["text"], 128, numbers)
    batches = list(encoder.training_batches(rows, tokenizer, 32, torch.Generator().manual_seed(0)))
    assert sorted(number for batch, _ in batches for number in batch["labels"].tolist()) == numbers.tolist()
    assert all((batch["labels"].numpy() == numbers).all() for batch, numbers in batches)
    padding = sum((batch["attention_mask"] == 0).sum() for batch, _ in batches) / sum(
        batch["attention_mask"].numel() for batch, _ in batches
    )
    assert padding < 0.2, "random batches of these tweets are a third padding"


def test_a_model_that_is_not_there_is_one_clear_line(default: LoraParams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for missing in ("./no/such/folder", "package:no_such_package/model", "package:peft/model"):
        with pytest.raises(InputError) as error:
            encoder.load(missing)
        assert missing in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_it_beats_a_dummy_by_far(default: LoraParams, sample: Prepared) -> None:
    model = lora.fit(*training_rows(sample.train, held_out=0), default)
    held_out = sample.train[sample.train["fold"] == 0]
    scores = model.predict(held_out)
    assert ((scores > 0.5) == held_out["target"]).mean() > 0.7
    # the same story told with a link more or less, and a direction that any reader would agree with
    texts = [
        "Houses burned down, two people dead",
        "Houses burned down, two people dead http",
        "my new mixtape is fire, listen",
    ]
    real, linked, joke = model.predict(pd.DataFrame({"text": texts}))
    assert abs(real - linked) < 0.2
    assert real > joke + 0.3
