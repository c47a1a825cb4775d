"""The training loop, from fresh adapters or the last finished epoch to the end, and the objective of a classification head."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
import torch
from accelerate.utils import reduce
from peft import PeftModel
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, get_linear_schedule_with_warmup

from pipeline.contracts import InputError, written_whole
from pipeline.device import computing, processes
from pipeline.finetune.adapters import parameter_groups, trained
from pipeline.finetune.encoder import batches, longest_first, shuffled
from pipeline.finetune.frozen_layers import Batch, FrozenLayers
from pipeline.finetune.params import TuningParams

Report = Callable[["History"], None]


@dataclass
class History:
    """What happened in a training so far, one entry a step, and one an epoch."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    """Of the batch that the step learnt from, before the step; NaN if its objective does not say."""
    validation_loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """Spent in finished epochs, by all the runs that it took."""


@dataclass
class Run:
    """One training: all that changes while it runs is here, and all of that is in a checkpoint."""

    network: PeftModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    history: History = field(default_factory=History)
    epoch: int = 0
    done: bool = False
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """The weights after the epoch with the lowest validation loss."""

    def save(self, path: Path) -> None:
        """Write the state after a finished epoch, whole or not at all; the optimizer's only while it is needed."""
        state: dict[str, Any] = {"history": asdict(self.history), "epoch": self.epoch, "done": self.done}
        state["weights"] = trained(self.network)
        if not self.done:
            state |= {"best": self.best, "optimizer": self.optimizer.state_dict()}
            state["schedule"] = self.schedule.state_dict()
        with written_whole(path) as partial:
            torch.save(state, partial)

    def resume(self, path: Path) -> None:
        """Go back to where the checkpoint was written; nothing but tensors and plain values is read from it."""
        state: dict[str, Any] = torch.load(path, map_location=self.network.device, weights_only=True)
        self.history, self.epoch, self.done = History(**state["history"]), state["epoch"], state["done"]
        self.restore(state["weights"])
        if not self.done:
            self.best = state["best"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])

    def restore(self, weights: dict[str, torch.Tensor]) -> None:
        for name, tensor in trained(self.network).items():
            tensor.copy_(weights[name])


def epoch_seed(*numbers: int) -> int:
    """A seed that depends on all of the numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def training_seed(seed: int, fold: int) -> int:
    """Another one for each model, never negative."""
    return 1000 * seed + fold % 1000


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed over the rows: of logits, shape (n, 2), against labels 0 and 1 as floats, shape (n,)."""
    targets = torch.stack([1 - labels, labels], dim=1).to(logits)
    return nn.functional.cross_entropy(logits, targets, reduction="sum")


