"""Residual networks for small images: ResNet-18, the paper's first model (section 3) and its
teacher (section 5), and ResNet-20.

ResNet-18's first convolution keeps the resolution (3x3, stride 1), as in He et al. (ICML 2022) and
the authors' code. Another public version puts a max-pool behind it: `resnet18_maxpool`. ResNet-20
is that of He, Zhang, Ren & Sun (2016), section 4.2, with 1x1 convolutions where shapes change.
"""

from torch import Tensor, nn

WIDTH = 64  # channels of ResNet-18's first stage


def resnet18(channels: int, size: int, classes: int, width: int = WIDTH) -> nn.Module:
    return ResNet(channels, classes, [width, 2 * width, 4 * width, 8 * width], 2, nn.Identity())


def resnet18_maxpool(channels: int, size: int, classes: int) -> nn.Module:
    widths = [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
    return ResNet(channels, classes, widths, 2, nn.MaxPool2d(3, stride=2, padding=1))


def resnet20(channels: int, size: int, classes: int, width: int) -> nn.Module:
    return ResNet(channels, classes, [width, 2 * width, 4 * width], 3, nn.Identity())


class ResNet(nn.Module):
    """Stages of as many basic blocks, each but the first at half the resolution of the one before.

    `widths` are the stages' channels; `pool` stands behind the first convolution.
    """

    def __init__(
        self, channels: int, classes: int, widths: list[int], blocks: int, pool: nn.Module
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.pool = pool
        self.stages = [f"layer{number}" for number in range(1, len(widths) + 1)]
        inputs = [widths[0], *widths]
        for number, name in enumerate(self.stages):
            stride = 1 if number == 0 else 2
            self.add_module(name, _stage(inputs[number], widths[number], blocks, stride))
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.bn1(self.conv1(x)).relu())
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.fc(x.mean((2, 3)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, which is a 1x1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Module:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))
