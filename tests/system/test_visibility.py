# SPDX-License-Identifier: Apache-2.0
"""Changes that do not come through the mount: how soon programs on it see them.

The next open sees them exactly, stat within half a second. The changes are made through the control
socket, as another node or an NFS client would make them.
"""
import errno
import os
import subprocess
import time

import pytest

import cfs

STAT_SECONDS = 0.5


def inside(folder, name):
    """The path in the tree of an entry of a test's directory."""
    return f"{os.path.basename(folder)}/{name}"


@pytest.mark.parametrize("size", [5, 4000, 4096, 5000, 100_000])
def test_the_next_open_reads_the_new_content(daemon, folder, size):
    path = f"{folder}/f"
    for i in range(60):
        content = (b"%d," % i * size)[:size]
        daemon.request("put", path=inside(folder, "f"), data=content)
        for _ in range(3):  # also from the kernel's cache
            assert cfs.read(path) == content


def test_the_next_open_sees_another_length(daemon, folder):
    path = f"{folder}/f"
    for i in range(200):
        content = b"x" * (i * 37 % 6000)
        daemon.request("put", path=inside(folder, "f"), data=content)
        assert cfs.read(path) == content


def test_cat_and_a_reader_that_stats_see_it_too(daemon, folder):
    path = f"{folder}/f"
    for i in range(20):
        content = "line\n" * (i * 100 % 700)
        daemon.put(inside(folder, "f"), content.encode())
        assert cfs.run("cat", path, check=True).stdout == content
        with open(path, "rb") as file:
            assert os.fstat(file.fileno()).st_size == len(content)


def notifications(daemon):
    return daemon.status()["mount"]["notifications"]


def test_the_kernel_is_told_of_what_it_did_not_do_itself(daemon, folder):
    path = f"{folder}/f"
    before = notifications(daemon)
    for size in (10, 3, 5000, 1):
        cfs.write(path, b"x" * size)  # O_TRUNC, each
        assert os.stat(path).st_size == size
    with open(path, "ab") as file:
        for size in (2, 3, 4):
            file.write(b"x")
            file.flush()
            assert os.stat(path).st_size == size
    assert notifications(daemon) == before
    daemon.request("put", path=inside(folder, "f"), data=b"text")
    cfs.wait_for(lambda: notifications(daemon) == before + 1, "the kernel was told")


def test_what_others_write_during_own_writes_is_seen(daemon, folder):
    path = f"{folder}/f"
    cfs.write(path, b"")
    stop = time.monotonic() + 2  # a race is the subject
    size = 0
    with open(path, "r+b", buffering=0) as file:
        while time.monotonic() < stop:
            size = size % 4000 + 7
            file.write(b"y")
            daemon.request("put", path=inside(folder, "f"), data=b"x" * size)
            file.seek(0)
            file.write(b"z")
            file.seek(0)
            cfs.wait_for(lambda: os.stat(path).st_size == size, "the size is that of the others",
                         STAT_SECONDS)


def test_an_open_reader_gets_what_is_written_by_others(folder):
    path = f"{folder}/f"
    cfs.write(path, b"old" * 10)
    time.sleep(1.1)  # then readers go through the page cache
    with open(path, "rb", buffering=0) as reader:
        assert reader.read(100) == b"old" * 10
        for content in (b"new" * 10, b"newer" * 6):
            with open(path, "r+b") as writer:
                writer.write(content)
            assert os.pread(reader.fileno(), 100, 0) == content


def test_stat_follows_within_half_a_second(daemon, folder):
    path = f"{folder}/f"
    for i in range(1, 6):
        os.path.exists(path)  # the kernel has something to remember
        daemon.request("put", path=inside(folder, "f"), data=b"x" * i)
        cfs.wait_for(lambda: os.path.exists(path) and os.stat(path).st_size == i,
                     "stat shows the new size", STAT_SECONDS)


