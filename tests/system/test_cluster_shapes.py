# SPDX-License-Identifier: Apache-2.0
"""Clusters of other sizes and kinds, and nodes that come with another tree than the cluster's."""
import errno
import glob
import os
import re
import shutil
import time

import pytest

import cfs
import cluster
from test_cluster import check_equal, path, read, settle, status, sync, write

pytestmark = [
    pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not())),
    pytest.mark.skipif(not cfs.LONG, reason="only with --long"),
]

THREE = (1, 2, 3)
FORM_SECONDS = 90


def numbers(ring):
    return tuple(node.number for node in ring.nodes)


def start(ring):
    ring.start_daemons()
    ring.wait_quorate(FORM_SECONDS)
    settle(ring, numbers(ring), FORM_SECONDS)


def write_on_all(ring, folder, count):
    """Each node makes `count` files in a directory of its own and one that all share."""
    def writer(number):
        node = ring[number]
        os.makedirs(path(node, f"{folder}/of-{number}"), exist_ok=True)
        for index in range(count):
            write(node, f"{folder}/of-{number}/{index}", b"x" * (index * 37 % 5000))
            write(node, f"{folder}/shared", f"{number} {index}".encode())
            if index % 3 == 0:
                os.rename(path(node, f"{folder}/of-{number}/{index}"),
                          path(node, f"{folder}/of-{number}/new-{index}"))
    os.mkdir(path(ring.nodes[0], folder))
    for number in numbers(ring):
        sync(ring[number])
    children = cfs.Children()
    for number in numbers(ring):
        children.start(writer, number)
    children.results(120)
    check_equal(ring, numbers(ring))
    for number in numbers(ring):
        assert len(os.listdir(path(ring.nodes[0], f"{folder}/of-{number}"))) == count


def refused(node, name):
    with pytest.raises(OSError) as found:
        write(node, name, b"")
    return found.value.errno


# --- Many nodes, as real clusters have them: knet with encryption ---

