"""LoRA learns, on any transformer; is saved whole; scores a tweet the same whatever stands beside it; goes on where it was."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_encoder import FAMILIES, killed_at, make_tiny, some

from pipeline.contracts import InputError, Prepared, read_params
from pipeline.finetune import adapters, encoder, fast_on_cpu, frozen_layers
from pipeline.finetune.lora import Lora, LoraModel
from pipeline.finetune.params import LoraParams
from pipeline.fit.cross_fit import training_rows
from pipeline.fit.model_store import opened, timed_saved
from pipeline.fit.subsets import split_by_group


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LoraParams:
    return make_tiny("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module", params=FAMILIES)
def tiny_of_each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoraParams:
    return make_tiny(request.param, tmp_path_factory.mktemp(request.param))


Ten = tuple[pd.DataFrame, np.ndarray]


@pytest.fixture(scope="module")
def ten(sample: Prepared) -> Ten:
    return some(sample)


def family(params: LoraParams, **changes: object) -> Lora:
    return Lora(params.model_copy(update=changes))


def test_any_family_overfits_ten_rows_and_is_saved_whole(tiny_of_each: LoraParams, ten: Ten, tmp_path: Path) -> None:
    rows, labels = ten
    own = family(tiny_of_each, epochs=60, learning_rate=5e-3)
    fitted = own.fit(*ten)
    before = fitted.predict(rows)
    assert ((before > 0.5) == labels).all()
    assert own.save_and_reload(fitted, tmp_path, rows).predict(rows) == pytest.approx(before, abs=1e-4)
    assert any("lora_A" in name for name in load_file(tmp_path / "adapter_model.safetensors"))


@pytest.mark.parametrize(("variant", "scale"), [("lora", 32 / 16), ("rslora", 32 / 4), ("dora", 32 / 16)])
def test_any_variant_learns_and_is_saved_whole(
    tiny: LoraParams, ten: Ten, tmp_path: Path, variant: str, scale: float
) -> None:
    rows, labels = ten
    own = family(tiny, variant=variant, epochs=60, learning_rate=5e-3)
    fitted = own.fit(*ten)
    before = fitted.predict(rows)
    assert ((before > 0.5) == labels).mean() >= 0.9
    assert own.save_and_reload(fitted, tmp_path, rows).predict(rows) == pytest.approx(before, abs=1e-4)
    of_peft = PeftModel.from_pretrained(encoder.load(own.params.base_model)[0], tmp_path)
    ours = own.read_back(tmp_path).predict(rows)
    assert (ours == LoraModel([of_peft], fitted.tokenizer, own.params).predict(rows)).all(), "it is what PEFT reads"
    assert any("lora_magnitude_vector" in name for name in adapters.trained(fitted.network)) == (variant == "dora")
    layer = next(each for each in fitted.network.modules() if isinstance(getattr(each, "scaling", None), dict))
    assert layer.scaling["default"] == scale


def test_peft_warns_nobody_and_asks_no_hub(tiny: LoraParams, ten: Ten, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network, tokenizer = adapters.with_adapters(tiny)
    network.peft_config["default"].base_model_name_or_path = "nobody/nothing"  # as of a GGUF file: no config beside it
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(InputError, match=r"calls all of \d+ tweets [01]: training collapsed"):  # it was not trained
            Lora(tiny).save_and_reload(LoraModel([network], tokenizer, tiny), tmp_path, ten[0])


def test_adapters_are_saved_in_the_same_order_every_time(tiny: LoraParams, tmp_path: Path) -> None:
    """PEFT keeps the names of modules as sets: what is in them must not come out as the process's hashes have it."""
    model, _, whole = encoder.load(tiny.base_model)
    names = ["query", "key", "value", "dense"]
    network = get_peft_model(
        model, LoraConfig(target_modules=names, exclude_modules=["pooler.dense"], modules_to_save=whole)
    )
    adapters.in_order(network).save_pretrained(tmp_path / "adapter")
    saved = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert saved["target_modules"] == sorted(names)
    assert not [value for value in vars(network.peft_config["default"]).values() if isinstance(value, set)]


