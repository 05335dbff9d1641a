# SPDX-License-Identifier: Apache-2.0
"""Each row of docs/faults.md: what a fault does to callers, reads, status, log and the next start.

Whatever was acknowledged is there afterwards, nothing hangs, and service returns by itself when the
cause is gone. Stalls are in test_faults.py, cuts of the power in test_power.py.
"""
import errno
import os
import shutil
import time

import pytest

import cfs
import disks
from cfs import MIB

SECONDS = 5  # an answer, whatever it says
RETURN_SECONDS = 30  # after the cause is gone

EIO, EROFS, ENOSPC = errno.EIO, errno.EROFS, errno.ENOSPC


class Node:
    """A daemon on a disk with faults, what was acknowledged, and what may or may not have happened."""

    def __init__(self, make_daemon, tmp_path, **options):
        self.faults = disks.Faults(str(tmp_path))
        environment = {**self.faults.environment, **options.pop("environment", {})}
        self.daemon = make_daemon(environment=environment, **options).start()
        self.known = {}
        for name in ("d/replaced", "d/kept", "large"):
            self.write(name, b"before" if name != "large" else os.urandom(300_000))

    def write(self, name, data):
        path = self.daemon.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        cfs.write(path, data)
        self.known[name] = data

    def refused(self):
        """What each kind of change is answered, one after the other, and how long the longest took."""
        path = self.daemon.path
        changes = [lambda: cfs.write(path("d/replaced"), b"during"),
                   lambda: os.mkdir(path("new")),
                   lambda: cfs.write(path("d/created"), b"during"),
                   lambda: os.rename(path("d/kept"), path("d/moved")),
                   lambda: os.unlink(path("large"))]
        answers = []
        longest = 0
        for change in changes:
            start = time.monotonic()
            answers.append(cfs.in_child(cfs.errno_of, change, seconds=20))
            longest = max(longest, time.monotonic() - start)
        assert longest < SECONDS
        return answers

    def check_reads(self):
        with cfs.faster_than(SECONDS, "reading"):
            assert cfs.in_child(lambda: cfs.read(self.daemon.path("d/kept")).decode()) == "before"
            assert "d" in cfs.in_child(os.listdir, self.daemon.mount)
            cfs.in_child(lambda: len(cfs.read(self.daemon.path("large"))))
            assert cfs.in_child(lambda: bool(os.statvfs(self.daemon.mount).f_blocks))

    def store_status(self):
        with cfs.faster_than(SECONDS, "status"):
            return self.daemon.status()["store"]

    def wait_for_service(self):
        path = self.daemon.path("after")
        cfs.wait_for(lambda: cfs.in_child(cfs.errno_of, cfs.write, path, b"after") == 0,
                     "service returns by itself", RETURN_SECONDS)
        self.known["after"] = b"after"
        status = self.store_status()
        assert (status["failure"], status["trouble"]) == (None, None), status

    def check_content(self):
        for name, data in self.known.items():
            assert cfs.read(self.daemon.path(name)) == data, name

    def power_cut(self):
        self.daemon.kill()
        self.faults.boot()
        self.daemon.start()

    def findings(self):
        """What `cfsgate check` says of the directory, on the same boot of the machine; it must find
        something."""
        done = cfs.cfsgate("check", "--state", self.daemon.state, timeout=60,
                           env={**os.environ, **self.faults.environment})
        assert done.returncode != 0, done
        return done.stdout + done.stderr

    def check_over_restarts(self):
        self.check_content()
        for restart in (self.daemon.restart, self.power_cut, self.power_cut):
            restart()
            self.check_content()
        self.daemon.stop()
        self.daemon.check()


# --- While it runs ---

# Name: rules, what the calls may be answered, whether the store stops taking changes.
RUNNING = {
    "write journal": (["write 5 /s/journal."], {"EIO", "EROFS"}, True),
    "write tree.mdb": (["write 5 /s/tree.mdb"], {"EIO", "EROFS"}, None),
    "flush journal": (["flush 5 /s/journal."], {"EIO", "EROFS"}, True),
    "every write and flush": (["write 5 /s/", "flush 5 /s/", "create 5 /s/"], {"EIO", "EROFS"}, True),
    "read-only": (["write 30 /s/", "flush 30 /s/", "create 30 /s/"], {"EROFS"}, True),
}


