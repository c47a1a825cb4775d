"""A language model of random weights that looks at a window of 32 tokens only, as a GGUF file."""

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, HEAD, HIDDEN, LAYERS, WINDOW, TOKENS = 32, 2, 16, 64, 6, 32, 3000


def write(path: Path, tokenizer: Path) -> None:
    """Gemma 3's architecture: five of six layers slide. The tokenizer is that of another GGUF file, its commonest tokens only."""
    fields = gguf.GGUFReader(tokenizer).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()[:TOKENS]
    known = set(tokens)
    merges = [pair for pair in fields["tokenizer.ggml.merges"].contents() if pair.replace(" ", "") in known]
    kept = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges}
    kept["tokenizer.ggml.token_type"] = fields["tokenizer.ggml.token_type"].contents()[:TOKENS]
    writer = gguf.GGUFWriter(path, "gemma3")
    shape = {"context_length": 4096, "embedding_length": WIDTH, "block_count": LAYERS, "feed_forward_length": HIDDEN}
    shape |= {
        "head_count": HEADS,
        "head_count_kv": 1,
        "key_length": HEAD,
        "value_length": HEAD,
        "sliding_window": WINDOW,
    }
    for name, value in (shape | {"layer_norm_rms_eps": 1e-6, "rope_freq_base": 10_000.0}).items():
        getattr(writer, f"add_{name}")(value)
    for name, field in fields.items():
        if name.startswith("tokenizer."):
            array = field.types[0] == gguf.GGUFValueType.ARRAY
            value = kept.get(name, field.contents())
            writer.add_array(name, value) if array else writer.add_key_value(name, value, field.types[0])
    rng = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        values = np.ones(shape) if "norm" in name else rng.normal(0, 0.3, shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    add("token_embd", len(tokens), WIDTH)
    add("output_norm", WIDTH)
    tall = {"attn_q": HEADS * HEAD, "attn_k": HEAD, "attn_v": HEAD, "ffn_gate": HIDDEN, "ffn_up": HIDDEN}
    for n in range(LAYERS):
        for norm in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            add(f"blk.{n}.{norm}", WIDTH)
        for norm in ("attn_q_norm", "attn_k_norm"):
            add(f"blk.{n}.{norm}", HEAD)
        for name, rows in tall.items():
            add(f"blk.{n}.{name}", rows, WIDTH)
        add(f"blk.{n}.attn_output", WIDTH, HEADS * HEAD)
        add(f"blk.{n}.ffn_down", WIDTH, HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
