# SPDX-License-Identifier: Apache-2.0
"""flock, fcntl, lockf and open-file-description locks between processes on the mount.
Lock directories below priv/lock are in test_locks.py."""
import errno
import fcntl
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time

import pytest

import cfs
from cfs import raises

F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
BUSY = (errno.EAGAIN, errno.EACCES)

# Obeys one line at a time and prints what came of it: "ok", or the error's name.
OTHER = r"""
import errno, fcntl, os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: (_ for _ in ()).throw(InterruptedError(errno.EINTR, "")))
files = {}
for line in sys.stdin:
    try:
        answer = eval(line)
        print("ok" if answer is None else answer, flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
"""


def ofd(descriptor, command, kind, start=0, length=0):
    """struct flock of a 64-bit Linux; l_pid must be 0."""
    answer = fcntl.fcntl(descriptor, command,
                         struct.pack("hhqqixxxx", kind, os.SEEK_SET, start, length, 0))
    return struct.unpack("hhqqixxxx", answer)


def locks(daemon):
    return daemon.status()["locks"]


class Process:
    """Another process that locks for us."""

    def __init__(self, daemon, path):
        self.daemon = daemon
        self.process = subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.open(path)

    def start(self, code):
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()

    def result(self):
        return self.process.stdout.readline().strip()

    def do(self, code):
        self.start(code)
        return self.result()

    def open(self, path, name="f", flags="os.O_RDWR"):
        assert self.do(f"files.update({name}=os.open({str(path)!r}, {flags}))") == "ok"

    def flock(self, how):
        return self.do(f"fcntl.flock(files['f'], {how})")

    def lockf(self, how, length=0, start=0):
        return self.do(f"fcntl.lockf(files['f'], {how}, {length}, {start})")

    def wait(self, code):
        """Starts what should have to wait, and sees it wait."""
        before = locks(self.daemon)["waiting"]
        self.start(code)
        cfs.wait_for(lambda: locks(self.daemon)["waiting"] > before, f"{code} waits")

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture
def file(folder):
    path = os.path.join(folder, "file")
    with open(path, "wb") as out:
        out.write(b"0123456789")
    return path


@pytest.fixture
def processes(daemon, file):
    made = []

    def make():
        made.append(Process(daemon, file))
        return made[-1]

    yield make
    for one in made:
        one.kill()


EX, SH, UN = "fcntl.LOCK_EX|fcntl.LOCK_NB", "fcntl.LOCK_SH|fcntl.LOCK_NB", "fcntl.LOCK_UN"


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_exclusive_locks_exclude_and_shared_ones_share(processes, call):
    a, b, c = processes(), processes(), processes()
    lock = {one: getattr(one, call) for one in (a, b, c)}
    assert lock[a](EX) == "ok"
    assert lock[b](EX) == "EAGAIN"
    assert lock[b](SH) == "EAGAIN"
    assert lock[a](SH) == "ok"
    assert lock[b](SH) == "ok"
    assert lock[c](EX) == "EAGAIN"
    assert lock[a](UN) == lock[b](UN) == "ok"
    assert lock[c](EX) == "ok"


def test_flock_and_fcntl_ignore_each_other(processes):
    a, b = processes(), processes()
    assert a.flock(EX) == "ok"
    assert b.lockf(EX) == "ok"


def test_bytes_are_locked_one_by_one(processes):
    a, b = processes(), processes()
    assert a.lockf(EX, 10, 0) == "ok"
    assert b.lockf(EX, 1, 10) == "ok"
    assert b.lockf(EX, 1, 9) == "EAGAIN"
    assert a.lockf(UN, 2, 4) == "ok"  # splits
    assert b.lockf(EX, 2, 4) == "ok"
    assert b.lockf(EX, 3, 4) == "EAGAIN"
    assert a.lockf(EX, 0, 1 << 40) == "ok"  # to the end, wherever that is
    assert b.lockf(SH, 1, (1 << 62)) == "EAGAIN"
    assert b.lockf(SH, 1, (1 << 40) - 1) == "ok"


