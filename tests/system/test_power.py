# SPDX-License-Identifier: Apache-2.0
"""Power cuts under load: the store on the disk of tests/support/power_disk.cc.

At each cut there are three disks: with what had been flushed, with a part of what was written since,
and with all of it. Of each the daemon starts, as on a machine that has booted anew. `durable`: what
was acknowledged before the cut is there. `relaxed`: what is there is a beginning of what was done.
"""
import contextlib
import os
import random
import signal
import threading
import time

import pytest

import cfs
import disks
import promises

CUTS = 100 if cfs.LONG else 4
RELAXED_CUTS = 30 if cfs.LONG else 2
CUTS_OF_A_DISK = 10  # then a new one: a full journal would fill this one's memory
MEBIBYTES = 512
WORKERS = 4
RECOVERY_SECONDS = 2


class Machine:
    """A daemon on a disk whose power can be cut, its load, and another one that starts afterwards."""

    def __init__(self, make_daemon, tmp_path, seed, *arguments):
        self.choose = random.Random(seed)
        self.folder = str(tmp_path)
        self._make_daemon = make_daemon
        self._arguments = arguments
        self._disk = disks.PowerDisk(MEBIBYTES, seed)
        self.faults = disks.Faults(self.folder)
        self.workers = []
        self._children = cfs.Children()

    def __enter__(self):
        self._disk.__enter__()
        os.mkdir(f"{self._disk.path}/s")
        self.daemon = self._make_daemon(arguments=self._arguments, environment=self.faults.environment,
                                        state=f"{self._disk.path}/s").start()
        self.after = self._make_daemon(arguments=self._arguments, environment=self.faults.environment)
        return self

    def __exit__(self, *reason):
        for pid in self.workers:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)
        self._children.kill()
        self.daemon.abort()
        self.after.abort()
        self._disk.__exit__(*reason)

    def start_worker(self, function, *arguments):
        self.workers.append(self._children.start(function, *arguments))

    def signal_workers(self, number):
        for pid in self.workers:
            os.kill(pid, number)

    def segments(self):
        return {name for name in os.listdir(self.daemon.state) if name.startswith("journal.")}

    def wait_for_a_segment(self):
        before = self.segments()
        cfs.wait_for(lambda: self.segments() - before, "a new segment", 60)

    @contextlib.contextmanager
    def snapshot(self):
        """While the daemon writes one."""
        thread = threading.Thread(target=lambda: self.daemon.client("snapshot", check=False))
        thread.start()
        time.sleep(self.choose.uniform(0.01, 0.08))  # somewhere in it
        yield
        thread.join()

    def cut(self):
        moment, counts = self._disk.cut()
        return moment, counts

    def check_images(self, check):
        """Starts a daemon on what the last cut has left, and calls check(daemon)."""
        for which in disks.PowerDisk.IMAGES:
            with self._disk.image(which) as path:
                self.faults.boot()
                self.after.state = f"{path}/s"
                try:
                    self.after.start()
                    assert self.after.status()["store"]["start"] == "rebuilt"
                    check(self.after)
                    self.after.stop()
                    self.after.check()
                except Exception as error:
                    raise AssertionError(f"image {which}: {error}\n{self.after.log()}") from error
                finally:
                    self.after.abort()


def random_seed():
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    return seed


def one_disk(make_daemon, tmp_path, seed, cuts, slow):
    """Returns states checked, and what was not flushed at the cuts."""
    checked = 0
    unflushed = []
    tmp_path.mkdir()
    with Machine(make_daemon, tmp_path, seed) as machine:
        journals = [f"{machine.folder}/journal{i}" for i in range(WORKERS + 1)]
        promised = promises.Promises(journals)
        for i, journal in enumerate(journals):
            folder = machine.daemon.path(f"w{i}")
            os.mkdir(folder)
            sizes = promises.LARGE_SIZES if i == WORKERS else promises.SIZES
            machine.start_worker(promises.work, folder, journal, seed + i, sizes, 0.05 if slow else 0)
        for number in range(cuts):
            machine.signal_workers(signal.SIGCONT)
            time.sleep(machine.choose.uniform(0.05, 0.4))  # the time of the cut is the subject
            middle = contextlib.nullcontext()
            if number % 3 == 1:
                middle = machine.snapshot()
            elif number % 3 == 2 and not slow:
                machine.wait_for_a_segment()
            with middle:
                moment, counts = machine.cut()
            machine.signal_workers(signal.SIGSTOP)
            unflushed.append(counts["unflushed"])
            promised.read(until=moment)

            def check(daemon):
                nonlocal checked
                checked += promised.check(machine.daemon.mount, daemon.mount)

            machine.check_images(check)
        assert promised.answered > cuts * WORKERS
        print(f"{cuts} cuts, {promised.answered} answered")
    return checked, unflushed


