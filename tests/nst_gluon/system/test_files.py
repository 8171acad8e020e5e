"""Files that are no regular files, temporary files of processes that are gone, JSON of somebody else's."""

from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from nst_gluon.system import documents, files
from nst_gluon.system.errors import UserError


@pytest.fixture
def irregular(tmp_path):
    """Everything that has a name and is no regular file, by what it is called in messages."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # its path may be too long for the system
        server.bind("socket")
        os.chdir(here)
        yield {"a named pipe": tmp_path / "pipe", "a folder": tmp_path / "folder", "a device": "/dev/null",
               "a socket": tmp_path / "socket"}  # fmt: skip


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT])
def test_only_regular_files_are_opened_and_none_is_waited_for(irregular, flags):
    for words, path in irregular.items():
        with pytest.raises(OSError) as error:
            files.open_regular(path, flags)
        assert words in files.one_line(error.value)


def test_a_link_is_followed_only_where_that_is_asked_for(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert files.read_bounded(tmp_path / "link", 1) == b"x"
    with pytest.raises(OSError, match="a symbolic link"):
        files.read_bounded(tmp_path / "link", 1, follow=False)
    with pytest.raises(FileNotFoundError):
        files.read_bounded(tmp_path / "none", 1, follow=False)


def test_no_more_is_read_than_was_said(tmp_path):
    (tmp_path / "file").write_bytes(b"xy")
    assert files.read_bounded(tmp_path / "file", 2) == b"xy"
    with pytest.raises(OSError, match="larger than 1 bytes") as error:
        files.read_bounded(tmp_path / "file", 1)
    assert error.value.errno == errno.EFBIG


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    files.write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "precious").read_bytes() == b"old" and (tmp_path / "link").read_bytes() == b"new"


def test_devices_and_pipes_are_not_replaced_by_files(irregular):
    for words, path in irregular.items():
        with pytest.raises(UserError, match=words):
            files.write_atomically(path, b"x")


def test_a_temporary_file_is_new_and_its_name_a_secret(tmp_path, monkeypatch):
    """Where somebody guessed the name, nothing is written to what lies there."""
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "guessed")
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / f"{files.PREFIX}guessed").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError):
        files.write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "precious").read_bytes() == b"old" and not (tmp_path / "file").exists()


def test_only_what_nobody_holds_is_swept(tmp_path):
    dead = tmp_path / f"{files.PREFIX}dead"
    dead.mkdir()
    (dead / "file").touch()
    (tmp_path / f"{files.PREFIX}link").symlink_to("/etc")
    with files.temporary_beside(tmp_path / "file") as (held, _):
        files.sweep(tmp_path)
        assert held.exists() and not dead.exists()


def test_without_locks_nothing_is_swept_and_all_is_written(tmp_path, monkeypatch):
    """Some network file systems have none: whether another process is at work cannot be known there."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    (tmp_path / f"{files.PREFIX}other").touch()
    files.sweep(tmp_path)
    files.write_atomically(tmp_path / "file", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{files.PREFIX}other", "file"]


def test_one_process_at_a_time_makes_a_file(tmp_path, monkeypatch):
    """Two trainings of one net into one folder."""
    with files.alone(tmp_path / "net.npz"):
        with pytest.raises(UserError, match="net.npz.*another process"), files.alone(tmp_path / "net.npz"):
            pass
        with files.alone(tmp_path / "other.npz"):
            files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with files.alone(tmp_path / "net.npz"), monkeypatch.context() as patched:
        patched.setattr(files, "lock", lambda *_: None)  # a file system without locks
        with files.alone(tmp_path / "other.npz"):
            pass


@pytest.mark.parametrize(
    "text", ["[" * 33 + "]" * 33, "[" * 100_000, '{"a":' * 5000, "NaN", "[1e999]", "1" * 4000, "{"]
)
def test_json_is_bounded(text):
    with pytest.raises(ValueError):
        documents.parse(text)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "x is a list, not an object"),
        ({}, "x has no name"),
        ({"name": None}, "x has no name"),
        ({"name": "a", "sizes": ["b"]}, r"x.sizes\[0\] is a text, not a whole number"),
        ({"name": "a", "sizes": [True]}, r"x.sizes\[0\] is true or false"),
        ({"name": "a", "more": 1}, "x.more is a whole number, not a text"),
    ],
)
def test_what_is_not_as_described_is_named(value, words):
    description = {"name!": str, "sizes": [int], "*": str}
    documents.check({"name": "a", "sizes": [1], "more": None}, description, "x")
    with pytest.raises(ValueError, match=words):
        documents.check(json.loads(json.dumps(value)), description, "x")


@pytest.mark.parametrize(
    "block",
    [lambda folder: files.temporary_beside(folder / "file"), lambda folder: files.locked_folder(folder, files.PREFIX),
     lambda folder: files.scratch_folder(folder / "new"), lambda folder: files.alone(folder / "file")],
    ids=["file", "folder", "scratch", "mark"],
)  # fmt: skip
def test_a_signal_as_soon_as_something_is_there_leaves_nothing(block, tmp_path, monkeypatch):
    """Python runs the handler when the system call is over, and what that returned is lost."""

    def interrupted(create):
        def call(path, *arguments, **options):
            made = create(path, *arguments, **options)
            if Path(path).name.startswith(files.PREFIX):
                if isinstance(made, int):
                    os.close(made)
                monkeypatch.undo()
                raise KeyboardInterrupt
            return made

        return call

    with monkeypatch.context():
        monkeypatch.setattr(os, "open", interrupted(os.open))
        monkeypatch.setattr(os, "mkdir", interrupted(os.mkdir))
        with pytest.raises(KeyboardInterrupt), block(tmp_path):
            pytest.fail("the block was entered")
    assert list(tmp_path.iterdir()) == []
