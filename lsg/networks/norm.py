"""BatchNorm over channels, as torch's, without the counter of batches that no average of fixed weight reads.

Counting is one more launch a layer and step on an accelerator.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import batch_norm


class BatchNorm2d(nn.BatchNorm2d):
    """`[N, C, H, W]` normalised by channel. Its buffers keep torch's names; the counter stays at 0."""

    def forward(self, input: Tensor) -> Tensor:
        assert self.momentum is not None
        return batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )
