import sys
from pathlib import Path

import pytest
import torch

from designspace import ModelSpec, zoo
from designspace.memory import training_memory
from designspace.network import build_network
from designspace.spaces import space_from_config

sys.path.insert(0, str(Path(__file__).parent))
from stage_fields import SPACES

BATCH = 4
SMALL = {"resolution": 32, "in_channels": 3, "head": {"classes": 10}, "stem": {"stride": 1}}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def kept_by_autograd(spec: ModelSpec, precision: str) -> int:
    """Bytes of distinct storages that autograd keeps in a forward pass, without the parameters."""
    network = build_network(spec).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in [*network.parameters(), *network.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    images = torch.randn(BATCH, spec.in_channels, spec.resolution, spec.resolution)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        logits = network(images)
    del logits
    return sum(storage.nbytes() for storage in kept.values())


def closed_form(spec: ModelSpec, precision: str) -> int:
    return training_memory(spec, BATCH, precision).activations  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("base", ["regnetx", "regnety", "anynetx_a", "regnet_vr", "regnet_basic", "inverted"])
def test_closed_form_matches_autograd_for_sampled_networks(base: str, precision: str) -> None:
    config = {"base": base, "constraints": {"macs": [1e6, 40e6], "depth": [4, 12]}, "template": SMALL}
    population = space_from_config(config).sample(6, seed=5)
    counted = training_memory(population.networks, BATCH, precision).activations  # type: ignore[arg-type]
    for index in range(6):
        spec = population.spec(index)
        assert closed_form(spec, precision) == counted[index]
        assert counted[index] == pytest.approx(kept_by_autograd(spec, precision), rel=0.05)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", SPACES)
def test_closed_form_matches_autograd_for_drawn_stage_fields(name: str, precision: str) -> None:
    population = space_from_config(SPACES[name]).sample(10, seed=1)
    counted = training_memory(population.networks, BATCH, precision).activations  # type: ignore[arg-type]
    tolerance = 0.05 if precision == "float32" else 0.07
    for index, spec in enumerate(population):
        assert closed_form(spec, precision) == counted[index]
        assert counted[index] == pytest.approx(kept_by_autograd(spec, precision), rel=tolerance)


@pytest.mark.parametrize(
    "name",
    [
        "VGG-11",
        "ResNet-50",
        "Xception-299",
        "MobileNetV1-0.25-128",
        "MobileNetV2-0.35-96",
        "EfficientNet-B0",
        "SE-ResNet-50",
        "ResNet-18-D",
        "RegNetZ-500MF",
        "MobileNetV3-Small",
        "ConvNeXt-T",
    ],
)
def test_closed_form_matches_autograd_for_published_networks(name: str) -> None:
    spec = zoo.spec(name)
    assert closed_form(spec, "float32") == pytest.approx(kept_by_autograd(spec, "float32"), rel=0.05)


@pytest.mark.parametrize("precision", DTYPES)
def test_closed_form_matches_autograd_for_average_pooling_shortcuts(precision: str) -> None:
    stages = [{"block": "basic", "depth": 2, "width": 32 * n, "downsample": "avg", "se_ratio": 0.5} for n in (1, 2, 4)]
    spec = ModelSpec.from_mapping(SMALL | {"resolution": 33, "stem": {"hidden": [16, 16]}, "stages": stages})
    assert closed_form(spec, precision) == pytest.approx(kept_by_autograd(spec, precision), rel=0.02)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.usefixtures("shuffle_blocks")
def test_closed_form_matches_autograd_for_concatenated_branches(precision: str) -> None:
    # ShuffleNet V2, a block of an installed package: branches that split the channels, and layers of the package
    stages = [{"block": "shuffle", "depth": depth, "width": 32 * depth} for depth in (1, 2, 4)]
    spec = ModelSpec.from_mapping(SMALL | {"stages": stages})
    assert closed_form(spec, precision) == pytest.approx(kept_by_autograd(spec, precision), rel=0.05)


def test_parameters_gradients_and_optimizer_state() -> None:
    sgd, adam = (training_memory(zoo.spec("ResNet-50"), 1, optimizer=o) for o in ("sgd", "adam"))
    assert sgd.parameters == sgd.gradients == sgd.optimizer == 4 * 25_557_032
    assert adam.optimizer == 2 * sgd.optimizer
    assert adam.total == adam.activations + 4 * adam.parameters


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0: must be at least 1"),
        ({"batch_size": 1.5}, "batch_size = 1.5: must be an integer"),
        ({"batch_size": 10**18}, "batch_size = 1000000000000000000: must be smaller"),
        ({"batch_size": 1, "precision": "int8"}, "precision = int8: unknown; must be one of float32"),
        ({"batch_size": 1, "optimizer": "lion"}, "optimizer = lion: unknown; must be one of sgd, adam"),
    ],
)
def test_errors(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training_memory(zoo.spec("ResNet-50"), **settings)  # type: ignore[arg-type]


def test_bytes_of_a_spec_are_python_integers() -> None:
    memory = training_memory(zoo.spec("ResNet-50"), batch_size=1)
    assert {type(value) for value in (memory.activations, memory.parameters, memory.total)} == {int}
