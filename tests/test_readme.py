"""What the README says is true: its commands and programs run, its tables are those of committed runs, its files exist.

``python tests/test_readme.py`` writes the tables of the committed runs into the README and bench/README.md.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from nst_gluon import assets

if TYPE_CHECKING:
    from bench.analysis.analysed import Analysed

ROOT = Path(__file__).resolve().parent.parent
README, MORE = ROOT / "README.md", ROOT / "bench" / "README.md"
RESULTS = ROOT / "results"

# Commands whose whole point is an installation or a run of a quarter of an hour: what runs them instead.
RUN_ELSEWHERE = {
    "python -m pip install -e '.[cpu]'": ".ci/run installs the extras cpu and test together",
    "python -m pip install -e '.[cpu,test]'": ".ci/run, as it stands",
    "python -m pytest": ".ci/run, as it stands",
    "python -m pip install -e '.[cu112]'": "needs 1.5 GB and an NVIDIA GPU; tests/test_packaging.py checks its pins",
    "python -m bench run --method all --size 256,512 --device gpu": "test_without_a_gpu_the_gpu_line_says_so",
    "python -m bench compare HEAD~1 HEAD": "the end of .ci/run, where the clone has the commit before",
    "python -m nst_gluon stylize clip.mp4 --size 256 --output painted.mp4": "tests of videos; needs an extra",
    "python -m pip install -e '.[cpu,torch,onnx,openvino]'": ".ci/run installs these extras with test",
    "python -m bench parity": ".ci/run, and tests of parity",
    "python -m bench run --method all --size 256,512 --engine all": "tests/test_end_to_end_peers.py, small",
    "python -m bench run --method all --size 256,512 --shard 1/2": "tests of shards, small",
    "python -m bench run --method all --size 256,512 --shard 2/2": "tests of shards, small",
    "python -m bench merge DIR DIR": "tests of merge",
    "python -m bench roofline": "keeps both cores busy for half a minute; tests of roofline measure less",
}
# What makes the others affordable, and nothing else: fewer pixels, fewer steps.
SHORTER = [
    ("bench run --method all --size 256,512", "bench run --method all --size 64 --budget quick"),
    ("bench run --method gatys,", "bench run --budget quick --method gatys,"),
    ("bench selftest", "bench selftest --method texture_net --task texture --size 64 --time 10"),
    ("train painting.jpg", "train painting.jpg --iterations 2 --size 64"),
    ("FromGrey --size 256 --output", "FromGrey --iterations 2 --size 256 --output"),
    ("--size 256", "--size 64"),
    ("size=256", "size=64"),
]


def text(path: Path = README) -> str:
    return path.read_text(encoding="utf-8")


def blocks(language: str, path: Path = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text(path), re.DOTALL)


def shorter(words: str) -> str:
    for long, short in SHORTER:
        words = words.replace(long, short)
    return words


def commands() -> list[str]:
    """Every command of the shell blocks, in order."""
    lines = [line for path in (README, MORE) for block in blocks("sh", path) for line in block.splitlines()]
    return [command.strip() for line in lines for command in line.split("&&") if command.strip()]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    assert words[:2] == ["python", "-m"], command
    return subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=300,
                          stdin=subprocess.DEVNULL)  # fmt: skip


def test_it_is_short_enough_to_be_read():
    assert len(text().splitlines()) <= 200


def test_every_command_is_run_somewhere():
    found = commands()
    assert "python -m bench run --method all --size 256,512" in found and "python -m pytest" in found
    assert set(RUN_ELSEWHERE) <= set(found), "an entry of RUN_ELSEWHERE is not in the README"


def test_what_needs_a_container_or_a_cluster_is_at_least_understood():
    """Blocks of a terminal that not every machine can run; tests/bench/run/test_cluster.py measures on a cluster."""
    from bench.cli import main
    from bench.run import cluster

    lines = [line.split("   #")[0] for path in (README, MORE) for block in blocks("console", path)
             for line in block.replace("\\\n", " ").splitlines()]  # fmt: skip
    ours = [shlex.split(line)[3:] for line in lines if line.startswith("python -m bench ")]
    assert {words[0] for words in ours} == {"run", "doctor"}
    options = [main.parser().parse_args(words) for words in ours]
    assert {options.cluster for options in options if options.command == "run"} == {"scheduler.json", cluster.SLURM}
    (worker,) = [line for line in lines if line.startswith("dask worker ")]
    assert worker.replace("--scheduler-file scheduler.json", "ADDRESS") == cluster.WORKER
    quiet = {name: value for name, _, value in (word.partition("=") for line in lines for word in line.split())}
    assert cluster.QUIET_WORKER.items() <= quiet.items()


@pytest.fixture
def folder(tmp_path, picture):
    """A folder with what the README speaks of: photos, a painting, and a method of one's own."""
    picture("painting.jpg", 80, 80)
    picture("photo.jpg", 60, 80)
    (tmp_path / "holiday").mkdir()
    picture("holiday/beach.jpg", 60, 80)
    (own,) = [block for block in blocks("python") if "class " in block]
    (tmp_path / "mine.py").write_text(own)
    return tmp_path