def test_who_holds_it_can_be_asked(processes, file):
    a = processes()
    assert a.lockf(EX, 5, 3) == "ok"
    descriptor = os.open(file, os.O_RDWR)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK,
                         struct.pack("hhqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    kind, whence, start, length, pid = struct.unpack("hhqqixxxx", answer)
    assert (kind, start, length, pid) == (fcntl.F_WRLCK, 3, 5, a.process.pid)
    assert a.lockf(UN) == "ok"
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK,
                         struct.pack("hhqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    assert struct.unpack("hhqqixxxx", answer)[0] == fcntl.F_UNLCK
    os.close(descriptor)


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_who_waits_gets_it_when_it_is_free(processes, call):
    a, b, c = processes(), processes(), processes()
    assert getattr(a, call)(EX) == "ok"
    b.wait(f"fcntl.{call}(files['f'], fcntl.LOCK_EX)")
    c.wait(f"fcntl.{call}(files['f'], fcntl.LOCK_EX)")
    assert getattr(a, call)(UN) == "ok"
    assert b.result() == "ok"
    assert getattr(b, call)(UN) == "ok"
    assert c.result() == "ok"


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_a_signal_ends_the_waiting(processes, call):
    a, b, c = processes(), processes(), processes()
    assert getattr(a, call)(EX) == "ok"
    b.wait(f"fcntl.{call}(files['f'], fcntl.LOCK_EX)")
    b.process.send_signal(signal.SIGUSR1)
    assert b.result() == "EINTR"
    assert getattr(a, call)(UN) == "ok"
    assert getattr(c, call)(EX) == "ok"  # it did not go to who gave up


def test_who_is_stopped_and_continued_goes_on_waiting(processes):
    a, b = processes(), processes()
    assert a.lockf(EX) == "ok"
    b.wait("fcntl.lockf(files['f'], fcntl.LOCK_EX)")
    b.process.send_signal(signal.SIGSTOP)
    b.process.send_signal(signal.SIGCONT)
    assert a.lockf(UN) == "ok"
    assert b.result() == "ok"


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_a_killed_process_holds_nothing_and_waits_for_nothing(processes, call):
    a, b, c = processes(), processes(), processes()
    assert getattr(a, call)(EX) == "ok"
    b.wait(f"fcntl.{call}(files['f'], fcntl.LOCK_EX)")
    c.wait(f"fcntl.{call}(files['f'], fcntl.LOCK_EX)")
    b.kill()
    a.kill()
    assert c.result() == "ok"


def test_a_circle_is_refused(processes):
    a, b = processes(), processes()
    assert a.lockf(EX, 1, 0) == "ok"
    assert b.lockf(EX, 1, 1) == "ok"
    a.wait("fcntl.lockf(files['f'], fcntl.LOCK_EX, 1, 1)")
    assert b.do("fcntl.lockf(files['f'], fcntl.LOCK_EX, 1, 0)") in ("EDEADLK", "EDEADLOCK")
    assert b.lockf(UN, 1, 1) == "ok"
    assert a.result() == "ok"


def test_closing_any_descriptor_ends_the_fcntl_locks_of_the_process(processes, file):
    a, b = processes(), processes()
    a.open(file, "g")
    assert a.lockf(EX) == "ok"
    assert b.lockf(EX) == "EAGAIN"
    assert a.do("os.close(files['g'])") == "ok"
    assert b.lockf(EX) == "ok"


def test_shared_fcntl_locks_of_descriptors_for_reading_end_as_well(processes, file):
    a, b = processes(), processes()
    a.open(file, "r", "os.O_RDONLY")
    assert a.do("fcntl.lockf(files['r'], fcntl.LOCK_SH)") == "ok"
    assert b.lockf(EX) == "EAGAIN"
    assert a.do("os.close(files['r'])") == "ok"
    cfs.wait_for(lambda: b.lockf(EX) == "ok", "the lock is free")
    assert b.lockf(UN) == "ok"
    # From now on the closes of this file are told of, and the lock ends with any of them.
    a.open(file, "r", "os.O_RDONLY")
    a.open(file, "s", "os.O_RDONLY")
    assert a.do("fcntl.lockf(files['r'], fcntl.LOCK_SH)") == "ok"
    assert a.do("os.close(files['s'])") == "ok"
    assert b.lockf(EX) == "ok"


def test_a_flock_ends_with_the_last_copy_of_its_descriptor(processes, file):
    b = processes()
    descriptor = os.open(file, os.O_RDWR)
    copy = os.dup(descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)
    assert b.flock(EX) == "EAGAIN"
    os.close(copy)
    cfs.wait_for(lambda: b.flock(EX) == "ok", "the lock is free")


def test_a_flock_goes_to_the_child_and_fcntl_locks_do_not(processes, file):
    b = processes()
    with open(file, "r+b") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        fcntl.lockf(mine, fcntl.LOCK_EX)
        child = subprocess.Popen(["sleep", "60"], pass_fds=[mine.fileno()])
    assert b.flock(EX) == "EAGAIN"
    assert b.lockf(EX) == "ok"
    child.kill()
    child.wait()
    cfs.wait_for(lambda: b.flock(EX) == "ok", "the lock is free")


def test_a_flock_on_a_descriptor_for_reading_can_be_exclusive(processes, file):
    a, b = processes(), processes()
    a.open(file, "f", "os.O_RDONLY")
    assert a.flock(EX) == "ok"
    assert b.flock(SH) == "EAGAIN"


def test_one_after_the_other_finds_the_flock_free(file):
    """As scripts do: `flock -n` in one process after the other."""
    refused = 0
    for _ in range(100):
        descriptor = os.open(file, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refused += 1
        os.close(descriptor)
    assert refused == 0


def test_locks_of_open_file_descriptions(processes, file):
    a = processes()
    one, two = os.open(file, os.O_RDWR), os.open(file, os.O_RDWR)
    ofd(one, F_OFD_SETLK, fcntl.F_WRLCK, 0, 5)
    with raises(*BUSY):
        ofd(two, F_OFD_SETLK, fcntl.F_RDLCK, 4, 1)
    ofd(two, F_OFD_SETLK, fcntl.F_WRLCK, 5, 5)
    assert a.lockf(EX, 1, 0) == "EAGAIN"
    kind, _, start, length, _ = ofd(two, F_OFD_GETLK, fcntl.F_WRLCK, 0, 0)
    assert (kind, start, length) == (fcntl.F_WRLCK, 0, 5)
    os.close(os.dup(one))  # unlike with the locks of a process, a copy's end is nothing
    assert a.lockf(EX, 1, 0) == "EAGAIN"
    os.close(one)
    cfs.wait_for(lambda: a.lockf(EX, 1, 0) == "ok", "the lock is free")
    os.close(two)


def test_waiting_for_a_lock_of_an_open_file_description(processes, file):
    a = processes()
    with open(file, "r+b") as mine:
        ofd(mine.fileno(), F_OFD_SETLK, fcntl.F_WRLCK)
        a.wait("fcntl.lockf(files['f'], fcntl.LOCK_EX)")
    assert a.result() == "ok"


def test_a_removed_file_still_locks_for_those_who_have_it_open(processes, file):
    a, b = processes(), processes()
    os.unlink(file)
    assert a.flock(EX) == "ok"
    assert b.flock(EX) == "EAGAIN"
    assert a.flock(UN) == "ok"
    assert b.flock(EX) == "ok"


def test_many_who_wait_hold_nobody_else_up(processes, file, folder):
    a = processes()
    assert a.lockf(EX) == "ok"
    waiting = [processes() for _ in range(24)]  # more than there are threads
    for one in waiting:
        one.wait("fcntl.lockf(files['f'], fcntl.LOCK_EX)")
    with cfs.faster_than(5, "a file beside"):
        with open(os.path.join(folder, "other"), "w") as other:
            other.write("text")
    a.close()
    for one in waiting:  # in the order in which they came
        assert one.result() == "ok"
        one.close()


def test_what_was_written_under_the_lock_is_there_for_the_next(folder):
    """A counter that two processes add to, each in a shell with flock."""
    with open(os.path.join(folder, "count"), "w") as out:
        out.write("0")
    script = (f"cd {folder}; for i in $(seq 40); do flock lock sh -c "
              "'n=$(cat count); echo $((n + 1)) > count'; done")
    shells = [subprocess.Popen(["bash", "-c", script]) for _ in range(2)]
    assert [shell.wait(100) for shell in shells] == [0, 0]
    with open(os.path.join(folder, "count")) as count:
        assert count.read() == "80\n"


def test_sqlite(folder):
    """A database on the mount, with two writers: sqlite3 locks ranges."""
    path = os.path.join(folder, "db")
    with sqlite3.connect(path) as database:
        database.execute("create table t (who text, n integer)")
    database.close()
    code = ("import sqlite3, sys\n"
            "for n in range(20):\n"
            "    with sqlite3.connect(sys.argv[1], timeout=60) as database:\n"
            "        database.execute('insert into t values (?, ?)', (sys.argv[2], n))\n"
            "    database.close()\n")
    writers = [subprocess.Popen([sys.executable, "-c", code, path, who]) for who in "ab"]
    assert [writer.wait(100) for writer in writers] == [0, 0]
    database = sqlite3.connect(path)
    assert database.execute("select who, count(*) from t group by who order by who").fetchall() == \
        [("a", 20), ("b", 20)]
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.execute("begin exclusive")
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("select * from t").fetchall()
    database.close()
    other.close()


def test_the_daemon_ends_while_somebody_waits(make_daemon):
    daemon = make_daemon().start()
    path = daemon.path("file")
    with open(path, "w"):
        pass
    a, b = Process(daemon, path), Process(daemon, path)
    try:
        assert a.flock(EX) == "ok"
        b.wait("fcntl.flock(files['f'], fcntl.LOCK_EX)")
        daemon.stop()
        assert b.result() != "ok"
    finally:
        a.kill()
        b.kill()


def test_nothing_is_left_behind(daemon, mount):
    """All tests of this file have ended: no lock and nobody who waits."""
    assert locks(daemon) == {"held": 0, "waiting": 0}
