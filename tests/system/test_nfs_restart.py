# SPDX-License-Identifier: Apache-2.0
"""The daemon is restarted or killed under hard NFS mounts that are in use.

Every process goes on as if nothing had been: no ESTALE for what lives, nothing that was acknowledged is
lost, and nothing is done twice. A rename that is done again finds no source, an exclusive creation
that is done again finds its own file: workers fail at the first error, whatever it is.
"""
import errno
import mmap
import os
import random
import signal
import subprocess
import struct
import time

import pytest

import cfs
import kernel_client
from cfs import raises

pytestmark = pytest.mark.guest(memory=1024)

GOES_ON_SECONDS = 90  # the client tries to connect again after 3, 6, 12... seconds


@pytest.fixture
def daemon():
    """Fresh; its state directory is checked at the end."""
    instance = kernel_client.Daemon()
    try:
        yield instance.start()
        instance.stop()
        instance.check()
    finally:
        instance.remove()


# --- Workers: each does one numbered step after the other ---

class Renames:
    """One file goes from name to name, over others and to free names."""

    def prepare(self, top):
        cfs.write(f"{top}/from0", b"the file")

    def step(self, top, number):
        if number % 3 == 0:
            cfs.write(f"{top}/from{number + 1}", b"to be replaced")
        os.rename(f"{top}/from{number}", f"{top}/from{number + 1}")

    def check(self, top, count):
        assert cfs.names(top) == [f"from{count}"]
        assert cfs.read(f"{top}/from{count}") == b"the file"


