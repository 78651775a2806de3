"""What our loop is compared with: an epoch as research code commonly trains it, in two styles.

`Published` is the usual loop of published code on this subject: a DataLoader over PIL images with
torchvision's transforms, masks of torch.nn.utils.prune multiplied anew in every forward pass, also
in the dense round, the teacher in the loop, loss and accuracy read in every step. Like He et al.'s
code, and what that is made from, it evaluates the training set and the test set after every epoch.
`plain` has the images on the device as tensors, ready and normalised, and is otherwise the textbook
loop, without evaluation, as ours.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, Dataset

from sdd.data.originals import import_torchvision
from sdd.sparsity.masks import Masks, prunable
from sdd.study.settings import Distillation, Recipe

import_torchvision()
from torchvision import transforms  # noqa: E402  (only now can it be imported beside any torch)


@dataclass(frozen=True)
class Images(Dataset):
    """uint8 images [n, channels, height, width] one by one, as PIL images through `transform`."""

    images: np.ndarray
    labels: Tensor
    transform: Callable[[Image.Image], Tensor]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = self.images[index]
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        return self.transform(image), int(self.labels[index])


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """As torch builds it by default."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
    return torch.optim.SGD(model.parameters(), rate, recipe.momentum, weight_decay=decay)


class Published:
    """Call it for an epoch; `train` is its training pass alone."""

    def __init__(
        self,
        model: nn.Module,
        masks: Masks,
        images: tuple[np.ndarray, np.ndarray],
        labels: tuple[Tensor, Tensor],
        recipe: Recipe,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        workers: int = 0,
        device: torch.device | str = "cpu",
        teacher: tuple[nn.Module, Distillation] | None = None,
    ) -> None:
        """`images` and `labels` are those of the training set and of the test set."""
        self.device, self.teacher = torch.device(device), teacher
        self.model = copy.deepcopy(model).to(self.device)
        for name, mask in masks.items():
            layer = self.model.get_submodule(name.removesuffix(".weight"))
            prune.custom_from_mask(layer, "weight", mask.to(self.device))
        to_tensor = [transforms.ToTensor(), transforms.Normalize(mean, std)]
        augmentation = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        if recipe.augmentation == "none":
            augmentation = []

        def loader(part: int, steps: list, shuffle: bool) -> DataLoader:
            return DataLoader(
                Images(images[part], labels[part], transforms.Compose(steps)),
                recipe.batch_size,
                shuffle=shuffle,
                num_workers=workers,
                pin_memory=self.device.type == "cuda",
            )

        self.train_set = loader(0, augmentation + to_tensor, shuffle=True)
        self.test_set = loader(1, to_tensor, shuffle=False)
        self.optimizer = optimizer_of(self.model, recipe)

    def __call__(self) -> None:
        self.train()
        self.evaluate(self.train_set)
        self.evaluate(self.test_set)

    def train(self) -> tuple[float, float]:
        """Mean loss, and accuracy in percent."""
        self.model.train()
        total, correct = 0.0, 0
        for images, labels in self.train_set:
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimizer.zero_grad()
            logits = self.model(images)
            loss = F.cross_entropy(logits, labels)
            if self.teacher:
                network, setting = self.teacher
                tau = setting.temperature
                with torch.no_grad():
                    answers = network(images)
                softened = F.log_softmax(logits / tau, 1), F.softmax(answers / tau, 1)
                divergence = F.kl_div(*softened, reduction="batchmean")
                loss = (1 - setting.alpha) * loss + setting.alpha * tau**2 * divergence
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        count = len(self.train_set.dataset)
        return total / count, 100 * correct / count

    def evaluate(self, part: DataLoader) -> float:
        """Accuracy in percent."""
        self.model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in part:
                answers = self.model(images.to(self.device)).argmax(1)
                correct += (answers == labels.to(self.device)).sum().item()
        return 100 * correct / len(part.dataset)


def plain(
    model: nn.Module, masks: Masks, images: Tensor, labels: Tensor, recipe: Recipe
) -> Callable[[], tuple[float, float]]:
    """An epoch over `images` [n, ...], normalised floats on the model's device."""
    model = copy.deepcopy(model)
    weights = prunable(model)
    pruned = [(weights[name], mask) for name, mask in masks.items() if not mask.all()]
    optimizer = optimizer_of(model, recipe)

    def epoch() -> tuple[float, float]:
        model.train()
        total, correct = 0.0, 0
        for index in torch.randperm(len(images)).to(images.device).split(recipe.batch_size):
            optimizer.zero_grad()
            logits = model(images[index])
            loss = F.cross_entropy(logits, labels[index])
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for weight, mask in pruned:
                    weight.mul_(mask)
            total += loss.item() * len(index)
            correct += (logits.argmax(1) == labels[index]).sum().item()
        return total / len(images), 100 * correct / len(images)

    return epoch
