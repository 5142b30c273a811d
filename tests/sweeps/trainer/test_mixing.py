"""Mixup, CutMix and the policies: probabilities of the papers, and draws that depend on seed and epoch only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor
from torch.nn import functional

from designspace.study import Record
from sweeps.config import DeviceConfig, load_device, load_recipe
from sweeps.data import DataConfig, Splits, open_data
from sweeps.trainer.device import resolve_device
from sweeps.trainer.mixing import Mixing, Policy, augmented, draw_mixing
from sweeps.trainer.trainer import make_loader, train_network

CPU = resolve_device(DeviceConfig(device="cpu"))
RANDOM = load_recipe(batch_size=16, rand_augment=[2, 9])
TRIVIAL = load_recipe(batch_size=16, trivial_augment=True)


def test_mixup_draws_its_share_from_a_beta_distribution() -> None:
    recipe = load_recipe(mixup=0.4)
    shares = [draw.share for update in range(400) if (draw := draw_mixing(recipe, 8, 0, 1, update))]
    assert len(shares) == 400
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    assert draw_mixing(recipe, 8, 0, 1, 3) == draw_mixing(recipe, 8, 0, 1, 3) != draw_mixing(recipe, 8, 0, 2, 3)


def test_the_share_of_cutmix_is_the_area_that_remains() -> None:
    recipe = load_recipe(cutmix=1.0)
    images = torch.zeros(2, 1, 32, 32)
    images[1] = 1
    shares = []
    for update in range(400):
        mixing = draw_mixing(recipe, 32, 0, 0, update)
        assert mixing is not None
        first, second = mixing.images(images)
        assert float(1 - first.mean()) == pytest.approx(mixing.share)
        assert float(second.mean()) == pytest.approx(mixing.share)
        shares.append(mixing.share)
    assert 0.55 < np.mean(shares) < 0.75  # more than 1/2, because boxes are clipped at the edges


def test_with_both_methods_each_batch_has_one() -> None:
    recipe = load_recipe(mixup=0.2, cutmix=1.0)
    boxes = sum(mixing.box is not None for update in range(200) if (mixing := draw_mixing(recipe, 8, 0, 0, update)))
    assert 70 < boxes < 130
    assert draw_mixing(load_recipe(), 8, 0, 0, 0) is None


def test_mixed_targets_give_the_mixed_loss() -> None:
    logits, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    mixing = Mixing(0.3)
    expected = 0.3 * functional.cross_entropy(logits, labels) + 0.7 * functional.cross_entropy(logits, labels.roll(1))
    torch.testing.assert_close(functional.cross_entropy(logits, mixing.targets(labels, 5)), expected)
    images = torch.randn(6, 3, 4, 4)
    torch.testing.assert_close(mixing.images(images), 0.3 * images + 0.7 * images.roll(1, 0))


@pytest.fixture(params=["resident", "streamed"])
def data(request: pytest.FixtureRequest, splits: Splits, tmp_path: Path) -> object:
    if request.param == "resident":
        return make_loader(splits, CPU, TRIVIAL)
    generator = np.random.default_rng(0)
    for name in ("one", "two"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / name / f"{number}.png")
    folder = DataConfig(name="image_folder", root=tmp_path, resolution=8, validation_size=8, workers=0)
    return make_loader(open_data(folder), CPU, TRIVIAL)


@pytest.mark.parametrize("recipe", [RANDOM, TRIVIAL], ids=["rand", "trivial"])
def test_policies_depend_on_seed_and_epoch_only(data, recipe) -> None:
    pytest.importorskip("kornia")

    def images(seed: int, epoch: int, rank: int = 0) -> Tensor:
        batches = data.epoch(recipe, 0, 0)
        drawn = augmented(batches, Policy(recipe), *data.normalization, seed, epoch, rank)
        return torch.cat([images for images, _ in drawn])

    torch.manual_seed(5)
    list(data.epoch(recipe, 0, 0))
    without = torch.get_rng_state()
    torch.manual_seed(5)
    first = images(0, 0)
    assert torch.equal(torch.get_rng_state(), without)  # the policy does not change the draws of dropout
    torch.rand(3)
    assert torch.equal(first, images(0, 0))
    for other in (images(1, 0), images(0, 1), images(0, 0, rank=1)):
        assert not torch.equal(first, other)
    mean, std = data.normalization
    pixels = first * std + mean
    assert pixels.min() > -1e-5
    assert pixels.max() < 1 + 1e-5


def test_each_image_has_its_own_operation() -> None:
    pytest.importorskip("kornia")
    torch.manual_seed(0)
    gray = torch.rand(1, 1, 8, 8).expand(256, -1, -1, -1)
    with torch.no_grad():
        images = Policy(TRIVIAL)(gray)
    assert images.shape == gray.shape
    assert len({image.numpy().tobytes() for image in images}) > 100
    unchanged = sum(torch.allclose(image, gray[0], atol=2e-3) for image in images)
    assert 0 < unchanged < 128  # as auto-contrast, which has nothing to do here


@pytest.mark.parametrize("field", ["mixup", "cutmix", "rand_augment", "trivial_augment"])
def test_a_graph_cannot_contain_what_is_drawn_for_each_batch(field: str, splits: Splits) -> None:
    value = {"rand_augment": [1, 9], "trivial_augment": True}.get(field, 0.5)
    recipe = load_recipe(**{field: value})
    record = Record("spec", "recipe", "data", 0, "ok")
    with pytest.raises(ValueError, match=rf"^device.cuda_graphs = True: must be False with recipe.{field}"):
        train_network(torch.nn.Flatten, splits, recipe, record, device_config=load_device("cpu", cuda_graphs=True))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ema_decay": 1.0}, "^ema_decay = 1.0: must be less than 1"),
        ({"mixup": -1}, "^mixup = -1: must be at least 0"),
        ({"rand_augment": [0, 9]}, r"^rand_augment.0 = 0: must be at least 1"),
        ({"rand_augment": [2, 30]}, r"^rand_augment.1 = 30: must be at most 29"),
        ({"rand_augment": [2, 9], "trivial_augment": True}, "^trivial_augment = True: must be False with rand_augment"),
    ],
)
def test_wrong_settings_are_one_line(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_recipe(**wrong)


def test_settings_that_are_off_do_not_change_the_id() -> None:
    assert load_recipe(mixup=0, cutmix=0, ema_decay=None, rand_augment=None).recipe_id == load_recipe().recipe_id
    changes: list[dict[str, object]] = [
        {"mixup": 0.2},
        {"cutmix": 0.2},
        {"ema_decay": 0.9},
        {"rand_augment": [2, 9]},
        {"rand_augment": [2, 8]},
        {"trivial_augment": True},
    ]
    assert len({load_recipe(**change).recipe_id for change in changes}) == 6