@pytest.mark.seconds(3600 if cfs.LONG else 120)
def test_durable_nothing_acknowledged_is_lost(make_daemon, tmp_path):
    seed = random_seed()
    checked = cuts = 0
    unflushed = []
    while cuts < CUTS:
        slow = cuts // CUTS_OF_A_DISK % 2 == 1
        now = min(CUTS_OF_A_DISK, CUTS - cuts)
        more, blocks = one_disk(make_daemon, tmp_path / f"disk{cuts}", seed + cuts, now, slow)
        cuts += now
        checked += more
        unflushed += blocks
    assert checked > cuts * WORKERS
    # A few cuts may all come at quiet moments.
    assert any(unflushed) or not cfs.LONG, "the cuts never came between a write and its flush"
    print(f"{cuts} cuts, {checked} states checked, blocks not flushed: {sorted(unflushed)}")


FILES = 50


def number_writes(folder):
    """File k%FILES gets the number k, one after the other."""
    number = 0
    try:
        while True:
            number += 1
            cfs.write(f"{folder}/f{number % FILES}", b"%d" % number * 2000)
    except OSError as error:
        assert error.errno in promises.GONE, error


def check_beginning(folder):
    """The files are as after some number of writes, the last of which may be half done."""
    found = {}
    for name in os.listdir(folder):
        data = cfs.read(f"{folder}/{name}")
        number = int(data[:len(data) // 2000]) if data else 0
        assert data == b"%d" % number * 2000 or not data, name
        found[int(name[1:])] = number
    last = max(found.values(), default=0)
    for number in range(max(1, last - FILES + 1), last + 1):
        assert found.get(number % FILES) == number, f"{number} is missing, {last} is there"
    empty = [file for file, number in found.items() if number == 0]
    assert empty in ([], [(last + 1) % FILES])
    return last


@pytest.mark.seconds(1800 if cfs.LONG else 120)
def test_relaxed_what_is_lost_is_the_end(make_daemon, tmp_path):
    seed = random_seed()
    lost = []
    with Machine(make_daemon, tmp_path, seed, "--durability", "relaxed") as machine:
        os.mkdir(machine.daemon.path("d"))
        machine.start_worker(number_writes, machine.daemon.path("d"))
        for cut in range(RELAXED_CUTS):
            machine.signal_workers(signal.SIGCONT)
            time.sleep(machine.choose.uniform(0.1, 0.6))  # the time of the cut is the subject
            if cut % 2 == 1:
                machine.wait_for_a_segment()
            machine.cut()
            machine.signal_workers(signal.SIGSTOP)
            done = check_beginning(machine.daemon.path("d"))

            def check(daemon):
                # The first cut may come before anything was flushed.
                folder = daemon.path("d")
                lost.append(done - (check_beginning(folder) if os.path.isdir(folder) else 0))

            machine.check_images(check)
    print(f"{RELAXED_CUTS} cuts; writes lost: {lost}")


@pytest.mark.skipif(not cfs.LONG, reason="only with --long")
@pytest.mark.seconds(900)
def test_the_time_to_recover_at_100_mib(make_daemon, tmp_path):
    """A snapshot of 100 MiB in 51 200 files, and 60 MiB of journal behind it."""
    faults = disks.Faults(str(tmp_path))
    daemon = make_daemon(arguments=["--durability", "relaxed"], environment=faults.environment).start()
    for i in range(100):
        os.mkdir(daemon.path(f"d{i}"))

    def fill(part):
        for i in range(part, 100, 4):
            for k in range(512):
                cfs.write(daemon.path(f"d{i}/f{k}"), b"x" * 2048)

    children = cfs.Children()
    for part in range(4):
        children.start(fill, part)
    children.results(600)
    daemon.client("snapshot", timeout=60)
    for i in range(60):
        cfs.write(daemon.path(f"large{i % 10}"), os.urandom(cfs.MIB))
    expected = daemon.checksum()
    times = []
    for _ in range(5):
        daemon.kill()
        faults.boot()
        start = time.monotonic()
        daemon.spawn()
        cfs.wait_for(lambda: cfs.mounts_at(daemon.mount), "the mount is there", 30)
        os.stat(daemon.path("d0/f0"))
        times.append(time.monotonic() - start)
        assert daemon.status()["store"]["start"] == "rebuilt"
        assert daemon.checksum() == expected
    print("seconds to the first answer:", " ".join(f"{seconds:.2f}" for seconds in times))
    assert min(times) < RECOVERY_SECONDS or cfs.sanitized()
    daemon.stop()
