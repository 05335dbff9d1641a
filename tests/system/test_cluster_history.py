# SPDX-License-Identifier: Apache-2.0
"""What concurrent programs on three nodes see, while a daemon is killed and the network breaks, is
what one machine could have shown them.

Changes, and reads after a sync, must be linearizable. Reads without a sync may be old, but never
go back on one node. Two things are left out of the histories, since they are no promise:

- Refusals by name (EEXIST, ENOENT): the kernel remembers names for 0.4 s and answers by itself.
- What the node that is cut off by the partition is told at that moment: corosync gives it messages
  that nobody else has got. Such changes count as perhaps done, and are counted.
"""
import contextlib
import errno
import os
import random
import time

import pytest

import cfs
import cluster
from linearizability import Entry, Operation, Place, Register, check, going_back
from test_cluster import check_equal, settle, status, sync

pytestmark = [
    pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not())),
    pytest.mark.skipif(not cfs.LONG, reason="only with --long"),
]

NODES = (1, 2, 3)
SECONDS = 120 if cfs.LONG else 20
WORKERS = 2  # on each node
KEYS = 4     # of each kind
CUT = 3      # the node that the partition cuts off
# Nothing has happened, or it is not known whether.
REFUSED = (errno.EACCES, errno.EBUSY, errno.EEXIST, errno.ENOENT, errno.ESTALE)


def moved(names, index):
    return [name for name in names if name.startswith(f"moving-{index}-")]


class Gone(Exception):
    """The mount that the worker works in is dead."""


