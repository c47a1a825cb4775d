"""llama.cpp's OpenAI-compatible server, started inside the process on loopback and stopped with it."""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.contracts import InputError
from pipeline.packaged import locate


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and what names the model there beyond doubt."""

    kind: Literal["embedded", "remote"]
    base_url: str
    model: str
    identity: str
    """What determines the answers: weights and server within the process, address and model of a remote endpoint."""
    concurrency: int
    """How many requests it is sent at once."""
    api_key: str = field(repr=False)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def embedded(model: str, slots: int, context: int) -> Iterator[Endpoint]:
    """Serve a GGUF file (a path, or `package:NAME/PATH`) on a free port of 127.0.0.1 under a random key.

    `slots` requests are answered at once, each with room for `context` tokens. With one slot the answers are the same to
    the last digit in every run; with more, they depend slightly on which requests happen to share a batch.
    """
    import xllamacpp  # noqa: PLC0415 - loads 100 MB of native code: only where it is used

    path = Path(locate(model))
    if not path.is_file():
        raise InputError(f"prompt.model: {model}: no such GGUF file; or set prompt.base_url for a remote model")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise InputError(f"prompt.model: {model}: not a GGUF file")
    key = secrets.token_urlsafe(32)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.api_keys = [key]
    params.n_parallel = slots
    params.n_ctx = slots * context
    params.n_threads_http = slots + 1
    params.ui = params.endpoint_slots = params.warmup = False
    params.cache_ram_mib = 0  # a second prompt cache, in memory of its own: the slots' caches are enough
    params.verbosity = 0
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise InputError(f"prompt.model: {model}: llama.cpp cannot load it: {error}") from None
    try:
        identity = f"sha256:{sha256(path)} xllamacpp {xllamacpp.__version__} slots {slots}"
        yield Endpoint("embedded", f"{server.listening_address}/v1", path.stem, identity, slots, key)
    finally:
        del server
