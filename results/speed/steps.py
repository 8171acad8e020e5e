"""What each step that makes the suite faster, or smaller, is worth: without it against with it, in turns.

    python results/speed/steps.py

Each block is a fresh process; a round is the order A B B A (A without the step, B with it). Needs a machine that does
nothing else and takes about half an hour on two cores; ``--only`` names some of the steps, ``--list`` prints
them. Pictures, nets and style are the bundled ones. Writes steps.csv (a row per call) and steps.json (machine,
versions, settings); ``page.py`` makes the tables of README.md from them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import peers

from bench.gate import verdicts
from nst_gluon.cli import console
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

PROGRAM = "gluon_work.py"
DESCENT = {"work": "descent", "size": 256, "dtype": "float32", "optimizer": "ours", "segments": 1}
FORWARD = {"work": "forward", "size": 256, "dtype": "float32", "batch": 1, "graph": "inference"}
TRAINING = {"work": "training", "size": 256, "dtype": "float32"}
TILES = {"work": "tiles", "size": 1024, "dtype": "float32", "tile": 512, "warm_up": 0, "samples": 1}
NETS = {"texture_net-texture": "texture network, texture", "texture_net-stylize": "texture network, stylise",
        "johnson-stylize": "Johnson net"}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step: the work it is part of, and the settings that differ ``without`` it and ``with_`` it.

    ``warm_up`` calls are not timed; so many ``samples`` are.
    """

    name: str
    what: str
    work: dict[str, Any]
    without: dict[str, Any]
    with_: dict[str, Any]
    warm_up: int = 3
    samples: int = 8


def forward_steps() -> list[Step]:
    """The trained graph, the graph for inference, and that in bfloat16, of each bundled net."""
    made = []
    for net, title in NETS.items():
        work = {**FORWARD, "net": net}
        made.append(Step(f"inference-{net}", f"a graph for inference: {title}, 256", work,
                         {"graph": "trained"}, {}, 5, 20))  # fmt: skip
        made.append(Step(f"bfloat16-{net}", f"that graph in bfloat16: {title}, 256", work,
                         {}, {"dtype": "bfloat16"}, 5, 20))  # fmt: skip
    return made


STEPS = (
    Step("lbfgs-256", "L-BFGS in float32, without copies: a step of gatys, 256", DESCENT, {"optimizer": "scipy"}, {}),
    Step("lbfgs-512", "the same at 512", {**DESCENT, "size": 512}, {"optimizer": "scipy"}, {}, 2, 4),
    Step("descriptor-bfloat16-256", "the descriptor in bfloat16: a step of gatys, 256", DESCENT, {},
         {"dtype": "bfloat16"}),
    Step("descriptor-bfloat16-512", "the same at 512", {**DESCENT, "size": 512}, {}, {"dtype": "bfloat16"}, 2, 4),
    Step("segments-1024", "recomputation in three segments: a step of gatys, 1024", {**DESCENT, "size": 1024}, {},
         {"segments": 3}, 2, 1),
    *forward_steps(),
    Step("finest-256", "32 channels at the finest scale and not 40: texture network, texture, 256",
         {**FORWARD, "net": "texture_net-texture"}, {"finest": 40}, {"finest": 32}, 5, 20),
    Step("finest-512", "the same at 512", {**FORWARD, "size": 512, "net": "texture_net-texture"}, {"finest": 40},
         {"finest": 32}, 3, 10),
    Step("training-texture_net", "training: the descriptor in bfloat16, an iteration of the texture network",
         {**TRAINING, "method": "texture_net", "task": "texture"}, {}, {"dtype": "bfloat16"}),
    Step("training-johnson", "the same, of the Johnson net", {**TRAINING, "method": "johnson", "task": "stylize"}, {},
         {"dtype": "bfloat16"}),
    Step("batch", "four pictures at once: a picture of the texture network, texture, 256",
         {**FORWARD, "net": "texture_net-texture"}, {}, {"batch": 4}, 5, 20),
    Step("tiles-2048", "tiles of 512: a picture of the texture network, texture, 2048",
         {**TILES, "size": 2048, "net": "texture_net-texture"}, {"tile": None}, {}, 1, 1),
    Step("descriptor-texture_net", "VGG-19 to relu5_1, against the texture network, texture, 256: a forward pass",
         {**FORWARD, "net": "texture_net-texture"}, {"work": "descriptor"}, {}, 5, 20),
)  # fmt: skip
BY_NAME = {step.name: step for step in STEPS}


def arguments() -> peers.argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, "steps.csv", rounds=4)
    only = peers.names("--only", BY_NAME)
    parser.add_argument("--only", type=only, default=list(BY_NAME), metavar="LIST", help="names of steps (all)")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    return parser.parse_args()


def measure(step: Step, record: peers.Record, options: peers.argparse.Namespace) -> None:
    """All rounds of one step."""
    common = {**step.work, "threads": options.threads, "warm_up": step.warm_up, "samples": step.samples}

    def side(settings: dict[str, Any]):
        def block(number: int, position: int) -> None:
            found = peers.block(sys.executable, PROGRAM, {**common, **settings})
            place = (number, position)
            record.add(step.name, place, "seconds", found["seconds"])
            record.add(step.name, place, "working_memory_bytes", [found["working_memory_bytes"]], "B")
            record.add(step.name, place, "setup_s", [found["setup_s"]])
            record.facts["versions"][peers.NAMES[peers.OURS]] = found["versions"]

        return block

    sides = {peers.PEER: side(step.without), peers.OURS: side(step.with_)}
    peers.alternate(options.rounds, sides, step.name)


def main() -> int:
    """Measure the steps, write the record, print the table."""
    options = arguments()
    if options.list:
        print("\n".join(f"{step.name:32} {step.what}" for step in STEPS))
        return 0
    steps = [BY_NAME[name] for name in options.only]
    needs = {settings.get("dtype") for step in steps for settings in (step.work, step.without, step.with_)}
    if "bfloat16" in needs and not runtime.cpu_supports_bfloat16():
        raise UserError("--only: this processor has no bfloat16; name the steps that need none (see --list)")
    peers.check_output(options)
    record = peers.Record(options)
    for step in steps:
        measure(step, record, options)
    found = record.finish()
    print(peers.table(found[found["metric"] == "seconds"], "before"))
    memory = verdicts.compare_rounds(found[found["metric"] == "working_memory_bytes"])
    for row in memory.itertuples():
        print(f"{row.cell}: {row.baseline / 1e6:.0f} MB, {row.candidate / 1e6:.0f} MB")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(console.run(main))
