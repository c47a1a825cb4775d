"""Dropout and adapters' products that do not slow down training on a CPU (docs/tried.md says what they gain)."""

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import nn


class ByteDropout(nn.Dropout):
    """Dropout by random bytes, so with a rate in steps of 1/256 (0.1 is 26/256), and scaled for that rate.

    torch draws a double for each number, on one core; here one draw of 64 bits serves eight.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        dropped = round(256 * self.p)
        if not self.training or not dropped:
            return values
        draws = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.uint8)[: values.numel()].view_as(values) >= dropped
        return values * kept.to(values.dtype).mul_(256 / (256 - dropped))


def use_byte_dropout(network: nn.Module) -> None:
    """Let all of a network's dropout be that, in place."""
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = ByteDropout


class _MergedProduct(torch.autograd.Function):
    """x (W + s B A)ᵀ in place of x Wᵀ + s (x Aᵀ) Bᵀ: the frozen W gets no gradient, those of A and B stay of low rank.

    The sum costs rank × inputs × outputs once a step; it saves small products over every token, each with a cast and a pass
    over memory, which in a small encoder take longer than their arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, a: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """Of x, shape (…, inputs), W (outputs, inputs), A (rank, inputs) and s B (outputs, rank): shape (…, outputs)."""
        merged = torch.addmm(weight, b, a)
        ctx.save_for_backward(x, merged, a, b)
        return nn.functional.linear(x, merged, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """∂x = g (W + s B A), ∂A = (g s B)ᵀ x, ∂(s B) = gᵀ (x Aᵀ)."""
        x, merged, a, b = ctx.saved_tensors
        g, rows = gradients[0].flatten(0, -2), x.flatten(0, -2)
        of_x = (g @ merged).view_as(x) if ctx.needs_input_grad[0] else None
        return of_x, None, None, (g @ b).T @ rows, g.T @ (rows @ a.T)


def merged_forward(layer: Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """The layer's `forward`, by one product wherever there will be a backward pass."""
    (name,) = layer.active_adapters
    base, a, b, scale = layer.get_base_layer(), layer.lora_A[name], layer.lora_B[name], layer.scaling[name]
    by_three_products = layer.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return torch.as_tensor(by_three_products(x))
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else base.weight.dtype
        tensors = (x, base.weight, base.bias, a.weight, scale * b.weight)
        with torch.autocast(kind, enabled=False):
            product = _MergedProduct.apply(*(None if each is None else each.to(dtype) for each in tensors))
        return torch.as_tensor(product)

    return forward


def use_merged_products(network: nn.Module) -> None:
    """Let every adapter that can be summed with its layer (not dora, no dropout before it) be multiplied so, in place."""
    for layer in network.modules():
        if isinstance(layer, Linear) and isinstance(layer.get_base_layer(), nn.Linear):
            dropped = any(not isinstance(each, nn.Identity) for each in layer.lora_dropout.values())
            if not dropped and not any(layer.use_dora.values()):
                layer.forward = merged_forward(layer)
