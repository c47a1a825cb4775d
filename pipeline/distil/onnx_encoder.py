"""A fine-tuned encoder as ONNX: from words to probabilities by onnxruntime and tokenizers, without torch or transformers.

A folder has model.onnx, tokenizer.json and encoder.json. The network is read from its bytes: what it might name outside of them
is not read, and no operator comes from elsewhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import onnxruntime
from pydantic import Field
from scipy.special import expit
from tokenizers import Tokenizer

from pipeline.contracts import InputError, Params
from pipeline.fit.model_files import read_json, reading, write_json
from pipeline.waiting import cores

NETWORK, WORDS, READS = "model.onnx", "tokenizer.json", "encoder.json"
INPUTS = ["input_ids", "attention_mask"]
BATCH = 32
"""Texts of about one length that go through the network at once: more do not fit the caches."""


class Reads(Params):
    """The content of encoder.json."""

    format: Literal[1] = 1
    longest: int = Field(ge=1)
    """Tokens of a text, at most."""
    padding: int = Field(ge=0)
    """The token that fills up shorter texts."""
    temperature: float = Field(1.0, gt=0)
    """Log-odds are divided by it."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """Of P(target = 1), with the best accuracy out of fold; nothing here reads it."""
    labels: list[str] = Field(min_length=2, max_length=2)
    """The names of target 0 and target 1."""


@dataclass(frozen=True)
class OnnxEncoder:
    """Texts in, P(target = 1) out."""

    session: Any
    tokenizer: Tokenizer
    reads: Reads

    @classmethod
    def open(cls, folder: Path) -> Self:
        reads = read_json(folder / READS, Reads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(cores())
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other work may share the cores
        options.log_severity_level = 4  # what it warns of is no fault of the user's, and errors are raised
        with reading(folder / NETWORK):
            content = (folder / NETWORK).read_bytes()
            try:
                session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # noqa: BLE001 - whatever is in a file that anybody made
                raise ValueError(str(error)) from None
        with reading(folder / WORDS):
            words = (folder / WORDS).read_bytes()
            try:
                tokenizer = Tokenizer.from_buffer(words)
            except Exception as error:  # noqa: BLE001 - as above; tokenizers raises no kind of its own
                raise ValueError(str(error)) from None
        tokenizer.enable_truncation(reads.longest)
        tokenizer.no_padding()
        if {one.name for one in session.get_inputs()} != set(INPUTS):
            raise InputError(f"{folder / NETWORK}: it reads other inputs than token ids and their mask")
        return cls(session, tokenizer, reads)

    def log_odds(self, texts: list[str]) -> np.ndarray:
        """Of each text, shape (n,), by batches of falling length: little is padding."""
        tokens = [one.ids for one in self.tokenizer.encode_batch(texts)]
        lengths = np.array([len(ids) for ids in tokens])
        found = np.empty(len(texts))
        for numbers in np.array_split(np.argsort(-lengths, kind="stable"), -(-len(texts) // BATCH)):
            mask = np.arange(lengths[numbers[0]]) < lengths[numbers, None]
            ids = np.full(mask.shape, self.reads.padding)
            ids[mask] = np.concatenate([tokens[number] for number in numbers])
            (logits,) = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask.astype(np.int64)})
            found[numbers] = logits[:, 1] - logits[:, 0]
        return found

    def predict(self, texts: list[str]) -> np.ndarray:
        """P(target = 1) of each text, shape (n,)."""
        return np.asarray(expit(self.log_odds(texts) / self.reads.temperature))


def write_reads(folder: Path, reads: Reads) -> None:
    write_json(folder / READS, reads)


def with_rule(folder: Path, factor: float, threshold: float) -> Reads:
    """Write into a folder what is known when all folds have scored: the factor on its log-odds, and its best threshold."""
    found = read_json(folder / READS, Reads).model_copy(
        update={"temperature": 1 / max(factor, 1e-6), "threshold": threshold}
    )
    write_reads(folder, found)
    return found
