"""Put low-rank adapters on the layers of any transformer: which modules get one, which are trained whole, at which rate."""

import re
import warnings
from pathlib import Path

import torch
from peft import (
    LoraConfig,
    PeftModel,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from pipeline.contracts import InputError
from pipeline.finetune import fast_on_cpu
from pipeline.finetune.encoder import load, transformer_layers
from pipeline.finetune.params import LoraParams, TuningParams
from pipeline.fit.model_files import read_tensors


def with_adapters(params: LoraParams) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """The base model with fresh adapters, of which only these, the head and any pooler are to be trained."""
    model, tokenizer, whole = load(params.base_model, params.hidden_dropout, params.pooling)
    return put_on(model, params, TaskType.SEQ_CLS, whole), tokenizer


def put_on(model: PreTrainedModel, params: TuningParams, task: TaskType, whole: list[str]) -> PeftModel:
    """The model with fresh adapters; the modules named in `whole` are trained too.

    An adapter adds scale · B A x, B A of low rank, to W x (Hu et al. 2021, https://arxiv.org/abs/2106.09685); rslora has another
    scale (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732), dora trained column norms (Liu et al. 2024,
    https://arxiv.org/abs/2402.09353).
    """
    config = LoraConfig(
        task_type=task,
        r=params.rank,
        target_modules=target_modules(model, params),
        modules_to_save=whole or None,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        use_rslora=params.variant == "rslora",
        use_dora=params.variant == "dora",
    )
    with warnings.catch_warnings():  # peft still reads a name that transformers has deprecated
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        return get_peft_model(model, config)


def target_modules(model: PreTrainedModel, params: TuningParams) -> list[str]:
    """Full names of the linear layers in the top `params.layers` layers."""
    stack, layers = transformer_layers(model)
    depth = len(layers) if params.layers is None else params.layers
    if depth > len(layers):
        raise InputError(f"lora: layers is {depth}, but {params.base_model} has {len(layers)}")
    return [
        f"{stack}.{number}.{name}"
        for number in range(len(layers) - depth, len(layers))
        for name, module in layers[number].named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    ]


def parameter_groups(network: PeftModel, learning_rate: float, decay: float) -> list[dict[str, object]]:
    """Trainable parameters by learning rate: the head has it whole, each layer `decay` times that of the layer above.

    Layer-wise decay: Howard & Ruder 2018 (https://arxiv.org/abs/1801.06146), for transformers Clark et al. 2020
    (https://arxiv.org/abs/2003.10555).
    """
    stack, layers = transformer_layers(network.get_base_model())
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            within = re.search(rf"{re.escape(stack)}\.(\d+)\.", name)
            groups.setdefault(len(layers) - int(within[1]) if within else 0, []).append(parameter)
    return [{"params": group, "lr": learning_rate * decay**below} for below, group in sorted(groups.items())]


def make_fast(network: PeftModel, dtype: torch.dtype) -> None:
    """Before training: frozen matrices in `dtype`, and on a CPU the dropout and the products that are fast there."""
    store_in(network, dtype)
    if network.device.type == "cpu":
        fast_on_cpu.use_byte_dropout(network)
        fast_on_cpu.use_merged_products(network)


def store_in(network: nn.Module, dtype: torch.dtype) -> None:
    """Keep the frozen matrices in the dtype that they are multiplied in: autocast would convert them in every step."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.requires_grad:
            module.to(dtype)


def trained(network: PeftModel) -> dict[str, torch.Tensor]:
    """The trainable parameters by name, as they are (not copied)."""
    return {name: parameter.data for name, parameter in network.named_parameters() if parameter.requires_grad}


def saved_tensors(network: PeftModel) -> dict[str, torch.Tensor]:
    """What a file of adapters holds: these, and the modules that were trained whole, by PEFT's names."""
    return dict(get_peft_model_state_dict(network, save_embedding_layers=False))


def restore(network: PeftModel, path: Path) -> None:
    """Put the adapters of a file in the place of fresh ones: from here on it only predicts."""
    set_peft_model_state_dict(network, read_tensors(path, saved_tensors(network)))
    network.eval().requires_grad_(False)


def read(folder: Path, params: LoraParams) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """The network whose adapters and head PEFT saved in a folder, in float32 on the CPU, not merged yet; and its tokenizer.

    All but the weights is made by the params, whatever PEFT noted beside them.
    """
    model, tokenizer, whole = load(params.base_model, pooling=params.pooling)
    network = put_on(model, params, TaskType.SEQ_CLS, whole)
    restore(network, folder / "adapter_model.safetensors")
    return network, tokenizer


def in_order(network: PeftModel) -> PeftModel:
    """The network, in its adapters' config sorted lists for sets, whose order changes from run to run: files should not."""
    config = network.peft_config["default"]
    for name, value in vars(config).items():
        if isinstance(value, set):
            setattr(config, name, sorted(value))
    return network


def count_parameters(network: PeftModel) -> tuple[int, int]:
    """Trainable parameters, and all; PEFT's frozen copies of the modules that it trains whole are no part of the model."""
    own = [(name, p) for name, p in network.named_parameters() if "original_module" not in name]
    return sum(p.numel() for _, p in own if p.requires_grad), sum(p.numel() for _, p in own)