def test_new_names_are_seen_at_once(daemon, folder):
    for i in range(50):
        assert not os.path.exists(f"{folder}/f{i}")
        daemon.request("put", path=inside(folder, f"f{i}"), data=b"x")
        assert cfs.read(f"{folder}/f{i}") == b"x"
        assert f"f{i}" in os.listdir(folder)


def test_removed_names_do_not_open(daemon, folder):
    for i in range(50):
        path = f"{folder}/f{i}"
        cfs.write(path, b"x")
        assert cfs.read(path) == b"x"
        daemon.request("rm", path=inside(folder, f"f{i}"))
        with cfs.raises(errno.ENOENT):
            os.open(path, os.O_RDONLY)
        assert f"f{i}" not in os.listdir(folder)
    cfs.write(f"{folder}/g", b"x")
    os.stat(f"{folder}/g")
    daemon.request("rm", path=inside(folder, "g"))
    cfs.wait_for(lambda: not os.path.exists(f"{folder}/g"), "stat forgets the name", STAT_SECONDS)


def test_a_renamed_file_is_read_under_its_new_name(daemon, folder):
    path = f"{folder}/f"
    cfs.write(path, b"start")
    for i in range(100):
        daemon.request("put", path=inside(folder, "tmp"), data=b"%d" % i)
        daemon.request("mv", path=inside(folder, "tmp"), target=inside(folder, "f"))
        assert cfs.read(path) == b"%d" % i
    assert os.listdir(folder) == ["f"]


def test_a_file_becomes_a_directory_and_back(daemon, folder):
    path = f"{folder}/x"
    for i in range(10):
        daemon.request("put", path=inside(folder, "x"), data=b"file")
        assert cfs.read(path) == b"file"
        daemon.request("rm", path=inside(folder, "x"))
        daemon.request("mkdir", path=inside(folder, "x"))
        cfs.wait_for(lambda: os.path.isdir(path), "it is a directory", STAT_SECONDS + 0.1)
        cfs.write(f"{path}/in", b"x")
        os.unlink(f"{path}/in")
        daemon.request("rm", path=inside(folder, "x"))
        cfs.wait_for(lambda: not os.path.exists(path), "it is gone", STAT_SECONDS + 0.1)


def test_an_open_handle_keeps_what_was_replaced_outside(daemon, folder):
    path = f"{folder}/f"
    cfs.write(path, b"old content")
    fd = os.open(path, os.O_RDONLY)
    daemon.request("put", path=inside(folder, "tmp"), data=b"new")
    daemon.request("mv", path=inside(folder, "tmp"), target=inside(folder, "f"))
    assert os.pread(fd, 100, 0) == b"old content"
    assert os.fstat(fd).st_size == 11
    assert cfs.read(path) == b"new"
    cfs.write(f"{folder}/g", b"removed later")
    other = os.open(f"{folder}/g", os.O_RDONLY)
    daemon.request("rm", path=inside(folder, "g"))
    assert os.pread(other, 100, 0) == b"removed later"
    os.close(fd)
    os.close(other)


def test_the_mount_tells_the_client_at_once(daemon, folder):
    for i in range(50):
        cfs.write(f"{folder}/f", b"%d" % i)
        assert daemon.get(inside(folder, "f")) == b"%d" % i


def test_the_page_cache_serves_what_does_not_change(daemon, folder):
    """An unchanged small file costs the daemon no READ."""
    path = f"{folder}/f"
    cfs.write(path, b"x" * 3000)
    written = time.monotonic()
    # For a second after a change the kernel is made to ask for the size at each open.
    cfs.wait_for(lambda: time.monotonic() > written + 1, "a quiet second")
    cfs.read(path)
    begin = daemon.status()["mount"]["requests"]
    for _ in range(200):
        assert len(cfs.read(path)) == 3000
    requests = daemon.status()["mount"]["requests"] - begin
    # OPEN, RELEASE and FLUSH at most, now and then a LOOKUP or GETATTR.
    assert requests < 200 * 3 + 50, requests


