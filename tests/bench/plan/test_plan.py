"""What is planned, in which order, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import pytest
from plans import environment, small_plan, with_settings

from bench.plan import cells as plan
from bench.plan import durations, engines, memory
from bench.plan.budgets import BUDGETS
from nst_gluon import methods
from nst_gluon.system.errors import UserError


def test_nets_and_optimisation_take_turns_and_sizes_ascend():
    cells = small_plan(sizes=[512, 256], batches=[1, 4], repeats=3).cells
    assert [cell.size for cell in cells] == sorted(cell.size for cell in cells)
    turns = [(cell.kind == plan.OPTIMISE, cell.seed) for cell in cells if (cell.size, cell.task) == (256, "texture")]
    assert list(dict.fromkeys(turns)) == [(False, 0), (True, 0), (True, 1), (False, 1), (False, 2), (True, 2)]


def test_every_combination_that_exists_is_there_once():
    cells = small_plan(sizes=[256, 512], batches=[4], repeats=3, seed=7).cells
    assert len({cell.key for cell in cells}) == len(cells)
    # johnson and texture_net stylise, texture_net makes textures: at batch 1 in each process and at 4 in the first;
    # gatys does both at 1.
    assert len(cells) == 2 * (3 * (3 + 1) + 2 * 3)
    assert {cell.seed for cell in cells} == {7, 8, 9}
    assert not [cell for cell in cells if cell.method == "johnson" and cell.task == "texture"]
    assert {cell.batch for cell in cells if cell.method == "gatys"} == {1}


def test_several_styles_are_named_in_their_cells_and_have_their_own_nets():
    nets = (("great_wave/johnson/stylize", "w.npz"), ("brick/texture_net/texture", "b.npz"))
    settings = dataclasses.replace(small_plan().settings, other_styles=("/pictures/brick.jpg",), nets=nets)
    built = small_plan(settings=settings)
    assert {cell.style_name for cell in built.cells} == {"great_wave", "brick"}
    assert {cell.key for cell in built.cells} == {
        "great_wave-gluon-johnson-stylize-64-b1-float32-cpu-s0", "great_wave-gluon-gatys-stylize-64-b1-float32-cpu-s0",
        "brick-gluon-texture_net-texture-64-b1-float32-cpu-s0", "brick-gluon-gatys-texture-64-b1-float32-cpu-s0",
    }  # fmt: skip
    assert not built.unavailable()
    assert len(small_plan(settings=settings, method_names=["gatys"]).cells) == 4
    brick = next(cell for cell in built.cells if cell.style_name == "brick")
    assert built.settings.style_of(brick) == "/pictures/brick.jpg"
    again = plan.Plan.from_dict(json.loads(json.dumps(built.to_dict())))
    assert again == built and again.fingerprint() == built.fingerprint()


def test_null_in_a_cell_s_record_is_as_good_as_missing():
    cell = small_plan().cells[0]
    again = plan.Cell.from_dict({**cell.to_dict(), "style_name": None, "variant_of": None})
    assert again == cell and again.variant_of == cell.variant_of


def test_styles_with_like_names_have_keys_of_their_own():
    cell = small_plan().cells[0]
    names = ("my-wave", "my_wave", "my wave", "星夜", "睡蓮")
    keys = {dataclasses.replace(cell, style_name=name).key for name in names}
    assert len(keys) == len(names) and all(re.fullmatch(r"[\w.-]+", key, re.ASCII) for key in keys)
    assert dataclasses.replace(cell, style_name="great_wave").key == f"great_wave-{cell.key}"


def test_photos_are_dealt_out_to_the_starts_and_the_first_process_scores():
    settings = dataclasses.replace(small_plan().settings, other_contents=("b", "c", "d"))
    built = small_plan(settings=settings, budget=BUDGETS["standard"], repeats=None)
    shares = {(cell.kind, cell.task, cell.seed): built.share(cell) for cell in built.cells}
    photos = [shares[plan.OPTIMISE, "stylize", seed][0] for seed in range(3)]
    assert photos == [("astronaut", "d"), ("b",), ("c",)]
    assert shares[plan.GENERATE, "stylize", 0] == (settings.contents, 16)
    assert shares[plan.GENERATE, "stylize", 1] == (("astronaut",), 0) and shares[plan.OPTIMISE, "texture", 1] == ((), 0)
    once = [dataclasses.replace(cell, method="net_gatys", seed=0) for cell in built.cells[-1:]]
    assert dataclasses.replace(built, cells=(*built.cells, *once)).share(once[0])[0] == settings.contents
    full = dataclasses.replace(built, budget=BUDGETS["full"])
    assert full.share(built.cells[-1])[0] in ((), settings.contents)
    one = small_plan(budget=BUDGETS["standard"], repeats=None)
    assert {one.share(cell)[0] for cell in one.cells if cell.task == "stylize"} == {("astronaut",)}


def test_cells_are_measured_in_a_precision_that_the_engine_has_for_them(monkeypatch):
    cells = small_plan(dtypes=["bfloat16"]).cells
    assert {cell.dtype for cell in cells} == {"bfloat16"}
    single = dataclasses.replace(engines.get("gluon"), generate_dtypes=("float32",))
    monkeypatch.setitem(engines.ENGINES, "gluon", single)
    cells = small_plan(dtypes=["bfloat16"]).cells
    assert {cell.dtype for cell in cells if cell.kind == plan.OPTIMISE} == {"bfloat16"}
    assert {cell.dtype for cell in cells if cell.kind == plan.GENERATE} == {"float32"}


def test_a_method_without_the_task_is_refused_with_what_it_can_do():
    with pytest.raises(UserError, match="--task: johnson cannot do texture; it can do stylize"):
        small_plan(method_names=["johnson"], tasks=["texture"])


def test_keys_are_file_names():
    for cell in small_plan(devices=["gpu:1"]).cells:
        assert not set(cell.key) & set("/:\\ *?")


def test_a_plan_survives_json():
    original = small_plan(sizes=[64, 128], repeats=2)
    again = plan.Plan.from_dict(json.loads(json.dumps(original.to_dict())))
    assert again == original
    assert again.fingerprint() == original.fingerprint()
    assert original.difference(again) is None


def test_a_difference_names_what_differs():
    original = small_plan()
    assert "target_loss" in original.difference(with_settings(original, target_loss=5.0))
    assert original.difference(small_plan(budget=BUDGETS["full"])) == "name is 'quick' there and 'full' here"
    assert "only here" in original.difference(small_plan(sizes=[64, 128]))
    assert "only there" in small_plan(sizes=[64, 128]).difference(original)
    assert original.fingerprint() != small_plan(seed=1).fingerprint()


def test_too_large_a_size_says_how_much_it_would_take_and_what_fits():
    cells = small_plan(sizes=[4096]).cells
    with pytest.raises(
        UserError, match=r"--size: 4096 is too large .* 76\.2 GB .* 16\.0 GB .* at most (\d+)"
    ) as error:
        memory.check_memory(cells, {"cpu": 16_000_000_000})
    fits = int(str(error.value).rsplit(" ", 1)[1])
    memory.check_memory(small_plan(sizes=[fits]).cells, {"cpu": 16_000_000_000})
    with pytest.raises(UserError):
        memory.check_memory(small_plan(sizes=[fits + 16]).cells, {"cpu": 16_000_000_000})


def test_memory_of_a_device_that_is_not_known_is_not_checked():
    memory.check_memory(small_plan(sizes=[100_000]).cells, {"gpu": 1})


def test_batches_nobody_asked_for_are_left_out_when_they_do_not_fit():
    built = small_plan(sizes=[512], batches=[1, 64])
    kept = memory.without_larger_batches(built, {"cpu": 8_000_000_000})
    assert {cell.batch for cell in kept.cells} == {1}


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_a_time_out_leaves_a_worker_the_time_it_may_take(budget):
    for cell in small_plan(sizes=[256, 1024], batches=[4]).cells:
        limit = durations.timeout_s(cell, budget)
        assert limit > 2 * durations.estimate_s(cell, budget)
        if cell.kind == plan.OPTIMISE:
            assert limit > 1.5 * budget.limit_s(cell.size)


def test_the_budgets_keep_their_promises():
    """15 minutes for the standard run, 2 for the quick one, going by the estimates."""
    for name, minutes in (("standard", 15), ("quick", 2)):
        budget = BUDGETS[name]
        built = small_plan(
            sizes=[256, 512], batches=None, budget=budget, repeats=None, method_names=methods.usual()
        )
        seconds = (durations.estimate_s(cell, budget, durations.pictures_of(cell, built)) for cell in built.cells)
        assert sum(seconds) < 60 * minutes
    standard, long = BUDGETS["standard"], BUDGETS["long"]
    assert long.stop_early and long.variants and long.seeds == standard.seeds
    for variant in (False, True):
        assert long.limit_s(512, variant) == 4 * standard.limit_s(512, variant)
    full = BUDGETS["full"]
    assert full.seeds >= 3 and full.processes >= 3 and full.crossed and full.draws >= 16
    assert full.max_iterations >= 500 and not full.stop_early and full.min_samples >= 10


def test_variants_are_left_out_of_all_methods_where_there_is_no_time_for_them():
    everything = methods.usual()
    able = {name for name in everything if not methods.facts(name).engines}
    for budget in BUDGETS.values():
        kept = {cell.method for cell in small_plan(method_names=everything, budget=budget).cells}
        variants = {"gatys_pyramid", "net_gatys"} if budget.name == "quick" else set()
        assert kept == able - variants and "coarse_net" in kept
    asked = small_plan(method_names=["gatys", "net_gatys"]).cells
    assert {cell.method for cell in asked} == {"gatys", "net_gatys"}
    assert [cell.method for cell in asked if cell.task == "texture"] == ["gatys", "net_gatys"]  # what it aims at first


def test_segments_only_where_the_memory_asks_for_them():
    cell = small_plan(sizes=[1024]).cells[-1]
    assert cell.kind == plan.OPTIMISE
    assert memory.segments_for(cell, None) == memory.segments_for(cell, 8_000_000_000) == 1
    assert memory.segments_for(cell, memory.estimate_bytes(cell)) == 3


def test_a_label_says_what_is_unusual():
    cell = next(cell for cell in small_plan().cells if cell.method == "texture_net" and cell.task == "texture")
    usual = cell.label()
    assert usual == f"texture_net texture {cell.size}"
    other = dataclasses.replace(cell, batch=4, engine="pytorch", dtype="bfloat16", device="gpu:1")
    assert other.label() == f"{usual} batch 4 pytorch bfloat16 gpu:1"


def test_planning_imports_no_engine_and_nothing_heavy():
    code = (
        "import sys, bench.cli.main, bench.run.scheduler, bench.run.session\n"
        "heavy = {'mxnet', 'numpy', 'pandas', 'matplotlib', 'scipy', 'PIL', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())
