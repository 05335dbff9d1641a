# SPDX-License-Identifier: Apache-2.0
"""Guest configurations: a VMID exists once in the tree, and `.vmlist` shows them all."""
import errno
import json
import os

import pytest

import cfs
from cfs import raises


def vmlist(mount):
    text = cfs.read(f"{mount}/.vmlist").decode()
    found = json.loads(text)
    return found["version"], found.get("ids", {})


def places(mount):
    return {vmid: (guest["node"], guest["type"]) for vmid, guest in vmlist(mount)[1].items()}


@pytest.fixture
def guests(make_daemon):
    """A tree of its own with two nodes."""
    daemon = make_daemon("node1").start()
    for node in ("node1", "node2"):
        for kind in ("qemu-server", "lxc", "openvz"):
            os.makedirs(daemon.path("nodes", node, kind))
    yield daemon
    daemon.stop()


def config(daemon, node, kind, name):
    return daemon.path("nodes", node, kind, name)


def test_the_texts_are_those_of_the_original(guests):
    with open(f"{cfs.VECTORS}/virtual-files/vmlist-empty.txt", "rb") as file:
        assert cfs.read(guests.path(".vmlist")) == file.read()
    os.close(os.open(config(guests, "node1", "qemu-server", "100.conf"), os.O_CREAT | os.O_WRONLY))
    cfs.write(config(guests, "node2", "lxc", "101.conf"), b"x")  # created, then written
    with open(f"{cfs.VECTORS}/virtual-files/vmlist-two-guests.txt", "rb") as file:
        assert cfs.read(guests.path(".vmlist")) == file.read()


def test_every_change_counts(guests):
    path = config(guests, "node1", "qemu-server", "100.conf")
    seen = [vmlist(guests.mount)[0]]

    def counted(steps):
        seen.append(vmlist(guests.mount)[0])
        return seen[-1] - seen[-2] == steps

    cfs.write(path, b"")
    assert counted(1)
    cfs.write(path, b"a")
    assert counted(1), "an overwrite is one write"
    first = vmlist(guests.mount)[1]["100"]["version"]
    cfs.write(path, b"b")
    assert vmlist(guests.mount)[1]["100"]["version"] == first + 1
    assert counted(1)
    os.rename(path, config(guests, "node2", "qemu-server", "100.conf"))
    assert counted(2)
    os.unlink(config(guests, "node2", "qemu-server", "100.conf"))
    assert counted(1)
    cfs.write(config(guests, "node1", "qemu-server", "notes.txt"), b"a")
    assert counted(0)


@pytest.mark.parametrize("node,kind", [("node2", "qemu-server"), ("node1", "lxc"),
                                       ("node1", "openvz"), ("node2", "lxc")])
def test_a_vmid_exists_once(guests, node, kind):
    cfs.write(config(guests, "node1", "qemu-server", "100.conf"), b"mine")
    second = config(guests, node, kind, "100.conf")
    with raises(errno.EEXIST):
        os.open(second, os.O_CREAT | os.O_WRONLY)
    with raises(errno.EEXIST):
        os.mknod(second, 0o100644)
    temporary = config(guests, node, kind, "100.conf.tmp.7")
    cfs.write(temporary, b"theirs")
    with raises(errno.EEXIST):
        os.rename(temporary, second)
    assert cfs.read(temporary) == b"theirs"
    assert places(guests.mount) == {"100": ("node1", "qemu")}
    os.unlink(config(guests, "node1", "qemu-server", "100.conf"))
    os.rename(temporary, second)
    assert list(places(guests.mount)) == ["100"]


def test_a_config_is_written_by_temporary_file_and_rename(guests):
    path = config(guests, "node1", "lxc", "200.conf")
    for content in (b"one", b"two"):
        cfs.replace(path, content)
        assert cfs.read(path) == content
    assert places(guests.mount) == {"200": ("node1", "lxc")}