NAMESPACE = """
set -e
mkdir {outside}
echo through the bind > {outside}/file
mount --bind {outside} {folder}/target
mount --bind {folder}/source {elsewhere}
touch {ready}
while [ ! -e {stop} ]; do
    [ "$(cat {folder}/target/file)" = "through the bind" ] || exit 11
    [ -d {elsewhere} ] || exit 12
    sleep 0.02
done
[ "$(cat {elsewhere}/seen)" = 199 ] || exit 13
exit 0
"""


def test_a_bind_mount_below_the_mount_survives_changes_around_it(daemon, folder, tmp_path):
    """As containers do it: in a mount namespace of their own, on and from directories of the
    tree."""
    os.mkdir(f"{folder}/target")
    os.mkdir(f"{folder}/source")
    os.mkdir(tmp_path / "elsewhere")
    names = {"folder": folder, "outside": tmp_path / "outside", "stop": tmp_path / "stop",
             "elsewhere": tmp_path / "elsewhere", "ready": tmp_path / "ready"}
    process = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", NAMESPACE.format(**names)],
        stderr=subprocess.PIPE)
    try:
        cfs.wait_for(lambda: os.path.exists(names["ready"]) or process.poll(), "the bind mount")
        assert process.poll() is None, process.stderr.read()
        pid = process.pid
        assert cfs.mounts_at(f"{folder}/target", pid)
        for i in range(200):
            daemon.request("put", path=inside(folder, f"n{i % 7}"), data=b"%d" % i)
            daemon.request("mv", path=inside(folder, f"n{i % 7}"),
                           target=inside(folder, f"m{i % 5}"))
            daemon.request("put", path=inside(folder, "source/seen"), data=b"%d" % i)
            if i % 10 == 0:
                daemon.request("put", path=inside(folder, "target/under"), data=b"x")
                cfs.write(f"{folder}/here", b"%d" % i)
                os.rename(f"{folder}/here", f"{folder}/there")
                daemon.request("mkdir", path=inside(folder, "dir"))
                daemon.request("rm", path=inside(folder, "dir"))
        assert process.poll() is None, f"exit {process.returncode}"
        assert cfs.mounts_at(f"{folder}/target", pid), "the bind mount was detached"
        assert cfs.mounts_at(str(tmp_path / "elsewhere"), pid)
    finally:
        open(names["stop"], "w").close()
        code = process.wait(10)
    assert code == 0, f"the namespace ended with {code}"


def test_a_shell_whose_directory_is_replaced_goes_on(daemon, folder):
    """A working directory stays usable while names change around it."""
    os.mkdir(f"{folder}/cwd")
    fd = os.open(f"{folder}/cwd", os.O_RDONLY | os.O_DIRECTORY)
    for i in range(100):
        daemon.request("put", path=inside(folder, "cwd/f"), data=b"%d" % i)
        daemon.request("put", path=inside(folder, f"beside{i % 3}"), data=b"x")
        with open(os.open("f", os.O_RDONLY, dir_fd=fd), "rb") as file:
            assert file.read() == b"%d" % i
    os.close(fd)


def test_writers_inside_and_outside_get_along(daemon, folder):
    """Notifications to the kernel must not block on requests of the kernel, nor these on them."""
    end = time.monotonic() + 4
    children = cfs.Children()

    def inside_loop():
        i = 0
        while time.monotonic() < end:
            i += 1
            cfs.replace(f"{folder}/f{i % 5}", b"%d" % i)
            os.listdir(folder)
            if i % 3 == 0:
                cfs.errno_of(os.unlink, f"{folder}/f{i % 5}")
        return i

    for _ in range(3):
        children.start(inside_loop)
    i = 0
    while time.monotonic() < end:
        i += 1
        daemon.request("put", path=inside(folder, f"f{i % 5}"), data=b"outside %d" % i)
    counts = children.results(20)
    assert min(counts + [i]) > 20
