# SPDX-License-Identifier: Apache-2.0
"""Faults that the original has, or that a machine has: full disks, disks that stall. The others:
test_fault_table.py."""
import contextlib
import errno
import os
import signal
import time

import pytest

import cfs
import disks
from cfs import MIB, raises


# --- A refused rename ---

def test_difference_a_refused_rename_leaves_the_target(make_daemon):
    """In the original the target was lost from memory, and after the second mkdir no daemon of the
    cluster started again."""
    daemon = make_daemon().start()
    os.makedirs(daemon.path("d1/sub"))
    os.mkdir(daemon.path("tgt"))
    done = cfs.run("mv", "-T", daemon.path("d1"), daemon.path("tgt"))
    assert done.returncode != 0
    with raises(errno.EEXIST):
        os.mkdir(daemon.path("tgt"))
    daemon.restart()
    assert cfs.names(daemon.path("tgt")) == []
    assert cfs.names(daemon.path("d1")) == ["sub"]
    daemon.stop()
    daemon.check()


# Offsets of 4 GiB, the limits, overwriting and replacing: test_overwrite.py, test_operations.py,
# test_replace.py. SIGTERM: test_daemon.py.


# --- A full disk ---

def write_until_refused(daemon, sizes=MIB, files=120):
    """Distinct files, so that the store must grow; what the last one failed with, and its time."""
    for i in range(files):
        start = time.monotonic()
        try:
            cfs.write(daemon.path(f"full{i}"), os.urandom(sizes))
        except OSError as error:
            return errno.errorcode[error.errno], time.monotonic() - start, i
    return None, 0, files


@pytest.mark.seconds(100)
def test_a_full_disk_is_an_error_and_no_hang(make_daemon):
    with disks.tmpfs(96) as disk:
        os.mkdir(f"{disk}/s")
        daemon = make_daemon(state=f"{disk}/s").start()
        os.mkdir(daemon.path("d"))
        cfs.write(daemon.path("d/before"), b"before")
        disks.fill(disk)
        code, seconds, written = cfs.in_child(write_until_refused, daemon, seconds=60)
        assert code == "ENOSPC", f"{code} after {written} files"
        assert seconds < 5
        # Reading goes on.
        assert cfs.in_child(lambda: cfs.read(daemon.path("d/before")).decode(), seconds=5) == "before"
        assert "d" in cfs.in_child(os.listdir, daemon.mount, seconds=5)
        for i in range(written):
            assert cfs.fresh_stat(daemon.path(f"full{i}")).size == MIB
        # So do errors, in bounded time.
        again, seconds, _ = cfs.in_child(write_until_refused, daemon, seconds=60)
        assert again == "ENOSPC" and seconds < 5
        assert daemon.alive()

        os.unlink(f"{disk}/filler")
        cfs.wait_for(lambda: cfs.errno_of(cfs.write, daemon.path("d/after"), b"after") == 0,
                     "service returns when there is room again", 30)
        assert cfs.read(daemon.path("d/after")) == b"after"
        daemon.restart()
        assert cfs.read(daemon.path("d/after")) == b"after"
        assert cfs.read(daemon.path("d/before")) == b"before"
        for i in range(written):
            assert os.stat(daemon.path(f"full{i}")).st_size == MIB
        daemon.stop()
        daemon.check()


def test_a_full_disk_and_a_kill_lose_nothing(make_daemon):
    with disks.tmpfs(96) as disk:
        os.mkdir(f"{disk}/s")
        daemon = make_daemon(state=f"{disk}/s").start()
        cfs.write(daemon.path("before"), b"before")
        disks.fill(disk)
        code, _, written = cfs.in_child(write_until_refused, daemon, seconds=60)
        assert code == "ENOSPC"
        daemon.kill()
        os.unlink(f"{disk}/filler")
        daemon.start()
        assert cfs.read(daemon.path("before")) == b"before"
        for i in range(written):
            assert os.stat(daemon.path(f"full{i}")).st_size == MIB
        daemon.stop()
        daemon.check()


def test_a_disk_that_is_full_at_the_first_start_is_refused(make_daemon):
    with disks.tmpfs(16) as disk:
        os.mkdir(f"{disk}/s")
        disks.fill(disk)
        daemon = make_daemon(state=f"{disk}/s").spawn()
        code = daemon.process.wait(20)
        assert code == 255
        assert "space" in daemon.log().lower()
        assert not cfs.mounts_at(daemon.mount)


# --- A disk that stalls ---

class Stall:
    """While it holds, no flush of the daemon returns."""

    def __init__(self, make_daemon, tmp_path, *arguments):
        self.file = str(tmp_path / "stall")
        shim = cfs.program("stall_shim.so")
        environment = {"LD_PRELOAD": shim, "STALL_FILE": self.file,
                       "ASAN_OPTIONS": "verify_asan_link_order=0"}
        self.daemon = make_daemon(arguments=arguments, environment=environment).start()

    def begin(self):
        open(self.file, "w").close()

    def end(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.file)


