"""A plan split over machines: every cell once, what is compared together, and about as much to do for each."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import environment, small_plan, with_settings

from bench.plan import cells, durations, memory, shards
from bench.plan.budgets import BUDGETS
from nst_gluon.system.errors import UserError

SOME = {"max_size": 3, "min_size": 1, "unique": True}
PLANS = st.fixed_dictionaries(
    {
        "sizes": st.lists(st.sampled_from([16, 64, 128, 256, 512, 1024]), **SOME),
        "batches": st.lists(st.sampled_from([1, 4, 16]), **SOME),
        "tasks": st.permutations(["texture", "stylize"]).flatmap(lambda t: st.sampled_from([t, t[:1]])),
        "devices": st.sampled_from([["cpu"], ["cpu", "gpu:0"]]),
        "dtypes": st.sampled_from([["float32"], ["float32", "bfloat16"]]),
        "repeats": st.integers(1, 3),
        "budget": st.sampled_from(list(BUDGETS.values())),
    }
)


def settings_of(cell: cells.Cell) -> tuple:
    return cell.engine, cell.task, cell.size, cell.device


def seconds(part: cells.Plan) -> float:
    return sum(durations.estimate_s(cell, part.budget) for cell in part.cells)


@settings(deadline=None)  # the first example imports the methods
@given(PLANS, st.data())
def test_the_parts_are_the_whole_once_in_its_order_and_balanced(fields, data):
    whole = small_plan(**fields)
    most = len({settings_of(cell) for cell in whole.cells})
    of = data.draw(st.integers(1, most))
    parts = [shards.take(whole, index, of) for index in range(1, of + 1)]
    assert sorted(position for part in parts for position in part.shard.positions) == list(range(len(whole.cells)))
    for number, part in enumerate(parts, 1):
        assert part.cells, "an empty part"
        assert [whole.cells[position] for position in part.shard.positions] == list(part.cells)
        assert list(part.shard.positions) == sorted(part.shard.positions)
        assert (part.shard.index, part.shard.of, part.shard.total) == (number, of, len(whole.cells))
        assert part.shard.plan_fingerprint == whole.fingerprint()
        assert (part.budget, part.settings) == (whole.budget, whole.settings)
    settings = Counter(found for part in parts for found in {settings_of(cell) for cell in part.cells})
    assert set(settings.values()) == {1}, "what is compared was parted"
    largest = max(
        seconds(dataclasses.replace(whole, cells=tuple(cell for cell in whole.cells if settings_of(cell) == found)))
        for found in settings
    )
    times = [seconds(part) for part in parts]
    assert max(times) - min(times) <= largest + 1e-6


@given(PLANS, st.randoms())
def test_no_optimisation_loses_a_net_that_it_aims_at(fields, chance: random.Random):
    whole = small_plan(**fields)
    of = chance.randint(1, len({settings_of(cell) for cell in whole.cells}))
    for index in range(1, of + 1):
        part = shards.take(whole, index, of)
        for cell in part.cells:
            aims = [c for c in whole.cells if c.kind == cells.GENERATE and settings_of(c) == settings_of(cell)]
            assert set(aims) <= set(part.cells)


def test_known_times_are_spread_as_by_hand():
    """Quick, one net: about 8.3, 4.8, 4.0 and 3.8 s at 512, 256, 128 and 64; the longest first, to who has least."""
    whole = small_plan(method_names=["texture_net"], tasks=["texture"], sizes=[64, 128, 256, 512])
    parts = [[cell.size for cell in shards.take(whole, index, 2).cells] for index in (1, 2)]
    assert parts == [[64, 512], [128, 256]]


def test_another_process_splits_alike():
    """Whatever its hash seed."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from plans import small_plan; from bench.plan import shards\n"
        "p = small_plan(sizes=[64, 128, 256], repeats=2)\n"
        "print([shards.take(p, i, 4).to_dict() for i in range(1, 5)])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**environment(), "PYTHONHASHSEED": seed}, capture_output=True, text=True,
            check=True, cwd=Path(__file__).resolve().parents[3],
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(printed) == 1


def test_it_does_not_matter_where_a_machine_keeps_its_pictures():
    here, there = (
        with_settings(small_plan(), style=f"{folder}/wave.jpg", weights=f"{folder}/vgg.pth") for folder in ("/a", "/b")
    )
    assert here.fingerprint() != there.fingerprint()
    assert shards.take(here, 1, 2).shard == shards.take(there, 1, 2).shard
    other = with_settings(small_plan(), style="/a/sea.jpg")
    assert shards.take(other, 1, 2).shard.plan_fingerprint != shards.take(here, 1, 2).shard.plan_fingerprint


def test_a_machine_with_less_memory_splits_the_same_plan():
    """What does not fit is left out of its part, and is not given to another."""
    whole = small_plan(sizes=[256, 512], batches=[1, 64])
    for index in (1, 2):
        part = shards.take(whole, index, 2)
        small = memory.without_larger_batches(part, {"cpu": 3_000_000_000})
        assert [whole.cells[position] for position in small.shard.positions] == list(small.cells)
        assert set(small.cells) == {c for c in part.cells if c.batch == 1} != set(part.cells)
        assert small.shard.plan_fingerprint == part.shard.plan_fingerprint
    assert not memory.without_larger_batches(whole, {"cpu": 3_000_000_000}).shard


def test_a_shard_survives_json_and_is_a_difference():
    whole = small_plan()
    part = shards.take(whole, 1, 2)
    assert cells.Plan.from_dict(json.loads(json.dumps(part.to_dict()))) == part
    assert "shard" not in whole.to_dict()
    assert whole.difference(part) == "it is not a shard there and shard 1/2 here"
    assert part.difference(shards.take(whole, 2, 2)) == "it is shard 1/2 there and shard 2/2 here"
    assert part.difference(shards.take(whole, 1, 2)) is None


def test_more_parts_than_there_are_is_one_line_with_the_most():
    for of in (5, 10**12):  # which would not fit into memory
        with pytest.raises(UserError, match=f"^--shard: {of} parts are too many; .* give at most 4$"):
            shards.take(small_plan(sizes=[64, 128]), 1, of)
