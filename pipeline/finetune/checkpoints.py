"""Where a training that can be gone on with is kept: the name says all that determines it, so nothing else can pick it up."""

import hashlib
import inspect
import json
from pathlib import Path
from types import ModuleType

import datasets
import peft
import torch
import transformers
from peft import PeftModel

from pipeline import device
from pipeline.device import processes
from pipeline.finetune import adapters, encoder, fast_on_cpu, frozen_layers, training
from pipeline.finetune.params import TuningParams
from pipeline.store import store_folder

CODE = (adapters, device, encoder, fast_on_cpu, frozen_layers, training)


def checkpoint_path(
    network: PeftModel,
    params: TuningParams,
    dtype: torch.dtype,
    rows: list[datasets.Dataset],
    seed: int,
    *by: ModuleType,
) -> Path:
    """In the store, for a training of `network` on these rows, in the modules that all share and in those it is fitted `by`."""
    weights = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        weights.update(name.encode() + tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    code = "".join(inspect.getsource(module) for module in (*CODE, *by))
    determined_by = {
        "params": params.model_dump(exclude={"base_model", "device", "precision", "seeds", "test_rows", "train_rows"}),
        "computed": [network.device.type, str(dtype), processes().num_processes],
        "versions": [torch.__version__, transformers.__version__, peft.__version__],
        "code": hashlib.sha256(code.encode()).hexdigest(),
        "weights": weights.hexdigest(),
        "config": network.config.to_json_string(),
        "rows": [hashlib.sha256(part.to_pandas().to_json().encode()).hexdigest() for part in rows],
        "seed": seed,
    }
    name = hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()
    return store_folder() / "training" / f"{name}.pt"
