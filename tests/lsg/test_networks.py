"""Weight counts of the paper's networks, and that each architecture describes the module it makes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lsg.networks import NETWORKS, Architecture
from lsg.networks.architecture import Layer
from lsg.networks.norm import BatchNorm2d
from lsg.networks.resnet import Shortcut

RGB32, RGB84, DIGIT = (3, 32, 32), (3, 84, 84), (1, 8, 8)

SMALL_RESNETS = """
import torch
from lsg.networks import NETWORKS
for width in (1, 3, 7):
    resnet = NETWORKS["resnet18"]((3, 84, 84), width=width)
    network = resnet.make(resnet.streams, 5)
    for _ in range(10):
        images = torch.randn(15, 3, 84, 84).contiguous(memory_format=torch.channels_last)
        network(images).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
print("learned")
"""


@pytest.mark.parametrize(
    ("name", "shape", "options", "weights"),
    [
        ("lenet", RGB32, {}, 1500 + 25_000 + 2_560_000 + 400_000),
        ("vgg16-bn", RGB32, {}, 33_584_832),
        ("vgg16-bn", RGB32, {"hidden": 0}, 14_710_464),
        # A quarter of every layer: a sixteenth of the weights, but a quarter where the image is read.
        ("vgg16-bn", RGB32, {"width": 16, "hidden": 1024}, (33_584_832 - 1728) // 16 + 1728 // 4),
        ("resnet18", RGB84, {}, 11_159_232),
        ("resnet18", RGB84, {"width": 20}, 1_090_140),
    ],
)
def test_weights_at_1x(name: str, shape: tuple[int, int, int], options: dict[str, int], weights: int) -> None:
    architecture = NETWORKS[name](shape, **options)
    assert architecture.weights(architecture.streams) == weights


def test_vgg_at_one_eighth_of_the_channels_and_at_1_5x() -> None:
    vgg = NETWORKS["vgg16-bn"](RGB32)
    assert vgg.weights({stream: width // 8 for stream, width in vgg.streams.items()}) == 524_952
    assert vgg.weights({stream: int(width * 1.5**0.5) for stream, width in vgg.streams.items()}) == 50_350_644


def test_macs_of_one_convolution_by_hand() -> None:
    layer = Layer("conv", "a", "b", area=9, positions=32 * 32)
    head = Layer("head", "b", "classes", area=1, positions=1)
    network = Architecture(
        "one", (3, 32, 32), {"a": 64, "b": 128}, (layer,), head, {}, frozenset(), lambda w, c: nn.Module()
    )
    assert network.macs({"a": 64, "b": 128}, classes=10) == 75_497_472 + 1280


@pytest.mark.parametrize("side", [5, 6])
def test_a_shortcut_is_the_convolution_with_stride_2(side: int) -> None:
    torch.manual_seed(0)
    shortcut = Shortcut(3, 4).double()
    strided = nn.Conv2d(3, 4, 1, stride=2, bias=False).double()
    strided.load_state_dict(shortcut.state_dict())
    gradients = []
    for convolution in (shortcut, strided):
        images = torch.arange(2.0 * 3 * side * side, dtype=torch.float64).view(2, 3, side, side)
        images.requires_grad_()
        out = convolution(images)
        out.square().sum().backward()
        gradients.append((out.detach(), images.grad, convolution.weight.grad))
    for ours, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)


def test_resnets_of_few_channels_learn_channels_last() -> None:
    """In a process of its own: a kernel that writes past its buffer ends the process, some steps later."""
    done = subprocess.run([sys.executable, "-c", SMALL_RESNETS], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "learned\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("lenet", RGB32, {}),
        ("lenet", DIGIT, {}),
        ("vgg16-bn", RGB32, {"hidden": 64}),
        ("vgg16-bn", (3, 64, 32), {"hidden": 0}),
        ("vgg16-bn", RGB32, {"hidden": 64, "width": 6}),
        ("resnet18", RGB84, {"width": 8}),
    ],
)
def test_the_module_is_as_described_at_uneven_widths(
    name: str, shape: tuple[int, int, int], options: dict[str, int]
) -> None:
    architecture = NETWORKS[name](shape, **options)
    widths = {stream: 3 + place for place, stream in enumerate(architecture.streams)}
    module = architecture.make(widths, 5)
    positions: dict[str, int] = {}

    def note(path: str) -> Callable[..., None]:
        def hook(_module: object, _inputs: object, output: torch.Tensor) -> None:
            positions[path] = output[0, 0].numel() if output.dim() == 4 else 1

        return hook

    for layer in (*architecture.layers, architecture.head):
        part = module.get_submodule(layer.name)
        outputs, inputs, area = architecture.shape(layer, widths, 5)
        assert part.weight.shape[0] == outputs
        assert part.weight.numel() == outputs * inputs * area
        part.register_forward_hook(note(layer.name))
    assert module(torch.zeros(2, *shape)).shape == (2, 5)
    assert positions == {layer.name: layer.positions for layer in (*architecture.layers, architecture.head)}
    described = {f"{layer.name}.weight" for layer in (*architecture.layers, architecture.head)}
    described |= architecture.private_streams().keys()
    actual = {name for name in module.state_dict() if not name.endswith("num_batches_tracked")}
    assert actual == described
    for name, stream in architecture.private_streams().items():
        assert len(module.state_dict()[name]) == architecture.channels(stream, widths, 5)


def test_vgg_refuses_what_its_pooling_cannot_halve() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        NETWORKS["vgg16-bn"]((3, 84, 84))


def test_no_network_has_a_first_layer_of_no_channels() -> None:
    for name, shape in (("vgg16-bn", RGB32), ("resnet18", RGB84)):
        with pytest.raises(ValueError, match="width is 0; allowed: 1 or more"):
            NETWORKS[name](shape, width=0)


def test_a_layer_is_linear_where_a_kernel_is_one_weight_and_not_where_it_reads_a_feature_map() -> None:
    linear = {
        name: [layer.name for layer in NETWORKS[name]((3, 32, 32)).layers if layer.is_linear]
        for name in ("lenet", "vgg16-bn", "resnet18")
    }
    assert linear == {"lenet": ["fc2"], "vgg16-bn": ["fc.0", "fc.1"], "resnet18": []}


def test_norm_is_torch_s_without_its_counter() -> None:
    mine, theirs = BatchNorm2d(3), nn.BatchNorm2d(3)
    draw = torch.Generator().manual_seed(1)
    for training in (True, True, False):
        images = torch.randn(4, 3, 2, 2, generator=draw)
        assert torch.equal(mine.train(training)(images), theirs.train(training)(images))
    theirs_state = theirs.state_dict()
    for name, tensor in mine.state_dict().items():
        assert torch.equal(tensor, torch.tensor(0) if "tracked" in name else theirs_state[name]), name
