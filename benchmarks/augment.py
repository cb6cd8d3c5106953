"""Augmented images a second on one thread: crop and flip by indexing, against torchvision's transforms.

python -m benchmarks.augment
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.timing import interleaved, machine, ratios, spread
from lsg.batches import Batches
from lsg.data import Split, Task

IMAGES, BATCH, PADDING = 2560, 32, 4


def a_task() -> Task:
    """A task of random images of CIFAR's shape."""
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(256, (IMAGES, 3, 32, 32), generator=draws, dtype=torch.uint8)
    labels = torch.arange(IMAGES) % 5
    empty = Split(images[:0], labels[:0])
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return Task(1, "random", tuple("abcde"), Split(images, labels), empty, empty, mean, std)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    from torchvision import transforms  # only this measurement needs it

    task = a_task()
    batches = Batches(task, BATCH, PADDING, flip=True, seed=1)
    transform = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(32, padding=PADDING),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(task.mean, task.std),
        ]
    )

    def by_index() -> None:
        for rows in batches.rows(1):
            batches.batch(rows)

    def by_transforms() -> None:
        for indices in torch.randperm(IMAGES).split(BATCH):
            torch.stack([transform(image) for image in task.train.images[indices]])

    seconds = interleaved({"indexing": by_index, "torchvision": by_transforms}, rounds)
    print(machine())
    for name, values in seconds.items():
        print(f"{name:12} {IMAGES / spread(values).median:10,.0f} images/s")
    print(f"torchvision / indexing, time: {ratios(seconds, 'torchvision', 'indexing')}")


if __name__ == "__main__":
    main()