@pytest.mark.seconds(300)
@pytest.mark.parametrize("count", [5] + ([8] if cfs.LONG else []))
def test_many_nodes(count):
    with cluster.Cluster(count, transport="knet", crypto=True) as ring:
        start(ring)
        write_on_all(ring, "all", 30)
        most = numbers(ring)[:count // 2 + 1]
        rest = numbers(ring)[count // 2 + 1:]
        ring.partition(most, rest)
        for number in rest:
            cluster.wait_for(lambda node=ring[number]: not status(node)["quorate"], FORM_SECONDS,
                             f"node {number} has lost quorum")
            assert refused(ring[number], "refused") == errno.EACCES
        settle(ring, most, FORM_SECONDS)
        for index in range(60):
            write(ring[most[index % len(most)]], f"meanwhile-{index}", str(index).encode())
        os.remove(path(ring[most[0]], "all/shared"))
        check_equal(ring, most)
        ring.heal()
        settle(ring, numbers(ring), FORM_SECONDS)
        check_equal(ring, numbers(ring))
        assert read(ring[rest[-1]], "meanwhile-59") == b"59"
        assert "refused" not in os.listdir(ring[rest[0]].tree)
        write_on_all(ring, "again", 5)


# --- Two nodes and a quorum device ---

@pytest.mark.seconds(200)
@pytest.mark.parametrize("killed", [2, 1] if cfs.LONG else [2])
def test_two_nodes_and_a_quorum_device(killed):
    survivor = 3 - killed
    with cluster.Cluster(2, qdevice=True) as ring:
        start(ring)
        cluster.wait_for(lambda: status(ring[survivor])["cluster"]["votes"]["total"] == 3, 60,
                         "the quorum device votes", every=0.2)
        votes = status(ring[survivor])["cluster"]["votes"]
        assert (votes["expected"], votes["needed"]) == (3, 2) and votes["device"]
        write(ring[killed], "acknowledged", b"x")
        ring[killed].kill()
        # The ring is two nodes less one for a moment, in which nothing is quorate.
        settle(ring, (survivor,), FORM_SECONDS)
        assert read(ring[survivor], "acknowledged") == b"x"
        for index in range(20):
            write(ring[survivor], f"alone-{index}", str(index).encode())
        ring[killed].restart()
        settle(ring, (1, 2), FORM_SECONDS)
        check_equal(ring, (1, 2))
        assert read(ring[killed], "alone-19") == b"19"
        write(ring[killed], "after", b"")


# --- Nodes that come with another tree ---

@pytest.fixture(scope="module")
def ring():
    with cluster.Cluster(3) as instance:
        start(instance)
        yield instance


@pytest.fixture
def whole(ring):
    """Three nodes with one tree, before and after."""
    settle(ring, THREE)
    yield
    settle(ring, numbers(ring))
    check_equal(ring, numbers(ring))


def replace_state(node, source=None):
    """The state directory of a node whose daemon does not run: as the copy is, or empty."""
    for name in os.listdir(node.disk()):
        os.remove(os.path.join(node.disk(), name))
    for name in os.listdir(source) if source else []:
        shutil.copy2(os.path.join(source, name), node.disk())


def lost(node):
    return set(glob.glob(os.path.join(node.disk(), "lost.snapshot.*")))


def log_since(node, mark):
    return node.log("daemon", 1 << 30)[mark:]


def log_mark(node):
    return len(node.log("daemon", 1 << 30))


def make_foreign(node, files, prefix):
    """A tree of another history, made in local mode. The daemon ends then."""
    node.stop_daemon()
    replace_state(node)
    node.start_daemon("--local")
    # As an administrator does it who lets such a node join.
    shutil.copyfile(os.path.join(node.disk("conf"), "corosync.conf"), path(node, "corosync.conf"))
    for index in range(files):
        write(node, f"{prefix}-{index}", b"of another cluster")
    version = status(node)["tree"]["version"]
    node.stop_daemon()
    return version


def join_foreign(ring, files, prefix):
    """Its version, that of the cluster before, and what each node said and kept since."""
    write(ring[1], f"ours-{prefix}", b"of this cluster")
    sync(ring[1])
    version = status(ring[1])["tree"]["version"]
    marks = {number: (log_mark(ring[number]), lost(ring[number])) for number in THREE}
    foreign = make_foreign(ring[3], files, prefix)
    marks[3] = (log_mark(ring[3]), set())
    ring[3].start_daemon()
    settle(ring, THREE)
    check_equal(ring)
    logs = {number: log_since(ring[number], marks[number][0]) for number in THREE}
    kept = {number: lost(ring[number]) - marks[number][1] for number in THREE}
    return foreign, version, logs, kept


def check_lost(log, kept, name, content):
    """The log says that it is lost and where it is kept; and it is there. "Replaced" is what has an
    inode number that the other tree has too, whatever that is there."""
    assert len(kept) == 1
    file = kept.pop()
    assert re.search(rf"is kept in {os.path.basename(file)}\n.*; \d+ entries here have lost:", log), log
    assert re.search(rf"{name}: (removed|replaced)", log), log
    assert content in cfs.read(file)


def test_a_foreign_tree_of_a_lower_version_is_replaced(ring, whole):
    for count in range(20):
        write(ring[2], "often", str(count).encode())
    foreign, version, logs, kept = join_foreign(ring, 4, "lower")
    assert foreign < version
    names = os.listdir(ring[3].tree)
    assert "ours-lower" in names and "lower-0" not in names
    check_lost(logs[3], kept[3], "lower-0", b"of another cluster")
    assert not kept[1] and not kept[2]


def test_a_foreign_tree_of_a_higher_version_replaces_the_clusters(ring, whole):
    """So the protocol is: the highest version leads. Nothing is lost without a trace."""
    files = status(ring[1])["tree"]["version"]
    foreign, version, logs, kept = join_foreign(ring, files, "higher")
    assert foreign > version
    for number in THREE:
        names = os.listdir(ring[number].tree)
        assert "ours-higher" not in names and "higher-0" in names
    for number in (1, 2):
        check_lost(logs[number], kept[number], "ours-higher", b"of this cluster")
    assert not kept[3]
    write(ring[1], "goes-on", b"")


def test_a_node_comes_back_with_an_old_store(ring, whole, tmp_path):
    node = ring[3]
    write(ring[1], "old", b"as it was")
    write(ring[1], "gone", b"")
    sync(node)
    node.stop_daemon()
    for name in os.listdir(node.disk()):
        shutil.copy2(os.path.join(node.disk(), name), tmp_path)
    node.start_daemon()
    settle(ring, THREE)
    for index in range(100):
        write(ring[1 + index % 3], f"since-{index}", str(index).encode() * 100)
    write(ring[2], "old", b"as it is")
    os.remove(path(ring[3], "gone"))
    node.stop_daemon()
    replace_state(node, tmp_path)
    before = lost(node)
    node.start_daemon()
    settle(ring, THREE)
    sync(node)
    assert read(node, "old") == b"as it is"
    assert read(node, "since-99") == b"99" * 100
    cluster.wait_for(lambda: not os.path.exists(path(node, "gone")), 2, "it is gone")
    # Nothing says that this tree is an older one of the same history: what differs is kept.
    assert len(lost(node) - before) == 1


def test_a_new_node_with_an_empty_store(ring, whole):
    """Last, since there are four from then on."""
    for index in range(50):
        write(ring[1], f"full-{index}", os.urandom(5000))
    began = time.monotonic()
    node = ring.add_node(daemon=True)
    settle(ring, numbers(ring))
    print(f"joined after {time.monotonic() - began:.1f} s")
    check_equal(ring, numbers(ring))
    # Its own corosync.conf had another time and writer; it had nothing else.
    assert set(re.findall(r"warning: (\S+): (?:replaced|removed)", node.log("daemon"))) <= {
        "corosync.conf"}
    assert read(node, "full-49") == read(ring[2], "full-49")
    write(node, "of-the-new-one", b"x")
    sync(ring[1])
    assert read(ring[1], "of-the-new-one") == b"x"
