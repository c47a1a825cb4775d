"""Networks in files: their tensors as safetensors."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from pipeline.contracts import written_whole
from pipeline.fit.model_files import reading


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Keep tensors by name."""
    with written_whole(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)


def read_tensors(path: Path, like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `write_tensors` kept, on the CPU: the names and shapes must be those of `like`, and the numbers finite."""
    with reading(path):
        content = path.read_bytes()  # a file that is mapped, and written by another run meanwhile, ends the process
        try:
            found: dict[str, torch.Tensor] = load(content)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
        if (shapes := shapes_of(found)) != (expected := shapes_of(like)):
            wrong = min(name for name, _ in set(shapes.items()) ^ set(expected.items()))
            raise ValueError(
                f"{wrong} has shape {shapes.get(wrong)}, and {expected.get(wrong)} in a model of these params"
            )
        if not all(tensor.isfinite().all() for tensor in found.values()):
            raise ValueError("it holds numbers that are not finite")
    return found


def shapes_of(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
