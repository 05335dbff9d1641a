# SPDX-License-Identifier: Apache-2.0
"""Nodes of both kinds in one cluster: cfsgated, and the original, built outside.

CFSGATE_PEER names the original's program; without it all of this is skipped. The names of the nodes'
kinds read like "pcc": node 1 is the original's, nodes 2 and 3 are ours.
"""
import errno
import json
import os
import sqlite3
import time

import pytest

import cfs
import cluster
from test_cluster import cfsgate, check_equal, path, read, status, sync, write

PEER = os.environ.get("CFSGATE_PEER")

pytestmark = [
    pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not())),
    pytest.mark.skipif(not PEER, reason="CFSGATE_PEER names no program of the original's"),
]


class Mixed(cluster.Cluster):
    def __init__(self, kinds):
        super().__init__(len(kinds))
        self.kinds = dict(enumerate(kinds, 1))

    def start(self, number, kind=None):
        self.kinds[number] = kind or self.kinds[number]
        if self.kinds[number] == "p":
            self[number].start_daemon(command=[PEER, "-f"])
        else:
            self[number].start_daemon()

    def ours(self):
        return [number for number, kind in self.kinds.items() if kind == "c" and self[number].on()]


def listing(node):
    """The tree as the mount of either kind shows it; virtual files left out."""
    found = {}
    for directory, directories, files in os.walk(node.tree):
        for name in directories + files:
            there = os.path.join(directory, name)
            relative = os.path.relpath(there, node.tree)
            if relative.startswith(".") or os.path.islink(there):
                continue
            info = os.stat(there)
            content = None
            if not os.path.isdir(there):
                with open(there, "rb") as stream:
                    content = stream.read()
            found[relative] = (info.st_size, int(info.st_mtime), content)
    return found


def same(ring):
    trees = {number: listing(ring[number]) for number in ring.kinds if ring[number].mounted()}
    first = next(iter(trees.values()))
    return all(tree == first for tree in trees.values())


def wait_same(ring):
    cluster.wait_for(lambda: same(ring), 30, "all nodes show the same tree", every=0.5)
    for number in ring.ours():
        assert status(ring[number])["cluster"]["configuration"]["mode"] == "synced"


def together(ring):
    """Until each node of ours is in sync with all that run, and they see each other online."""
    count = len([number for number in ring.kinds if ring[number].mounted()])

    def ready():
        for number in ring.ours():
            found = status(ring[number], or_nothing=True)
            if found is None or not found["quorate"]:
                return False
            group = found["cluster"]["configuration"]
            if group["mode"] != "synced" or len(group["members"]) != count:
                return False
        return True
    cluster.wait_for(ready, 40, "all nodes are one group in sync", every=0.1)


def guests(node):
    """On which node each is. The original's list may be a second old."""
    listed = json.loads(read(node, ".vmlist")).get("ids", {})
    return {vmid: guest["node"] for vmid, guest in listed.items()}


@pytest.fixture(scope="module", params=["pcc", "cpp"])
def ring(request):
    with Mixed(request.param) as instance:
        for number in instance.kinds:
            instance.start(number)
        instance.wait_quorate()
        together(instance)
        yield instance


def test_every_operation_from_either_side(ring):
    for number in ring.kinds:
        node = ring[number]
        write(node, f"file-{number}", b"some content")
        with open(path(node, f"file-{number}"), "ab") as stream:
            stream.write(b" and more")
        os.makedirs(path(node, f"directory-{number}/below"))
        write(node, f"directory-{number}/old", b"x" * 5000)
        os.rename(path(node, f"directory-{number}/old"), path(node, f"directory-{number}/new"))
        os.rmdir(path(node, f"directory-{number}/below"))
        os.truncate(path(node, f"directory-{number}/new"), 77)
        write(node, f"gone-{number}", b"")
        os.remove(path(node, f"gone-{number}"))
        os.utime(path(node, f"file-{number}"), (1700000000 + number, 1700000000 + number))
        write(node, f"big-{number}", os.urandom(cfs.MIB))
        write(node, f"big-{number}", os.urandom(300000))
    wait_same(ring)
    tree = listing(ring[1])
    for number in ring.kinds:
        assert tree[f"file-{number}"] == (21, 1700000000 + number, b"some content and more")
        assert tree[f"directory-{number}/new"][0] == 77
        assert tree[f"big-{number}"][0] == 300000


def test_guests_are_unique_in_the_whole_cluster(ring):
    for number in ring.kinds:
        os.makedirs(path(ring[1], f"nodes/n{number}/qemu-server"), exist_ok=True)
    wait_same(ring)
    for number in ring.kinds:
        write(ring[number], f"nodes/n{number}/qemu-server/{100 + number}.conf", b"name: x\n")
    wait_same(ring)
    for number in ring.kinds:
        cluster.wait_for(lambda number=number: guests(ring[number]) == {
            str(100 + one): f"n{one}" for one in ring.kinds}, 3, f"node {number} knows all guests")
        other = number % 3 + 1
        with pytest.raises(OSError) as refused:
            write(ring[number], f"nodes/n{other}/qemu-server/{100 + number}.conf", b"")
        assert refused.value.errno == errno.EEXIST
    source = path(ring[2], "nodes/n1/qemu-server/101.conf")
    os.rename(source, path(ring[2], "nodes/n3/qemu-server/101.conf"))  # a migration
    cluster.wait_for(lambda: guests(ring[1])["101"] == "n3", 3, "node 1 knows where the guest is")


