"""One matrix product in training where an adapter makes three: x (W + s B A)ᵀ in place of x Wᵀ + s (x Aᵀ) Bᵀ.

The sum costs rank × inputs × outputs once a step; the products that it saves are small ones over every token, each with a cast
and a pass over memory. On a CPU these take longer in a small encoder than their arithmetic.
"""

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import nn


class _MergedProduct(torch.autograd.Function):
    """The product and its gradients: that of the frozen W is never computed, those of A and B stay of low rank."""

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
    as_it_was = layer.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return torch.as_tensor(as_it_was(x))
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else base.weight.dtype
        tensors = (x, base.weight, base.bias, a.weight, scale * b.weight)
        with torch.autocast(kind, enabled=False):
            product = _MergedProduct.apply(*(None if each is None else each.to(dtype) for each in tensors))
        return torch.as_tensor(product)

    return forward


def use_merged_products(network: nn.Module) -> None:
    """Let every adapter that can be summed with its layer (lora or rslora, no dropout before it) be multiplied so, in place."""
    for layer in network.modules():
        if isinstance(layer, Linear) and isinstance(layer.get_base_layer(), nn.Linear):
            dropped = any(not isinstance(each, nn.Identity) for each in layer.lora_dropout.values())
            if not dropped and not any(layer.use_dora.values()):
                layer.forward = merged_forward(layer)
