"""How nets differ from the papers', as the report's page for referees has it."""

from __future__ import annotations

import json

from nst_gluon import assets, methods


def test_of_the_johnson_nets_the_objective_and_what_their_files_say():
    for name in ("johnson", "johnson_slim"):
        method = methods.get(name)
        own, other = (method.departures({"norm": "instance"}, preset) for preset in ("johnson", "texture_net_relative"))
        assert len(own) == 1 and "instance norm" in own[0]
        assert "preset johnson" in other[0] and other[1:] == own
        assert any("linear" in text for text in method.departures({"norm": "batch", "output": "linear"}, "johnson"))


def test_a_narrower_finest_scale_is_told_and_the_papers_is_not():
    method = methods.get("texture_net")
    for scales, task in ((5, "texture"), (6, "stylize")):
        shape = {**method.architecture(task), "scales": scales}
        assert not any("finest" in text for text in method.departures({**shape, "finest": 8 * scales}, "texture_net"))
        (told,) = [text for text in method.departures({**shape, "finest": 32}, "texture_net") if "finest" in text]
        assert "32" in told and str(8 * scales) in told


def test_every_bundled_net_can_be_asked():
    for info in assets.nets():
        meta = json.loads(info.path.with_suffix(".json").read_text())
        method = methods.get(meta["method"])
        found = method.departures(meta["architecture"], meta["preset"])
        assert all(isinstance(text, str) for text in found)
        assert found or method.paper.startswith("this suite's own"), "what is of a paper departs from it"