def test_members_are_seen_online_by_both(ring):
    for number in ring.kinds:
        nodes = json.loads(read(ring[number], ".members"))["nodelist"]
        assert all(node["online"] == 1 for node in nodes.values()), f"node {number}: {nodes}"
        assert all("ip" in node for node in nodes.values()), f"node {number}: {nodes}"


def test_locks_are_contended(ring):
    """mkdir in priv/lock: one winner each time, whoever asks."""
    os.makedirs(path(ring[1], "priv/lock"), exist_ok=True)
    wait_same(ring)

    def contend(number):
        held = 0
        for _ in range(40):
            try:
                os.mkdir(path(ring[number], "priv/lock/contended"))
            except FileExistsError:
                time.sleep(0.002)
                continue
            write(ring[number], f"holder-{held % 2}", str(number).encode())
            held += 1
            os.rmdir(path(ring[number], "priv/lock/contended"))
        return held
    children = cfs.Children()
    for number in ring.kinds:
        children.start(contend, number)
    assert sum(children.results(120)) > 0
    wait_same(ring)


def test_the_lowest_node_verifies(ring):
    """A checksum that differs makes a node leave; nobody may."""
    wait_same(ring)
    if ring.kinds[1] == "c":
        assert "equal" in cfsgate(ring[1], "verify").stdout
    time.sleep(1)
    for number in ring.ours():
        assert status(ring[number])["cluster"]["configuration"]["leaves"] == 0
    assert "leaving" not in ring.logs(100000).replace("nobody is leaving", "")


@pytest.mark.parametrize("number", [1, 3])
def test_a_node_of_either_kind_joins_again(ring, number):
    others = [one for one in ring.kinds if one != number]
    ring[number].stop_daemon()
    for count in range(50):
        write(ring[others[0]], f"joined-{number}-{count}", str(count).encode() * 100)
    os.remove(path(ring[others[1]], f"joined-{number}-7"))
    ring.start(number)
    together(ring)
    wait_same(ring)


def test_a_partition_heals(ring):
    ring.partition([1, 2], [3])
    cluster.wait_for(lambda: not os.lstat(path(ring[3], "local")).st_mode & 0o200, 20,
                     "node 3 is without quorum")
    for count in range(50):
        deadline = time.monotonic() + 20
        while True:  # the others are forming their ring
            try:
                write(ring[1], f"meanwhile-{count}", b"x")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    ring.heal()
    together(ring)
    wait_same(ring)


def test_corosync_conf_reaches_every_node(ring):
    text = read(ring[2], "corosync.conf").decode()
    version = int(text.split("config_version:")[1].split()[0])
    new = text.replace(f"config_version: {version}", f"config_version: {version + 1}")
    for number in (2, 3):  # one of each kind, or both of one
        write(ring[number], "corosync.conf", new.encode())
        for one in ring.kinds:
            cluster.wait_for(
                lambda one=one, new=new: ring[one].exec("cat", "/etc/corosync/corosync.conf").stdout == new, 10,
                f"node {one} has the new corosync.conf", every=0.2)
        version += 1
        new = new.replace(f"config_version: {version}", f"config_version: {version + 1}")
    wait_same(ring)
    cluster.wait_for(lambda: json.loads(read(ring[1], ".members"))["cluster"]["version"] == version,
                     10, "corosync has read it again", every=0.2)


def test_nodes_are_replaced_one_by_one_under_load(ring):
    """From the original to ours, with its database taken over; nothing acknowledged is lost."""
    def writer(number):
        acknowledged = []
        for count in range(200):
            try:
                write(ring[number], f"load-{number}-{count}", b"x" * count)
                acknowledged.append(f"load-{number}-{count}")
            except OSError:
                time.sleep(0.1)
            time.sleep(0.02)
        return acknowledged
    original = [number for number, kind in ring.kinds.items() if kind == "p"]
    steady = next(number for number, kind in ring.kinds.items() if kind == "c")
    children = cfs.Children()
    children.start(writer, steady)
    for number in original:
        ring[number].stop_daemon()
        ring.start(number, "c")  # finds the original's config.db and imports it
        together(ring)
    [acknowledged] = children.results(120)
    wait_same(ring)
    check_equal(ring)
    tree = listing(ring[1])
    assert len(acknowledged) > 100 and all(name in tree for name in acknowledged)


def test_it_becomes_the_original_again(ring):
    """Back: what our node has exported is a database for the original."""
    sync(ring[3])
    ring[3].exec("sh", "-c", f"{cfs.program('cfsgate')} export /var/lib/pve-cluster/exported.db", check=True)
    ring[3].stop_daemon()
    disk = ring[3].disk("state")
    for name in os.listdir(disk):
        if name != "exported.db":
            os.unlink(os.path.join(disk, name))
    os.rename(os.path.join(disk, "exported.db"), os.path.join(disk, "config.db"))
    with sqlite3.connect(os.path.join(disk, "config.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    ring.start(3, "p")
    together(ring)
    wait_same(ring)
