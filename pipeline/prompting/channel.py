"""Score texts with a local GGUF model through transformers: log p(text | context), which llama.cpp's server does not give."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from tqdm import tqdm

from pipeline.contracts import InputError, reason
from pipeline.device import choose_device
from pipeline.prompting.answers import Answer, AnswerStore, Request
from pipeline.prompting.ask import Asker, Reads
from pipeline.prompting.params import PromptParams
from pipeline.prompting.replies import text_logprob
from pipeline.prompting.server import AbsentError, Address, Endpoint, weights

BATCH = 16


class LocalScorer(Asker):
    """An `Asker` of the local model: the same store and progress; nothing is sent, so no limit applies."""

    def __init__(self, store: AnswerStore, params: PromptParams, name: str) -> None:
        model, identity, self.path = weights(params.model, "transformers", "float32", store)
        file = self.path if isinstance(self.path, Path) else None
        nowhere = nullcontext(Address("", ""))
        super().__init__(Endpoint("local", model, identity, 1, lambda: nowhere, file), store, params, name)
        self.asked: list[Request] = []
        """All that the run asks: what is scored in one go must not depend on what an earlier run has left undone."""

    async def ask(self, requests: list[Request], reads: Reads | None = None) -> list[Answer]:
        self.asked = requests
        return await super().ask(requests, reads)

    async def ask_live(self, missing: dict[str, Request], progress: "tqdm[Any]") -> None:
        if isinstance(self.path, AbsentError):
            raise self.path
        model, tokenizer = load(self.path)
        different = {(request["prompt"], request["context"]): request for request in self.asked}
        alike = sorted(different.values(), key=lambda request: (-len(request["prompt"]), request["prompt"]))
        for start in range(0, len(alike), BATCH):
            part = alike[start : start + BATCH]
            if any(self.key(request) in missing for request in part):
                for request, answer in zip(part, score_texts(model, tokenizer, part), strict=True):
                    if self.key(request) in missing:
                        self.sent += 1
                        self.keep(request, answer)
                        self.show(progress)


def load(path: Path) -> tuple[Any, Any]:
    """The model in a GGUF file and its tokenizer, on the best device there is.

    Computed in float32: the score is a small difference between two large sums, and bf16 would round it away.
    """
    try:
        how = {"gguf_file": path.name, "trust_remote_code": False}
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **how)
        model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, **how)
    except Exception as error:  # noqa: BLE001 - whatever is in a file that anybody made
        raise InputError(f"prompt.model: transformers cannot load {path.name}: {reason(error)}") from None
    model.to(device=choose_device("auto"), dtype=torch.float32).eval()
    tokenizer.padding_side = "right"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return model, tokenizer


def score_texts(model: Any, tokenizer: Any, part: list[Request]) -> Iterator[Answer]:
    """The log-probability of each request's text, all computed in one go."""
    began = time.perf_counter()
    rows = tokenizer(
        [request["prompt"] for request in part], return_tensors="pt", padding=True, return_offsets_mapping=True
    )
    offsets, lengths = rows.pop("offset_mapping"), rows["attention_mask"].sum(dim=1).tolist()
    rows = rows.to(model.device)
    with torch.inference_mode():
        logits = model(**rows).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), rows["input_ids"][:, 1:], reduction="none")
    seconds = (time.perf_counter() - began) / len(part)
    for request, row, places, length in zip(part, -losses.cpu(), offsets, lengths, strict=True):
        logprobs = [None, *row[: length - 1].tolist()]  # nothing comes before the first token
        logprob = text_logprob(places[:length, 1].tolist(), logprobs, request["context"])
        yield Answer(text_logprob=logprob, prompt_tokens=length, seconds=seconds)