@pytest.fixture
def stall(make_daemon, tmp_path):
    instance = Stall(make_daemon, tmp_path)
    cfs.write(instance.daemon.path("f"), b"before")
    yield instance
    instance.end()


def durable_write(path):
    cfs.write(path, b"stalled")
    return 0


def start_stalled(stall, function, *arguments):
    """A process in `function`, which must still be there when the others go on."""
    children = cfs.Children()
    pid = children.start(function, *arguments)
    # It waits in the kernel for the daemon's answer.
    cfs.wait_for(lambda: waits_for_fuse(pid), "the writer waits", 10)
    return children, pid


def waits_for_fuse(pid):
    try:
        with open(f"/proc/{pid}/wchan") as file:
            where = file.read()
            return "fuse" in where or "request_wait_answer" in where
    except OSError:
        return False


OPERATIONS = {
    "write": lambda folder: cfs.write(f"{folder}/f", b"stalled"),
    "mkdir": lambda folder: os.mkdir(f"{folder}/new"),
    "rename": lambda folder: os.rename(f"{folder}/f", f"{folder}/g"),
    "unlink": lambda folder: os.unlink(f"{folder}/f"),
    "fsync": lambda folder: os.fsync(os.open(f"{folder}/f", os.O_CREAT | os.O_RDWR | os.O_TRUNC)),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_that_waits_for_a_stalled_disk_can_be_killed(stall, operation):
    stall.begin()
    children, pid = start_stalled(stall, OPERATIONS[operation], stall.daemon.mount)
    os.kill(pid, signal.SIGKILL)
    # Gone or a zombie: not stuck in the kernel.
    cfs.wait_for(lambda: cfs.process_state(pid) in (None, "Z"), "the killed process ends", 3)
    children.kill()
    stall.end()
    cfs.wait_for(lambda: cfs.errno_of(cfs.write, stall.daemon.path("after"), b"x") == 0,
                 "service returns")
    stall.daemon.stop()


def interrupted(folder):
    try:
        os.mkdir(f"{folder}/interrupted")
    except KeyboardInterrupt:
        return "interrupted"
    return "done"


def test_interrupting_a_process_that_waits_for_a_stalled_disk(stall):
    stall.begin()
    children, pid = start_stalled(stall, interrupted, stall.daemon.mount)
    os.kill(pid, signal.SIGINT)
    assert children.results(5) == ["interrupted"]
    stall.end()
    stall.daemon.stop()


def test_readers_go_on_while_a_writer_waits(stall):
    daemon = stall.daemon
    stall.begin()
    children, pid = start_stalled(stall, durable_write, daemon.path("other"))
    for _ in range(20):
        with cfs.faster_than(2, "reading while the disk stalls"):
            assert cfs.read(daemon.path("f")) == b"before"
            os.listdir(daemon.mount)
            os.stat(daemon.path("f"))
            os.statvfs(daemon.mount)
            cfs.read(daemon.path(".version"))
    stall.end()
    assert children.results(10) == [0]
    assert cfs.read(daemon.path("other")) == b"stalled"
    daemon.stop()


def failure_and_time(operation, folder):
    start = time.monotonic()
    code = cfs.errno_of(OPERATIONS[operation], folder)
    return [code, time.monotonic() - start]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_difference_a_change_that_is_not_done_by_the_deadline_is_etimedout(make_daemon, tmp_path,
                                                                           operation):
    stall = Stall(make_daemon, tmp_path, "--deadline", "2")
    cfs.write(stall.daemon.path("f"), b"before")
    stall.begin()
    try:
        code, seconds = cfs.in_child(failure_and_time, operation, stall.daemon.mount, seconds=20)
    finally:
        stall.end()
    assert code == "ETIMEDOUT", f"{code} after {seconds:.1f} s"
    assert 1.5 < seconds < 4.5
    cfs.wait_for(lambda: cfs.errno_of(cfs.write, stall.daemon.path("after"), b"x") == 0,
                 "service returns")
    stall.daemon.stop()
    stall.daemon.check()


def test_the_status_says_that_the_disk_stalls(stall):
    stall.begin()
    children, pid = start_stalled(stall, durable_write, stall.daemon.path("other"))
    with cfs.faster_than(5, "status while the disk stalls"):
        status = stall.daemon.status()
    assert status["sequencer"]
    stall.end()
    children.results(10)
    stall.daemon.stop()


def test_sigterm_while_the_disk_stalls_ends_in_bounded_time(stall):
    stall.begin()
    children, pid = start_stalled(stall, durable_write, stall.daemon.path("other"))
    stall.daemon.process.terminate()
    stall.daemon.process.wait(30)
    cfs.wait_for(lambda: cfs.process_state(pid) in (None, "Z"), "the writer is free", 10)
    children.kill()
    stall.end()
    stall.daemon.kill()
    stall.daemon.start()
    assert cfs.read(stall.daemon.path("f")) == b"before"
    stall.daemon.stop()
    stall.daemon.check()