class Worker:
    """A program on one node. Works relative to a descriptor of the tree: where the mount is gone,
    the directory below must not take its files."""

    def __init__(self, node, name):
        self.node, self.who = node, name
        self.random = random.Random(name)
        self.folder = None
        self.count = 0
        self.history = []
        self.reads = []  # without sync: (key, begin, end, number)
        self.failures = {}

    # Around each call

    def open_folder(self):
        try:
            self.folder = os.open(os.path.join(self.node.tree, "history"), os.O_DIRECTORY)
        except OSError:
            time.sleep(0.05)

    def failed(self, what, error):
        name = f"{what} {errno.errorcode.get(error.errno, error.errno)}"
        self.failures[name] = self.failures.get(name, 0) + 1
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            raise Gone from error

    def change(self, key, kind, value, call):
        """Records the change that the call makes."""
        begin = time.monotonic()
        try:
            call()
            self.record(key, kind, value, begin, time.monotonic())
        except OSError as error:
            if error.errno not in REFUSED:
                self.record(key, kind, value, begin, None)
            self.failed(f"{kind} {key.split('-', maxsplit=1)[0]}", error)

    def record(self, key, kind, value, begin, end):
        self.history.append([key, kind, value, begin, end, end is not None, self.who])

    # What it does

    def overwrite(self):
        """As a shell does it: truncated, one write, closed."""
        key = f"register-{self.random.randrange(KEYS)}"
        self.count += 1
        # Other lengths in the long run only: a read beside a write may end where the old text did.
        value = f"{self.who}:{self.count:0{1 if cfs.LONG else 6}}"
        begin = time.monotonic()
        opened = False
        try:
            descriptor = os.open(key, os.O_WRONLY | os.O_TRUNC, dir_fd=self.folder)
            opened = True
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            if opened or error.errno not in REFUSED:
                # The truncation may come alone.
                self.record(key, "write", "", begin, None)
                self.record(key, "write", value, begin, None)
            return self.failed("overwrite", error)
        end = time.monotonic()
        # The truncation may be seen alone, before.
        self.history.append([key, "write", "", begin, end, False, self.who])
        self.record(key, "write", value, begin, end)

    def read_exactly(self):
        key = f"register-{self.random.randrange(KEYS)}"
        begin = time.monotonic()
        try:
            os.fsync(self.folder)
            value = self.read(key)
        except OSError as error:
            return self.failed("exact read", error)
        self.record(key, "read", value, begin, time.monotonic())

    def read(self, key):
        descriptor = os.open(key, os.O_RDONLY, dir_fd=self.folder)
        try:
            return os.read(descriptor, 4096).decode()
        finally:
            os.close(descriptor)

    def make_or_remove_file(self):
        key = f"file-{self.random.randrange(KEYS)}"

        def create():
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(os.open(key, flags, dir_fd=self.folder))
        if self.random.random() < 0.5:
            return self.change(key, "create", None, create)
        self.change(key, "remove", None, lambda: os.unlink(key, dir_fd=self.folder))

    def lock(self):
        """Takes a lock, and gives it back if it was taken."""
        key = f"lock-{self.random.randrange(KEYS)}"
        before = len(self.history)
        self.change(key, "create", None, lambda: os.mkdir(key, dir_fd=self.folder))
        if len(self.history) > before:
            time.sleep(self.random.random() * 0.01)
            self.change(key, "remove", None, lambda: os.rmdir(key, dir_fd=self.folder))

    def move(self):
        """Claims a file by renaming it: of those who try at once, one wins. To a new name, since
        the kernel takes two names that it remembers for one file as links, and does nothing."""
        key = f"moving-{self.random.randrange(KEYS)}"
        names = [name for name in os.listdir(self.folder) if name.startswith(key)]
        if not names:
            return
        self.count += 1
        target = f"{key}-{self.who}-{self.count}"
        self.change(key, "move", [names[0], target],
                    lambda: os.rename(names[0], target, src_dir_fd=self.folder,
                                      dst_dir_fd=self.folder))

    def look(self):
        begin = time.monotonic()
        try:
            os.fsync(self.folder)
            names = set(os.listdir(self.folder))
        except OSError as error:
            return self.failed("look", error)
        end = time.monotonic()
        index = self.random.randrange(KEYS)
        for kind in ("file", "lock"):
            self.record(f"{kind}-{index}", "look", f"{kind}-{index}" in names, begin, end)
        self.record(f"moving-{index}", "look", moved(names, index), begin, end)

    def read_as_it_is(self):
        for number in NODES[:2]:
            key = f"growing-{number}"
            begin = time.monotonic()
            try:
                text = self.read(key)
            except OSError as error:
                return self.failed("read", error)
            self.reads.append([key, begin, time.monotonic(), int(text)])

    def run(self, until):
        deeds = [self.overwrite, self.overwrite, self.read_exactly, self.make_or_remove_file,
                 self.lock, self.move, self.look, self.read_as_it_is]
        return self.repeat(until, lambda: self.random.choice(deeds)())

    def grow(self, until):
        """The one writer of a file whose number only grows."""
        def one():
            self.count += 1
            descriptor = os.open(f"growing-{self.node.number}", os.O_WRONLY, dir_fd=self.folder)
            try:
                os.write(descriptor, b"%08d" % self.count)
            except OSError as error:
                self.failed("grow", error)
            finally:
                os.close(descriptor)
        return self.repeat(until, one)

    def repeat(self, until, one):
        while time.monotonic() < until:
            if self.folder is None:
                self.open_folder()
                continue
            try:
                one()
            except (Gone, OSError):
                with contextlib.suppress(OSError):
                    os.close(self.folder)
                self.folder = None
            time.sleep(self.random.random() * 0.02)
        return {"history": self.history, "reads": self.reads, "failures": self.failures,
                "node": self.node.number}


def prepare(node):
    folder = os.path.join(node.tree, "history")
    os.mkdir(folder)
    for index in range(KEYS):
        cfs.write(f"{folder}/register-{index}", b"first")
        cfs.write(f"{folder}/moving-{index}-first", b"")
    for number in NODES:
        cfs.write(f"{folder}/growing-{number}", b"%08d" % 0)


def models():
    return {**{f"register-{index}": Register("first") for index in range(KEYS)},
            **{f"{kind}-{index}": Entry() for index in range(KEYS) for kind in ("file", "lock")},
            **{f"moving-{index}": Place(f"moving-{index}-first") for index in range(KEYS)}}


