"""What the layers below the adapters put out, computed once for all folds, epochs and seeds, and reused.

Those layers never change, and without dropout they say the same about a tweet every time.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from pipeline.device import computing
from pipeline.finetune.encoder import transformer_layers

Batch = dict[str, torch.Tensor]
Output = torch.Tensor | tuple[torch.Tensor | None, ...]


class _FrozenPartDone(Exception):  # noqa: N818 - nothing is wrong
    """Raised to leave a forward pass once its frozen part is done."""


class FrozenLayers:
    """Stands in for the `count` lowest layers of any number of models with the same weights there."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.known: dict[tuple[int, ...], torch.Tensor] = {}
        """Per tweet, by its tokens: shape (tokens, hidden), in the dtype of the matrix products."""
        self.hidden = torch.empty(0)
        self.companions: int | None = None
        """Some families' layers put out a tensor, others a tuple: with how many elements more?"""

    def recalled_output(self, hidden: torch.Tensor, *_: Any, **__: Any) -> Output:
        """Instead of a layer's `forward`: what the topmost frozen layer would put out, whatever goes in."""
        recalled = self.hidden.to(hidden)
        return recalled if self.companions is None else (recalled, *[None] * self.companions)

    @staticmethod
    def tokens(batch: Batch) -> list[tuple[int, ...]]:
        """What the outputs depend on: the tokens of each row, without padding, and their segments."""
        read = [batch["input_ids"], *([batch["token_type_ids"]] if "token_type_ids" in batch else [])]
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        rows = torch.stack(read, dim=1).tolist()
        return [
            tuple(token for part in row for token in part[:length]) for row, length in zip(rows, lengths, strict=True)
        ]

    def recall(self, batch: Batch) -> None:
        """Be ready to put out what the layers would for this batch, shape (rows, tokens, hidden)."""
        hidden = pad_sequence([self.known[tokens] for tokens in self.tokens(batch)], batch_first=True)
        # A process may have got the shorter rows of a batch: then all of them end in padding.
        self.hidden = nn.functional.pad(hidden, (0, 0, 0, batch["input_ids"].shape[1] - hidden.shape[1]))

    @torch.no_grad()
    def replace(self, model: PreTrainedModel, batches: Iterable[Batch], dtype: torch.dtype) -> None:
        """Run the lowest layers on what is new to them in the batches, keep what they put out, then take their place."""
        layers = transformer_layers(model)[1]
        for layer in layers[: self.count]:
            vars(layer).pop("forward", None)
        for batch in batches:
            if not all(tokens in self.known for tokens in self.tokens(batch)):
                self.run(model, layers, batch, dtype)
        for layer in layers[: self.count]:
            layer.forward = self.recalled_output

    def run(self, model: PreTrainedModel, layers: nn.ModuleList, batch: Batch, dtype: torch.dtype) -> None:
        """One forward pass of `model`, as far as the layers are frozen."""
        caught: list[torch.Tensor] = []

        def note_form(_: nn.Module, __: Any, output: Output) -> None:
            self.companions = len(output) - 1 if isinstance(output, tuple) else None

        def catch(_: nn.Module, positional: tuple[torch.Tensor, ...], named: Batch) -> None:
            caught.append(positional[0] if positional else named["hidden_states"])
            raise _FrozenPartDone

        hooks = [
            layers[self.count - 1].register_forward_hook(note_form),
            layers[self.count].register_forward_pre_hook(catch, with_kwargs=True),
        ]
        training = model.training
        device = next(model.parameters()).device
        try:
            with computing(device, dtype):
                model.eval()(**{name: tensor.to(device) for name, tensor in batch.items() if name != "labels"})
        except _FrozenPartDone:
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            for tokens, hidden, length in zip(self.tokens(batch), caught[0], lengths, strict=True):
                self.known[tokens] = hidden[:length].to(dtype, copy=True)
        finally:
            model.train(training)
            for hook in hooks:
                hook.remove()
