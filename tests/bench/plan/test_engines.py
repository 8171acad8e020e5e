"""The registry of engines, their options, and what a plan makes of several. No engine is needed."""

from __future__ import annotations

import json
import shlex
import sys
from types import SimpleNamespace

import pytest
from plans import SETTINGS, small_plan, with_settings

from bench.cli import main
from bench.plan import arguments, engines
from bench.plan import cells as plan
from bench.run import prepare, session
from nst_gluon.system import runtime
from nst_gluon.system.errors import EngineMissing, UserError

ALL = ["gluon", "pytorch", "onnxruntime", "openvino"]
GPU = runtime.Gpu(0, "Fake H200", (9, 0), 150 << 30, "570.1")


def one_line(call, *arguments, kind=UserError) -> str:
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_reference_comes_first_and_every_engine_says_how_to_get_it():
    assert list(engines.ENGINES) == ALL
    assert engines.REFERENCE == "gluon"
    for engine in engines.ENGINES.values():
        assert "pip install" in engine.install and engine.packages


def test_a_missing_engine_is_one_line_with_what_to_install(monkeypatch):
    monkeypatch.setattr(engines, "_is_there", lambda package: package != "torch")
    text = one_line(engines.get("pytorch").check, kind=EngineMissing)
    assert text.startswith("--engine: no engine: pytorch needs torch; ") and ".[torch]" in text
    engines.get("onnxruntime").check()


