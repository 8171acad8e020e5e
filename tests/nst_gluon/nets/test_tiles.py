"""Tiles make the picture that the net makes in one piece, in memory that does not grow with it."""

from __future__ import annotations

import json
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import toy_net
from test_inference import photo, trained

from nst_gluon import methods
from nst_gluon.methods.description import Noise
from nst_gluon.nets import geometry, inputs, netfile, tiles
from nst_gluon.nets.geometry import tile_geometry
from nst_gluon.nets.inference import Inference
from nst_gluon.nets.spill import Spill
from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError


def compared(net, size: tuple[int, int], side: int) -> tuple[tiles.Tiling, np.ndarray]:
    """The tiling, and the differences between its picture and the one in one piece, in levels of 255."""
    content = photo(*size) if net.task == "stylize" else None
    tiling = tiles.Tiling(net, content, size, side, seed=7, noise_scale=0.5)
    calls = []
    found = tiling.pixels(lambda: calls.append(1))
    assert len(calls) == tiling.work
    whole = images.to_uint8(net.generate(content, size, seed=7, noise_scale=0.5))
    assert found.shape == whole.shape == (*size, 3)
    return tiling, np.abs(found.astype(int) - whole)


@pytest.mark.parametrize(
    ("method", "task", "changes", "size", "side"),
    [
        ("johnson", "stylize", {"norm": "batch"}, (150, 201), 96),
        ("johnson", "stylize", {"norm": "instance", "residuals": 2}, (150, 201), 96),
        ("coarse_net", "stylize", {"halvings": 2, "residuals": 1}, (150, 201), 96),
        ("texture_net", "texture", {"scales": 3}, (40, 130), 16),
        ("texture_net", "texture", {"padding": "reflect", "scales": 3}, (90, 130), 64),
        ("texture_net", "stylize", {"norm": "batch", "scales": 4}, (130, 201), 128),
        ("texture_net", "stylize", {"scales": 2, "padding": "zero"}, (90, 130), 64),
    ],
)
def test_tiles_are_the_whole_picture(method, task, changes, size, side):
    tiling, difference = compared(trained(method, task, **changes), size, side)
    assert all(len(done) > 2 for done in tiling._passes)
    assert difference.max() <= 1
    # One level where rounding falls the other way, and only there.
    assert (difference > 0).mean() < 0.01


def test_what_is_kept_spares_the_work_and_changes_nothing(monkeypatch):
    net, size = trained("johnson", "stylize", norm="instance", residuals=2), (150, 201)

    def made() -> tuple[tiles.Tiling, np.ndarray]:
        tiling = tiles.Tiling(net, photo(*size), size, 96)
        return tiling, tiling.pixels()

    tiling, kept = made()
    first, *others = tiling._passes
    assert first.takes_inputs and first.makes and not any(done.takes_inputs for done in others)
    assert sorted(name for done in others for name in done.drops) == sorted(
        name for done in tiling._passes for name in done.makes
    )
    monkeypatch.setattr(tiles, "KEPT_FLOATS", 0)
    monkeypatch.setattr(tiles, "KEPT_BYTES", 0)
    tiling, again = made()
    assert all(done.takes_inputs and not done.makes for done in tiling._passes)
    assert np.abs(kept.astype(int) - again).max() <= 1


def test_statistics_of_a_thumbnail_are_those_of_the_small_picture():
    net, size, content = trained("johnson", "stylize", norm="instance", residuals=1), (192, 192), photo(192, 192)
    tiling = tiles.Tiling(net, content, size, 96, statistics="thumbnail")
    calls = []
    made = tiling.pixels(lambda: calls.append(1))
    assert len(calls) == tiling.work < tiles.Tiling(net, content, size, 96).work
    small = images.resize(content, (96, 96))
    expected = tiles.Tiling(net, small, (96, 96), 96).statistics()
    assert all(np.allclose(a, b) for name in expected for a, b in zip(expected[name], tiling.statistics()[name]))
    exact = images.to_uint8(net.generate(content, size))
    assert 8 < images.psnr(made / 255.0, exact / 255.0) < 60  # near the picture, and not the picture
    whole = tiles.Tiling(net, content, size, 200, statistics="thumbnail")  # it fits one tile: nothing to estimate
    assert np.abs(whole.pixels().astype(int) - exact).max() <= 1


