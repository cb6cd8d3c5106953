"""Settings of the training loop, the same for every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lsg.optimizers import SGD, Adam, Optimizer
from lsg.schedules import is_rising
from lsg.settings import require, require_one_of

OptimizerName = Literal["sgd", "adam", "adamw"]
Precision = Literal["float32", "bfloat16"]

MOST = 1_000_000
"""Of images a batch, of epochs, and of every number of params.yaml: more is a slip of the keyboard."""


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation of weights, shared by all methods (defaults: CPG's).

    optimizer: sgd (Nesterov), adam or adamw.
    lr, momentum: of the weights, biases and BatchNorm; momentum is for sgd.
    weight_decay: of shared weights only.
    lr_drops, lr_drop_factor: the rate is multiplied by the factor after each of these shares of the epochs.
    batch_size, epochs: epochs count for each stage of each task.
    crop_padding: random crops from images padded by so many black pixels; 0 for none.
    flip: random horizontal flips.
    curves: log accuracy on validation and test images after each epoch. It decides nothing.
    precision: of the forward pass in training, and so of its backward pass. Weights, gradients, loss, update
        and evaluation are float32 in either case.
    """

    optimizer: OptimizerName = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 4e-5
    lr_drops: tuple[float, ...] = (0.5, 0.8)
    lr_drop_factor: float = 0.1
    batch_size: int = 32
    epochs: int = 20
    crop_padding: int = 0
    flip: bool = False
    curves: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        require_one_of("optimizer", self.optimizer, get_args(OptimizerName))
        require_one_of("precision", self.precision, get_args(Precision))
        require(self.lr > 0, "lr", self.lr, "over 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(is_rising(self.lr_drops), "lr_drops", self.lr_drops, "rising shares between 0 and 1")
        require(0 < self.lr_drop_factor <= 1, "lr_drop_factor", self.lr_drop_factor, "over 0 and at most 1")
        require(2 <= self.batch_size <= MOST, "batch_size", self.batch_size, f"2 to {MOST}")
        require(1 <= self.epochs <= MOST, "epochs", self.epochs, f"1 to {MOST}")
        require(self.crop_padding >= 0, "crop_padding", self.crop_padding, "0 or more")

    def weight_optimizer(self) -> Optimizer:
        """The update rule of weights, biases and BatchNorm."""
        return SGD(self.momentum) if self.optimizer == "sgd" else Adam(decoupled=self.optimizer == "adamw")