@pytest.mark.slow
def test_the_commands_work_in_the_order_given(folder):
    """With the bundled nets and real weights."""
    pytest.importorskip("mxnet", reason="the README's commands measure and paint with the engine")
    for command in commands():
        if command in RUN_ELSEWHERE:
            continue
        command = shorter(command)
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr and "Warning" not in done.stderr, f"{command}\n{done.stderr}"
    made = ("chelsea.png", "waves.png", "mine.png", "grey.png", "painted/beach.jpg",
            "nets/painting-johnson-stylize.npz")  # fmt: skip
    for name in made:
        assert (folder / name).is_file(), name
    assert list(folder.glob("results/*/report.html"))


def test_the_python_interface_works_as_shown(folder):
    pytest.importorskip("mxnet")
    (shown,) = [block for block in blocks("python") if "import nst_gluon\n" in block]
    words = [sys.executable, "-c", shorter(shown)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and float(done.stdout) > 0, done.stderr


def test_without_a_gpu_the_gpu_line_says_so(tmp_path):
    pytest.importorskip("mxnet", reason="without the engine that is what the line says")
    done = run("python -m bench run --method all --size 256,512 --device gpu", tmp_path)
    if done.returncode == 0:
        pytest.skip("this machine has a GPU that MXNet runs on")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and "--device" in done.stderr


def test_every_link_leads_somewhere():
    for path in (README, MORE):
        targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text(path)) if "://" not in target]
        assert targets
        for target in targets:
            assert (path.parent / target).exists(), f"{path.name}: {target}"


# -------------------------------------------------------------------------------------- tables of committed runs


def results_block(run: Path = RESULTS / "styles", papers: Path = RESULTS / "paper_net") -> str:
    """The README's results: the report's sentence and the verdict on 500x, and a row for each net with its medians over
    styles, and ranges; below them the net that has the paper's widths and was trained by the paper's recipe.
    """
    from bench.analysis.analysed import analyse
    from bench.analysis.claims import QUALITY_FLOOR
    from bench.report import headline
    from bench.store.reader import read_run

    analysed, other = (analyse(read_run(path)) for path in (run, papers))
    sizes = sorted(set(analysed.speedups()["size"]))
    heads = [f"{size}: time, net : optimisation | speed-up at equal loss | working memory" for size in sizes]
    lines = [f"| task | net | styles | {' | '.join(heads)} |", f"| --- | --- | ---: |{' ---: |' * 3 * len(sizes)}"]
    lines += [*net_rows(analysed, sizes), *net_rows(other, sizes, " ‡")]
    poor = pd.concat([found.speedups().query("not fine")["evaluations"] for found in (analysed, other)])
    floor = (
        f"†: for some or all styles below the [quality floor](#reading-a-report): optimisation matches these nets in "
        f"{math.floor(poor.min())} to {math.floor(poor.max())} evaluations; at least {QUALITY_FLOOR} are required. "
    )
    record = analysed.run.meta
    cpu, photos = record["environment"]["cpu"], 1 + len(record["settings"].get("other_contents", ()))
    return (
        f"{headline.of_run(analysed)} {verdict(analysed)}\n\n"
        + "\n".join(lines)
        + f"\n\nMedians over styles, with their range or the interval of one style. {floor if len(poor) else ''}"
        f"{papers_net(other.run.meta)} "
        f"Measured on {cpu['cores_used']} cores of an {cpu['model']} without a GPU, with {photos} photos that no net "
        f"was trained on ([report](results/styles/report.md)). {elsewhere(analysed)}"
    )


