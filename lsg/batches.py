"""Batches of a task's training images on the device: shuffled, cropped and flipped by indexing.

The order of the images, the crops and the flips of an epoch are drawn on the CPU from a generator seeded
by (seed, task, epoch), so they are the same on any device and for any number of workers. A crop is a view
of the padded set: one gather makes a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from lsg import seeds
from lsg.data import Task, normalised


def batch_sizes(images: int, batch_size: int) -> list[int]:
    """How many images each batch of an epoch has: the last one may be smaller.

    A last image alone joins the batch before it: where a network leaves one position of it, BatchNorm would
    have a single value to take the deviation of.
    """
    sizes = [batch_size] * (images // batch_size)
    left = images % batch_size
    if left == 1 and sizes:
        sizes[-1] += 1
    elif left:
        sizes.append(left)
    return sizes


class Batches:
    """The training batches of one task. Raises ValueError where it has no training images.

    Args:
        task: whose train split.
        batch_size: see `batch_sizes`.
        crop_padding: random crops out of the image padded with that many black pixels; 0 for none.
        flip: mirror each image with probability 1/2.
        seed: of the order, the crops and the flips.
    """

    def __init__(
        self,
        task: Task,
        batch_size: int,
        crop_padding: int,
        flip: bool,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if not len(task.train.labels):
            raise ValueError(f"task {task.number} has no training images")
        self.task, self.seed = task.number, seed
        self.crop_padding, self.flip, self.device = crop_padding, flip, device
        height, width = task.train.images.shape[2:]
        padded = pad(task.train.images, (crop_padding,) * 4)
        windows = normalised(padded, task, device, torch.float32).unfold(2, height, 1).unfold(3, width, 1)
        self.windows = windows.permute(0, 2, 3, 4, 5, 1)
        """`[N, shifts down, shifts right, H, W, C]`, a view: an image in memory's order."""
        self.labels = task.train.labels.to(device)
        self.sizes = batch_sizes(len(self.labels), batch_size)

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, epoch: int) -> tuple[Tensor, ...]:
        """What to gather for each batch of an epoch, the first of which is 1.

        int64 `[4, B]` on the device: each image's place in the train split, the crop's shifts down and right,
        and whether it is mirrored.
        """
        count = len(self.labels)
        draws = seeds.generator("cpu", "batches", self.seed, self.task, epoch)
        order = torch.randperm(count, generator=draws)
        shifts = torch.randint(2 * self.crop_padding + 1, (2, count), generator=draws)
        flips = torch.rand(count, generator=draws) < 0.5
        plan = torch.stack([order, shifts[0], shifts[1], flips.long()]).to(self.device)
        rows: tuple[Tensor, ...] = plan.split(self.sizes, 1)
        return rows

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images `[B, C, H, W]` and labels `[B]` that such rows `[4, B]` name."""
        index, down, right, flip = rows.unbind(0)
        images = self.windows[index, down, right]
        if self.flip:
            images = torch.where(flip.bool().view(-1, 1, 1, 1), images.flip(2), images)
        return images.permute(0, 3, 1, 2), self.labels[index]
