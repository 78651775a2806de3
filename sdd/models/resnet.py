"""ResNet-18 for small images: first model of the paper's section 3, and teacher of section 5.

Its first convolution keeps the resolution (3x3, stride 1), as in He et al. (ICML 2022) and the
authors' code. Another public version puts a max-pool behind it: `resnet18_maxpool`.
"""

from torch import Tensor, nn


def resnet18(channels: int, size: int, classes: int) -> nn.Module:
    return ResNet18(channels, classes, pool=nn.Identity())


def resnet18_maxpool(channels: int, size: int, classes: int) -> nn.Module:
    return ResNet18(channels, classes, pool=nn.MaxPool2d(3, stride=2, padding=1))


class ResNet18(nn.Module):
    def __init__(self, channels: int, classes: int, pool: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = pool
        self.layer1 = _stage(64, 64, stride=1)
        self.layer2 = _stage(64, 128, stride=2)
        self.layer3 = _stage(128, 256, stride=2)
        self.layer4 = _stage(256, 512, stride=2)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.bn1(self.conv1(x)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
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


def _stage(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))
