"""What is promised to someone who installs: pins that fit together, and a base that needs no engine."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import pytest

from nst_gluon import methods

ROOT = Path(__file__).resolve().parent.parent
ENGINE_MODULES = {
    "nst_gluon.system.engine", "nst_gluon.nets.inference", "nst_gluon.nets.inference_graph",
    "nst_gluon.nets.fastest", "nst_gluon.nets.tiles",
    "nst_gluon.nets.trained_net", "nst_gluon.nets.training_net", "nst_gluon.objective.loss",
    "nst_gluon.training.adam", "nst_gluon.training.run_folder", "nst_gluon.training.loop",
    "nst_gluon.descriptor.vgg", "bench.engines.gluon", "bench.engines.onnxruntime", "bench.engines.openvino",
    *(f"bench.engines.pytorch.{name}" for name in ("backend", "descriptor", "devices", "library", "minimisers", "nets",
                                                   "objective")),
}  # fmt: skip


@pytest.fixture(scope="module")
def setup():
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return {re.match(r"[\w.-]+", line).group(0): line for line in lines}


def test_both_engine_extras_pin_the_same_engine(setup):
    extras = setup["options.extras_require"]
    cpu, gpu = requirements(extras["cpu"]), requirements(extras["cu112"])
    assert "mxnet-cu112" not in cpu and "mxnet" not in gpu
    assert cpu["mxnet"].replace("mxnet", "mxnet-cu112", 1) == gpu["mxnet-cu112"]
    for name in ("numpy", "gluoncv", "h5py"):
        assert cpu[name] == gpu[name]
    assert "==1.9.1" in cpu["mxnet"] and "<1.24" in cpu["numpy"] and "==0.10.5.post0" in cpu["gluoncv"]


def test_every_cuda_library_that_is_loaded_comes_with_the_extra(setup):
    from nst_gluon.system.runtime import CUDA_LIBRARIES

    pinned = requirements(setup["options.extras_require"]["cu112"])
    packages = {f"nvidia-{package.replace('_', '-')}-cu11" for package, _ in CUDA_LIBRARIES}
    assert packages == {name for name in pinned if name.startswith("nvidia-") and name.endswith("-cu11")}
    assert all("==" in pinned[name] for name in packages)
    assert "==8." in pinned["nvidia-cudnn-cu11"]  # libcudnn.so.8


def test_the_base_package_has_no_engine_and_no_upper_bound(setup):
    base = requirements(setup["options"]["install_requires"])
    assert not {"mxnet", "mxnet-cu112", "gluoncv", "torch", "opencv-python"} & set(base)
    assert not any("<" in line or "==" in line for line in base.values())


def test_every_test_environment_of_tox_has_its_extras(setup):
    tox = configparser.RawConfigParser()
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    extras = setup["options.extras_require"]
    (noengine,) = (name for name in tox.sections() if name.startswith("testenv:noengine"))
    for section in ("testenv", noengine):
        assert all(name.strip() in extras for name in tox[section]["extras"].split(","))
    assert not {"cpu", "onnx", "torch"} & {name.strip() for name in tox[noengine]["extras"].split(",")}


def test_pip_finds_every_extra_by_the_name_that_messages_give(setup):
    """Pip looks for a-b where it is asked for a_b, and old versions find nothing and go on."""
    extras = setup["options.extras_require"]
    assert all(re.fullmatch("[a-z0-9]+", name) for name in extras)
    assert {method.extra for method in methods.bundled().values()} - {""} <= set(extras)


def test_the_installed_commands_end_as_the_modules_do(setup, python):
    """With no stream to print to, too."""
    for line in setup["options.entry_points"]["console_scripts"].split("\n")[1:]:
        module, name = line.split(" = ")[1].split(":")
        run = f"import os, sys\nfrom {module} import {name}\nos.closerange(0, 3)\nsys.argv[1:] = ['list']\n"
        assert python(f"{run}sys.exit({name}())").returncode == 0, line


def test_package_data_is_there(setup):
    for package, patterns in setup["options.package_data"].items():
        folder = ROOT.joinpath(*package.split("."))
        assert folder.is_dir(), package
        assert any(list(folder.glob(pattern)) for pattern in patterns.split()), package


def modules() -> list[str]:
    paths = [path.relative_to(ROOT) for package in ("nst_gluon", "bench") for path in (ROOT / package).rglob("*.py")]
    return [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths if path.stem != "__main__"]


def test_only_engine_modules_need_an_engine_and_say_in_one_line_what_to_install(python):
    done = python(
        "import importlib, sys\nfrom nst_gluon.system.errors import EngineMissing\n"
        f"for name in {modules()}:\n"
        "    try:\n        importlib.import_module(name)\n"
        "    except EngineMissing as error:\n        assert '\\n' not in str(error)\n        print(name)\n"
        "print(*{'mxnet', 'torch', 'onnxruntime', 'onnx', 'gluoncv', 'cv2'} & set(sys.modules))",
        engine=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert sorted(done.stdout.split()) == sorted(ENGINE_MODULES)


def test_the_packages_themselves_are_light(python):
    done = python("import sys, nst_gluon, bench\nprint({'numpy', 'pandas', 'matplotlib', 'mxnet'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


def test_the_orchestrator_never_imports_the_engine(python):
    done = python(
        "import sys\nfrom bench.cli.main import main\nstatus = main(['list', 'methods'])\n"
        "print(status, 'mxnet' in sys.modules)"
    )
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


def test_code_parses_on_the_oldest_python():
    for path in [*(ROOT / "nst_gluon").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]:
        ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 9))


def test_ci_runs_the_tests():
    assert "python -m pytest" in (ROOT / ".ci" / "run").read_text()