@pytest.mark.parametrize("fault", RUNNING)
def test_errors_of_the_disk(make_daemon, tmp_path, fault):
    rules, codes, stops = RUNNING[fault]
    node = Node(make_daemon, tmp_path)
    node.faults.begin(*rules)
    answers = node.refused()
    assert set(answers) <= codes, answers
    node.check_reads()
    status = node.store_status()
    assert status["trouble"], status
    if stops:
        assert status["failure"], status
        assert "changes are refused until the cause is gone" in node.daemon.log()
    node.faults.end()
    node.wait_for_service()
    # What a flush did not confirm may have happened, once.
    tree = set(os.listdir(node.daemon.path("d"))) | set(os.listdir(node.daemon.mount))
    if "flush journal" != fault:
        assert not tree & {"new", "created", "moved"}, tree
    for name in ("d/replaced", "d/kept", "large"):
        if not os.path.exists(node.daemon.path(name)) or cfs.read(node.daemon.path(name)) == b"during":
            assert fault == "flush journal", name
            node.known.pop(name)
    node.check_over_restarts()


@pytest.mark.parametrize("fault", RUNNING)
def test_errors_of_the_disk_and_a_kill(make_daemon, tmp_path, fault):
    """Nobody may wait for the cause to go away."""
    node = Node(make_daemon, tmp_path)
    node.faults.begin(*RUNNING[fault][0])
    node.refused()
    node.daemon.kill()
    node.faults.end()
    node.daemon.start()
    if fault == "flush journal":
        node.known.pop("d/replaced")
    node.wait_for_service()
    node.check_over_restarts()


def test_a_daemon_ends_cleanly_while_its_disk_fails(make_daemon, tmp_path):
    node = Node(make_daemon, tmp_path)
    node.faults.begin(*RUNNING["every write and flush"][0])
    node.refused()
    node.daemon.stop()
    assert "not marked clean" in node.daemon.log()
    node.faults.end()
    node.daemon.start()
    node.check_over_restarts()


def test_a_snapshot_that_cannot_be_written(make_daemon, tmp_path):
    node = Node(make_daemon, tmp_path)
    node.faults.begin("write 5 snapshot.")
    done = node.daemon.client("snapshot", check=False)
    assert done.returncode != 0 and "snapshot" in done.stderr
    node.write("during", b"during")
    assert node.store_status()["failure"] is None
    node.faults.end()
    node.daemon.client("snapshot")
    node.check_over_restarts()


@pytest.mark.seconds(200)
@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_full_disk(make_daemon, tmp_path, kind):
    """Full to the last byte, with a store that must grow."""
    with (disks.ext4(160) if kind == "ext4" else disks.tmpfs(160)) as made:
        disk = made[0] if kind == "ext4" else made
        os.mkdir(f"{disk}/s")
        node = Node(make_daemon, tmp_path, state=f"{disk}/s")
        disks.fill(disk)
        answer = 0
        for i in range(100):
            start = time.monotonic()
            data = os.urandom(MIB)
            answer = cfs.in_child(cfs.errno_of, cfs.write, node.daemon.path(f"f{i}"), data)
            assert time.monotonic() - start < SECONDS
            if answer != 0:
                break
            node.known[f"f{i}"] = data
        assert answer == "ENOSPC"
        node.check_reads()
        status = node.store_status()
        assert "No space left" in status["trouble"] and status["failure"] is None, status
        assert "No space left" in node.daemon.log()
        node.check_content()
        os.unlink(f"{disk}/filler")
        with cfs.faster_than(2, "there is room again"):
            node.wait_for_service()
        node.check_over_restarts()


@pytest.mark.seconds(200)
def test_a_full_map(make_daemon, tmp_path):
    node = Node(make_daemon, tmp_path, environment={"FAULT_MAP_BYTES": str(6 * MIB)})

    def write_until_refused(size, name):
        for i in range(20_000):
            data = os.urandom(size)
            answer = cfs.errno_of(cfs.write, node.daemon.path(f"{name}{i}"), data)
            if answer != 0:
                return answer
            node.known[f"{name}{i}"] = data

    # A unit test does it to the brim.
    assert write_until_refused(500_000, "f") == "ENOSPC"
    node.check_reads()
    status = node.store_status()
    assert status["trouble"] and status["failure"] is None, status
    for name in [name for name in node.known if name.startswith("f")]:
        os.unlink(node.daemon.path(name))
        del node.known[name]
    node.wait_for_service()
    node.check_over_restarts()


def test_a_state_directory_that_vanishes_and_comes_back(make_daemon, tmp_path):
    node = Node(make_daemon, tmp_path)
    state = node.daemon.state
    os.rename(state, f"{state}.away")
    assert set(node.refused()) <= {"EIO", "EROFS"}
    node.check_reads()
    assert "journal." in node.store_status()["failure"]
    # An empty one in its place is not taken for it.
    os.mkdir(state)
    cfs.wait_for(lambda: "not the directory that was opened" in node.daemon.log(), "it says so", 20)
    assert os.listdir(state) == []
    os.rmdir(state)
    os.rename(f"{state}.away", state)
    node.wait_for_service()
    node.check_over_restarts()


