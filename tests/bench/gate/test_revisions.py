"""Revisions of a real repository: found, checked out beside each other, cleaned up; and what commits declare."""

from __future__ import annotations

import subprocess

import pytest

from bench.gate import revisions
from nst_gluon.system.errors import UserError


@pytest.fixture
def repository(tmp_path):
    """A repository with two commits that have a worker, the second declaring slow-downs."""
    folder = tmp_path / "suite"
    (folder / "bench" / "run").mkdir(parents=True)
    (folder / "nst_gluon").mkdir()

    def git(*arguments):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    git("config", "user.name", "t")
    git("config", "user.email", "t@example.invalid")
    (folder / revisions.WORKER).write_text('"""A worker."""\nPROTOCOL = 7\n')
    (folder / "nst_gluon" / "__init__.py").write_text("")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    (folder / revisions.WORKER).write_text("PROTOCOL = 8\nno Python here\n")
    git("commit", "--quiet", "--all", "--message", "Better padding\n\nWhy.\n\n"
        "Accept-Slower: latency_s johnson stylize: exact padding costs a copy\n"
        "Accept-Slower: working_memory_bytes: keeps the picture: twice\nAccept-Slower: peak_memory_bytes:\n"
        "Signed-off-by: t")  # fmt: skip
    return folder


def test_revisions_are_resolved_and_anything_else_is_none(repository):
    head = revisions.resolve("HEAD", repository)
    assert len(head) == 40
    assert revisions.resolve(head[:8], repository) == head
    assert revisions.resolve("HEAD~1", repository) != head
    for text in ("HEAD~9", "no-such", "--help", "", "-", f"HEAD:{revisions.WORKER}"):
        assert revisions.resolve(text, repository) is None


def test_worktrees_hold_the_revisions_and_are_gone_afterwards(repository):
    with revisions.worktrees([("baseline", "HEAD~1"), ("candidate", "HEAD")], repository) as (a, b):
        assert a.parent == b.parent
        assert (revisions.protocol(a), revisions.protocol(b)) == (7, None)
        assert revisions.is_checkout(a)
    assert not a.exists()
    listed = subprocess.run(["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True).stdout
    assert len(listed.splitlines()) == 1


def test_worktrees_are_gone_after_an_interruption_too(repository):
    with pytest.raises(KeyboardInterrupt), revisions.worktrees([("a", "HEAD")], repository) as (folder,):
        raise KeyboardInterrupt
    assert not folder.exists()


def test_a_revision_that_is_not_there_is_one_line(repository):
    with pytest.raises(UserError, match="git worktree"), revisions.worktrees([("a", "no-such")], repository):
        pass


def test_declared_slow_downs_are_read_from_the_commits_between(repository):
    declared = revisions.accepted(repository, "HEAD~1", "HEAD")
    assert [(a.metric, a.cell, a.reason) for a in declared] == [
        ("latency_s", "johnson stylize", "exact padding costs a copy"),
        ("working_memory_bytes", "", "keeps the picture: twice"),
        ("peak_memory_bytes", "", ""),
    ]
    assert len(declared[0].commit) == 40
    assert revisions.accepted(repository, "HEAD", "HEAD") == []


def test_messages_in_any_encoding_and_with_escapes_are_read(repository):
    head, tree = (revisions.git(repository, "rev-parse", name) for name in ("HEAD", "HEAD^{tree}"))
    written = f"tree {tree}\nparent {head}\nauthor t <t> 0 +0000\ncommitter t <t> 0 +0000\n\n".encode()
    written += b"Caf\xe9\n\nAccept-Slower: latency_s: d\xe9j\xe0 \x1b[31mvu\n"
    words = ["git", "-C", str(repository), "hash-object", "-t", "commit", "-w", "--stdin"]
    made = subprocess.run(words, input=written, check=True, capture_output=True).stdout.decode().strip()
    (declared,) = revisions.accepted(repository, head, made)
    assert declared.reason == "d\\udce9j\\udce0 \\x1b[31mvu"


def test_without_git_that_is_what_is_said(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="git cannot be started .*comparing revisions needs git"):
        revisions.resolve("HEAD", repository)
    assert revisions.top(repository) is None


def test_what_a_killed_comparison_left_is_gone_at_the_next_start(repository, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    left = tmp_path / "tmp" / f"{revisions.PREFIX}left"
    users = tmp_path / "users-own"
    left.mkdir(parents=True)
    for path in (left / "baseline", users):
        subprocess.run(["git", "-C", str(repository), "worktree", "add", "--quiet", "--detach", str(path)], check=True)
    users.rename(tmp_path / "unplugged")
    with revisions.worktrees([("a", "HEAD")], repository) as (folder,):
        assert folder.is_dir() and not left.exists()
    listed = revisions.git(repository, "worktree", "list")
    assert str(left) not in listed and str(users) in listed  # what is not ours is left as it is


@pytest.mark.parametrize("cell, metric, covered", [
    ("johnson stylize 256", "latency_s", True), ("johnson stylize 512 batch-4", "latency_s", True),
    ("johnson stylize 256", "iteration_s", False), ("texture_net stylize 256", "latency_s", False),
    ("gatys texture 64", "working_memory_bytes", True), ("gatys texture 64", "peak_memory_bytes", False),
])  # fmt: skip
def test_a_declaration_covers_its_metric_and_cells(repository, cell, metric, covered):
    declared = revisions.accepted(repository, "HEAD~1", "HEAD")
    assert any(a.covers(cell, metric) for a in declared) is covered