def test_bench_run_refuses_unknown_and_missing_engines_with_exit_status_2(monkeypatch, capsys):
    monkeypatch.setattr(engines, "_is_there", lambda package: False)
    for name, said in (("pytorhc", "did you mean 'pytorch'"), ("pytorch", "pytorch needs torch")):
        assert main.main(["run", "--engine", name]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: --engine: ") and said in line


def test_an_engine_that_breaks_while_it_is_imported_is_one_line(monkeypatch):
    def broken(package):
        raise OSError("libfoo.so.1:\n cannot open")

    monkeypatch.setattr(engines.importlib, "import_module", broken)
    text = one_line(engines.get("pytorch").packages_loaded, kind=EngineMissing)
    assert "pytorch cannot be imported (libfoo.so.1: cannot open)" in text


def test_each_engine_is_tried_in_a_process_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('half\\ninstalled')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    text = one_line(prepare.try_engine, "pytorch")
    assert "half installed" in text and ".[torch]" in text


# ------------------------------------------------------------------------------------- environments of their own


@pytest.fixture()
def elsewhere(tmp_path):
    """A program that runs this Python and says so in a file: another environment, as far as anybody can see."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho used >> {tmp_path}/log\nexec {sys.executable} \"$@\"\n")
    program.chmod(0o755)
    return program


def test_a_peer_may_be_installed_elsewhere(monkeypatch, elsewhere, tmp_path):
    def planned(*more):
        return arguments.make_plan(main.parser().parse_args(
            ["run", "--engine", "onnxruntime", "--method", "johnson", "--size", "64", *more]
        ))  # fmt: skip

    monkeypatch.setattr(engines, "_is_there", lambda package: False)
    one_line(planned, kind=EngineMissing)
    made = planned("--engine-python", f"onnxruntime={elsewhere}")
    assert made.settings.engine_pythons == (("onnxruntime", str(elsewhere)),)
    back = plan.Plan.from_dict(json.loads(json.dumps(made.to_dict())))
    assert back == made
    (tmp_path / "onnxruntime.py").write_text("")
    (tmp_path / "onnx.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    versions = prepare.try_engine("onnxruntime", str(elsewhere))
    assert versions["python"] and "onnxruntime" in versions and (tmp_path / "log").read_text() == "used\n"


@pytest.mark.parametrize(("given", "said"), [
    (["pytorch=python"], "pytorch is not measured; add it to --engine"),
    (["onnxruntim=python"], "did you mean 'onnxruntime'"),
    (["onnxruntime"], "'' is not a program; give onnxruntime=PATH of a Python"),
    (["onnxruntime=/no/such/python"], "is not a program"),
])  # fmt: skip
def test_wrong_environments_are_one_line(given, said):
    assert said in one_line(engines.parse_pythons, given, ["gluon", "onnxruntime"])


@pytest.mark.parametrize("text", ["#!/bin/true\n", "#!/bin/echo\n", "no program\n"])
def test_a_program_that_is_no_python_is_one_line(elsewhere, text):
    elsewhere.write_text(text)
    said = one_line(prepare.try_engine, "onnxruntime", str(elsewhere))
    assert said.startswith(f"--engine-python: '{elsewhere}' is not a Python that can load onnxruntime; give")


def test_no_run_directory_alone_says_what_is_run(elsewhere, tmp_path):
    made = with_settings(small_plan(engines=["onnxruntime"], method_names=["johnson"]),
                         engine_pythons=(("onnxruntime", str(elsewhere)),))  # fmt: skip
    options = main.parser().parse_args(["run", "--resume", "latest"])
    assert "if you trust them, name them too: --engine-python onnxruntime=" in one_line(
        main._check_trusted, made, tmp_path, options
    )
    options.engine_python = [f"onnxruntime={elsewhere}"]
    main._check_trusted(made, tmp_path, options)
    made = with_settings(made, methods=(("toy", "my file.py:Toy"),))
    said = session._go_on(SimpleNamespace(path=tmp_path), made, session.How(tmp_path))
    main._check_trusted(made, tmp_path, main.parser().parse_args(shlex.split(said.partition("-m bench ")[2])))


# ------------------------------------------------------------------------------------------------------------ options


def test_options_are_pairs_without_the_defaults():
    given = ["pytorch.lbfgs=torch", "pytorch.layout=fastest", "pytorch.compile=yes"]
    assert engines.parse_options(given, ALL) == (("pytorch.compile", "yes"), ("pytorch.lbfgs", "torch"))


@pytest.mark.parametrize(
    ("given", "used", "said"),
    [
        (["pytorch.lbfsg=torch"], ALL, "did you mean 'pytorch.lbfgs'"),
        (["pytorch.lbfgs=numpy"], ALL, "choose from: scipy, suite, torch"),
        (["pytorch.lbfgs"], ALL, "pytorch.lbfgs='' is not possible"),
        (["pytorch.lbfgs=torch"], ["gluon"], "of --engine gluon; it has none"),
        (["pytorch.lbfgs=torch", "pytorch.lbfgs=scipy"], ALL, "given twice"),
    ],
)
def test_wrong_options_are_one_line(given, used, said):
    text = one_line(engines.parse_options, given, used)
    assert text.startswith("--engine-option: ") and said in text


def test_options_are_part_of_a_plan_only_where_they_say_something():
    plain = small_plan()
    assert "engine_options" not in plain.to_dict()["settings"]  # workers of older revisions read it too
    chosen = with_settings(plain, engine_options=(("pytorch.compile", "yes"),))
    back = plan.Plan.from_dict(json.loads(json.dumps(chosen.to_dict())))
    assert back == chosen and back.fingerprint() != plain.fingerprint()
    assert plain.difference(chosen).startswith("engine_options is")
    assert back.settings.options_of("pytorch") == {"layout": "fastest", "compile": "yes", "lbfgs": "suite"}
    assert SETTINGS.options_of("gluon") == {}


# -------------------------------------------------------------------------------------------------------------- plans


def test_a_plan_has_every_method_of_every_engine_that_can_do_it():
    cells = small_plan(engines=ALL).cells
    by_engine = {name: {(c.method, c.task) for c in cells if c.engine == name} for name in ALL}
    nets = {("johnson", "stylize"), ("texture_net", "stylize"), ("texture_net", "texture")}
    assert by_engine["gluon"] == by_engine["pytorch"] == nets | {("gatys", "stylize"), ("gatys", "texture")}
    assert by_engine["onnxruntime"] == by_engine["openvino"] == nets
    assert len({cell.key for cell in cells}) == len(cells)


def test_precisions_that_an_engine_lacks_are_measured_in_float32():
    cells = small_plan(engines=ALL, dtypes=["bfloat16"], method_names=["johnson"], tasks=["stylize"]).cells
    assert {cell.engine: cell.dtype for cell in cells} == {
        "gluon": "bfloat16", "pytorch": "bfloat16", "onnxruntime": "float32", "openvino": "bfloat16"
    }  # fmt: skip


def test_an_engine_that_can_do_nothing_of_it_is_refused():
    text = one_line(lambda: small_plan(engines=["onnxruntime"], method_names=["gatys"]))
    assert text.startswith("--engine: onnxruntime cannot do gatys") and "use gluon" in text


# ------------------------------------------------------------------------------------------------------------ devices


def test_a_gpu_that_mxnet_cannot_use_is_one_that_pytorch_can(monkeypatch):
    monkeypatch.setattr(runtime, "gpu_devices", lambda: [GPU])
    monkeypatch.setattr(runtime, "installed_version", lambda name: {"torch": "2.13.0"}.get(name))
    device = runtime.parse_device("gpu")
    engines.get("pytorch").check_device(device, ["float32", "bfloat16"])
    assert "--engine pytorch" in one_line(engines.get("gluon").check_device, device, ["float32"])
    assert "no GPU of that number" in one_line(
        engines.get("pytorch").check_device, runtime.parse_device("gpu:1"), ["float32"]
    )


@pytest.mark.parametrize(("name", "version"), [("pytorch", "2.13.0+cpu"), ("onnxruntime", "1.18.1")])
def test_a_cpu_build_of_a_peer_is_told(monkeypatch, name, version):
    monkeypatch.setattr(runtime, "gpu_devices", lambda: [GPU])
    versions = {"torch": version, "onnxruntime": version}
    monkeypatch.setattr(runtime, "installed_version", versions.get)
    device = runtime.parse_device("gpu")
    text = one_line(engines.get(name).check_device, device, ["float32"])
    assert text.startswith("--device gpu: ") and "CPU build" in text
    engines.get(name).check_device(device, ["float32"], elsewhere=True)
    assert "on the CPU here" in one_line(engines.get("openvino").check_device, device, ["float32"])


def test_bfloat16_on_a_processor_without_it_is_refused_for_every_engine_that_has_it(monkeypatch):
    monkeypatch.setattr(runtime, "cpu_supports_bfloat16", lambda: False)
    device = runtime.parse_device("cpu")
    for name in ("gluon", "pytorch", "openvino"):
        assert "--dtype bfloat16" in one_line(engines.get(name).check_device, device, ["bfloat16"])
    engines.get("onnxruntime").check_device(device, ["bfloat16"])  # it computes in float32
