"""The pictures and nets that come with the package, and the lookup by name or by file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import refusal

from nst_gluon import assets
from nst_gluon.nets import netfile
from nst_gluon.pictures import images


@pytest.mark.parametrize("name", assets.styles() + assets.contents())
def test_every_bundled_picture_is_a_sound_colour_picture(name):
    path = assets.style_path(name) if name in assets.styles() else assets.content_path(name)
    assert path.is_file() and path.stat().st_size < 200_000
    array = images.load(path, 256)
    assert array.shape == (1, 3, 256, 256) and array.std() > 0.05


def test_every_file_is_listed_and_has_its_provenance():
    shipped = {path.stem for path in (assets.FOLDER / "pictures").iterdir()}
    assert shipped == set(assets.styles()) | set(assets.contents())
    provenance = (assets.FOLDER / "PROVENANCE.md").read_text(encoding="utf-8")
    assert all(f"{name}.jpg" in provenance for name in shipped)


def test_names():
    assert assets.styles()[0] == "great_wave" and len(assets.styles()) == 6
    assert assets.contents() == ["astronaut", "chelsea", "coffee", "rocket"]

    assets.styles().clear()
    assert assets.styles()


def test_a_file_of_ones_own(tmp_path, monkeypatch):
    path = images.save(np.zeros((3, 4, 4)), tmp_path / "mine.png")
    for find in (assets.style_path, assets.content_path):
        assert find(path) == path and find(str(path)) == path
    monkeypatch.chdir(tmp_path)
    assert assets.style_path("mine.png") == Path("mine.png")


def test_a_bundled_name_wins_over_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brick").write_bytes(b"x")
    assert assets.style_path("brick").parent == assets.FOLDER / "pictures"
    assert assets.style_path("./brick").resolve() == (tmp_path / "brick").resolve()


@pytest.mark.parametrize(
    ("find", "name", "near"),
    [
        (assets.style_path, "great_wvae", "did you mean 'great_wave'? Choose from: auvers, brick"),
        (assets.content_path, "chelsae", "did you mean 'chelsea'? Choose from: astronaut, chelsea"),
        (assets.style_path, "none.png", "choose from: auvers"),
        (assets.style_path, "a\0b", "choose from"),
        (assets.style_path, "x" * 5000, "choose from"),
        (assets.style_path, "", "choose from"),
    ],
)
def test_neither_name_nor_file(find, name, near):
    line = refusal(find, name)
    assert line.startswith(repr(name)) and near in line


def test_nets_are_found_by_style_method_and_task(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    assert assets.nets() == [] and assets.find_net("great_wave", "johnson", "stylize") is None
    (tmp_path / "nets").mkdir()
    for name in ("great_wave-johnson-stylize", "my-own-style-texture_net-texture", "odd"):
        for suffix in (".npz", ".json", ".csv"):
            (tmp_path / "nets" / f"{name}{suffix}").write_bytes(b"")
    assert [(net.style, net.method, net.task) for net in assets.nets()] == [
        ("great_wave", "johnson", "stylize"),
        ("my-own-style", "texture_net", "texture"),
    ]
    path = assets.find_net("my-own-style", "texture_net", "texture")
    assert path == tmp_path / "nets" / "my-own-style-texture_net-texture.npz"
    assert assets.find_net("great_wave", "johnson", "texture") is None
    net = assets.nets()[0]
    assert net.record.name == "great_wave-johnson-stylize.json" and net.record.is_file()
    assert net.log.name == "great_wave-johnson-stylize.csv" and net.log.is_file()


def test_every_bundled_net_is_sound_and_says_how_it_was_made():
    for net in assets.nets():
        params, meta = netfile.load(net.path)
        assert params and net.record.is_file() and net.log.is_file()
        assert (meta["method"], meta["task"]) == (net.method, net.task)
    assert sum(net.path.stat().st_size for net in assets.nets()) < 25_000_000