class ExclusiveCreations:
    def prepare(self, top):
        pass

    def step(self, top, number):
        fd = os.open(f"{top}/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        os.write(fd, str(number).encode())
        os.close(fd)

    def check(self, top, count):
        assert sorted(map(int, os.listdir(top))) == list(range(count))
        for number in range(count):
            assert cfs.read(f"{top}/{number}") == str(number).encode()


class Directories:
    """Each stays until the next but one is there."""

    def prepare(self, top):
        pass

    def step(self, top, number):
        os.mkdir(f"{top}/{number}")
        if number >= 2:
            os.rmdir(f"{top}/{number - 2}")

    def check(self, top, count):
        assert sorted(map(int, os.listdir(top))) == list(range(max(0, count - 2), count))


class Removals:
    def prepare(self, top):
        pass

    def step(self, top, number):
        cfs.write(f"{top}/{number}", b"x" * (number % 5000))
        os.unlink(f"{top}/{number}")

    def check(self, top, count):
        assert os.listdir(top) == []


class Appends:
    def prepare(self, top):
        pass

    def step(self, top, number):
        fd = os.open(f"{top}/lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        os.write(fd, f"line {number}\n".encode())
        os.fsync(fd)
        os.close(fd)

    def check(self, top, count):
        lines = cfs.read(f"{top}/lines").decode().splitlines()
        assert lines == [f"line {number}" for number in range(count)]


class Overwrites:
    """What a close has acknowledged is there, to the byte."""

    FILES = 8

    def prepare(self, top):
        pass

    @staticmethod
    def content(number):
        return random.Random(number).randbytes(number * 977 % 200000)

    def step(self, top, number):
        cfs.write(f"{top}/{number % self.FILES}", self.content(number))
        back = number - 3
        if back >= 0:
            assert cfs.read(f"{top}/{back % self.FILES}") == self.content(back)

    def check(self, top, count):
        for number in range(max(0, count - self.FILES), count):
            assert cfs.read(f"{top}/{number % self.FILES}") == self.content(number)


class Replacements:
    def prepare(self, top):
        pass

    def step(self, top, number):
        cfs.replace(f"{top}/f", str(number).encode())

    def check(self, top, count):
        assert cfs.names(top) == ["f"] and cfs.read(f"{top}/f") == str(count - 1).encode()


class OpenFiles:
    """What was opened before all restarts stays good, and is asked for each time, past the cache."""

    def prepare(self, top):
        cfs.write(f"{top}/f", b"x" * 8192)
        os.mkdir(f"{top}/directory")
        for number in range(200):
            cfs.write(f"{top}/directory/{number}", b"")
        self.file = os.open(f"{top}/f", os.O_RDWR | os.O_DIRECT)
        self.directory = os.open(f"{top}/directory", os.O_RDONLY)
        self.memory = mmap.mmap(-1, 4096)

    def step(self, top, number):
        assert os.preadv(self.file, [self.memory], number % 2 * 4096) == 4096
        if number:
            at = 8 * (number % 2)
            assert struct.unpack_from("q", self.memory, at)[0] == number - 2 or number < 3
        struct.pack_into("q", self.memory, 8 * (number % 2), number)
        assert os.pwritev(self.file, [self.memory], number % 2 * 4096) == 4096
        os.lseek(self.directory, 0, os.SEEK_SET)
        assert len(os.listdir(self.directory)) == 200
        assert os.fstat(self.file).st_nlink == 1

    def check(self, top, count):
        assert len(cfs.read(f"{top}/f")) == 8192


class Times:
    def prepare(self, top):
        cfs.write(f"{top}/f", b"")

    def step(self, top, number):
        os.utime(f"{top}/f", (1500000000 + number, 1500000000 + number))
        os.truncate(f"{top}/f", number % 1000)

    def check(self, top, count):
        assert cfs.fresh_stat(f"{top}/f").size == (count - 1) % 1000


WORKERS = [Renames, ExclusiveCreations, Directories, Removals, Appends, Overwrites, Replacements,
           OpenFiles, Times]


class Load:
    """All workers, each in a process and a directory of its own."""

    def __init__(self, top):
        self.top = top
        self.children = cfs.Children()
        self.counters = mmap.mmap(-1, 8 * (len(WORKERS) + 1))  # the last one: to stop
        for slot, worker in enumerate(WORKERS):
            os.mkdir(f"{top}/{worker.__name__}")
            self.children.start(self._work, worker(), slot)

    def _work(self, worker, slot):
        top = f"{self.top}/{type(worker).__name__}"
        worker.prepare(top)
        number = 0
        while not self._counter(len(WORKERS)):
            worker.step(top, number)
            number += 1
            struct.pack_into("q", self.counters, 8 * slot, number)
        return number

    def _counter(self, slot):
        return struct.unpack_from("q", self.counters, 8 * slot)[0]

    def wait_for_progress(self, steps=3):
        """Each does some more steps. A worker that failed does none: its failure is what is told."""
        before = [self._counter(slot) for slot in range(len(WORKERS))]
        try:
            cfs.wait_for(lambda: all(self._counter(slot) >= count + steps
                                     for slot, count in enumerate(before)),
                         "every worker goes on", GOES_ON_SECONDS)
        except AssertionError:
            stuck = [worker.__name__ for slot, worker in enumerate(WORKERS)
                     if self._counter(slot) < before[slot] + steps]
            self.finish(10)
            raise AssertionError(f"no progress: {stuck}") from None

    def finish(self, seconds=60):
        """Steps done by each worker."""
        struct.pack_into("q", self.counters, 8 * len(WORKERS), 1)
        return self.children.results(seconds)

    def check(self, top, counts):
        for worker, count in zip(WORKERS, counts):
            worker().check(f"{top}/{worker.__name__}", count)


def under_load(daemon, interrupt, rounds, seed):
    prng = random.Random(seed)
    os.mkdir(f"{daemon.nfs_mount}/load")
    load = Load(f"{daemon.nfs_mount}/load")
    try:
        load.wait_for_progress()
        for _ in range(rounds):
            time.sleep(prng.uniform(0, 0.5))
            interrupt(prng)
            load.wait_for_progress()
        counts = load.finish()
    finally:
        load.children.kill()
    load.check(f"{daemon.mount}/load", counts)
    load.check(f"{daemon.nfs_mount}/load", counts)
    hidden = [name for _, folders, files in os.walk(f"{daemon.mount}/load")
              for name in folders + files if name.startswith(".nfs")]
    assert not hidden


@pytest.mark.seconds(900)
@pytest.mark.parametrize("seed", [1, 2] if cfs.LONG else [1])
def test_kills_under_load(daemon, seed):
    def interrupt(prng):
        daemon.kill(clean=False)
        time.sleep(prng.choice([0, 0, 0.3, 3]))
        daemon.start()

    under_load(daemon, interrupt, 6 if cfs.LONG else 3, seed)


@pytest.mark.seconds(900)
def test_restarts_under_load(daemon):
    under_load(daemon, lambda prng: daemon.restart(), 5 if cfs.LONG else 2, 3)


@pytest.mark.seconds(600)
@pytest.mark.skipif(not cfs.LONG, reason="takes long: scripts/test --long")
def test_kills_while_it_starts(daemon):
    """Also when the daemon does not get far between two kills."""
    def interrupt(prng):
        for _ in range(4):
            daemon.kill(clean=False)
            daemon.spawn()
            time.sleep(prng.uniform(0, 0.4))
        daemon.kill(clean=False)
        daemon.start()

    under_load(daemon, interrupt, 2 if cfs.LONG else 1, 4)


# --- Answers that are lost ---

class Attempt:
    """One call in a process of its own, which has nothing else open: who starts the daemon must not
    hold an unwritten file of its tree, since a close waits until it is written, also in a child."""

    def __init__(self, function, *arguments):
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.dup2(writer, 3)
            os.closerange(4, 65536)
            os.write(3, str(cfs.errno_of(function, *arguments)).encode())
            os._exit(0)
        os.close(writer)

    def running(self):
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def kill(self):
        os.kill(self._pid, signal.SIGKILL)
        cfs.wait_for(lambda: not self.running(), "the process ends", 10)
        os.waitpid(self._pid, 0)
        os.close(self._reader)

    def result(self):
        """Must have worked."""
        cfs.wait_for(lambda: not self.running(), "the call comes back", GOES_ON_SECONDS)
        os.waitpid(self._pid, 0)
        with os.fdopen(self._reader) as answer:
            assert answer.read() == "0"


def create_exclusively(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))


def append(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"+")
    os.fsync(fd)
    os.close(fd)


def unlink_while_open(path):
    """The client renames it, and removes it later."""
    fd = os.open(path, os.O_RDONLY)
    os.unlink(path)
    os.close(fd)


K = kernel_client
CALLS = {
    # name: entries before (those with a slash are directories), the call, its procedure, entries after
    "rename": (["f"], lambda top: os.rename(f"{top}/f", f"{top}/g"), K.RENAME, ["g"]),
    "rename over another": (["f", "g"], lambda top: os.rename(f"{top}/f", f"{top}/g"), K.RENAME, ["g"]),
    "rename of a directory": (["d/"], lambda top: os.rename(f"{top}/d", f"{top}/e"), K.RENAME, ["e"]),
    "creation": ([], lambda top: cfs.write(f"{top}/f", b"f+"), K.CREATE, ["f"]),
    "exclusive creation": ([], lambda top: create_exclusively(f"{top}/f"), K.CREATE, ["f"]),
    "removal": (["f"], lambda top: os.unlink(f"{top}/f"), K.REMOVE, []),
    "removal while open": (["f"], lambda top: unlink_while_open(f"{top}/f"), K.RENAME, []),
    "mkdir": ([], lambda top: os.mkdir(f"{top}/d"), K.MKDIR, ["d"]),
    "rmdir": (["d/"], lambda top: os.rmdir(f"{top}/d"), K.RMDIR, []),
    "append": (["f"], lambda top: append(f"{top}/f"), K.WRITE, ["f"]),
    "truncation": (["f"], lambda top: os.truncate(f"{top}/f", 0), K.SETATTR, ["f"]),
    "setting times": (["f"], lambda top: os.utime(f"{top}/f", (5, 5)), K.SETATTR, ["f"]),
}


@pytest.fixture(scope="module")
def shared_daemon():
    with kernel_client.Daemon() as instance:
        yield instance


@pytest.mark.seconds(300)
@pytest.mark.parametrize("cause", ["the connection breaks", "the daemon is killed",
                                   "the daemon is killed twice"] if cfs.LONG
                         else ["the daemon is killed"])
@pytest.mark.parametrize("name", CALLS if cfs.LONG else ["rename", "exclusive creation", "removal",
                                                         "mkdir", "append"])
def test_a_change_whose_answer_is_lost_is_done_once(shared_daemon, tmp_path, name, cause):
    """It was done and answered, and the answer did not arrive. The repeat gets the first answer."""
    before, call, procedure, after = CALLS[name]
    daemon = shared_daemon
    top = f"{name}, {cause}"
    os.mkdir(daemon.path(top))
    for entry in before:
        if entry.endswith("/"):
            os.mkdir(daemon.path(top, entry))
        else:
            cfs.write(daemon.path(top, entry), entry.encode())
    with kernel_client.Proxy(daemon.port) as proxy:
        path = kernel_client.mount(proxy.port, str(tmp_path / "mount"), "nosharecache")
        try:
            assert cfs.names(f"{path}/{top}") == sorted(entry.rstrip("/") for entry in before)
            proxy.lose = {procedure}
            attempt = Attempt(call, f"{path}/{top}")
            times = 2 if cause.endswith("twice") else 1
            for number in range(times):
                cfs.wait_for(lambda: proxy.lost > number, "an answer is lost", GOES_ON_SECONDS)
                assert attempt.running()
                proxy.disconnect()
                if "killed" in cause:
                    daemon.kill(clean=False)
                    daemon.start()
                if number + 1 == times:
                    proxy.lose = set()
                proxy.connect()
            attempt.result()
            cfs.wait_for(lambda: cfs.names(daemon.path(top)) == after, f"the entries are {after}", 5)
        finally:
            cfs.remove_mounts(path)
    if name in ("rename", "rename over another"):
        assert cfs.read(daemon.path(top, "g")) == b"f"
    if name == "creation" or name == "append":
        assert cfs.read(daemon.path(top, "f")) == b"f+"
    if name == "setting times":
        assert cfs.fresh_stat(daemon.path(top, "f")).mtime.sec == 5


@pytest.mark.seconds(300)
@pytest.mark.parametrize("name", ["removal", "mkdir", "exclusive creation", "rename"])
def test_a_change_that_is_repeated_later_is_a_new_one(shared_daemon, name):
    """What was answered is remembered for the same request, not for an equal one."""
    before, call, _, _ = CALLS[name]
    daemon = shared_daemon
    top = f"{daemon.nfs_mount}/later, {name}"
    os.mkdir(top)
    for entry in before:
        cfs.write(f"{top}/{entry}", b"x")
    call(top)
    daemon.kill(clean=False)
    daemon.start()
    with raises(errno.ENOENT, errno.EEXIST):
        call(top)


# --- What is open ---

@pytest.mark.seconds(300)
def test_a_process_waits_for_the_daemon(shared_daemon):
    """And no longer than it takes until it is back."""
    daemon = shared_daemon
    cfs.write(f"{daemon.nfs_mount}/waits", b"x")
    daemon.kill(clean=False)
    attempt = Attempt(append, f"{daemon.nfs_mount}/waits")
    time.sleep(4)
    assert attempt.running()
    daemon.start()
    attempt.result()
    assert cfs.read(daemon.path("waits")) == b"x+"


@pytest.mark.seconds(300)
def test_handles_hold_over_restarts(shared_daemon):
    """Of files and directories that were renamed meanwhile; that of a removed file is stale."""
    daemon = shared_daemon
    top = f"{daemon.nfs_mount}/handles"
    os.makedirs(f"{top}/d/e")
    for name in ("stays", "moves", "goes"):
        cfs.write(f"{top}/{name}", name.encode())
    files = {name: os.open(f"{top}/{name}", os.O_RDONLY | os.O_DIRECT) for name in ("stays", "moves", "goes")}
    directory = os.open(f"{top}/d/e", os.O_RDONLY)
    os.rename(daemon.path("handles", "moves"), daemon.path("handles", "d", "moved"))
    os.unlink(daemon.path("handles", "goes"))
    for end in (daemon.restart, lambda: (daemon.kill(clean=False), daemon.start())):
        end()
        memory = mmap.mmap(-1, 4096)
        for name in ("stays", "moves"):
            assert os.preadv(files[name], [memory], 0) == 5 and memory[:5] == name.encode()
        with raises(errno.ESTALE):
            os.preadv(files["goes"], [memory], 0)
        assert os.listdir(directory) == []
        cfs.write(f"{top}/d/e/made", b"")
        os.unlink(f"{top}/d/e/made")
    for fd in [*files.values(), directory]:
        os.close(fd)


@pytest.mark.seconds(300)
def test_a_listing_goes_on_after_a_restart(shared_daemon):
    """Cookies of a directory that was read half stay good."""
    daemon = shared_daemon
    names = sorted(f"entry-with-a-rather-long-name-{number:05}" for number in range(3000))
    os.mkdir(daemon.path("listing"))
    for name in names:
        cfs.write(daemon.path("listing", name), b"")
    seen = []
    with os.scandir(f"{daemon.nfs_mount}/listing") as entries:
        for number, entry in enumerate(entries):
            seen.append(entry.name)
            if number in (100, 1500):
                daemon.kill(clean=False)
                daemon.start()
                os.unlink(daemon.path("listing", seen[-1]))
    assert sorted(seen) == names


@pytest.mark.seconds(300)
def test_unwritten_content_arrives_after_a_kill(shared_daemon):
    """The client still holds what it has not written; fsync brings it to the daemon that is new."""
    daemon = shared_daemon
    content = os.urandom(cfs.MIB)

    def write_slowly():
        with open(f"{daemon.nfs_mount}/late", "wb", buffering=0) as file:
            for start in range(0, len(content), 65536):
                file.write(content[start:start + 65536])
                time.sleep(0.2)
            os.fsync(file.fileno())

    attempt = Attempt(write_slowly)
    time.sleep(1.5)
    daemon.kill(clean=False)
    daemon.start()
    attempt.result()
    assert cfs.read(daemon.path("late")) == content


@pytest.mark.seconds(300)
def test_the_end_of_the_daemon_does_not_wait_for_its_clients(daemon):
    """It ends while a process writes. Who waits for an answer can be killed; who waits in a close for
    its data to be written cannot, but gets EIO from a forced unmount."""
    def write_again_and_again():
        while True:
            cfs.write(f"{daemon.nfs_mount}/f", b"x" * 10000)

    writer = Attempt(write_again_and_again)
    cfs.wait_for(lambda: os.path.exists(daemon.path("f")), "it writes")
    cfs.Daemon.stop(daemon)
    reader = Attempt(os.stat, f"{daemon.nfs_mount}/a-name-not-asked-before")
    time.sleep(0.5)
    assert writer.running() and reader.running()
    reader.kill()
    assert writer.running()
    subprocess.run(["umount", "-f", daemon.nfs_mount], timeout=60, check=False, capture_output=True)
    writer.kill()
    cfs.run("umount", "-f", daemon.nfs_mount, timeout=60, check=True)
    daemon.nfs_mounts.clear()
    daemon.nfs_mount = None
    daemon.start()
