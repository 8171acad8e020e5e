"""Imports that are put off happen when they are needed, and leave nothing else changed."""

from __future__ import annotations

import gc
import sys
from types import ModuleType

import pytest

from nst_gluon.system import lazily


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "putoff"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "slow.py").write_text("import builtins\nbuiltins.putoff_runs += 1\nVALUE = 7\n")
    (folder / "wide.py").write_text("from putoff.slow import VALUE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("builtins.putoff_runs", 0, raising=False)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "putoff"]:
        del sys.modules[name]


def runs() -> int:
    import builtins

    return builtins.putoff_runs


def test_a_module_is_executed_once_and_when_it_is_asked(package):
    lazily.put_off(["putoff.slow", "putoff.nowhere", "no.such"])
    import putoff.slow
    from putoff import slow

    assert runs() == 0 and slow is putoff.slow
    assert slow.VALUE == 7 and runs() == 1 and type(slow) is ModuleType
    with pytest.raises(AttributeError):
        _ = slow.nothing
    lazily.put_off(["putoff.slow"])
    assert slow.VALUE == 7 and runs() == 1


def test_names_from_it_are_had_as_ever(package):
    lazily.put_off(["putoff.slow"])
    from putoff.wide import VALUE

    assert (VALUE, runs()) == (7, 1)


def test_garbage_is_collected_again_whatever_happens():
    before = list(sys.meta_path)
    with pytest.raises(KeyError), lazily.quick():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() and sys.meta_path == before


def test_the_engine_comes_without_what_a_picture_does_not_need(python):
    pytest.importorskip("mxnet", reason="needs an engine")
    done = python(
        "import sys\nfrom nst_gluon.system.engine import mx\n"
        "heavy = ['scipy.stats._stats_py', 'onnx.helper', 'urllib3', 'setuptools', 'pandas', 'matplotlib', 'torch', "
        "'gluoncv']\nprint([name for name in heavy if name in sys.modules])\n"
        "import scipy.stats\nprint(scipy.stats.norm.cdf(0))"
    )
    assert done.stdout.split("\n")[:2] == ["[]", "0.5"], done.stderr
