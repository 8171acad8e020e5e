"""The PyTorch peer: against plain numpy (tests/oracle.py), its own other ways, and a GPU that is not there."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import oracle
import pytest
import toy_net
from descents import optimise
from oracle import picture

torch = pytest.importorskip("torch", reason="needs the extra torch")

from bench.analysis import costs  # noqa: E402
from bench.engines.pytorch import backend, devices, nets  # noqa: E402
from bench.engines.pytorch.descriptor import Descriptor  # noqa: E402
from bench.engines.pytorch.minimisers import MINIMISERS  # noqa: E402
from bench.engines.pytorch.objective import Objective  # noqa: E402
from nst_gluon import assets  # noqa: E402
from nst_gluon.methods import description  # noqa: E402
from nst_gluon.nets import netfile  # noqa: E402
from nst_gluon.objective import presets  # noqa: E402
from nst_gluon.optimise.config import OptimizationConfig  # noqa: E402
from nst_gluon.system.errors import UserError  # noqa: E402


@pytest.fixture
def objective(vgg19):
    """The objective of a preset, ``texture_net_relative`` unless told: ``objective(**what is different)``."""

    def make(name: str = "texture_net_relative", task: str = "stylize", **changes) -> Objective:
        content = picture(3) if task == "stylize" else None
        return Objective(presets.get(name), vgg19, task, picture(2), content, **changes)

    return make


# ---------------------------------------------------------------------------------------- descriptor and objective


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("arch", ["vgg16", "vgg19"])
def test_activations_are_those_of_plain_numpy(arch, pooling, vgg16, vgg19):
    weights = {"vgg16": vgg16, "vgg19": vgg19}[arch]
    names = ("relu5_1", "relu1_1", "conv3_2", "relu2_2", "relu4_3", "conv1_1")
    x = picture(3, 37, 50)  # odd sides: the pooling drops the rest
    expected = oracle.describe(x[0], weights, pooling)
    actual = Descriptor(weights, names, pooling)(torch.from_numpy(x))
    assert set(actual) == set(names)
    for name, activation in actual.items():
        np.testing.assert_allclose(activation[0], expected[name], atol=1e-4 * np.abs(expected[name]).max(), rtol=0)


def test_a_layer_that_the_network_lacks_is_one_line(vgg16):
    with pytest.raises(UserError, match="vgg16 has no 'conv3_4'"):
        Descriptor(vgg16, ["relu3_4"])


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_terms_of_each_preset_are_those_of_plain_numpy(name, vgg16, vgg19):
    preset = presets.get(name)
    weights = {"vgg16": vgg16, "vgg19": vgg19}[preset.arch]
    x, content = picture(1), picture(3)
    style = picture(2) if name == "keras" else picture(2, 48, 32)  # Keras's Grams are not normalised
    expected = getattr(oracle, name)(x[0], style[0], content[0], weights)
    terms = Objective(preset, weights, "stylize", style, content).terms(x)
    np.testing.assert_allclose((terms.content, terms.style, terms.tv), expected, rtol=1e-4)
    assert terms.objective == pytest.approx(sum(expected), rel=1e-4)


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_gradients_are_those_of_differences(name, objective):
    found, x = objective(name), picture(1)
    _, gradient = found.value_and_gradient(x)
    assert gradient.shape == x.shape and gradient.dtype == np.float32
    direction = gradient / np.linalg.norm(gradient)
    step = 1e-2
    ahead, behind = (found.terms((x + sign * step * direction).astype("float32")).objective for sign in (1, -1))
    assert (ahead - behind) / (2 * step) == pytest.approx(np.linalg.norm(gradient), rel=0.05)


@pytest.mark.parametrize("changes", [{"parts": 3}, {"layout": torch.channels_last}, {"parts": 2, "dtype": "bfloat16"}])
def test_segments_and_layouts_change_nothing(objective, changes):
    plain, other = objective(dtype=changes.get("dtype", "float32")), objective(**changes)
    (terms, gradient), (same, alike) = plain.value_and_gradient(picture(1)), other.value_and_gradient(picture(1))
    assert same.objective == pytest.approx(terms.objective, rel=1e-4)
    cosine = (gradient * alike).sum() / np.linalg.norm(gradient) / np.linalg.norm(alike)
    assert cosine > 0.9999
    assert other.segments == changes.get("parts", 1)


def test_bfloat16_is_near(objective):
    terms, half = (objective(dtype=dtype).terms(picture(1)) for dtype in ("float32", "bfloat16"))
    assert half.objective != terms.objective
    assert half.objective == pytest.approx(terms.objective, rel=0.05)


def test_another_aim_shares_the_descriptor(objective, vgg19):
    found = objective()
    other = found.aimed_at(picture(7), picture(8))
    assert other.descriptor is found.descriptor
    fresh = Objective(presets.get("texture_net_relative"), vgg19, "stylize", picture(7), picture(8))
    assert other.terms(picture(1)) == fresh.terms(picture(1)) != found.terms(picture(1))


# ------------------------------------------------------------------------------------------------------- optimisation


@pytest.mark.parametrize("name", sorted(MINIMISERS))
def test_every_way_downhill_goes_down_on_tensors(name, objective):
    found, start = objective("texture_net", "texture"), picture(5)
    made = backend.PyTorch("cpu", "float32", 0, {"lbfgs": name})
    config = OptimizationConfig(iterations=25, start="noise")
    result = optimise(found, start, config, host=made)
    assert result.stopped_because == "iterations" and len(result.steps) == 25
    assert result.terms.objective < 0.2 * result.steps[0].terms.objective
    assert isinstance(result.picture, np.ndarray) and 0 <= result.picture.min() <= result.picture.max() <= 1
    assert result.steps[0].size == start.shape[2:]


def test_the_suite_s_lbfgs_takes_the_same_steps_on_tensors_and_on_arrays(objective):
    found, start, config = objective(), picture(5), OptimizationConfig(iterations=12, start="content")
    made = backend.PyTorch("cpu", "float32")
    on_host = optimise(found, start, config)
    on_device = optimise(found, start, config, host=made)
    there, here = ([step.terms.objective for step in result.steps] for result in (on_device, on_host))
    np.testing.assert_allclose(there, here, rtol=1e-2)


# --------------------------------------------------------------------------------------------------------------- nets


@pytest.mark.parametrize("norm", description.NORMS)
@pytest.mark.parametrize("mode", description.PADDINGS)
def test_every_layer_computes_what_numpy_does(norm, mode):
    net = toy_net.net(norm, mode)
    params, rng = toy_net.parameters(net), np.random.default_rng(1)
    inputs = [
        torch.from_numpy(rng.random((2, g.channels, 16 >> g.reduction, 24 >> g.reduction), dtype=np.float32))
        for g in net.inputs
    ]
    made = nets.build(net, params)(*inputs)
    np.testing.assert_allclose(made, toy_net.compute(net, params, [x.numpy() for x in inputs]), atol=2e-5)


@pytest.mark.parametrize("net", assets.nets(), ids=lambda net: f"{net.method}-{net.task}")
def test_layouts_do_not_change_a_net_s_picture_and_its_activations_are_those_counted(net):
    described, params, _ = netfile.checked(net.path)
    generator = nets.Generator(net.path, "cpu", "float32")
    inputs = generator.inputs(picture(1, 64, 96) if net.task == "stylize" else None, (64, 96), seed=4)
    expected = generator.forward(*inputs)
    generator.lay_out(torch.channels_last)
    assert (generator.forward(*inputs) - expected).abs().max() < 2e-4
    built, written = nets.build(described, params), []
    for part in built.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(lambda _, given, out: written.append(out.numel()))
        assert not isinstance(part, torch.nn.BatchNorm2d)
    built(*inputs)
    counted = {operator.name: operator.written for operator in costs.net(described, (64, 96))}
    convolutions = [layer.name for layer in described.layers if isinstance(layer, description.Convolution)]
    assert written == [counted[name] for name in convolutions]


def test_the_layout_is_tried_once_and_told():
    made = backend.PyTorch("cpu", "float32")
    generator = made.generator(assets.find_net("great_wave", "texture_net", "texture"))
    generator.inputs(None, (64, 64))
    told = made.facts()["pytorch"]["layouts"]["net"]
    assert told["chosen"] == min(told["seconds"], key=told["seconds"].get)
    assert set(told["seconds"]) == {"contiguous", "channels_last"}
    generator.inputs(None, (128, 128))
    assert made.facts()["pytorch"]["layouts"]["net"] is told
    pinned = backend.PyTorch("cpu", "float32", 0, {"layout": "channels_last"})
    pinned.generator(assets.find_net("great_wave", "texture_net", "texture")).inputs(None, (64, 64))
    assert pinned.facts()["pytorch"]["layouts"]["net"] == {"chosen": "channels_last", "seconds": {}}


def test_compiling_without_a_compiler_is_one_line(monkeypatch):
    monkeypatch.setattr(backend.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="pytorch.compile=yes needs a C"):
        backend.PyTorch("cpu", "float32", 0, {"compile": "yes"})


# ---------------------------------------------------------------------------------------------- a GPU that is not there


class FakeCuda:
    """What the engine uses of ``torch.cuda``: a device on which every call takes 5 ms."""

    def __init__(self):
        self.now, self.reset, self.emptied, self.synchronised, self.current = 0.0, 0, 0, [], "cuda:0"
        outer = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.at, self.where = outer.now, outer.current

            def elapsed_time(self, end):
                assert self.where == end.where == outer.synchronised[-1]
                return 1e3 * (end.at - self.at)

        self.Event = Event

    def is_available(self):
        return True

    def device_count(self):
        return 1

    @contextlib.contextmanager
    def device(self, device):
        self.current, before = device, self.current
        yield
        self.current = before

    def synchronize(self, device=None):
        self.synchronised.append(device or self.current)

    def empty_cache(self):
        self.emptied += 1

    def reset_peak_memory_stats(self, device):
        self.reset += 1

    def max_memory_allocated(self, device):
        return 300

    def max_memory_reserved(self, device):
        return 400


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(devices.torch, "cuda", fake)
    return fake


def test_a_gpu_computes_in_real_float32_and_only_where_there_is_one(cuda, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    assert devices.settle("gpu") == "cuda:0"
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(UserError, match="sees no such GPU"):
        devices.settle("gpu:3")


def test_latency_by_the_device_s_clock(cuda):
    def call():
        cuda.now += 0.005

    assert devices.event_seconds(call, 4, "cuda:1") == pytest.approx([0.005] * 4)
    assert cuda.synchronised == ["cuda:1"] and cuda.current == "cuda:0"


def test_memory_is_told_by_the_driver_and_by_the_allocator(cuda, monkeypatch):
    @dataclasses.dataclass
    class Driver:
        index: int
        nvml: object
        started: bool = False

        def start(self):
            self.started = True

        def read(self):
            return devices.meters.Memory(900, 700, "NVML, this process", {"process_bytes": 900})

    monkeypatch.setattr(devices.meters, "GpuMeter", Driver)
    monkeypatch.setattr(devices.torch, "zeros", lambda *a, **k: None)
    meter = devices.GpuMeter("cuda:0", 2)
    assert meter._driver.index == 2
    meter.start()
    assert (cuda.reset, cuda.emptied, meter._driver.started) == (1, 1, True)
    memory = meter.read()
    assert (memory.peak, memory.working, memory.source) == (900, 700, "NVML, this process")
    assert memory.samples == {"allocator_peak_bytes": 300, "allocator_reserved_bytes": 400}
    assert memory.details["process_bytes"] == 900 and memory.details["allocator_peak_bytes"] == 300
