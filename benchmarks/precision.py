"""A training step with its forward pass in bfloat16 against one in float32 (`train.precision`).

python -m benchmarks.precision --network lenet vgg16-bn-linear --share 0.55 1.0
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import get_args

import torch

from benchmarks.step import ARCHITECTURES, MASK_RATE, RATE
from benchmarks.steppers import stepper
from benchmarks.timing import interleaved, machine, ratios, spread
from lsg.train_settings import Precision
from lsg.widths import widths_at


def measure(network: str, share: float, rounds: int) -> str:
    """One line: size, milliseconds, ratio."""
    architecture = ARCHITECTURES[network]
    widths = widths_at(architecture, share)
    size = architecture.weights(widths) / architecture.weights(architecture.streams)
    actions = {}
    for precision in get_args(Precision):
        own = stepper(architecture, widths, precision=precision)
        actions[precision] = partial(own.step, RATE, MASK_RATE, own.batches.rows(1)[0])
    seconds = interleaved(actions, rounds)
    milliseconds = {name: 1000 * spread(values).median for name, values in seconds.items()}
    return (
        f"{network:16} {size:6.3f}x  float32 {milliseconds['float32']:7.2f} ms  bfloat16 "
        f"{milliseconds['bfloat16']:7.2f} ms  bfloat16 / float32 {ratios(seconds, 'bfloat16', 'float32')}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument(
        "--share", nargs="+", type=float, default=[0.125, 0.55, 1.0], help="of the 1x channels"
    )
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    for network in options.network:
        for share in options.share:
            print(measure(network, share, options.rounds), flush=True)


if __name__ == "__main__":
    main()
