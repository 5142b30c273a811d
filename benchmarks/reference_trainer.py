"""A typical trainer, the reference of benchmarks.training. Correct, readable, and slow.

A Dataset of PIL images with per-sample transforms, a DataLoader with two workers, float32 in the default layout,
`.item()` at every step, as many threads as cores, models trained sequentially.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sweeps.config import Recipe
from sweeps.data import Splits


class Images(Dataset[tuple[Tensor, int]]):
    """PIL images, augmented one at a time as in torchvision's transforms."""

    def __init__(self, splits: Splits, train: bool, padding: int, flip: bool) -> None:
        images = splits.train_images if train else splits.validation_images
        self.images = [Image.fromarray(np.squeeze(image.transpose(1, 2, 0))) for image in images]
        self.labels = splits.train_labels if train else splits.validation_labels
        self.mean, self.std = (torch.tensor(value).view(-1, 1, 1) for value in (splits.mean, splits.std))
        self.train, self.padding, self.flip = train, padding, flip

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if self.train and self.padding:
            width, height = image.size
            image = ImageOps.expand(image, self.padding)
            left, top = random.randint(0, 2 * self.padding), random.randint(0, 2 * self.padding)
            image = image.crop((left, top, left + width, top + height))
        if self.train and self.flip and random.random() < 0.5:
            image = ImageOps.mirror(image)
        pixels = torch.from_numpy(np.array(image)).float().div(255).view(*image.size[::-1], -1).permute(2, 0, 1)
        return (pixels - self.mean) / self.std, int(self.labels[index])


def train_reference(network: nn.Module, splits: Splits, recipe: Recipe, loader_workers: int = 2) -> float:
    """Train and evaluate `recipe.epochs` epochs; return the last validation error in percent."""
    padding, flip = recipe.crop_padding, recipe.flip
    train = DataLoader(
        Images(splits, True, padding, flip),
        batch_size=recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=loader_workers,
    )
    validation = DataLoader(
        Images(splits, False, 0, False), batch_size=recipe.eval_batch_size, num_workers=loader_workers
    )
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.peak_learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    update, error = 0, 100.0
    for _ in range(recipe.epochs):
        network.train()
        total_loss, correct = 0.0, 0
        for images, labels in train:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate_at(update, len(train))
            logits = network(images)
            loss = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
            correct += (logits.argmax(1) == labels).sum().item()
            update += 1
        network.eval()
        wrong = 0
        with torch.no_grad():
            for images, labels in validation:
                wrong += (network(images).argmax(1) != labels).sum().item()
        error = 100 * wrong / len(splits.validation_labels)
    return error