def disturb(ring, seconds):
    """A daemon is killed and comes back, then the network breaks and heals. When it broke, and when
    the node that was cut off knew."""
    time.sleep(seconds * 0.2)
    ring[2].kill_daemon()
    time.sleep(1)
    ring[2].start_daemon()
    settle(ring)
    time.sleep(seconds * 0.15)
    cut = time.monotonic()
    ring.partition([number for number in NODES if number != CUT], [CUT])
    cluster.wait_for(lambda: not status(ring[CUT])["quorate"], 30, "the node has lost quorum")
    noticed = time.monotonic()
    time.sleep(seconds * 0.15)
    ring.heal()
    settle(ring)
    return cut, noticed


def last_looks(node):
    """What is there at the end, as operations of the history."""
    worker = Worker(node, "end")
    worker.open_folder()
    found = []
    names = set(os.listdir(worker.folder))
    for index in range(KEYS):
        worker.record(f"register-{index}", "read", worker.read(f"register-{index}"),
                      time.monotonic(), time.monotonic())
        for kind in ("file", "lock"):
            worker.record(f"{kind}-{index}", "look", f"{kind}-{index}" in names,
                          time.monotonic(), time.monotonic())
        worker.record(f"moving-{index}", "look", moved(names, index), time.monotonic(),
                      time.monotonic())
    found += worker.history
    os.close(worker.folder)
    return found


def as_operation(entry, cut_window):
    """Of what a worker has recorded. `cut_window` is for those of the node that was cut off."""
    key, kind, value, begin, end, certain, who = entry
    if cut_window and certain and begin < cut_window[1] and end > cut_window[0]:
        if kind in ("read", "look"):
            return None
        end, certain = None, False
    return Operation(key, kind, value, begin, float("inf") if end is None else end, certain, who)


def without_unseen_truncations(operations):
    """Nobody has seen most of the truncations; they would only make the search long."""
    seen = {}
    for one in operations:
        if one.kind == "read" and one.value == "":
            seen.setdefault(one.key, []).append(one)
    return [one for one in operations
            if one.certain or one.value != "" or one.end == float("inf")
            or any(read.begin < one.end and read.end > one.begin
                   for read in seen.get(one.key, []))]


def run_all(ring):
    until = time.monotonic() + SECONDS
    children = cfs.Children()
    for number in NODES:
        for count in range(WORKERS):
            worker = Worker(ring[number], f"n{number}.{count}")
            children.start(worker.run, until)
        if number != CUT:
            children.start(Worker(ring[number], f"n{number}.grow").grow, until)
    try:
        window = disturb(ring, SECONDS)
        return children.results(SECONDS + 60), window
    finally:
        children.kill()


@pytest.mark.seconds(240)
def test_what_three_nodes_see_is_one_history():
    with cluster.Cluster(3, daemon=["--deadline", "10"]) as ring:
        ring.start_daemons()
        ring.wait_quorate()
        settle(ring)
        prepare(ring[1])
        for number in NODES:
            sync(ring[number])
        answers, window = run_all(ring)
        settle(ring)
        check_equal(ring)
        history, left_out = last_looks(ring[1]), 0
        failures = {}
        for answer in answers:
            for name, count in answer["failures"].items():
                failures[name] = failures.get(name, 0) + count
        operations = [as_operation(entry, None) for entry in history]
        for answer in answers:
            for entry in answer["history"]:
                operation = as_operation(entry, window if answer["node"] == CUT else None)
                left_out += entry[5] and (operation is None or not operation.certain)
                if operation:
                    operations.append(operation)
        print(f"{len(operations)} operations, {left_out} at the moment of the cut, "
              f"failures: {failures}")
        assert sum(one.certain for one in operations) > SECONDS * 20
        began = time.monotonic()
        found = check(models(), without_unseen_truncations(operations))
        print(f"checked in {time.monotonic() - began:.1f} s")
        assert not found, "\n".join(found)
        check_growing(answers)


def check_growing(answers):
    for number in NODES:
        for key in ("growing-1", "growing-2"):
            reads = [(begin, end, value, f"node {number}") for answer in answers
                     if answer["node"] == number
                     for name, begin, end, value in answer["reads"] if name == key]
            assert len(reads) > 20
            found = going_back(reads)
            assert not found, f"{key}: " + "\n".join(found[:5])
