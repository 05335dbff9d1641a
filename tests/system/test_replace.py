# SPDX-License-Identifier: Apache-2.0
"""Files that are replaced or removed while somebody has them open."""
import errno
import os
import time

import cfs
from cfs import MIB


def replacer(path, stop_file):
    rounds = 0
    while not os.path.exists(stop_file):
        cfs.replace(path, (b"%08d" % rounds) * 100)
        rounds += 1
    return rounds


def opener(path, reads):
    """Opens and reads, and keeps the last few handles open. Counts what must not happen."""
    found = {"torn": 0}
    held = []
    for _ in range(reads):
        try:
            fd = os.open(path, os.O_RDONLY)
            content = os.read(fd, 2000)
        except OSError as error:
            code = errno.errorcode[error.errno]
            found[code] = found.get(code, 0) + 1
            continue
        if len(content) != 800 or content != content[:8] * 100:
            found["torn"] += 1
        held.append((fd, content))
        if len(held) > 20:
            old, then = held.pop(0)
            if os.pread(old, 2000, 0) != then:
                found["torn"] += 1
            os.close(old)
    for fd, _ in held:
        os.close(fd)
    return found


def test_difference_a_file_that_is_replaced_is_never_missing(folder, tmp_path):
    path, stop = f"{folder}/f", str(tmp_path / "stop")
    cfs.write(path, b"00000000" * 100)
    writers = cfs.Children()
    writers.start(replacer, path, stop)
    readers = cfs.Children()
    for _ in range(2):
        readers.start(opener, path, 10_000)
    try:
        found = readers.results(90)
    finally:
        open(stop, "w").close()
    rounds, = writers.results(20)
    assert rounds > 100
    for each in found:
        assert each == {"torn": 0}, found
    assert cfs.names(folder) == ["f"], "nothing else is left"


def test_difference_open_handles_keep_what_was_replaced(folder):
    path = f"{folder}/f"
    cfs.write(path, b"old content")
    old_inode = os.stat(path).st_ino
    fd = os.open(path, os.O_RDONLY)
    for i in range(10):
        cfs.replace(path, b"new %d" % i)
        assert os.pread(fd, 100, 0) == b"old content"
        found = os.fstat(fd)
        assert (found.st_size, found.st_ino) == (11, old_inode)
        assert cfs.names(folder) == ["f"], "no hidden names"
    assert cfs.read(path) == b"new 9"
    os.close(fd)
    assert os.stat(path).st_ino != old_inode


def test_difference_open_handles_keep_what_was_unlinked(folder):
    path = f"{folder}/f"
    content = os.urandom(200_000)
    cfs.write(path, content)
    first, second = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    os.unlink(path)
    assert cfs.names(folder) == []
    with cfs.raises(errno.ENOENT):
        os.stat(path)
    for fd in (first, second):
        assert os.pread(fd, MIB, 0) == content
        assert os.fstat(fd).st_size == len(content)
        os.close(fd)
    os.rmdir(folder)


def test_a_name_is_free_again_at_once(folder):
    path = f"{folder}/f"
    cfs.write(path, b"one")
    fd = os.open(path, os.O_RDONLY)
    os.unlink(path)
    cfs.write(path, b"two")
    assert os.pread(fd, 10, 0) == b"one"
    assert cfs.read(path) == b"two"
    os.close(fd)
    assert cfs.read(path) == b"two"


def test_a_write_to_a_removed_file_does_not_reach_another(folder):
    path = f"{folder}/f"
    cfs.write(path, b"old")
    fd = os.open(path, os.O_RDWR)
    cfs.replace(path, b"new")
    try:
        os.write(fd, b"X")  # refused or kept by the handle alone
    except OSError as error:
        assert error.errno in (errno.ENOENT, errno.ESTALE, errno.EIO)
    assert cfs.read(path) == b"new"
    cfs.errno_of(os.ftruncate, fd, 0)
    assert cfs.read(path) == b"new"
    cfs.errno_of(os.close, fd)
    assert cfs.read(path) == b"new"
    assert cfs.names(folder) == ["f"]


