"""What each server at hand can do: the same prompts in every mode, as a Markdown table.

in:  data/prepared, prompts/few_shot.yaml and prompts/channel.yaml, and the model of params.yaml, a GGUF file
run: make servers   (or python -m benchmarks.servers, with VLLM=path/to/bin/vllm if there is one)

llama.cpp's server is the embedded one. `transformers serve`, and vLLM where the environment variable VLLM names its command,
are given the same weights, saved in their format, and stopped afterwards. Nothing is stored.
"""

import argparse
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
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import httpx2
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
SECONDS = 300


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
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
    try:
        while time.monotonic() < until and server.poll() is None:
            try:
                httpx2.get(f"{url}/health", timeout=5)
            except httpx2.HTTPError:
                time.sleep(1)
                continue
            yield f"{url}/v1"
            return
        raise InputError(f"{command[0]}: no server: {(folder / 'log').read_text()[-300:]}")
    finally:
        server.terminate()
        server.wait(60)


def cell(wanted: str, rows: pd.DataFrame, prepared: Prepared, params: PromptParams, folder: Path) -> str:
    """What comes of a mode: "yes" and how many tweets were read, or what the run says of why it cannot be done."""
    path = folder / f"{wanted}.yaml"
    text = Path("prompts", f"{MODES[wanted]}.yaml").read_text().replace("scoring: logprobs", f"scoring: {wanted}")
    path.write_text(text)
    prompt = read_prompt(path, read_params("data", DataParams).labels)

    async def ask() -> Classified:
        with closing(AnswerStore(folder / f"{time.monotonic()}.sqlite")) as store:
            async with open_asker(prompt, store, params, wanted) as asker:
                return await classify(prompt, rows, prepared, asker, calibration="none")

    try:
        with redirect_stdout(StringIO()) as said:
            found = asyncio.run(ask())
    except InputError as error:
        return str(error)
    if found.mode != wanted:
        return said.getvalue().strip().removeprefix(f"{wanted}: the endpoint ").replace("|", "\\|")
    read = (~np.isnan(found.scores)).sum()
    mass = f", label words hold {found.label_mass:.0%}" if found.label_mass is not None else ""
    return f"yes: {read} of {len(rows)} read{mass}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tweets", type=int, default=8)
    given = parser.parse_args()
    params, prepared = read_params("prompt", PromptParams), read_prepared()
    rows = rows_to_ask(prepared, given.tweets, test=False)
    commands = {
        f"transformers {version('transformers')} serve": [f"{Path(sys.executable).parent}/transformers", "serve"],
        "vLLM": [os.environ.get("VLLM", ""), "serve", "--max-model-len", "2048", "--enforce-eager"],
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        own = f"llama.cpp (xllamacpp {version('xllamacpp')})"
        found = {own: {mode: cell(mode, rows, prepared, params, folder) for mode in MODES}}
        save(params.model, folder)
        for name, command in commands.items():
            if command[0]:
                with serving(command, folder) as url:
                    there = {"base_url": url, "model": str(folder), "api_key_env": None, "timeout": 300.0}
                    remote = params.model_copy(update=there)
                    found[name] = {mode: cell(mode, rows, prepared, remote, folder) for mode in MODES}
    print(pd.DataFrame(found).rename_axis("`scoring`").to_markdown())


if __name__ == "__main__":
    run(main)