def test_a_head_that_was_not_saved_is_noticed(
    tiny: LoraParams, ten: Ten, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = Lora(tiny).fit(*ten)
    write = fitted.network.save_pretrained

    def forgetful(folder: Path, **_: object) -> None:
        write(folder)
        path = folder / "adapter_model.safetensors"
        save_file({name: each for name, each in load_file(path).items() if "classifier" not in name}, path)

    monkeypatch.setattr(fitted.network, "save_pretrained", forgetful)
    with pytest.raises(InputError, match=r"classifier\S* has shape None"):
        Lora(tiny).save_and_reload(fitted, tmp_path, ten[0])


def test_a_loss_that_is_no_number_stops_the_training(tiny: LoraParams, ten: Ten) -> None:
    with pytest.raises(InputError, match="training diverged: the loss of step"):
        family(tiny, learning_rate=1e30).fit(*ten)


def test_a_tweets_score_depends_on_no_other_tweet(tiny_of_each: LoraParams, ten: Ten, sample: Prepared) -> None:
    model, tweets = family(tiny_of_each, epochs=1).fit(*ten), sample.test.head(50)
    scores = model.predict(tweets)
    order = np.random.default_rng(0).permutation(len(tweets))
    assert model.predict(tweets.iloc[order]) == pytest.approx(scores[order], abs=1e-5)
    assert model.predict(tweets.iloc[[7]]) == pytest.approx(scores[[7]], abs=1e-5)


def test_the_head_reads_the_mean_of_all_tokens_if_told_to(tiny_of_each: LoraParams, ten: Ten) -> None:
    if Path(tiny_of_each.base_model).name.startswith(("gpt2", "llama")):
        with pytest.raises(InputError, match="pooling: mean is for encoders"):
            family(tiny_of_each, pooling="mean").fit(*ten)
        return
    model, tokenizer, whole = encoder.load(tiny_of_each.base_model, pooling="mean")
    layers, tops = encoder.transformer_layers(model)[1], list[torch.Tensor]()
    layers[-1].register_forward_hook(
        lambda *given: tops.append(given[2][0] if isinstance(given[2], tuple) else given[2])
    )
    layers[-1]._forward_hooks.move_to_end(next(iter(layers[-1]._forward_hooks)))  # before the mean takes its place
    batch = tokenizer(["Forest fire near La Ronge", "a"], padding=True, return_tensors="pt")
    read = dict[str, torch.Tensor]()
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in whole:
            module.register_forward_pre_hook(lambda _, given, name=name: read.setdefault(name, given[0]))
    model.eval()(**{name: batch[name] for name in ("input_ids", "attention_mask")})
    mask = batch["attention_mask"][..., None]
    mean = (tops[0] * mask).sum(dim=1) / mask.sum(dim=1)
    mean = getattr(getattr(model, model.base_model_prefix), "final_norm", torch.nn.Identity())(mean)
    assert any(torch.allclose(given if given.dim() == 2 else given[:, 0], mean, atol=1e-5) for given in read.values())


# --- layers below the adapters ------------------------------------------------------------------------------------------


def test_reused_layers_say_what_they_said_and_do_not_run_again(
    tiny_of_each: LoraParams, ten: Ten, sample: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adapters on the top layer only: training and prediction are the same with and without the memory of the rest."""
    own, without, tweets = (*(family(tiny_of_each, layers=1, epochs=3) for _ in range(2)), sample.test.head(30))
    without.frozen = None
    assert own.frozen is not None
    plain, reusing = without.fit(*ten), own.fit(*ten)
    assert reusing.histories[0].loss == pytest.approx(plain.histories[0].loss, abs=1e-4)
    assert reusing.predict(tweets) == pytest.approx(plain.predict(tweets), abs=1e-4)
    monkeypatch.setattr(frozen_layers.FrozenLayers, "run", lambda *_: pytest.fail("they ran"))
    again = own.fit(*ten)
    assert again.histories[0].loss == reusing.histories[0].loss
    again.predict(tweets)


def test_a_part_of_a_batch_is_recalled_as_wide_as_the_batch(tiny: LoraParams) -> None:
    """Processes that share a batch get rows of it: those that fell to one may all be the shorter ones."""
    own = family(tiny, layers=1)
    model = own.untrained([own.fresh()[0]], own.fresh()[1], np.zeros(0))
    rows = model.rows(pd.DataFrame({"text": ["fire", "houses burned down near the river"]}))
    batch, _ = next(encoder.batches(rows, model.tokenizer, 2, [0, 1]))
    own.frozen.recall(batch)
    whole = model.network(**batch).logits
    part = {name: tensor[:1] for name, tensor in batch.items()}
    own.frozen.recall(part)
    assert model.network(**part).logits[0].tolist() == pytest.approx(whole[0].tolist(), abs=1e-5)


def test_latency_is_of_models_that_remember_no_tweet(
    tiny: LoraParams, ten: Ten, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers below the adapters run for each tweet that is timed, once for all models that share them, as in predict."""
    own = family(tiny, layers=1, epochs=1)
    model = own.fit(*ten)
    for fold in (0, 1):
        model.save(tmp_path / f"fold-{fold}")
    tweets = sample.test.drop_duplicates("text").head(8)
    expected = own.predict(model, tweets)
    assert len(own.frozen.known) >= 8, "they are remembered from scoring them"
    ran = []
    run = frozen_layers.FrozenLayers.run
    monkeypatch.setattr(frozen_layers.FrozenLayers, "run", lambda *of: (ran.append(len(of[3]["input_ids"])), run(*of)))
    latency = timed_saved(opened("lora_tiny", tmp_path, own, ["fold-0", "fold-1"], 1), tweets, expected)
    alone, at_once = ran[: ran.index(5)], ran[ran.index(5) :]
    assert len(alone) == 2 + len(latency.ms) == 2 + 8, "of the three that warm up, the first still remembers"
    assert sum(at_once) in (5, 5 + 8)


def test_all_layers_have_adapters_unless_told_otherwise(tiny: LoraParams) -> None:
    assert Lora(tiny).frozen is None
    model, _, _ = encoder.load(tiny.base_model)
    assert len(adapters.target_modules(model, tiny)) == 2 * 6
    assert len(adapters.target_modules(model, tiny.model_copy(update={"layers": 1}))) == 6
    with pytest.raises(InputError, match=r"layers is 7, but .* has 2"):
        adapters.target_modules(model, tiny.model_copy(update={"layers": 7}))


# --- what is learnt, and how fast ---------------------------------------------------------------------------------------


def test_the_learning_rate_falls_with_every_layer_below(tiny: LoraParams) -> None:
    network, _ = adapters.with_adapters(tiny)
    groups = adapters.parameter_groups(network, 1.0, 0.5)
    assert [group["lr"] for group in groups] == [1.0, 0.5, 0.25]
    assert sum(len(group["params"]) for group in groups) == len(adapters.trained(network))


def test_dropout_by_bytes_drops_the_share_and_keeps_the_mean() -> None:
    layer = torch.nn.Sequential(torch.nn.Dropout(0.1))
    fast_on_cpu.use_byte_dropout(layer)
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
    network, tokenizer = family(tiny, variant=variant).fresh()
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = dict(tokenizer(["houses burned down", "fire"], padding=True, return_tensors="pt"))

    def logits_and_gradients() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        network.zero_grad()
        logits = network(**batch).logits
        logits[:, 1].sum().backward()
        return logits, {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    by_three, gradients = logits_and_gradients()
    fast_on_cpu.use_merged_products(network)
    by_one, same = logits_and_gradients()
    assert sum("forward" in vars(module) for module in network.modules()) == 2 * 6
    assert torch.allclose(by_one, by_three, atol=1e-5)
    assert same.keys() == gradients.keys()
    assert all(torch.allclose(same[name], gradients[name], atol=1e-4) for name in gradients)
    for change in ({"variant": "dora"}, {"dropout": 0.1}):
        network, _ = family(tiny, **change).fresh()
        fast_on_cpu.use_merged_products(network)
        assert not any("forward" in vars(module) for module in network.modules()), "what cannot be merged is left alone"


def test_early_stopping_goes_back_to_the_best_epoch(tiny: LoraParams, sample: Prepared) -> None:
    rows, labels = sample.train.head(60), sample.train["target"].head(60).to_numpy()
    model = family(tiny, epochs=30, validation=0.3, patience=2, learning_rate=2e-2).fit(rows, labels)
    losses = model.histories[0].validation_loss
    assert len(losses) < 30
    assert len(losses) == np.argmin(losses) + 1 + 2
    learnt, held_out = split_by_group(rows, labels, 0.3, 0)
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
    own = family(tiny, epochs=4, dropout=0.1, hidden_dropout=0.1, validation=validation)
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "whole"))
    whole = own.train(rows, labels, 0, resumable=True)
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "broken"))
    steps = killed_at(monkeypatch, 6, 14)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            own.train(rows, labels, 0, resumable=True)
    broken = own.train(rows, labels, 0, resumable=True)
    assert broken.histories[0].loss == whole.histories[0].loss
    assert (broken.predict(sample.test) == whole.predict(sample.test)).all()
    # what is finished is not done again, and is recognised by everything that determines it
    before = len(steps)
    own.train(rows, labels, 0, resumable=True)
    assert len(steps) == before
    own.train(rows, 1 - labels, 0, resumable=True)
    assert len(steps) > before