def test_a_write_to_an_unlinked_file_does_not_bring_it_back(folder):
    path = f"{folder}/f"
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    os.write(fd, b"1")
    os.unlink(path)
    cfs.errno_of(os.write, fd, b"2")
    assert cfs.names(folder) == []
    cfs.errno_of(os.close, fd)
    assert cfs.names(folder) == []


def test_an_open_handle_follows_a_rename_of_its_file(folder):
    path = f"{folder}/f"
    cfs.write(path, b"content")
    fd = os.open(path, os.O_RDWR)
    os.rename(path, f"{folder}/g")
    os.pwrite(fd, b"X", 0)
    assert os.pread(fd, 100, 0) == b"Xontent"
    assert os.fstat(fd).st_size == 7
    os.close(fd)
    assert cfs.read(f"{folder}/g") == b"Xontent"


def test_a_handle_on_a_replaced_source_is_the_new_target(folder):
    cfs.write(f"{folder}/a", b"a")
    cfs.write(f"{folder}/b", b"b")
    a, b = os.open(f"{folder}/a", os.O_RDONLY), os.open(f"{folder}/b", os.O_RDONLY)
    os.rename(f"{folder}/a", f"{folder}/b")
    assert (os.pread(a, 10, 0), os.pread(b, 10, 0)) == (b"a", b"b")
    assert os.fstat(a).st_ino == os.stat(f"{folder}/b").st_ino
    os.close(a)
    os.close(b)


def test_an_unlinked_file_can_be_executed_from_and_mapped(folder):
    import mmap
    path = f"{folder}/f"
    cfs.write(path, b"mapped" * 1000)
    fd = os.open(path, os.O_RDONLY)
    view = mmap.mmap(fd, 6000, mmap.MAP_PRIVATE, mmap.PROT_READ)
    os.unlink(path)
    assert view[:] == b"mapped" * 1000
    view.close()
    os.close(fd)


def test_many_removed_files_stay_readable(folder):
    handles = []
    for i in range(200):
        cfs.write(f"{folder}/f{i}", b"%d" % i * 100)
        handles.append(os.open(f"{folder}/f{i}", os.O_RDONLY))
        os.unlink(f"{folder}/f{i}")
    for i, fd in enumerate(handles):
        assert os.pread(fd, 1000, 0) == b"%d" % i * 100
        os.close(fd)


def test_what_is_kept_is_given_back(daemon, folder):
    """Memory of removed files goes when the last handle is closed."""
    path = f"{folder}/f"
    handles = []
    for _ in range(20):
        cfs.replace(path, bytes(100_000))
        handles.append(os.open(path, os.O_RDONLY))
    os.unlink(path)
    for fd in handles:
        os.close(fd)

    def resident():
        with open(f"/proc/{daemon.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    def churn():
        for _ in range(20):
            cfs.replace(path, bytes(MIB))
            with open(path, "rb") as file:
                cfs.replace(path, bytes(MIB))
                assert len(file.read()) == MIB

    churn()
    before = resident()
    churn()
    churn()
    assert resident() < before + 60 * MIB


def test_a_directory_in_use_can_be_removed(folder):
    os.mkdir(f"{folder}/d")
    fd = os.open(f"{folder}/d", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(f"{folder}/d")
    assert cfs.names(folder) == []
    with cfs.raises(errno.ENOENT, errno.ESTALE):
        os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)
    os.mkdir(f"{folder}/d")


def test_a_replacement_is_seen_at_the_next_open(folder):
    path = f"{folder}/f"
    end = time.monotonic() + 3
    i = 0
    while time.monotonic() < end:
        cfs.replace(path, b"%d" % i)
        assert cfs.read(path) == b"%d" % i
        assert os.stat(path).st_size == len(b"%d" % i)
        i += 1