def test_the_reach_of_a_net_is_its_receptive_field():
    """What lies farther from a pixel than a tile sees changes nothing there; what lies within does."""
    net = trained("johnson", "stylize", norm="batch", residuals=2)
    geometry = tile_geometry(net.description)
    around = geometry.surroundings["content"] + geometry.overlap
    assert (geometry.surroundings["content"], geometry.overlap) == (16, 16)
    content = photo(160, 160)
    changed = content.copy()
    changed[:, :, :40] = 1 - changed[:, :, :40]
    difference = np.abs(net.generate(content) - net.generate(changed)).max(axis=(0, 1, 3))
    assert difference[40 + around :].max() < 1e-5 < difference[40 + around - 16 : 40 + around].max()


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("made", [lambda norm: toy_net.net(norm, "zero"), toy_net.net, toy_net.branches])
def test_tiles_of_every_layer_are_the_picture_that_numpy_computes(made, norm):
    net = made(norm)
    params = toy_net.parameters(net)
    side = tiles.least_side(net)
    size = (3 * side + 11, 2 * side)
    content = photo(*size)
    run = SimpleNamespace(description=net, inference=Inference(net, params))
    tiling = tiles.Tiling(run, content, size, side, seed=4)
    expected = toy_net.compute(net, params, inputs.arrays(net, content, seed=4))[:, :, : size[0], : size[1]]
    assert all(len(done) > 4 for done in tiling._passes)
    difference = np.abs(tiling.pixels().astype(int) - images.to_uint8(expected.astype(np.float32)))
    # One level where rounding falls the other way, and only there: more than 60 dB.
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_a_net_that_pads_with_its_other_side_is_refused():
    run = SimpleNamespace(description=toy_net.net("batch", "circular"), inference=None)
    with pytest.raises(UserError, match="^--tile: .* --tile off$"):
        tiles.Tiling(run, photo(64, 64), (64, 64), 64)


@pytest.mark.parametrize("piece", [1 << 18, 1000, 77])
def test_noise_of_a_window_is_that_of_the_whole(monkeypatch, piece):
    monkeypatch.setattr(inputs, "PIECE", piece)
    inputs._noise_means.cache_clear()
    full, net = (48, 80), toy_net.net()
    whole = inputs.arrays(net, photo(*full), seed=5, noise_scale=0.3)
    for layer, expected in zip(net.inputs, whole):
        if isinstance(layer, Noise):
            rows, columns = np.array([1, 2, 0, (48 >> layer.reduction) - 1]), np.arange(3, 9)
            window = inputs.noise_window(net, layer, 5, full, rows, columns, 0.3)
            np.testing.assert_array_equal(window, expected[:, :, rows][:, :, :, columns])


@pytest.mark.parametrize("given", [(), ("activation2",), ("add0",)])
@pytest.mark.parametrize(("length", "side"), [(400, 112), (400, 200), (164, 160), (100, 160)])
def test_tiles_of_a_layer_cover_it_once(given, length, side):
    """Of each layer, with what precedes it given or not: every pixel is of one tile, and sound there."""
    net = trained("johnson", "stylize", norm="batch", residuals=1).description
    layers = {"activation2", "add0", net.output.name} - set(given)
    found, whole = geometry.axis(net, length, side, layers, given), geometry.sides(net, length)
    (size,) = set(map(len, found.spans))
    assert size <= min(side, length) and size % net.multiple == 0
    assert found.spans[0].start == 0 and found.spans[-1].stop == length
    for name in layers:
        assert found.cuts[name][0] == 0 and found.cuts[name][-1] == whole[name]
        for number, span in enumerate(found.spans):
            first, end = geometry.sound(net, size, given)[name]
            top, part = found.part(net[name], number, 50, 50)
            assert top == found.cuts[name][number] and part.start < part.stop
            assert (first if span.start else 0) <= part.start
            assert part.stop <= (end if span.stop < length else geometry.sides(net, size)[name])


def test_what_a_tile_makes_is_sound_where_it_is_said_to_be():
    """Every layer of a tile that begins at its padded content: as in the whole picture there, and not beyond."""
    net = methods.get("johnson").net("batch", residuals=2, width=0.25)
    params, begin, side = toy_net.parameters(net), 96, 64
    whole = toy_net.layers(net, params, {"content": photo(256, 64)})
    padded = whole["pad0"][:, :, begin : begin + side + 2 * net["pad0"].amount]
    tile = toy_net.layers(net, params, {"content": photo(side, 64), "pad0": padded})
    found = geometry.sound(net, side)
    for layer in net.layers[3:]:
        first, end = found[layer.name]
        made, top = tile[layer.name], begin >> layer.reduction
        off = np.abs(made - whole[layer.name][:, :, top : top + made.shape[2]]).max(axis=(0, 1, 3))
        assert off[first:end].max() < 1e-9, layer
        assert off[:first].min(initial=1) > 1e-9 and off[end:].min(initial=1) > 1e-9, layer


