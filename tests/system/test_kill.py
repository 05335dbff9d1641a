# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of the daemon under load: everything that was acknowledged is there afterwards."""
import os
import random
import time

import pytest

import cfs
import promises

KILLS = 200 if cfs.LONG else 15
WORKERS = 4


@pytest.mark.seconds(900 if cfs.LONG else 280)
def test_what_was_acknowledged_survives_sigkill(make_daemon, tmp_path):
    daemon = make_daemon().start()
    folders = [daemon.path(f"w{i}") for i in range(WORKERS)]
    journals = [str(tmp_path / f"journal{i}") for i in range(WORKERS)]
    for folder in folders:
        os.mkdir(folder)
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    choose = random.Random(seed)
    promised = promises.Promises(journals)
    operations = checked = 0
    for kill in range(KILLS):
        children = cfs.Children()
        for worker in range(WORKERS):
            children.start(promises.work, folders[worker], journals[worker],
                           seed + kill * WORKERS + worker)
        time.sleep(choose.uniform(0.02, 0.3))  # the time of the kill is the subject
        # The dead mount stays: whoever begins only now must not find the directory below it.
        daemon.kill(clean=False)
        operations += sum(children.results(20))
        daemon.check()
        daemon.start()
        promised.read()
        checked += promised.check()
        promised.settle()
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
