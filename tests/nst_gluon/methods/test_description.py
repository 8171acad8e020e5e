"""A description as data: what a net file brings with it where nobody knows its method."""

from __future__ import annotations

import json

import pytest
import toy_net

from nst_gluon.methods import description
from nst_gluon.system.errors import UserError


@pytest.mark.parametrize("net", [toy_net.net(), toy_net.net("batch", "circular")])
def test_layers_go_through_json(net):
    again = description.Net.from_data(json.loads(json.dumps(net.to_data())), "net")
    assert again == net


@pytest.mark.parametrize("change", [
    lambda data: data.append(["exec", "import os"]), lambda data: data.append(["__init__"]),
    lambda data: data.append(["crop", "nowhere", 1]), lambda data: data.append(["crop", ["content"], 1]),
    lambda data: data.append(["convolution", "big", "content", 3, 3, 1, 1 << 40]), lambda data: data.append(7),
    lambda data: data.append(["noise", 1.5]), lambda data: data.append(["convolution", "x", "content", "3", 3]),
    lambda data: data.clear(), lambda data: data.extend(data), lambda data: data.append(["concatenate", 1, 2]),
    lambda data: data.append(["build"]), lambda data: data.append(["activation", "content", "relu", "steep"]),
])  # fmt: skip
def test_damaged_layers_are_one_line(change):
    data = toy_net.net().to_data()
    change(data)
    with pytest.raises(UserError, match="^net: ") as caught:
        description.Net.from_data(data, "net")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError):
        description.Net.from_data("layers", "net")


def test_a_small_file_of_a_net_that_would_fill_the_memory_is_refused():
    net = description.Builder()
    wide = net.convolution("wide", net.content(), 4096, kernel=1)
    net.convolution("output", wide, 3, kernel=1)
    with pytest.raises(UserError, match="^net: wide has 4,099 values a pixel; the most is 2,048$"):
        net.build()
