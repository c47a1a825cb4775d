"""Where torch computes and in which precision: choices of params.yaml, with `auto` for the best there is.

Under `accelerate launch` several processes share the work; each has its own device and sees the same batches.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from accelerate import PartialState
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.contracts import InputError

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "bf16", "fp32"]


def processes(device: Device = "auto") -> PartialState:
    """Which of how many processes this is; one of one, unless started by `accelerate launch`."""
    return PartialState(cpu=device == "cpu" or not torch.accelerator.is_available())


def choose_device(device: Device) -> torch.device:
    """The device asked for, or the best there is; of several alike, the one that belongs to this process."""
    if device not in {"auto", "cpu"} and not getattr(torch, device).is_available():
        raise InputError(f"params.yaml: device: there is no {device} here; use auto or cpu")
    if device == "cpu":
        return torch.device("cpu")
    if (state := processes(device)).num_processes > 1:
        return torch.device(state.device)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return torch.device(device) if device != "auto" else accelerator or torch.device("cpu")


def or_auto(device: Device) -> Device:
    """The device, or the best there is if a model was trained on one that this machine lacks."""
    return device if device in {"auto", "cpu"} or getattr(torch, device).is_available() else "auto"


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of matrix products: bf16 where asked for, or, under `auto`, where the hardware multiplies it natively."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    native = {"cpu": cpu_multiplies_bf16, "cuda": cuda_multiplies_bf16}.get(device.type, lambda: False)
    return torch.bfloat16 if native() else torch.float32


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU has bf16 matrix instructions (AVX-512 BF16, AMX, or Arm's BFMMLA)."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def cuda_multiplies_bf16() -> bool:
    """Whether the GPU has bf16 matrix instructions (Ampere and later); others only emulate them."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@contextmanager
def computing(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Matrix products in `dtype`, and the kernels for attention that are fastest on `device`.

    On a CPU that is attention spelled out: the backward pass of torch's flash kernel there takes ten times as long for the
    short rows and small heads of an encoder on tweets.
    """
    attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" and torch.is_grad_enabled() else nullcontext()
    with attention, torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        yield
