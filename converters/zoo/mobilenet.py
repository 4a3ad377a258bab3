"""MobileNetV1 and V2, as TensorFlow trained them, and V2 with the state-dict keys of torchvision.

Sources: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, table 1; Sandler et al., "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", 2018, table 2.

The TF flavour has batch normalisation already folded into its convolutions, TF's "SAME" padding
(uneven at stride 2: padding=1 computes something else) and 1001 classes, of which 0 is background.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from converters.zoo.base import IMAGENET, Classifier, he_initialise
from runtime.contract import InputContract

TF_IMAGENET = InputContract(
    height=224,
    width=224,
    resize="center-crop",
    shorter_side=256,
    interpolation="antialias",
    scale=1 / 127.5,
    mean=(1.0,),
    std=(1.0,),
)
TF_CLASSES = 1001

_V1_LAYERS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
"""Per depthwise-separable layer: output channels, stride."""

_V2_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Per stage: expansion factor, output channels, number of blocks, stride of the first one."""


class _SameConv(nn.Module):
    """A convolution with TF's SAME padding, then ReLU6 unless `linear`."""

    def __init__(self, conv: nn.Conv2d, linear: bool = False) -> None:
        super().__init__()
        self.conv = conv
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        height, width = (
            _same_padding(x.shape[axis + 2], self.conv.kernel_size[axis], self.conv.stride[axis])
            for axis in (0, 1)
        )
        if any((*height, *width)):  # a 1x1 convolution needs none
            x = functional.pad(x, (*width, *height))
        y: Tensor = self.conv(x)
        return y if self.linear else functional.relu6(y)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many zeros TF puts before and after an axis of `size`; the odd one goes after."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _dense(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> _SameConv:
    return _SameConv(nn.Conv2d(inputs, outputs, kernel, stride))


def _depthwise(channels: int, stride: int) -> _SameConv:
    return _SameConv(nn.Conv2d(channels, channels, 3, stride, groups=channels))


class _TfMobileNet(Classifier):
    """What both TF nets share: a row of layers, global average pooling, a 1x1 classifier."""

    input_contract = TF_IMAGENET

    def __init__(self, layers: list[nn.Module], channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(channels, TF_CLASSES, 1)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 1001) of a batch of prepared images."""
        pooled = functional.adaptive_avg_pool2d(self.features(x), 1)
        logits: Tensor = self.classifier(pooled)
        return logits.flatten(1)


class _TfInvertedResidual(nn.Module):
    """Widen, filter each channel, narrow without activation; add the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        widen = [_dense(inputs, hidden)] if expansion != 1 else []
        narrow = _SameConv(nn.Conv2d(hidden, outputs, 1), linear=True)
        self.layers = nn.Sequential(*widen, _depthwise(hidden, stride), narrow)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


class _ConvNormActivation(nn.Sequential):
    """Convolution, batch normalisation, ReLU6."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU6())


class _InvertedResidual(nn.Module):
    """The same block with batch normalisation and even padding."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_ConvNormActivation(nn.Conv2d(inputs, hidden, 1, bias=False)))
        depthwise = nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False)
        layers.append(_ConvNormActivation(depthwise))
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileNetV2(Classifier):
    """MobileNetV2 in torch's flavour: input (N, 3, 224, 224), logits (N, 1000)."""

    input_contract = IMAGENET

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _ConvNormActivation(nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)),
            *(_InvertedResidual(*shape) for shape in _v2_blocks()),
            _ConvNormActivation(nn.Conv2d(320, 1280, 1, bias=False)),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of prepared images."""
        pooled = functional.adaptive_avg_pool2d(self.features(x), 1)
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits


def _v2_blocks() -> Iterator[tuple[int, int, int, int]]:
    """Yield inputs, outputs, stride and expansion of each of the 17 blocks."""
    inputs = 32
    for expansion, outputs, count, stride in _V2_STAGES:
        for index in range(count):
            yield inputs, outputs, 1 if index else stride, expansion
            inputs = outputs


def mobilenet_v1_tf(alpha: float = 1.0) -> Classifier:
    """Build MobileNetV1 in TF's flavour, each layer `alpha` times as wide (4,222,057 at 1)."""
    channels = max(8, int(32 * alpha))
    layers: list[nn.Module] = [_dense(3, channels, kernel=3, stride=2)]
    for outputs, stride in _V1_LAYERS:
        width = max(8, int(outputs * alpha))
        layers += [_depthwise(channels, stride), _dense(channels, width)]
        channels = width
    return _TfMobileNet(layers, channels).eval()


def mobilenet_v1_025_tf() -> Classifier:
    """Build MobileNetV1 in TF's flavour at a quarter of its width (467,593 parameters)."""
    return mobilenet_v1_tf(0.25)


def mobilenet_v2_tf() -> Classifier:
    """Build MobileNetV2 in TF's flavour (3,489,097 parameters)."""
    blocks = [_TfInvertedResidual(*shape) for shape in _v2_blocks()]
    layers = [_dense(3, 32, kernel=3, stride=2), *blocks, _dense(320, 1280)]
    return _TfMobileNet(layers, 1280).eval()


def mobilenet_v2() -> Classifier:
    """Build MobileNetV2 in torch's flavour (3,504,872 parameters)."""
    return MobileNetV2().eval()


MODELS = (mobilenet_v1_tf, mobilenet_v1_025_tf, mobilenet_v2_tf, mobilenet_v2)