def test_a_state_directory_whose_files_are_removed(make_daemon, tmp_path):
    """The tree is still there, and so they are made anew."""
    node = Node(make_daemon, tmp_path)
    for name in os.listdir(node.daemon.state):
        if name != ".pmxcfs.lockfile":
            os.unlink(f"{node.daemon.state}/{name}")
    # One change alone: the way back may be shorter than the next one.
    answer = cfs.in_child(cfs.errno_of, os.mkdir, node.daemon.path("new"))
    assert answer in ("EIO", "EROFS")
    node.check_reads()
    node.wait_for_service()
    assert not os.path.exists(node.daemon.path("new"))
    node.check_over_restarts()


def test_a_state_directory_whose_disk_is_detached(make_daemon, tmp_path):
    with disks.ext4(160) as (disk, device):
        os.mkdir(f"{disk}/s")
        node = Node(make_daemon, tmp_path, state=f"{disk}/s")
        cfs.run("umount", "-l", disk, check=True)
        assert set(node.refused()) <= {"EIO", "EROFS"}
        node.check_reads()
        cfs.run("mount", device, disk, check=True)
        node.wait_for_service()
        node.check_over_restarts()


def test_tree_mdb_cut_short_while_it_is_used(make_daemon, tmp_path):
    """A page of it cannot be read: the process ends and says why, the next one rebuilds the tree."""
    node = Node(make_daemon, tmp_path)
    os.truncate(f"{node.daemon.state}/tree.mdb", 8192)
    assert cfs.in_child(cfs.errno_of, os.listdir, node.daemon.path("d")) != 0
    code = node.daemon.process.wait(20)
    assert code != 0
    assert "SIGBUS" in node.daemon.log() and "rebuilds" in node.daemon.log()
    node.daemon.kill()
    node.daemon.start()
    assert node.store_status()["start"] == "rebuilt"
    node.check_over_restarts()


# --- What the next start finds ---

def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def last_segment(node):
    names = sorted(name for name in os.listdir(node.daemon.state) if name.startswith("journal."))
    return f"{node.daemon.state}/{names[-1]}"


def end_of_journal(path):
    return len(cfs.read(path).rstrip(b"\0"))


