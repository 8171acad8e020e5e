"""Training: it learns, it repeats itself, and a killed run resumes to the very same net."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from htmlpage import Page
from PIL import Image

from nst_gluon import assets
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.nets import netfile
from nst_gluon.nets.trained_net import load_net
from nst_gluon.pictures import images
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.training import checkpoint, photos, recipe, run_folder
from nst_gluon.training.config import TrainConfig, defaults, learning_rate
from nst_gluon.training.contents import Crops, _paths, contents
from nst_gluon.training.run_folder import LOG_COLUMNS, estimate, train
from nst_gluon.training.synthetic import Drawn

ROOT = Path(__file__).resolve().parents[3]
SMALL = {"style": "great_wave", "size": 64, "batch": 2, "random_weights": True}
TEXTURE = TrainConfig("texture_net", "texture", iterations=12, **SMALL)
JOHNSON = TrainConfig("johnson", "stylize", iterations=4, **SMALL)


def log(folder: Path) -> np.ndarray:
    path = next(folder.glob("*.csv"))
    assert path.read_text().splitlines()[0] == ",".join(LOG_COLUMNS)
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)


def test_published_schedules():
    paper = defaults(TrainConfig("texture_net", "texture", "great_wave", iterations=2000, recipe="paper"))
    rates = [learning_rate(paper, i) for i in (0, 999, 1000, 1199, 1200, 1999)]
    np.testing.assert_allclose(rates, 0.01 * 0.7 ** np.array([0, 0, 1, 1, 2, 5]))
    johnson = defaults(TrainConfig("johnson", "stylize", "great_wave", iterations=40_000, recipe="paper"))
    assert learning_rate(johnson, 0) == learning_rate(johnson, 39_999) == 1e-3


def test_a_slim_net_starts_fast_from_another_style_s_too():
    assert defaults(TrainConfig("johnson_slim", "stylize", "auvers", start="a net")).learning_rate == 0.01
    assert defaults(TrainConfig("johnson", "stylize", "auvers", start="a net")).learning_rate == 1e-3


def test_a_texture_net_learns_and_is_written_with_its_record(tmp_path):
    path = train(replace(TEXTURE, iterations=25, learning_rate=0.02), tmp_path, command="the command")
    objective = log(tmp_path)[:, LOG_COLUMNS.index("objective")]
    assert len(objective) == 25 and objective[-5:].mean() < 0.5 * objective[:3].mean()
    meta = json.loads(path.with_suffix(".json").read_text())
    assert meta["command"] == "the command" and meta["seed"] == 0 and meta["weights"]["random"] is True
    assert meta["final_objective"]["objective"] == pytest.approx(objective.mean(), rel=1e-4)
    with Image.open(path.with_suffix(".preview.png")) as preview:
        assert preview.size == (64, 64)
    assert not list(tmp_path.glob("*checkpoint*")) and not list(tmp_path.glob("*tmp*"))
    net = load_net(path)
    assert net.generate(size=(64, 64)).shape == (1, 3, 64, 64)
    assert net.parameter_count == 71_659


@pytest.mark.parametrize("config", [replace(TEXTURE, task="stylize"), JOHNSON])
def test_the_same_seed_gives_the_same_net_and_another_another(config, tmp_path):
    config = replace(config, iterations=3)
    nets = [
        netfile.load(train(replace(config, seed=seed), tmp_path / str(i)))[0] for i, seed in enumerate((1, 1, 2))
    ]
    assert all((nets[0][name] == nets[1][name]).all() for name in nets[0])
    assert any((nets[0][name] != nets[2][name]).any() for name in nets[0])


def test_a_killed_run_resumes_to_the_same_net(tmp_path):
    """kill -9 in the middle of a real process; the resumed run ends where the uninterrupted one does."""
    config = JOHNSON
    program = (
        "import os, signal, sys; from pathlib import Path; from nst_gluon.system.engine import mx\n"
        "from nst_gluon.training.run_folder import train; from nst_gluon.training.config import TrainConfig\n"
        "def stop(progress):\n    if progress.iteration == 3:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"train({config!r}, Path(sys.argv[1]), checkpoint_every=1, show=stop)\n"
    )
    whole = train(config, tmp_path / "whole")
    folder = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program, str(folder)], env=environment, timeout=300)
    assert done.returncode == -signal.SIGKILL and list(folder.glob("*.checkpoint.npz"))
    assert not list(folder.glob("*stylize.npz"))
    resumed = train(config, folder, checkpoint_every=1)
    a, b = netfile.load(whole)[0], netfile.load(resumed)[0]
    assert all((a[name] == b[name]).all() for name in a)
    columns = [0, *range(2, len(LOG_COLUMNS))]  # all but the seconds
    np.testing.assert_array_equal(log(tmp_path / "whole")[:, columns], log(folder)[:, columns])


def test_several_sizes_are_taken_in_turn(tmp_path):
    config = replace(JOHNSON, more_sizes=(32, 48), batch=1, iterations=5)
    assert [batch.shape[2:] for batch in contents(config)] == [(64, 64), (32, 32), (48, 48), (64, 64), (32, 32)]
    config = replace(TEXTURE, more_sizes=(32,), iterations=4)
    whole = train(config, tmp_path / "whole")
    meta = netfile.load(whole)[1]
    assert meta["size"] == 64 and meta["training"]["more_sizes"] == [32]
    page = Page(whole.with_suffix(".html").read_text(encoding="utf-8"))
    assert "2 pictures of 64 × 64 and 32 × 32 an iteration" in page.text
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", checkpoint_every=3, show=press_at(4))
    again = train(config, tmp_path / "cut")
    a, b = netfile.load(whole)[0], netfile.load(again)[0]
    assert all((a[name] == b[name]).all() for name in a)
    with pytest.raises(UserError, match="--size: .* 64 would do"):
        train(replace(config, more_sizes=(50,)), tmp_path / "odd")


def test_a_training_goes_on_from_another_net(tmp_path):
    small = replace(TEXTURE, iterations=3, architecture={"scales": 3})
    first = train(small, tmp_path / "first", command="the first command")
    still = replace(TEXTURE, iterations=1, start=str(first), learning_rate=0.0)
    second = train(still, tmp_path / "second")
    a, (b, meta) = netfile.load(first)[0], netfile.load(second)
    assert all((a[name] == b[name]).all() for name in a if "running" not in name)
    assert meta["architecture"]["scales"] == 3 and meta["start"]["command"] == "the first command"
    assert meta["start"]["sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()
    assert meta["training"]["start"] == first.name and str(tmp_path) not in json.dumps(meta)
    page = Page(second.with_suffix(".html").read_text(encoding="utf-8"))
    assert f"it went on from {first.name}" in page.text
    with pytest.raises(UserError, match="--start: .* is of the task texture, not stylize"):
        train(replace(still, task="stylize"), tmp_path / "other")
    with pytest.raises(UserError, match="--scales: .* leave --scales out"):
        train(replace(still, architecture={"scales": 4}), tmp_path / "other")


def test_the_channels_of_the_finest_scale(tmp_path):
    first = train(replace(TEXTURE, iterations=2, architecture={"scales": 3, "finest": 16}), tmp_path / "first")
    params, meta = netfile.load(first)
    assert meta["architecture"]["finest"] == 16 and params["output.weight"].shape == (3, 16, 1, 1)
    with pytest.raises(UserError, match="--finest: .* leave --finest out"):
        train(replace(TEXTURE, iterations=2, start=str(first), architecture={"finest": 24}), tmp_path / "other")
    with pytest.raises(UserError, match="finest needs 2 scales"):
        train(replace(TEXTURE, architecture={"scales": 1, "finest": 16}), tmp_path / "other")


def press_at(iteration: int):
    """What presses Ctrl-C once so many iterations are done."""

    def stop(progress):
        if progress.iteration == iteration:
            raise KeyboardInterrupt

    return stop


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(TEXTURE, tmp_path, checkpoint_every=1, show=press_at(2))
    for name, option in (("batch", "batch"), ("iterations", "iterations"), ("more_sizes", "size")):
        other = replace(TEXTURE, **{name: (32,) if name == "more_sizes" else 1})
        anew = r"delete great_wave-texture_net-texture\.checkpoint\*\.npz"
        with pytest.raises(UserError, match=f"made with another --{option}; .*{anew}"):
            train(other, tmp_path)


def test_a_training_whose_files_have_changed_is_not_gone_on_with(tmp_path):
    style, photos = tmp_path / "own.png", tmp_path / "photos"
    photos.mkdir()
    for number in (0, 1):
        images.save(np.full((1, 3, 64, 64), 0.3 + 0.1 * number, "float32"), photos / f"{number}.png")
    images.save(images.load(assets.style_path("brick"), 64), style)
    config = replace(JOHNSON, style=str(style), photos=str(photos))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, checkpoint_every=1, show=press_at(2))
    (photos / "2.png").write_bytes((photos / "0.png").read_bytes())
    with pytest.raises(UserError, match="--output: what --photos names has changed"):
        train(config, tmp_path)
    (photos / "2.png").unlink()
    images.save(images.load(assets.style_path("gravel"), 64), style)
    with pytest.raises(UserError, match=r"--output: what --style names has changed .* delete own-johnson-stylize"):
        train(config, tmp_path)


def test_a_net_that_another_process_has_just_finished_stays(tmp_path, monkeypatch):
    """It deletes its checkpoint while this one loads the weights, and would be replaced."""
    with pytest.raises(KeyboardInterrupt):
        train(TEXTURE, tmp_path, checkpoint_every=1, show=press_at(2))
    net_path, load = tmp_path / "great_wave-texture_net-texture.npz", run_folder.vgg_weights.load

    def finished(*arguments, **options):
        net_path.write_bytes(b"a net")
        for saved in tmp_path.glob("*.checkpoint*.npz"):
            saved.unlink()
        return load(*arguments, **options)

    monkeypatch.setattr(run_folder.vgg_weights, "load", finished)
    with pytest.raises(UserError, match="exists; give another folder"):
        train(TEXTURE, tmp_path)
    assert net_path.read_bytes() == b"a net"


def test_a_damaged_log_and_a_checkpoint_of_something_else(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(TEXTURE, tmp_path, checkpoint_every=1, show=press_at(2))
    log_path = tmp_path / "great_wave-texture_net-texture.csv"
    log_path.write_bytes(log_path.read_bytes() + b"\xff\xfe," + b"x," * (len(LOG_COLUMNS) - 2) + b"y\n")
    saved = log_path.with_suffix(".checkpoint.npz")
    kept, (arrays, state) = saved.read_bytes(), checkpoint.load(saved)
    trainer, lacking = run_folder.Trainer(TEXTURE, vgg_weights.load(random=True)), dict(arrays)
    del lacking["adam_mean.output.bias"]
    for wrong in ({"iteration": 1}, {**state, "iteration": "x"}, {**state, "iteration": -5}, {**state, "config": [1]},
                  {**state, "best": "x"}, {**state, "best": 1.0}, state):  # fmt: skip
        checkpoint.save(saved, lacking if wrong is state else arrays, wrong)
        with pytest.raises(UserError, match=r" \(.*\); delete great_wave-.*\.checkpoint\*\.npz to begin anew"):
            trainer.restore(saved)
    saved.write_bytes(kept)
    assert train(TEXTURE, tmp_path).is_file()
    assert len(log(tmp_path)) == TEXTURE.iterations


def test_a_log_that_was_deleted_begins_at_the_checkpoint(tmp_path, monkeypatch):
    config, path = replace(TEXTURE, iterations=4), tmp_path / "great_wave-texture_net-texture.csv"

    def press(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, checkpoint_every=2, show=press_at(3))
    path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(run_folder, "_finish", press)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path, checkpoint_every=2)
            assert log(tmp_path)[:, 0].tolist() == [3, 4]
    path.unlink()
    meta = netfile.load(train(config, tmp_path))[1]
    (row,) = log(tmp_path)
    assert row[0] == meta["iterations"] == 4 and meta["final_window"] == 1
    assert meta["final_objective"]["objective"] == pytest.approx(row[LOG_COLUMNS.index("objective")], rel=1e-5)


def test_a_net_that_cannot_be_written_costs_no_step(tmp_path):
    config, steps = replace(TEXTURE, iterations=3), []
    (tmp_path / "great_wave-texture_net-texture.html").mkdir()
    with pytest.raises(UserError, match="^--output: cannot .* it is a folder; .* goes on from the last checkpoint$"):
        train(config, tmp_path, checkpoint_every=2)
    (tmp_path / "great_wave-texture_net-texture.html").rmdir()
    assert train(config, tmp_path, checkpoint_every=2, show=steps.append).is_file() and not steps
    assert len(log(tmp_path)) == 3 and not list(tmp_path.glob("*checkpoint*"))


def test_a_checkpoint_on_a_full_disk_is_one_error(tmp_path, monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(UserError, match="^--output: cannot write "):
            checkpoint.save(tmp_path / "x.checkpoint.npz", {"array": np.zeros(5000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    assert not complaints and not list(tmp_path.iterdir())


def test_previews_come_by_the_clock_and_change_nothing(tmp_path):
    config = replace(TEXTURE, iterations=3)
    seen = []

    def look(folder):
        return lambda progress: seen.append((folder, len(list((tmp_path / folder).glob("*.preview.png")))))

    often = train(config, tmp_path / "often", preview_every_s=0, show=look("often"))
    never = train(config, tmp_path / "never", preview_every_s=1e9, show=look("never"))
    # The preview of a step is made after it was shown.
    assert seen == [("often", 0), ("often", 1), ("often", 1), ("never", 0), ("never", 0), ("never", 0)]
    assert never.with_suffix(".preview.png").is_file()
    a, b = netfile.load(often)[0], netfile.load(never)[0]
    assert all((a[name] == b[name]).all() for name in a)


def test_the_time_is_told_after_a_few_steps_unless_quiet(tmp_path, capsys):
    train(replace(TEXTURE, iterations=9), tmp_path / "told")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("about ") and " for 2 more steps of " in line
    train(replace(TEXTURE, iterations=9), tmp_path / "quiet", quiet=True)
    assert capsys.readouterr().err == ""


def test_the_estimate_is_that_of_the_median_step():
    assert estimate({64: [0.5, 9.0, 0.4]}, [64] * 1000).startswith("about 500 s for 1,000 more steps of 500 ms, done ")
    both = {32: [0.2, 0.2, 0.3], 64: [0.8, 0.8, 9.0]}
    assert estimate(both, [32, 64] * 500).startswith("about 500 s for 1,000 more steps of 500 ms, done ")
    # A side that is still to come costs as many pixels as it has.
    assert estimate({64: [0.1]}, [64] * 200 + [128] * 200).startswith("about 100 s for 400 more steps")


@pytest.mark.parametrize(("config", "pictures"), [(TEXTURE, 4), (JOHNSON, 7)])
def test_the_page_beside_the_net(tmp_path, config, pictures):
    net = train(replace(config, iterations=2), tmp_path, command="python -m nst_gluon train <great_wave>")
    page = Page(net.with_suffix(".html").read_text(encoding="utf-8"))
    assert not page.open and len(page.all("img")) == pictures and len(page.all("svg")) == 1
    assert all(picture["src"].startswith("data:image/jpeg;base64,") for picture in page.all("img"))
    assert "was trained on the" in page.text and "for 2 iterations" in page.text and "random weights" in page.text
    assert "python -m nst_gluon train <great_wave>" in page.text and f"--net {net}" in page.text


def test_divergence_is_reported_and_no_net_written(tmp_path):
    with pytest.raises(NotFinite, match="diverged"):
        train(replace(TEXTURE, learning_rate=1e30), tmp_path)
    assert not list(tmp_path.glob("*texture.npz"))


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(UserError, match="--size"):
        train(replace(TEXTURE, size=50), tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="--output"):
        train(TEXTURE, blocked / "folder")
    train(replace(TEXTURE, iterations=1), tmp_path)
    with pytest.raises(UserError, match="--force"):
        train(replace(TEXTURE, iterations=1), tmp_path)


def test_crops_are_a_function_of_seed_and_index():
    photo = np.random.default_rng(0).random((3, 90, 120)).astype("float32")
    for how in recipe.RECIPES.values():
        drawn = Drawn([photo], 7, side=80)
        crops = Crops([photo], lambda item: 64, 7, how, drawn)
        first = [crops[item] for item in range(8)]
        assert all(crop.shape == (3, 64, 64) and crop.dtype == np.float32 for crop in first)
        assert all(crop.min() >= 0 and crop.max() <= 1 for crop in first)
        again = Crops([photo], lambda item: 64, 7, how, Drawn([photo], 7, side=80))
        np.testing.assert_array_equal(first[5], again[5])
        assert (Crops([photo], lambda item: 64, 8, how, drawn)[0] != first[0]).any()


def test_a_folder_of_pictures_is_trained_on(tmp_path):
    for i, colour in enumerate(((255, 0, 0), (0, 0, 255))):
        Image.new("RGB", (80, 70), colour).save(tmp_path / f"{i}.png")
    config = replace(JOHNSON, photos=str(tmp_path), iterations=6, recipe="paper")
    batches = list(contents(config))
    assert len(batches) == 6 and batches[0].shape == (2, 3, 64, 64)
    colours = {tuple(np.round(picture.mean(axis=(1, 2))).astype(int)) for b in batches for picture in b}
    assert colours == {(1, 0, 0), (0, 0, 1)}
    later = list(contents(config, first=4))
    np.testing.assert_array_equal(batches[4], later[0])


def test_of_many_photos_few_are_in_memory(tmp_path, monkeypatch):
    for i in range(6):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(photos, "KEPT_BYTES", 2 * 3 * 16 * 16 * 4)
    found = photos.Photos(images.list_folder(tmp_path))
    assert [round(float(photo[0, 0, 0]) * 255) for photo in found] == list(range(6))
    reads = []
    monkeypatch.setattr(images, "load", lambda path: reads.append(path.stem) or np.zeros((1, 3, 16, 16), "float32"))
    for number in (5, 4, 5, 0, 5, 4):
        assert found[number].shape == (3, 16, 16)
    assert reads == ["0", "4"]


def test_a_net_is_not_trained_on_what_it_is_measured_on():
    names = {path.stem for path in assets.training_pictures("great_wave")}
    assert "astronaut" not in names and "great_wave" not in names and len(names) >= 5
    assert "great_wave" in {path.stem for path in assets.training_pictures("auvers")}
    for how in recipe.RECIPES:
        assert {path.stem for path in _paths(replace(JOHNSON, recipe=how))} == names - {assets.JUDGED}
