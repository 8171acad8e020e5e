"""How long a whole command takes for one picture, from the start of Python to the file.

    python results/speed/startup.py

Each command runs in a fresh process, in turns. Writes startup.csv (a row per run) and startup.json.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers

from nst_gluon.cli.console import run
from nst_gluon.system import children

COMMANDS = ("stylize chelsea --size 512", "stylize chelsea --size 512 --method johnson_slim", "texture --size 512")


def main() -> int:
    """Time the commands, write the record."""
    options = peers.parser(__doc__, "startup.csv", rounds=7).parse_args()
    peers.check_output(options)
    facts = peers.facts(options)
    variables, rows = {**children.environment(), "OMP_NUM_THREADS": str(options.threads)}, []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(-1, options.rounds):  # the first brings files into memory
            for command in COMMANDS:
                words = [*command.split(), "--force", "--output", str(Path(folder) / "made.png")]
                start = time.perf_counter()
                subprocess.run([sys.executable, "-m", "nst_gluon", *words], check=True, capture_output=True,
                               env=variables)  # fmt: skip
                if number >= 0:
                    rows.append((command, number, time.perf_counter() - start))
    peers.write_table(options.output, ("command", "round", "seconds"), rows)
    peers.write_facts(options.output, facts)
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