def test_a_checkpoint_is_told_apart_by_all_that_determines_it(tiny: LoraParams, ten: Ten) -> None:
    rows, labels = ten

    def path(tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0, **changes: object) -> Path:
        own = family(tiny, **changes)
        torch.manual_seed(seed)
        network, tokenizer = own.fresh()
        model = own.untrained([network], tokenizer, labels)
        return own.checkpoint(network, model.dtype, [model.rows(tweets, labels)], seed)

    same = path(rows, labels)
    assert same == path(rows, labels, seeds=[0, 1], test_rows="refit")
    others = [
        path(rows, 1 - labels),
        path(rows.iloc[::-1], labels),
        path(rows, labels, seed=1),
        path(rows, labels, epochs=6),
        path(rows, labels, precision="bf16"),
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


def test_bertweet_reads_links_mentions_and_emoji_as_it_was_taught(tmp_path: Path) -> None:
    _, tokenizer, _ = encoder.load(make_tiny("bertweet", tmp_path).base_model)
    read = tokenizer.decode(tokenizer("@user http 🔥 it burns")["input_ids"], skip_special_tokens=True)
    assert read.replace(" ", "") == "@USERHTTPURL:fire:itburns"


def test_an_epoch_visits_every_row_once(tiny: LoraParams, sample: Prepared) -> None:
    model, tokenizer, _ = encoder.load(tiny.base_model)
    numbers = np.arange(len(sample.train))
    rows = encoder.tokenize(model, tokenizer, sample.train, ["text"], 128, numbers)
    order = encoder.shuffled(rows, 32, torch.Generator().manual_seed(0))
    batches = list(encoder.batches(rows, tokenizer, 32, order))
    assert sorted(number for batch, _ in batches for number in batch["labels"].tolist()) == numbers.tolist()
    assert all((batch["labels"].numpy() == numbers).all() for batch, numbers in batches)
    padding = sum((batch["attention_mask"] == 0).sum() for batch, _ in batches) / sum(
        batch["attention_mask"].numel() for batch, _ in batches
    )
    assert padding < 0.2, "random batches of these tweets are a third padding"


@pytest.mark.slow
def test_it_beats_a_dummy_by_far(sample: Prepared) -> None:
    default = read_params("lora.minilm", LoraParams, ROOT / "params.yaml")
    model = Lora(default).fit(*training_rows(sample.train, held_out=0))
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