@pytest.mark.parametrize("end", ["clean", "killed"])
@pytest.mark.parametrize("where", ["header", "middle", "last"])
def test_a_damaged_journal_beside_a_good_tree(make_daemon, tmp_path, where, end):
    node = Node(make_daemon, tmp_path)
    for i in range(20):
        node.write(f"f{i}", b"%d" % i * 50)
    node.daemon.stop() if end == "clean" else node.daemon.kill()
    journal = last_segment(node)
    whole = end_of_journal(journal)
    flip(journal, {"header": 30, "middle": whole // 2, "last": whole - 10}[where])
    damaged = cfs.read(journal)
    # Of the last record only the tree tells.
    assert ("ahead of the journal" if where == "last" else journal) in node.findings()
    node.daemon.start()
    assert node.store_status()["start"] == ("clean" if end == "clean" else "resumed")
    assert "the journal goes on behind it" in node.daemon.log()
    assert cfs.read(journal) == damaged
    node.write("after", b"after")
    node.check_content()
    for restart in (node.daemon.restart, node.power_cut):
        restart()
        node.check_content()


@pytest.mark.parametrize("where", ["header", "middle"])
def test_a_damaged_journal_after_a_power_cut(make_daemon, tmp_path, where):
    """Nothing is guessed, and nothing is changed."""
    node = Node(make_daemon, tmp_path)
    for i in range(20):
        node.write(f"f{i}", b"%d" % i * 50)
    node.daemon.kill()
    node.faults.boot()
    journal = last_segment(node)
    flip(journal, {"header": 30, "middle": end_of_journal(journal) // 2}[where])
    damaged = cfs.read(journal)
    for _ in range(2):
        node.daemon.spawn()
        assert node.daemon.process.wait(20) == 255
        node.daemon.kill()
    assert f"{journal}: " in node.daemon.log() and "damaged" in node.daemon.log()
    assert cfs.read(journal) == damaged
    # It was the only thing wrong.
    flip(journal, {"header": 30, "middle": end_of_journal(journal) // 2}[where])
    node.daemon.start()
    node.check_over_restarts()


@pytest.mark.parametrize("how", ["damaged", "torn"])
def test_a_bad_last_record_after_a_power_cut(make_daemon, tmp_path, how):
    """It looks as one that was never finished: it goes, and all before it stays."""
    node = Node(make_daemon, tmp_path)
    for i in range(5):
        node.write(f"f{i}", b"%d" % i * 50)
    node.daemon.client("mkdir", "last")
    node.daemon.kill()
    node.faults.boot()
    journal = last_segment(node)
    if how == "damaged":
        flip(journal, end_of_journal(journal) - 2)
    else:
        size = os.path.getsize(journal)
        os.truncate(journal, end_of_journal(journal) - 2)
        os.truncate(journal, size)
    node.daemon.start()
    assert "never finished" in node.daemon.log()
    assert not os.path.exists(node.daemon.path("last"))
    node.write("after", b"after")
    node.check_over_restarts()


def test_a_damaged_snapshot(make_daemon, tmp_path):
    node = Node(make_daemon, tmp_path)
    node.daemon.client("snapshot")
    node.write("between", b"between")
    node.daemon.client("snapshot")
    node.write("later", b"later")
    node.daemon.kill()
    node.faults.boot()
    state = node.daemon.state
    newest = sorted(name for name in os.listdir(state) if name.startswith("snapshot."))[-1]
    flip(f"{state}/{newest}", os.path.getsize(f"{state}/{newest}") // 2)
    assert newest in node.findings()
    node.daemon.start()
    assert f"{newest}" in node.daemon.log() and "trying an older snapshot" in node.daemon.log()
    assert os.path.exists(f"{state}/damaged.{newest}")
    node.check_over_restarts()


def test_flipped_bits_in_tree_mdb(make_daemon, tmp_path):
    """A bit in one page of each part of the file; a unit test does it in every page."""
    node = Node(make_daemon, tmp_path)
    tree = f"{node.daemon.state}/tree.mdb"
    for part in (0, 0.01, 0.02, 0.5, 0.99):
        node.daemon.stop()
        flip(tree, int(os.path.getsize(tree) // 4096 * part) * 4096 + 100)
        node.daemon.start()
        assert node.store_status()["start"] == "rebuilt"
        assert "is not as it was left" in node.daemon.log()
        node.check_content()
    node.check_over_restarts()


@pytest.mark.parametrize("size", [0, 100, 8192, 20_000])
@pytest.mark.parametrize("end", ["clean", "killed"])
def test_tree_mdb_cut_short(make_daemon, tmp_path, size, end):
    node = Node(make_daemon, tmp_path)
    node.daemon.stop() if end == "clean" else node.daemon.kill()
    os.truncate(f"{node.daemon.state}/tree.mdb", size)
    assert "tree.mdb" in node.findings()
    node.daemon.start()
    assert node.store_status()["start"] == "rebuilt"
    node.check_over_restarts()


def test_a_tree_that_cannot_be_rebuilt_is_left_for_a_repair(make_daemon, tmp_path):
    node = Node(make_daemon, tmp_path)
    node.daemon.kill()
    node.faults.boot()
    before = cfs.read(f"{node.daemon.state}/tree.mdb")
    flip(last_segment(node), 30)
    node.daemon.spawn()
    assert node.daemon.process.wait(20) == 255
    assert cfs.read(f"{node.daemon.state}/tree.mdb") == before
    node.daemon.kill()


def test_a_read_only_state_directory_at_the_start(make_daemon, tmp_path):
    with disks.tmpfs(160) as disk:
        os.mkdir(f"{disk}/s")
        node = Node(make_daemon, tmp_path, state=f"{disk}/s")
        node.daemon.stop()
        cfs.run("mount", "-o", "remount,ro", disk, check=True)
        node.daemon.spawn()
        assert node.daemon.process.wait(20) == 255
        assert "Read-only file system" in node.daemon.log()
        node.daemon.kill()
        cfs.run("mount", "-o", "remount,rw", disk, check=True)
        node.daemon.start()
        node.check_over_restarts()


def test_a_state_directory_that_is_missing_at_the_start(make_daemon, tmp_path):
    """It is a first start, as with the original: a directory that was not mounted looks the same. What
    was there is there again when it is back."""
    node = Node(make_daemon, tmp_path)
    node.daemon.stop()
    state = node.daemon.state
    os.rename(state, f"{state}.away")
    node.daemon.start()
    assert node.store_status()["start"] == "fresh"
    node.daemon.stop()
    shutil.rmtree(state)
    os.rename(f"{state}.away", state)
    node.daemon.start()
    node.check_over_restarts()