def test_what_tiles_cover_grows_with_the_picture():
    """The pixels that tiles of at most 512 are worked on, over those of the picture: hardly more for a small one."""
    net = trained("johnson", "stylize", norm="batch")

    def covered(side: int) -> float:
        (done,) = tiles.Tiling(net, np.zeros((1, 3, side, side), np.float32), (side, side), 512)._passes
        (height, width) = (len(along.spans[0]) for along in (done.rows, done.columns))
        return len(done) * height * width / side**2

    assert all(1 < covered(side) < 1.2 for side in (1024, 2048, 4096))


def test_passes_compute_hardly_anything_twice():
    """With instance norm: what the tiles of each pass make of the layers that they end at, over these layers."""
    net = trained("johnson", "stylize", norm="instance")
    tiling = tiles.Tiling(net, np.zeros((1, 3, 1024, 1024), np.float32), (1024, 1024), 256)
    for done in tiling._passes:
        names = [geometry.array_of(net.description, name).name for name in (*done.norms, *done.makes)]
        for name in names or [net.description.output.name]:
            made = np.prod([geometry.sides(net.description, len(along.spans[0]))[name]
                            for along in (done.rows, done.columns)])  # fmt: skip
            assert len(done) * made <= 1.35 * geometry.sides(net.description, 1024)[name] ** 2


def test_a_tile_of_nothing_but_overlap():
    net = trained("johnson", "stylize", norm="batch", residuals=1)
    assert geometry.axis(net.description, 400, 28, [net.description.output.name]) is None
    with pytest.raises(UserError, match=r"^--tile: 20 is too small .* at least \d+$"):
        tiles.Tiling(net, photo(100, 100), (100, 100), 20)


@pytest.mark.parametrize("width", [7, 20])
def test_parts_of_what_is_kept(width):
    """Written in parts of all columns or of some, read in others; the place of what is dropped is used again."""
    whole = np.random.default_rng(0).random((3, 30, 20)).astype(np.float32)
    spill = Spill()
    for name in ("first", "second"):
        spill.make(name, whole.shape)
        for top in range(0, 30, 9):
            for left in range(0, 20, width):
                spill.put(name, top, left, whole[:, top : top + 9, left : left + width])
        for columns in (20, 11):
            part = np.empty((3, 8, columns), np.float32)
            spill.get(name, 5, 20 - columns, part)
            np.testing.assert_array_equal(part, whole[:, 5:13, 20 - columns :])
        end = spill._end
        spill.drop([name])
    assert end == whole.nbytes
    spill.make("third", (3, 60, 20))
    with pytest.raises(UserError, match="is cut off"):
        spill.get("third", 0, 0, np.empty((3, 60, 20), np.float32))
    spill.close()


def test_without_a_folder_for_temporary_files(monkeypatch, tmp_path):
    """Nothing is kept, and the picture is the same; where a file is needed, it is named."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    net, content = trained("johnson", "stylize", norm="instance", residuals=1), photo(96, 64)
    tiling = tiles.Tiling(net, content, (96, 64), 64)
    assert all(done.takes_inputs and not done.makes for done in tiling._passes)
    assert np.abs(tiling.pixels().astype(int) - images.to_uint8(net.generate(content))).max() <= 1
    spill = Spill()
    spill.make("first", (1, 2, 2))
    with pytest.raises(UserError, match="temporary file: No such file.*TMPDIR"):
        spill.put("first", 0, 0, np.zeros((1, 2, 2), np.float32))
    spill.close()


MEMORY = """
import json, sys
import numpy as np
from nst_gluon.nets import tiles
from nst_gluon.nets.trained_net import load_net
net = load_net(sys.argv[1] if len(sys.argv) > 1 else NET)
content = np.full((1, 3, SIDE, SIDE), 0.5, np.float32)
content[:, :, ::7] = 0.1
tiles.Tiling(net, content, (SIDE, SIDE), 256).pixels()
status = open("/proc/self/status").read().split()
print(json.dumps(int(status[status.index("VmHWM:") + 1]) * 1024))
"""


def test_memory_does_not_grow_with_the_picture(python, tmp_path):
    """Beside the picture itself: 12 bytes a pixel of content, 3 of the result, and 12 while it is being filled."""
    path = netfile.save(tmp_path / "net.npz", *toy_net.trained("johnson", "stylize", norm="batch", residuals=1))
    peaks = []
    for side in (1024, 2048):
        done = python(MEMORY.replace("NET", repr(str(path))).replace("SIDE", str(side)), OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        peaks.append(json.loads(done.stdout) - 15 * side**2)
    assert peaks[1] < 1.1 * peaks[0]