def test_guests_move_between_nodes_and_types(guests):
    path = config(guests, "node1", "qemu-server", "100.conf")
    cfs.write(path, b"x")
    for node, kind, expected in (("node2", "qemu-server", ("node2", "qemu")),
                                 ("node2", "lxc", ("node2", "lxc")),
                                 ("node1", "openvz", ("node1", "openvz"))):
        target = config(guests, node, kind, "100.conf")
        os.rename(path, target)
        path = target
        assert places(guests.mount) == {"100": expected}
    os.rename(path, config(guests, "node1", "openvz", "101.conf"))
    assert places(guests.mount) == {"101": ("node1", "openvz")}
    os.rename(config(guests, "node1", "openvz", "101.conf"), guests.path("elsewhere"))
    assert places(guests.mount) == {}


def test_a_move_onto_a_vmid_in_use_is_refused(guests):
    cfs.write(config(guests, "node1", "qemu-server", "100.conf"), b"1")
    cfs.write(config(guests, "node2", "qemu-server", "101.conf"), b"2")
    with raises(errno.EEXIST):
        os.rename(config(guests, "node1", "qemu-server", "100.conf"),
                  config(guests, "node1", "qemu-server", "101.conf"))
    cfs.write(config(guests, "node1", "qemu-server", "102.conf"), b"3")
    os.rename(config(guests, "node1", "qemu-server", "100.conf"),
              config(guests, "node1", "qemu-server", "102.conf"))
    assert places(guests.mount) == {"101": ("node2", "qemu"), "102": ("node1", "qemu")}


def guest_rules():
    with open(os.path.join(cfs.VECTORS, "path-rules.json")) as file:
        for row in json.load(file)["paths"]:
            path = row["path"].rstrip("/")
            if path.endswith((".conf", ".con", ".CONF", ".5")) and path == os.path.normpath(path) \
                    and path.startswith("nodes/"):
                yield path, row["vm"]


@pytest.mark.parametrize("path,guest", sorted(guest_rules(), key=lambda row: row[0]))
def test_the_path_decides_what_is_a_guest(daemon, mount, path, guest):
    whole = f"{mount}/{path}"
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    cfs.write(whole, b"name: x\n")
    expected = {str(guest["vmid"]): (guest["node"], guest["type"])} if guest else {}
    assert places(mount) == expected
    os.unlink(whole)
    assert places(mount) == {}


def test_difference_a_directory_named_like_a_config_is_no_guest(guests):
    cfs.write(config(guests, "node1", "qemu-server", "100.conf"), b"x")
    other = config(guests, "node2", "qemu-server", "100.conf")
    os.mkdir(other)
    assert places(guests.mount) == {"100": ("node1", "qemu")}
    os.rmdir(other)
    assert places(guests.mount) == {"100": ("node1", "qemu")}
    with raises(errno.EEXIST):
        os.open(other, os.O_CREAT | os.O_WRONLY)


def test_the_list_is_made_again_at_start(guests):
    cfs.write(config(guests, "node1", "qemu-server", "100.conf"), b"x")
    cfs.write(config(guests, "node2", "lxc", "101.conf"), b"x")
    guests.restart()
    assert places(guests.mount) == {"100": ("node1", "qemu"), "101": ("node2", "lxc")}
    with raises(errno.EEXIST):
        os.open(config(guests, "node2", "qemu-server", "100.conf"), os.O_CREAT | os.O_WRONLY)


def test_the_links_lead_to_the_own_node(guests):
    cfs.write(guests.path("qemu-server", "100.conf"), b"x")
    cfs.write(guests.path("local", "lxc", "101.conf"), b"y")
    assert cfs.read(config(guests, "node1", "qemu-server", "100.conf")) == b"x"
    assert places(guests.mount) == {"100": ("node1", "qemu"), "101": ("node1", "lxc")}


def test_difference_a_file_in_place_of_a_kind_directory_is_no_obstacle(guests):
    os.mkdir(guests.path("nodes", "node3"))
    cfs.write(guests.path("nodes", "node3", "qemu-server"), b"not a directory")
    cfs.write(config(guests, "node1", "qemu-server", "100.conf"), b"x")
    guests.restart()
    assert places(guests.mount) == {"100": ("node1", "qemu")}
