"""The sentence on a run, and the facts beside it, from invented summaries."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from bench.analysis import metrics
from bench.analysis.analysed import Analysed
from bench.analysis.methods import Methods
from bench.report import headline, tables
from bench.report.numbers import NOTHING
from bench.store.reader import SUMMARY_COLUMNS
from nst_gluon.methods import bundled

KNOWN = Methods({name: method.facts() for name, method in bundled().items()})
NET, STYLIZED = "texture_net", "stylize"


def analysed(*nets: dict) -> Analysed:
    """A run of ``nets`` with these speed-ups over optimisation (and over its ``variant``), which takes ``steps``
    evaluations to their loss.
    """
    rows = []
    for fields in nets:
        net = {"method": NET, "task": "texture", "size": 256, "steps": 50.0, "status": "ok", **fields}
        place = {"style_name": "", "engine": "gluon", "batch": 1, "dtype": "float32", "device": "cpu", "low": math.nan,
                 "high": math.nan, "n": 3, "task": net["task"], "size": net["size"]}  # fmt: skip

        def add(method: str, metric: str, unit: str, value: float, status: str = "ok", place: dict = place) -> None:
            rows.append({**place, "method": method, "metric": metric, "unit": unit, "value": value, "status": status})

        add(net["method"], "speedup_at_equal_loss", "x", net["value"], net["status"])
        add("gatys", metrics.aimed_at("iterations_to_target", net["method"]), "1", net["steps"])
        if "variant" in net:
            bound = net.get("bound", False)
            add(net["method"], metrics.aimed_at("speedup_over_variant", "gatys_pyramid"), "x", net["variant"],
                "lower bound" if bound else "ok")  # fmt: skip
            add("gatys_pyramid", metrics.aimed_at("time_to_target_s", net["method"]), "s", net["variant"] / 100,
                "not reached" if bound else "ok")  # fmt: skip
    summary = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
    return Analysed(SimpleNamespace(meta={}), KNOWN, summary)


def facts(found: Analysed, monkeypatch) -> dict[str, str]:
    monkeypatch.setattr(headline, "subject", lambda run: "")
    return dict(headline.facts(found))


def test_a_net_whose_quality_is_not_known_is_not_called_poor(monkeypatch):
    unsure = {"task": STYLIZED, "value": 300.0, "steps": math.nan, "status": "lower bound"}
    found = analysed({"value": 600.0}, unsure)
    said = headline.of_run(found)
    assert said.endswith(". Whether a net for stylisation is good enough to count is not known.")
    told = facts(found, monkeypatch)
    assert told["Not known to count"].startswith("The texture network (stylisation): optimisation ended before 20 ")
    assert "at least 300× faster" in told["Not known to count"] and "Below the quality floor" not in told


def test_of_a_task_with_poor_nets_only_that_is_said(monkeypatch):
    found = analysed({"value": 600.0}, {"task": STYLIZED, "value": 300.0, "steps": 9.0})
    assert headline.of_run(found).endswith(". No net for stylisation is good enough to count.")
    told = facts(found, monkeypatch)
    poor = "The texture network (stylisation): optimisation matches their loss in 9 evaluations; the floor is 20."
    assert told["Below the quality floor"].startswith(poor)
    assert "Not known to count" not in told


def test_the_three_groups_have_their_sizes_where_they_differ(monkeypatch):
    steps = {256: 50.0, 512: 9.0, 1024: math.nan}
    found = analysed(*({"size": size, "value": 600.0, "steps": one} for size, one in steps.items()))
    assert headline.of_run(found).endswith(" makes a texture 600× faster than optimisation (at 256 pixels).")
    told = facts(found, monkeypatch)
    assert told["Below the quality floor"].startswith("The texture network (texture, at 512 pixels): ")
    assert told["Not known to count"].startswith("The texture network (texture, at 1024 pixels): ")


@pytest.mark.parametrize(("steps", "which"), [((math.nan, math.nan), "they count"),
                                              ((9.0, math.nan), "any of them counts")])  # fmt: skip
def test_without_a_net_that_is_known_to_count_it_is_not_known_whether_any_does(steps, which):
    found = analysed(*({"size": 256 * (1 + index), "value": 60.0, "steps": one} for index, one in enumerate(steps)))
    assert f" Whether {which} is not known: optimisation ended before 20 evaluations" in headline.of_run(found)


def test_a_variant_that_missed_the_target_is_a_bound_at_its_size():
    found = analysed({"value": 606.0, "variant": 352.0}, {"size": 512, "value": 603.0, "variant": 250.0, "bound": True})
    assert headline.of_run(found) == (
        "At equal loss, the texture network makes a texture 606× and 603× faster than optimisation, and 352× and at "
        "least 250× faster than coarse-to-fine optimisation (at 256 and 512 pixels)."
    )
    place = {"style_name": "", "task": "texture", "engine": "gluon", "dtype": "float32", "device": "cpu"}
    entry = tables._optimised(found, {**place, "method": NET, "size": 512}, NOTHING)
    assert entry.small == "coarse-to-fine optimisation: > 2.50 s (not reached)"


def test_where_sizes_differ_each_range_has_its_own():
    found = analysed({"value": 606.0, "variant": 352.0}, {"size": 512, "value": 603.0})
    assert headline.of_run(found) == (
        "At equal loss, the texture network makes a texture 606× and 603× faster at 256 and 512 pixels than "
        "optimisation, and 352× faster at 256 pixels than coarse-to-fine optimisation."
    )
    poor = {"task": STYLIZED, "size": 512, "value": 30.0, "steps": 5.0}
    found = analysed({"value": 606.0}, {"size": 512, "value": 603.0}, {"task": STYLIZED, "value": 80.0}, poor)
    assert headline.of_run(found).endswith(
        " makes a texture 606× and 603× faster at 256 and 512 pixels and a stylised picture 80.0× faster at 256 pixels "
        "than optimisation."
    )


def test_a_ratio_below_1_is_no_speed_up():
    assert headline.of_run(analysed({"value": 0.5})).endswith(" makes a texture 0.500× as fast as optimisation.")
    found = analysed({"value": 600.0, "variant": 0.5}, {"task": STYLIZED, "value": 0.5, "variant": 0.25})
    assert headline.of_run(found).endswith(
        " makes a texture 600× as fast and a stylised picture 0.500× as fast as optimisation, and 0.500× as fast "
        "(texture) and 0.250× as fast (stylisation) as coarse-to-fine optimisation."
    )