class Objective(Protocol):
    """What a training minimises, and what its network says about a batch."""

    @property
    def width(self) -> int:
        """How many outputs a row has, k."""

    def loss(self, network: PeftModel, batch: Batch, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed over the rows, with labels of shape (n,); and how many rows it tells apart rightly, NaN if unknown."""

    def outputs(self, network: PeftModel, batch: Batch) -> torch.Tensor:
        """What the scores are made of, shape (n, k)."""

    def held_out(self, outputs: torch.Tensor, labels: torch.Tensor) -> float:
        """Mean loss of rows with these outputs, shape (n, k), and labels, shape (n,)."""


@dataclass(frozen=True)
class Classification:
    """The cross-entropy of a classification head, whose logits are the outputs."""

    dtype: torch.dtype
    frozen: FrozenLayers | None = None
    width: int = 2

    def loss(self, network: PeftModel, batch: Batch, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.outputs(network, batch)
        right = (logits.argmax(dim=1) == (labels > 0.5)).sum()
        return cross_entropy(logits, labels), right

    def outputs(self, network: PeftModel, batch: Batch) -> torch.Tensor:
        if self.frozen is not None:
            self.frozen.recall(batch)
        with computing(network.device, self.dtype):
            return torch.as_tensor(network(**batch).logits).float()

    def held_out(self, outputs: torch.Tensor, labels: torch.Tensor) -> float:
        return cross_entropy(outputs, labels).item() / len(labels)


def train(
    network: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: datasets.Dataset,
    validation: datasets.Dataset | None = None,
    *,
    params: TuningParams,
    objective: Objective,
    seed: int,
    checkpoint: Path | None = None,
    report: Report = lambda _: None,
) -> History:
    """Minimise the objective on the rows and their labels by AdamW, over what is trainable in `network`.

    With a `checkpoint` its last finished epoch is gone on from, and each is kept there. `report` is called after every
    tenth step. Several processes each take their share of every batch and add up the gradients.
    """
    steps = -(-len(rows) // params.batch_size)
    optimizer = torch.optim.AdamW(
        parameter_groups(network, params.learning_rate, params.layer_decay),
        lr=params.learning_rate,
        weight_decay=params.weight_decay,
        fused=True,
    )
    total = params.epochs * steps
    run = Run(network, optimizer, get_linear_schedule_with_warmup(optimizer, int(params.warmup * total), total))
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    report(run.history)
    with tqdm(total=total, initial=run.epoch * steps, desc="  training", unit="step", leave=False) as progress:
        while not run.done:
            start = time.perf_counter()
            # All that is random in an epoch follows from these: nothing of it need be kept to go on after another one.
            chance = torch.Generator().manual_seed(epoch_seed(seed, run.epoch))
            order = shuffled(rows, params.batch_size, chance)
            torch.manual_seed(epoch_seed(seed, run.epoch, 1 + processes().process_index))
            for batch, _ in batches(rows, tokenizer, params.batch_size, order):
                step(run, batch, objective)
                progress.set_postfix(loss=f"{np.mean(run.history.loss[-20:]):.3f}", refresh=False)
                progress.update()
                if len(run.history.loss) % 10 == 0:
                    report(run.history)
            run.epoch += 1
            run.done = run.epoch == params.epochs
            if validation is not None:
                outputs = predict_outputs(network, tokenizer, validation, params.batch_size, objective)
                validate(run, objective.held_out(outputs, torch.tensor(validation["labels"][:])), params.patience)
            run.history.seconds += time.perf_counter() - start
            if checkpoint is not None and processes().is_main_process:
                run.save(checkpoint)
    report(run.history)
    return run.history


def step(run: Run, batch: Batch, objective: Objective) -> None:
    """One step down the gradient of the batch, of which each process takes its share of the rows."""
    network, state = run.network.train(), processes()
    learnt = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    size = len(batch["labels"])
    share = slice(state.process_index, None, state.num_processes)
    part = {name: tensor[share].to(network.device) for name, tensor in batch.items()}
    labels = part.pop("labels")
    outcome = torch.zeros(2, device=network.device)  # summed loss, rows told apart
    if len(labels):
        loss, right = objective.loss(network, part, labels)
        torch.autograd.backward(loss / size)
        outcome = torch.stack([loss.detach(), right.to(loss)])
    if state.num_processes > 1:
        for parameter in learnt:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = reduce(gradient, reduction="sum")
        outcome = reduce(outcome, reduction="sum")
    nn.utils.clip_grad_norm_(learnt, 1.0)
    run.optimizer.step()
    run.schedule.step()
    run.optimizer.zero_grad()
    loss_sum, rows_right = outcome.tolist()
    run.history.loss.append(loss_sum / size)
    run.history.accuracy.append(rows_right / size)
    if not np.isfinite(loss_sum):
        raise InputError(
            f"training diverged: the loss of step {len(run.history.loss)} is {loss_sum}; "
            f"lower learning_rate ({run.optimizer.defaults['lr']:g})"
        )


def validate(run: Run, loss: float, patience: int | None) -> None:
    """Note the loss of the held-out rows, keep the weights if it is the lowest so far, go back to the best at the end."""
    run.history.validation_loss.append(loss)
    best = int(np.argmin(run.history.validation_loss))
    if best == run.epoch - 1:
        run.best = {name: tensor.clone() for name, tensor in trained(run.network).items()}
    run.done |= patience is not None and run.epoch - 1 - best >= patience
    if run.done:
        run.restore(run.best)


@torch.no_grad()
def predict_outputs(
    network: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: datasets.Dataset,
    batch_size: int,
    objective: Objective,
) -> torch.Tensor:
    """The objective's outputs of all rows, shape (n, k), in their order, on the CPU; several processes share the work."""
    state = processes()
    outputs = torch.zeros(len(rows), objective.width, device=network.device)
    everything = list(batches(rows, tokenizer, batch_size, longest_first(rows)))
    network.eval()
    with tqdm(total=len(everything), desc="  predicting", unit="batch", leave=False) as progress:
        for batch, numbers in everything[state.process_index :: state.num_processes]:
            part = {name: tensor.to(network.device) for name, tensor in batch.items() if name != "labels"}
            outputs[numbers] = objective.outputs(network, part)
            progress.update(state.num_processes)
    if state.num_processes > 1:
        outputs = reduce(outputs, reduction="sum")
    return torch.as_tensor(outputs).cpu()
