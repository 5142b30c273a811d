"""The command `train` of the program `designspace`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from designspace import terminal

if TYPE_CHECKING:
    from sweeps.trainer.result import EpochResult


def train(argv: list[str]) -> int:
    """Train one network at length and write it with its weights; the same command again resumes."""
    parser = terminal.parser(
        "train",
        train.__doc__,
        "specs/1-0a1b2c3d.yaml recipe=full data=fashion_mnist out=runs/best to=yaml,timm,onnx",
        more="All other words choose recipe, data and device as in designspace sweep.\n"
        "On several GPUs: torchrun --nproc-per-node=4 -m designspace train …, or as tasks of srun.",
    )
    parser.add_argument("spec", type=Path, metavar="SPEC", help="a spec file, or an exported folder")
    parser.add_argument("words", nargs="+", metavar="KEY=VALUE", help="out=DIR, seed=0, to=FORMAT,…; recipe=… data=…")
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)
    return run(arguments.spec, arguments.words, force=arguments.force)


def run(spec_path: Path, words: Sequence[str], *, force: bool = False) -> int:
    """The command `train`, with its words; `force` replaces files of other origin."""
    from designspace.export import FORMATS
    from designspace.files import load_spec
    from sweeps.compose import compose
    from sweeps.train_one import Job, check_train_folder, train_one
    from sweeps.trainer.distributed import join

    own = {"out": "", "seed": "0", "to": "yaml"}
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key in own:
            own[key] = value
        else:
            rest.append(word)
    if not own["out"]:
        raise ValueError("out is missing; give the folder for checkpoint and results, like out=runs/best")
    if not own["seed"].isdigit():
        raise ValueError(f"seed={own['seed']} is not allowed; allowed: a whole number, 0 or more")
    formats = own["to"].split(",")
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ValueError(f"to={unknown[0]} is not allowed; allowed: {', '.join(FORMATS)}")
    config = compose([*rest, f"run={own['out']}"]).config
    job = Job(
        spec=load_spec(spec_path / "spec.yaml" if spec_path.is_dir() else spec_path),
        recipe=config.recipe,
        data=config.data,
        device=config.device,
        seed=int(own["seed"]),
        out=Path(own["out"]),
    )
    check_train_folder(job.out, force=force)

    world = join(job.device.kind)
    if not world.is_first:  # the first process warns for all
        for module in ("sweeps.trainer.checkpoint", "sweeps.data"):
            logging.getLogger(module).setLevel(logging.ERROR)

    def tell(epoch: EpochResult) -> None:
        if not world.is_first:
            return
        print(
            f"epoch {epoch.epoch + 1}/{epoch.epochs}  loss {epoch.train_loss:.3f}  "
            f"validation error {epoch.validation_error_percent:.2f} %  {epoch.seconds:.1f} s",
            flush=True,
        )

    outcome = train_one(job, formats, tell, world)
    if outcome["status"] != "ok":
        who = f"process {world.rank} of {world.size}: " if world.size > 1 else ""
        print(f"{who}{outcome['status']}: {outcome['message']}", flush=True)
        return 1
    world.leave()
    if not world.is_first:
        return 0
    test = "" if outcome["test_error_percent"] is None else f", test error {outcome['test_error_percent']:.2f} %"
    print(f"{job.out}: validation error {outcome['error_percent']:.2f} %{test}")
    return 0
