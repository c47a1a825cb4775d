"""LoRA: a pre-trained encoder with low-rank adapters and a new head. Discriminative: p(label | text).

in:  data/prepared, and the base model of the preset
out: predictions/lora_<preset>.parquet, costs/lora_<preset>.json, training/lora_<preset>/, models/lora_<preset>/fold-<k>
run: dvc repro lora@minilm   (or python -m pipeline.stage finetune.lora minilm)

Started again after it was interrupted, it goes on from the last finished epoch, and ends with the same predictions.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from dvclive import Live
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from pipeline.contracts import InputError
from pipeline.device import choose_device, or_auto, processes
from pipeline.finetune import adapters, encoder
from pipeline.finetune.fine_tuned import FineTuned, FineTunedModel
from pipeline.finetune.params import LoraParams
from pipeline.finetune.training import Classification, History
from pipeline.places import results


class LoraModel(FineTunedModel[LoraParams]):
    @property
    def network(self) -> PeftModel:
        """Its only one."""
        return self.networks[0]

    def objective(self, dtype: torch.dtype) -> Classification:
        return Classification(dtype, self.frozen)

    def rows(self, tweets: pd.DataFrame, labels: np.ndarray | None = None) -> Dataset:
        base, read, longest = self.network.get_base_model(), self.params.inputs, self.params.max_tokens
        return self.known(encoder.tokenize(base, self.tokenizer, tweets, read, longest, labels))

    def predict(self, tweets: pd.DataFrame) -> np.ndarray:
        scores = self.outputs(self.rows(tweets)).softmax(dim=1)[:, 1]
        return np.asarray(scores.numpy(), dtype=np.float64)

    def save(self, folder: Path) -> None:
        adapters.in_order(self.network).save_pretrained(folder, save_embedding_layers=False)

    def merged(self) -> "LoraModel":
        """The same with its adapters in its weights, for speed."""
        self.network.merge_adapter()
        adapters.store_in(self.network, self.dtype)
        return self


def curve(trainings: dict[str, History], kind: str, every: int = 10) -> pd.DataFrame:
    """The mean of each `every` steps of one kind of record, one series a training."""
    joined = pd.concat(
        pd.DataFrame({"series": name, kind: getattr(each, kind)}) for name, each in trainings.items() if each.loss
    )
    joined["step"] = joined.index // every * every
    return joined.groupby(["series", "step"])[kind].mean().reset_index()


class Lora(FineTuned[LoraParams]):
    school = "discriminative"
    explained = True

    def fresh(self) -> tuple[PeftModel, PreTrainedTokenizerBase]:
        return adapters.with_adapters(self.params)

    def untrained(self, networks: list[PeftModel], tokenizer: PreTrainedTokenizerBase, _: np.ndarray) -> LoraModel:
        return LoraModel(networks, tokenizer, self.params, self.frozen)

    def save_and_reload(self, model: LoraModel, folder: Path, probe: pd.DataFrame) -> LoraModel:
        """Write adapters and head as safetensors and return the model that is read back, adapters merged for speed.

        A head that PEFT was not told to save would show as other scores for the probe. A model that calls all of it the same has
        learnt nothing, and is refused.
        """
        if processes().is_main_process:
            model.save(folder)
        processes().wait_for_everyone()
        torch.manual_seed(0)  # a head that was not saved must not come back by the same chance
        reloaded = replace(self.read_back(folder), histories=model.histories)
        before, after = model.predict(probe), reloaded.predict(probe)
        if not np.isfinite(before).all():
            raise InputError(f"{folder}: training diverged: a score is not a number; lower learning_rate")
        # dora's norms are computed from the stored weights, which have been rounded before saving but not after
        tolerance = 1e-4 if model.dtype == torch.float32 or self.params.variant != "dora" else 0.05
        if (apart := np.abs(before - after).max()) > tolerance:
            raise InputError(f"{folder}: scores differ by {apart:.2g} after reloading: not all of the model was saved")
        if len(set(after > 0.5)) == 1:
            raise InputError(
                f"{folder}: the model calls all of {len(probe)} tweets {int(after[0] > 0.5)}: training collapsed, or was too "
                f"short; change learning_rate ({self.params.learning_rate:g}) or epochs ({self.params.epochs})"
            )
        return reloaded.merged()

    def read_back(self, folder: Path) -> LoraModel:
        """What `save` wrote, not merged yet."""
        network, tokenizer = adapters.read(folder, self.params)
        network.to(choose_device(or_auto(self.params.device)))
        return LoraModel([network], tokenizer, self.params, self.frozen)

    def load(self, folder: Path) -> LoraModel:
        return self.read_back(folder).merged()

    def watch(self, name: str) -> Callable[[str, History], None]:
        """Draws loss and accuracy of all trainings into `training/<name>`."""
        live = Live(str(results("training") / name), save_dvc_exp=False, dvcyaml=None)
        trainings: dict[str, History] = {}

        def draw(part: str, history: History) -> None:
            trainings[part] = history
            for kind in ("loss", "accuracy"):
                if any(each.loss for each in trainings.values()):
                    live.log_plot(kind, curve(trainings, kind), x="step", y=kind)

        return draw


FAMILY = Lora
