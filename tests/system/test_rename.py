# SPDX-License-Identifier: Apache-2.0
"""Renaming: which pairs work, and what happens to the target."""
import errno
import os
import time

import pytest

import cfs
from cfs import raises


@pytest.fixture
def at(folder):
    return lambda *parts: os.path.join(folder, *parts)


def test_a_missing_source_is_enoent(at):
    with raises(errno.ENOENT):
        os.rename(at("missing"), at("x"))


def test_the_target_needs_its_directory(at):
    cfs.write(at("f"), b"f")
    cfs.write(at("g"), b"g")
    with raises(errno.ENOENT):
        os.rename(at("f"), at("missing", "x"))
    with raises(errno.ENOTDIR):
        os.rename(at("f"), at("g", "x"))
    assert cfs.read(at("f")) == b"f"


def test_a_file_moves_to_another_name_and_directory(at):
    cfs.write(at("f"), b"f")
    os.mkdir(at("d"))
    os.rename(at("f"), at("g"))
    os.rename(at("g"), at("d", "h"))
    assert cfs.read(at("d", "h")) == b"f"
    with raises(errno.ENOENT):
        os.stat(at("f"))
    with raises(errno.ENOENT):
        os.stat(at("g"))


def test_a_file_replaces_a_file_and_keeps_its_inode(at):
    cfs.write(at("source"), b"new")
    cfs.write(at("target"), b"old and longer")
    cfs.set_mtime(at("source"), 1000000000)
    inode = os.stat(at("source")).st_ino
    before = time.time()
    os.rename(at("source"), at("target"))
    found = cfs.fresh_stat(at("target"))
    assert (found.ino, found.size) == (inode, 3)
    assert before - 2 <= found.mtime.sec <= time.time() + 2, "mtime is the time of the rename"
    assert cfs.read(at("target")) == b"new"
    assert cfs.names(at()) == ["target"]


@pytest.mark.parametrize("target", ["missing", "empty", "full"])
def test_a_directory_with_entries_does_not_move(at, target):
    os.makedirs(at("source", "sub"))
    if target != "missing":
        os.mkdir(at(target))
    if target == "full":
        os.mkdir(at(target, "x"))
    with raises(errno.ENOTEMPTY):
        os.rename(at("source"), at(target))
    assert cfs.names(at("source")) == ["sub"]
    assert os.path.exists(at(target)) == (target != "missing")


def test_nothing_moves_onto_a_directory_with_entries(at):
    os.makedirs(at("target", "sub"))
    os.mkdir(at("source"))
    with raises(errno.ENOTEMPTY):
        os.rename(at("source"), at("target"))


def test_an_empty_directory_moves_to_a_new_name_or_onto_an_empty_one(at):
    os.mkdir(at("a"))
    inode = os.stat(at("a")).st_ino
    os.rename(at("a"), at("b"))
    os.mkdir(at("c"))
    os.rename(at("b"), at("c"))
    assert cfs.names(at()) == ["c"]
    assert cfs.fresh_stat(at("c")).ino == inode


def test_kinds_do_not_mix(at):
    cfs.write(at("f"), b"f")
    os.mkdir(at("d"))
    with raises(errno.EISDIR):
        os.rename(at("f"), at("d"))
    with raises(errno.ENOTDIR):
        os.rename(at("d"), at("f"))


def test_onto_itself_does_nothing(at):
    cfs.write(at("f"), b"f")
    os.mkdir(at("d"))
    before = cfs.version_of(at("f")), cfs.version_of(at("d"))
    os.rename(at("f"), at("f"))
    os.rename(at("d"), at("d"))
    assert (cfs.version_of(at("f")), cfs.version_of(at("d"))) == before
    assert cfs.read(at("f")) == b"f"


def test_a_directory_does_not_move_into_itself(at):
    os.makedirs(at("d"))
    with raises(errno.EINVAL):
        os.rename(at("d"), at("d", "x"))
    os.mkdir(at("d", "e"))
    with raises(errno.EINVAL):
        os.rename(at("d"), at("d", "e", "x"))


def test_the_root_does_not_move(mount, at):
    with raises(errno.EBUSY, errno.EXDEV, errno.EINVAL):
        os.rename(mount, at("x"))


def test_locks_do_not_move_but_files_beside_them_do(mount):
    lock = os.path.join(mount, "priv", "lock")
    os.makedirs(f"{lock}/one/deep", exist_ok=True)
    for path in (f"{lock}/one/deep", f"{lock}/one"):
        with raises(errno.EACCES):
            os.rename(path, f"{mount}/moved")
        with raises(errno.EACCES):
            os.rename(path, f"{lock}/moved")
    cfs.write(f"{lock}/file", b"x")
    os.rename(f"{lock}/file", f"{lock}/other")
    os.rename(f"{lock}/other", f"{lock}/one/deep/file")
    assert cfs.read(f"{lock}/one/deep/file") == b"x"


def test_a_directory_may_move_into_the_lock_directory(mount, at):
    os.makedirs(os.path.join(mount, "priv", "lock"), exist_ok=True)
    os.mkdir(at("d"))
    os.rename(at("d"), os.path.join(mount, "priv", "lock", "from-outside"))
    os.rmdir(os.path.join(mount, "priv", "lock", "from-outside"))


def test_renaming_across_the_border_of_private_paths_changes_the_mode(mount, at):
    os.makedirs(os.path.join(mount, "priv"), exist_ok=True)
    cfs.write(at("f"), b"f")
    private = os.path.join(mount, "priv", "moved")
    os.rename(at("f"), private)
    assert cfs.fresh_stat(private).mode & 0o7777 == 0o600
    os.rename(private, at("f"))
    assert cfs.fresh_stat(at("f")).mode & 0o7777 == 0o640


def test_noreplace_keeps_an_existing_target(at):
    cfs.write(at("a"), b"a")
    cfs.write(at("b"), b"b")
    with raises(errno.EEXIST):
        cfs.renameat2(at("a"), at("b"), cfs.RENAME_NOREPLACE)
    assert cfs.read(at("a")) == b"a"
    assert cfs.read(at("b")) == b"b"


def test_noreplace_onto_a_missing_target_is_einval_and_programs_fall_back(at):
    """The operation that peers know cannot carry the condition."""
    cfs.write(at("a"), b"a")
    with raises(errno.EINVAL):
        cfs.renameat2(at("a"), at("b"), cfs.RENAME_NOREPLACE)
    assert cfs.names(at()) == ["a"]
    cfs.run("mv", "-n", at("a"), at("b"), check=True)
    assert cfs.names(at()) == ["b"]


@pytest.mark.parametrize("flags", [cfs.RENAME_EXCHANGE, cfs.RENAME_WHITEOUT])
def test_exchange_and_whiteout_are_einval(at, flags):
    cfs.write(at("a"), b"a")
    cfs.write(at("b"), b"b")
    with raises(errno.EINVAL):
        cfs.renameat2(at("a"), at("b"), flags)
    assert cfs.read(at("a")) == b"a"
    assert cfs.read(at("b")) == b"b"


def test_each_rename_is_one_change(at):
    cfs.write(at("a"), b"a")
    before = cfs.version_of(at("a"))
    os.rename(at("a"), at("b"))
    assert cfs.version_of(at("b")) == before + 1
