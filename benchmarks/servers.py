"""What each server at hand can do: the same prompts in every mode, as a Markdown table.

in:  data/prepared, prompts/few_shot.yaml and prompts/channel.yaml, and the model of params.yaml, a GGUF file
run: make servers   (or python -m benchmarks.servers, with VLLM=path/to/bin/vllm if there is one)

llama.cpp's server is the embedded one. `transformers serve`, and vLLM where the environment variable VLLM names its command, are
given the same weights, saved in their format, and stopped afterwards. No answer is stored.
"""

import asyncio
import copy
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.contracts import InputError, Prepared, read_params, read_prepared
from pipeline.data.source import DataParams
from pipeline.process import run
from pipeline.prompting.answers import AnswerStore
from pipeline.prompting.channel import load
from pipeline.prompting.classify import Classified, classify, open_asker, rows_to_ask
from pipeline.prompting.params import PromptParams
from pipeline.prompting.prompt_file import read_prompt
from pipeline.prompting.server import gguf_file

MODES = {"logprobs": "few_shot", "sample": "few_shot", "text": "few_shot", "channel": "channel"}
TRANSFORMERS = [f"{Path(sys.executable).parent}/transformers", "serve", "--device", "cpu"]


def save(model: str, folder: Path) -> None:
    """A GGUF file's weights and tokenizer as transformers and vLLM read them."""
    loaded, tokenizer = load(gguf_file(model))
    config = copy.deepcopy(loaded.config)
    del config.quantization_config  # what was quantized cannot be saved under that name
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def serving(command: list[str], folder: Path) -> Iterator[str]:
    """The address of a server that is started with a folder of weights and stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*command, str(folder), "--port", str(port)], stdout=log, stderr=log)
    try:
        while server.poll() is None:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    yield f"http://127.0.0.1:{port}/v1"
                    return
            time.sleep(0.5)
        raise InputError(f"{command[0]}: no server: {(folder / 'log').read_text()[-300:]}")
    finally:
        server.terminate()
        server.wait(60)


def tried(mode: str, rows: pd.DataFrame, prepared: Prepared, params: PromptParams) -> str:
    """How many tweets were read, or what the run says of why the mode cannot be had."""
    labels = read_params("data", DataParams).labels
    prompt = read_prompt(Path(f"prompts/{MODES[mode]}.yaml"), labels).model_copy(update={"scoring": mode})

    async def ask() -> Classified:
        with closing(AnswerStore(Path(":memory:"))) as store:
            async with open_asker(prompt, store, params, mode) as asker:
                return await classify(prompt, rows, prepared, asker, calibration="none")

    try:
        with redirect_stdout(StringIO()) as said:
            found = asyncio.run(ask())
    except InputError as error:
        return str(error).split(f"cannot do {mode}: ")[-1]
    if found.mode != mode:
        return said.getvalue().split(f"cannot do {mode}: ")[-1].split(";")[0]
    mass = f", label words hold {found.label_mass:.0%}" if found.label_mass is not None else ""
    return f"{(~np.isnan(found.scores)).sum()} of {len(rows)} read{mass}"


def main() -> None:
    params, prepared = read_params("prompt", PromptParams), read_prepared()
    rows = rows_to_ask(prepared, 8, test=False)
    vllm = os.environ.get("VLLM")
    started = {"`transformers serve`": TRANSFORMERS} | ({"vLLM": [vllm, "serve", "--enforce-eager"]} if vllm else {})
    with tempfile.TemporaryDirectory() as scratch:
        found = {"llama.cpp": [tried(mode, rows, prepared, params) for mode in MODES]}
        save(params.model, Path(scratch))
        for name, command in started.items():
            with serving(command, Path(scratch)) as url:
                there = {"base_url": url, "model": scratch, "api_key_env": None, "timeout": 300}
                found[name] = [tried(mode, rows, prepared, params.model_copy(update=there)) for mode in MODES]
    print(pd.DataFrame(found, index=pd.Index(MODES, name="`scoring`")).T.to_markdown())


if __name__ == "__main__":
    run(main)
