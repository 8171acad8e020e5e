"""Other people's downloaders run quietly, under a progress bar, and never longer than we do."""

from __future__ import annotations

import io
import os
import sys

import pytest

from nst_gluon.descriptor.weights import download

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")


class Terminal(io.StringIO):
    def isatty(self):
        return True


GROW = """
import sys, time
with open(sys.argv[1], "wb", 0) as file:
    for _ in range(10):
        file.write(bytes(1000))
        time.sleep(0.06)
"""


@pytest.mark.parametrize(("progress", "terminal"), [(True, True), (True, False), (False, True)])
def test_the_bar(tmp_path, monkeypatch, progress, terminal):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(download, "INTERVAL_S", 0.05)
    command = [sys.executable, "-c", GROW, str(tmp_path / "f")]
    assert download.watch(command, tmp_path, "VGG-19 weights", 10_000, progress, {}) == (0, "")
    shown = stream.getvalue()
    if progress and terminal:
        assert "VGG-19 weights" in shown and "10.0k/10.0k" in shown and "100%" in shown
    else:
        assert shown == ""


def test_what_a_downloader_prints_is_kept_off_the_terminal(tmp_path, capfd):
    program = "import os, sys; print('one'); print('two', os.environ['X'], file=sys.stderr); sys.exit(3)"
    status, output = download.watch([sys.executable, "-c", program], tmp_path, "t", None, True, {"X": "ü"})
    assert status == 3 and "one" in output and "two ü" in output
    assert capfd.readouterr() == ("", "")


@POSIX
def test_ctrl_c_ends_the_downloader(tmp_path, monkeypatch):
    program = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"

    def interrupted(folder):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(download, "largest_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download.watch([sys.executable, "-c", program], tmp_path, "t", None, True, {})
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "no message"),
        ("Traceback\n  line\nValueError: spam \x1b[31m\n\n", "ValueError: spam \\x1b[31m"),
        ("ERROR: first\nERROR: second\n", "first"),
        ("WARNING: Retrying after connection broken by 'SSLError(1)'\nERROR: none\n", "no connection (SSLError)"),
        ("x: Max retries exceeded (Caused by N('[Errno -2] Name or service not known'))", "Name or service not known"),
    ],
)
def test_what_went_wrong(output, words):
    assert words in download.last_error(output)
