# SPDX-License-Identifier: Apache-2.0
"""Overwriting a file in place: readers see the old content or the new, and nothing else."""
import errno
import os
import subprocess
import time

import pytest

import cfs
from cfs import MIB

SECONDS = 4


def writer(path, size, seconds):
    """O_TRUNC, one write, close, with a new letter each time."""
    end = time.monotonic() + seconds
    contents = [cfs.aligned(bytes([letter]) * size) for letter in b"abcdefgh"]
    rounds = 0
    while time.monotonic() < end:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        assert os.write(fd, contents[rounds % 8]) == size
        os.close(fd)
        rounds += 1
    return rounds


def reader(path, size, seconds):
    """Reads the file whole, by one read; counts what is neither old nor new."""
    end = time.monotonic() + seconds
    memory = cfs.aligned(size + 4096)
    found = {"reads": 0, "empty": 0, "short": 0, "mixed": 0, "changes": 0, "stat": 0}
    last = None
    while time.monotonic() < end:
        fd = os.open(path, os.O_RDONLY)
        if os.fstat(fd).st_size != size:
            found["stat"] += 1
        count = os.readv(fd, [memory])
        os.close(fd)
        content = memory[:count]
        found["reads"] += 1
        if count == 0:
            found["empty"] += 1
        elif count != size:
            found["short"] += 1
        elif content != content[:1] * size:
            found["mixed"] += 1
        else:
            found["changes"] += content[:1] != last
            last = content[:1]
    return found


@pytest.mark.parametrize("size", [100, 4096, 100_000, MIB])
def test_difference_an_overwrite_is_one_step_for_readers(folder, size):
    path = f"{folder}/f"
    cfs.write(path, cfs.aligned(b"z" * size))
    children = cfs.Children()
    children.start(writer, path, size, SECONDS)
    for _ in range(3):
        children.start(reader, path, size, SECONDS)
    rounds, *readers = children.results(SECONDS + 30)
    total = {key: sum(each[key] for each in readers) for key in readers[0]}
    assert rounds > 10 and total["changes"] > 5, (rounds, total)
    assert (total["empty"], total["short"], total["mixed"], total["stat"]) == (0, 0, 0, 0), total


def test_difference_two_writers_never_mix(folder):
    path = f"{folder}/f"
    cfs.write(path, b"z" * 50_000)
    children = cfs.Children()
    children.start(writer, path, 50_000, 2)
    children.start(writer, path, 50_000, 2)
    children.start(reader, path, 50_000, 2)
    found = children.results()[2]
    assert (found["empty"], found["short"], found["mixed"]) == (0, 0, 0), found


def test_difference_a_redirection_of_the_shell_is_one_step(folder):
    path = f"{folder}/f"
    cfs.run("sh", "-c", f"echo line 10000 > {path}", check=True)
    script = f"i=10000; while [ $i -lt 99999 ]; do echo line $i > {path}; i=$((i+1)); done"
    shell = subprocess.Popen(["sh", "-c", script])
    try:
        end = time.monotonic() + SECONDS
        seen = set()
        while time.monotonic() < end:
            content = cfs.read(path)
            assert len(content) == 11 and content.startswith(b"line ") and content.endswith(b"\n"), \
                f"read {content!r}"
            seen.add(content)
        for _ in range(50):
            content = cfs.run("cat", path, check=True).stdout
            assert len(content) == 11, f"cat printed {content!r}"
    finally:
        shell.kill()
        shell.wait()
    assert len(seen) > 20


def test_a_redirection_without_output_empties(folder):
    path = f"{folder}/f"
    for _ in range(30):
        done = cfs.run("sh", "-c", f"echo content > {path}; : > {path}; cat {path}", check=True)
        assert done.stdout == ""
    assert os.stat(path).st_size == 0


def test_the_writer_sees_its_own_truncation(folder):
    path = f"{folder}/f"
    cfs.write(path, b"old content")
    fd = os.open(path, os.O_RDWR | os.O_TRUNC)
    assert os.pread(fd, 100, 0) == b""
    os.write(fd, b"new")
    assert os.pread(fd, 100, 0) == b"new"
    os.close(fd)
    assert cfs.read(path) == b"new"


def test_a_truncation_alone_is_published_at_close(folder):
    path = f"{folder}/f"
    cfs.write(path, b"content")
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    assert cfs.fresh_stat(path).size == 0
    assert cfs.read(path) == b""


