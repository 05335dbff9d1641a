# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of the daemon under load: everything that was acknowledged is there afterwards.

Each worker has a directory of its own in the tree. Before an operation it writes a line to a file
outside the mount, and after the answer another one. After a kill every path must be in the state of
its last answered operation, or, where one was under way, in a state that this one may leave.
"""
import errno
import json
import os
import random
import time

import pytest

import cfs

KILLS = 50
WORKERS = 4
ABSENT, DIRECTORY = "absent", "directory"


class Journal:
    """What a worker means to do and what it has been told; outside the mount."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def record(self, kind, changes):
        os.write(self._fd, (json.dumps([kind, changes]) + "\n").encode())

    def during(self, action, after, possible=None):
        """Runs `action`. `after`: the states when it was answered; `possible`: further states while
        it was not."""
        states = {path: [state] for path, state in after.items()}
        for path, more in (possible or {}).items():
            states.setdefault(path, []).extend(more)
        self.record("begin", states)
        action()
        self.record("end", after)


def content(number, size):
    return (b"%010d" % number) * (size // 10 or 1)


def label(data):
    """A short name for a content: its number and length, or what is wrong with it."""
    if not data:
        return "empty"
    whole = len(data) % 10 == 0 and data == data[:10] * (len(data) // 10)
    return f"{data[:10].decode()}*{len(data)}" if whole else f"torn {len(data)}"


def create(path, data):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(fd, data)
    os.close(fd)


def work(folder, journal_path, seed):
    """Changes things until the daemon is gone."""
    choose = random.Random(seed)
    journal = Journal(journal_path)
    number = seed % 10**6 * 1000
    try:
        while True:
            number += 1
            one_operation(folder, journal, choose, number)
    except OSError as error:
        # ENOTCONN: the daemon is gone; ECONNABORTED: it went while it had the request.
        assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO), error
    return number


def one_operation(folder, journal, choose, number):
    key = f"{folder}/k{choose.randrange(6)}"
    lock = f"{folder}/d{choose.randrange(3)}"
    data = content(number, choose.choice([10, 100, 2000, 5000, 50_000]))
    kind = choose.randrange(7)
    if kind <= 1:
        journal.during(lambda: cfs.write(key, data), {key: label(data)},
                       {key: ["empty"] if not os.path.exists(key) else []})
    elif kind == 2:
        temporary = f"{folder}/tmp"
        begin = {temporary: ["empty", label(data)]}
        journal.during(lambda: cfs.write(temporary, data), {temporary: label(data)}, begin)
        journal.during(lambda: os.rename(temporary, key), {temporary: ABSENT, key: label(data)})
    elif kind == 3 and os.path.exists(key):
        journal.during(lambda: os.unlink(key), {key: ABSENT})
    elif kind == 4 and not os.path.exists(key):
        journal.during(lambda: create(key, data), {key: label(data)}, {key: ["empty"]})
    elif kind == 5 and not os.path.exists(lock):
        journal.during(lambda: os.mkdir(lock), {lock: DIRECTORY})
    elif kind == 6 and os.path.exists(lock):
        journal.during(lambda: os.rmdir(lock), {lock: ABSENT})


def allowed_states(journal_path):
    """Path to the list of states that it may be in."""
    allowed = {}
    with open(journal_path) as file:
        for line in file:
            kind, changes = json.loads(line)
            for path, states in changes.items():
                if kind == "end":
                    allowed[path] = [states]
                else:
                    allowed[path] = allowed.get(path, [ABSENT]) + states
    return allowed


def state_of(path):
    if os.path.isdir(path):
        return DIRECTORY
    try:
        return label(cfs.read(path))
    except FileNotFoundError:
        return ABSENT


def verify(journals):
    checked = 0
    for journal_path in journals:
        if not os.path.exists(journal_path):
            continue
        allowed = allowed_states(journal_path)
        for path, states in allowed.items():
            found = state_of(path)
            assert found in states, f"{path} is {found}; allowed: {states}"
            checked += 1
        # From here on this is what is known.
        with open(journal_path, "w") as file:
            file.write(json.dumps(["end", {path: state_of(path) for path in allowed}]) + "\n")
    return checked


@pytest.mark.seconds(280)
def test_what_was_acknowledged_survives_sigkill(make_daemon, tmp_path):
    daemon = make_daemon().start()
    folders = [daemon.path(f"w{i}") for i in range(WORKERS)]
    journals = [str(tmp_path / f"journal{i}") for i in range(WORKERS)]
    for folder in folders:
        os.mkdir(folder)
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    choose = random.Random(seed)
    operations = checked = 0
    for kill in range(KILLS):
        children = cfs.Children()
        for worker in range(WORKERS):
            children.start(work, folders[worker], journals[worker], seed + kill * WORKERS + worker)
        time.sleep(choose.uniform(0.02, 0.3))  # the time of the kill is the subject
        # The dead mount stays: whoever begins only now must not find the directory below it.
        daemon.kill(clean=False)
        operations += sum(count % 1000 for count in children.results(20))
        daemon.check()
        daemon.start()
        checked += verify(journals)
    assert operations > KILLS * WORKERS and checked > KILLS * WORKERS
    daemon.stop()
    daemon.check()
    print(f"{operations} operations, {checked} states checked")


def test_sigkill_twice_without_a_change_between(make_daemon):
    daemon = make_daemon().start()
    cfs.write(daemon.path("f"), b"content")
    for _ in range(3):
        daemon.kill()
        daemon.start()
        assert cfs.read(daemon.path("f")) == b"content"
    daemon.stop()


@pytest.mark.parametrize("delay", [0, 0.005, 0.02, 0.1])
def test_sigkill_during_the_start(make_daemon, delay):
    daemon = make_daemon().start()
    cfs.write(daemon.path("f"), b"content")
    daemon.kill()
    for _ in range(5):
        daemon.spawn()
        time.sleep(delay)  # the time of the kill is the subject
        daemon.kill()
    daemon.start()
    assert cfs.read(daemon.path("f")) == b"content"
    daemon.stop()
    daemon.check()


def test_relaxed_durability_survives_sigkill_as_well(make_daemon):
    daemon = make_daemon(arguments=["--durability", "relaxed"]).start()
    for i in range(200):
        cfs.write(daemon.path(f"f{i}"), b"%d" % i)
    daemon.kill()
    daemon.check()
    daemon.start()
    for i in range(200):
        assert cfs.read(daemon.path(f"f{i}")) == b"%d" % i
    daemon.stop()