def verdict(analysed: Analysed) -> str:
    """What the report says of the paper's most famous claim."""
    (found,) = (finding.worst for finding in analysed.findings if finding.claim.id == "texture-net-speed")
    return (
        f"The paper's claim of 500× at 256 pixels is judged by the worst style: {found.verdict} "
        f"(`{found.row['style_name']}`: {found.measured:,.0f}×, {found.why})."
    )


def elsewhere(analysed: Analysed, style: str = "great_wave") -> str:
    """The same net's speed-up on the processor of results/repeats, which has AVX-512."""
    cell = {"metric": "speedup_at_equal_loss", "method": "texture_net", "task": "texture", "size": 256}
    runs = [pd.read_csv(path) for path in sorted((RESULTS / "repeats").glob("*/summary.csv"))]
    there = [run[(run[list(cell)] == pd.Series(cell)).all(axis=1)]["value"].item() for run in runs]
    (here,) = analysed.rows(cell.pop("metric"), style_name=style, **cell)["value"]
    return (
        f"The ratio depends on the processor: the texture network of `{style}` has {here:,.0f}× at 256 here, and "
        f"{min(there):,.0f}× to {max(there):,.0f}× on a newer one with AVX-512, on which optimisation gains more "
        f"([three runs](results/README.md))."
    )


def net_rows(analysed: Analysed, sizes: list[int], mark: str = "") -> Iterator[str]:
    """A row of the table for each net of a run, whose name gets ``mark``."""
    usual = {"batch": 1, "dtype": "float32", "engine": "gluon"}
    ratios = analysed.speedups().query("dtype == 'float32' and engine == 'gluon'")
    for (task, net), of_net in ratios.groupby(["task", "method"]):
        cells = []
        for size in sizes:
            group = of_net[of_net["size"] == size]
            if group.empty:
                cells.append(" |  | ")
                continue

            def median(method: str, metric: str) -> float:
                rows = analysed.rows(metric, method=method, task=task, size=size, **usual)  # noqa: B023 (in this turn)
                return rows[rows["style_name"].isin(group["style_name"])]["value"].median()  # noqa: B023

            bound = "≥ " if (group.status == "lower bound").any() else ""
            low, high, several = group.value.min(), group.value.max(), len(group) > 1
            ends = f"({low:,.0f} to {high:,.0f})" if several else f"[{group.low.item():,.0f}, {group.high.item():,.0f}]"
            bold, poor = "**" if group.fine.any() else "", "" if group.fine.all() else " †"
            memory = [median(method, "working_memory_bytes") / 1e6 for method in (net, "gatys")]
            cells.append(
                f"{median(net, 'latency_s') * 1e3:,.0f} ms : "
                f"{bound}{median('gatys', f'time_to_target_{net}_s'):,.1f} s "
                f"| {bold}{bound}{group.value.median():,.0f}x{bold} {ends}{poor} "
                f"| {memory[0]:,.0f} : {memory[1]:,.0f} MB"
            )
        yield f"| {task} | `{net}`{mark} | {of_net.style_name.nunique()} | {' | '.join(cells)} |"


def papers_net(record: dict) -> str:
    """What the net of the paper's widths is, from its file."""
    (net,) = record["inputs"]["nets"].values()
    meta, training = net["meta"], net["meta"]["training"]
    assert training["recipe"] == "paper" and "finest" not in meta["architecture"]  # 8 channels for each scale, then
    style = record["settings"]["style"]
    ours = json.loads(assets.find_net(style, "texture_net", "texture").with_suffix(".json").read_text())
    return (
        f"‡: with the paper's {8 * meta['architecture']['scales']} channels at the finest scale and its recipe, "
        f"{meta['iterations']:,} iterations (our net had {steps(ours):,}), but batches of {training['batch']}, not 16, "
        f"for `{style}` ([report](results/paper_net/report.md))."
    )


def steps(meta: dict | None) -> int:
    """The iterations of a net's training and of those that it began from."""
    return meta["iterations"] + steps(meta["start"]) if meta else 0


def test_the_results_are_those_of_the_committed_run():
    from bench.report.generated import part

    assert part(README, "results") == results_block(), "python tests/test_readme.py writes the results"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # before this folder, which has a bench too
    from bench.report.generated import write_part

    write_part(README, "results", results_block())