def test_a_truncation_is_published_by_fsync(folder):
    path = f"{folder}/f"
    cfs.write(path, b"content")
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.fsync(fd)
    assert cfs.in_child(lambda: len(cfs.read(path))) == 0
    os.close(fd)


def test_readers_do_not_wait_for_ever_for_a_held_truncation(folder):
    path = f"{folder}/f"
    cfs.write(path, b"content")
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    with cfs.faster_than(5, "a reader while a truncation is held back"):
        assert cfs.in_child(lambda: len(cfs.read(path)), seconds=10) in (0, 7)
    os.write(fd, b"x")
    os.close(fd)
    assert cfs.read(path) == b"x"


def test_a_writer_that_dies_after_truncating_leaves_a_file_in_service(folder):
    path = f"{folder}/f"
    cfs.write(path, b"content")

    def die():
        os.open(path, os.O_WRONLY | os.O_TRUNC)
        os._exit(0)

    pid = os.fork()
    if pid == 0:
        die()
    os.waitpid(pid, 0)
    cfs.wait_for(lambda: cfs.read(path) == b"", "the truncation is published", 5)
    cfs.write(path, b"again")
    assert cfs.read(path) == b"again"


def test_truncation_then_several_writes_end_with_all_of_them(folder):
    path = f"{folder}/f"
    cfs.write(path, b"x" * 1000)
    with open(path, "wb", buffering=0) as file:
        file.write(b"one,")
        file.write(b"two,")
        file.seek(10)
        file.write(b"three")
    assert cfs.read(path) == b"one,two,\0\0three"


def test_truncation_then_a_write_behind_the_start(folder):
    path = f"{folder}/f"
    cfs.write(path, b"x" * 100)
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.pwrite(fd, b"end", 50)
    os.close(fd)
    assert cfs.read(path) == bytes(50) + b"end"


def test_truncation_then_a_write_that_is_refused_leaves_an_empty_file(folder):
    path = f"{folder}/f"
    cfs.write(path, b"content")
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    with cfs.raises(errno.EFBIG):
        os.pwrite(fd, b"x", MIB)
    os.close(fd)
    assert cfs.read(path) == b""


def test_truncation_by_path_while_another_handle_writes(folder):
    path = f"{folder}/f"
    cfs.write(path, b"content")
    fd = os.open(path, os.O_WRONLY)
    os.truncate(path, 0)
    assert cfs.read(path) == b""
    os.pwrite(fd, b"x", 3)
    os.close(fd)
    assert cfs.read(path) == b"\0\0\0x"


@pytest.mark.parametrize("size", [1, 4096, 131072, 131073, 600_000, MIB])
def test_difference_one_write_is_one_change(folder, size):
    path = f"{folder}/f"
    cfs.write(path, b"")
    before = cfs.version_of(path)
    fd = os.open(path, os.O_WRONLY)
    assert os.write(fd, cfs.aligned(os.urandom(size))) == size
    os.close(fd)
    assert cfs.version_of(path) == before + 1


def test_a_write_from_unaligned_memory_arrives_whole(folder):
    """1 MiB that begins inside a page needs 257 pages, a request holds 256: the kernel sends two, and
    they are two changes (docs/differences.md)."""
    path = f"{folder}/f"
    cfs.write(path, b"")
    before = cfs.version_of(path)
    data = os.urandom(MIB)  # begins somewhere inside a page
    fd = os.open(path, os.O_WRONLY)
    assert os.write(fd, data) == MIB
    os.close(fd)
    assert cfs.read(path) == data
    assert cfs.version_of(path) - before in (1, 2)


def test_difference_an_overwrite_is_one_change(folder):
    path = f"{folder}/f"
    for content in (b"x" * 100, b"y" * 10, b"z" * 100_000, b""):
        cfs.write(path, b"before")
        before = cfs.version_of(path)
        cfs.write(path, content)
        assert cfs.version_of(path) == before + 1
        assert cfs.read(path) == content


def test_difference_offsets_of_4_gibibytes_are_refused(folder):
    path = f"{folder}/f"
    cfs.write(path, b"content")
    fd = os.open(path, os.O_RDWR)
    for offset in (1 << 32, (1 << 32) + 5, 1 << 40):
        with cfs.raises(errno.EFBIG):
            os.pwrite(fd, b"X", offset)
        with cfs.raises(errno.EFBIG):
            os.ftruncate(fd, offset)
    os.close(fd)
    assert cfs.read(path) == b"content"
