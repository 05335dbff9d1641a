# SPDX-License-Identifier: Apache-2.0
"""The texts of the virtual files, against those of the original."""
import errno
import json
import os
import re
import time

import pytest

import cfs
from cfs import raises

OBSERVED = [
    "corosync.conf", "corosync.conf.new", "storage.cfg", "user.cfg", "domains.cfg",
    "notifications.cfg", "priv/notifications.cfg", "priv/shadow.cfg", "priv/acme/plugins.cfg",
    "priv/tfa.cfg", "priv/token.cfg", "priv/wg-keys.cfg", "datacenter.cfg", "vzdump.cron",
    "vzdump.conf", "jobs.cfg", "ha/crm_commands", "ha/manager_status", "ha/resources.cfg",
    "ha/rules.cfg", "ha/groups.cfg", "ha/fence.cfg", "status.cfg", "replication.cfg", "ceph.conf",
    "sdn/vnets.cfg", "sdn/zones.cfg", "sdn/controllers.cfg", "sdn/subnets.cfg", "sdn/ipams.cfg",
    "sdn/mac-cache.json", "sdn/pve-ipam-state.json", "sdn/dns.cfg", "sdn/fabrics.cfg",
    "sdn/route-maps.cfg", "sdn/prefix-lists.cfg", "sdn/.running-config",
    "virtual-guest/cpu-models.conf", "virtual-guest/profiles.cfg", "firewall/cluster.fw",
    "mapping/directory.cfg", "mapping/pci.cfg", "mapping/usb.cfg"]


def vector(name):
    with open(f"{cfs.VECTORS}/virtual-files/{name}.txt") as file:
        return file.read()


def text(mount, name):
    return cfs.read(f"{mount}/{name}").decode()


def counters(mount):
    return json.loads(text(mount, ".version"))


@pytest.fixture(scope="module")
def fresh():
    """A daemon under the name that the vectors have, on an empty tree."""
    begin = int(time.time())
    daemon = cfs.Daemon("node1").start()
    daemon.begin = begin
    yield daemon
    try:
        daemon.stop()
    finally:
        daemon.remove()


def test_version_after_the_start(fresh):
    found = text(fresh.mount, ".version")
    start = json.loads(found)["starttime"]
    assert fresh.begin - 1 <= start <= time.time()
    assert found == vector("version-after-open").replace("1700000000", str(start))


def test_members_in_local_mode(fresh):
    assert text(fresh.mount, ".members") == vector("members-local-mode")


def test_vmlist_without_guests(fresh):
    assert text(fresh.mount, ".vmlist") == vector("vmlist-empty")


def test_rrd_without_metrics(fresh):
    assert text(fresh.mount, ".rrd") == ""


def test_clusterlog_after_the_start(fresh):
    found = text(fresh.mount, ".clusterlog")
    entry = json.loads(found)["data"][0]
    assert fresh.begin - 1 <= entry["time"] <= time.time()
    assert entry["pid"] == fresh.pid
    expected = vector("clusterlog-one-entry").replace("1700000000", str(entry["time"]))
    assert found == expected.replace("1001", str(fresh.pid))


@pytest.mark.parametrize("link,target", [
    ("local", "nodes/node1"), ("qemu-server", "nodes/node1/qemu-server"),
    ("openvz", "nodes/node1/openvz"), ("lxc", "nodes/node1/lxc")])
def test_links(fresh, link, target):
    assert os.readlink(fresh.path(link)) == target
    if not os.path.exists(fresh.path("nodes")):
        with raises(errno.ENOENT):
            os.stat(fresh.path(link))


# --- .debug ---

def test_debug_switches(mount):
    path = f"{mount}/.debug"
    assert cfs.read(path) == b"0\n"
    for data, expected in ((b"1\n", b"1\n"), (b"1\n", b"1\n"), (b"0\n", b"0\n"),
                           (b"1\nand more", b"1\n"), (b"0\n0\n", b"0\n")):
        fd = os.open(path, os.O_WRONLY)
        assert os.write(fd, data) == 2, "whatever the length"
        os.close(fd)
        assert cfs.read(path) == expected


@pytest.mark.parametrize("data", [b"1", b"0", b"2\n", b"on\n", b"\n", b"11\n", b" 1\n", b"1 \n"])
def test_debug_refuses_everything_else(mount, data):
    fd = os.open(f"{mount}/.debug", os.O_WRONLY)
    with raises(errno.EIO):
        os.write(fd, data)
    os.close(fd)
    assert cfs.read(f"{mount}/.debug") == b"0\n"


def test_debug_is_written_at_offset_0_only(mount):
    fd = os.open(f"{mount}/.debug", os.O_WRONLY)
    with raises(errno.EIO):
        os.pwrite(fd, b"1\n", 1)
    with raises(errno.EIO):
        os.pwrite(fd, b"1\n", 2)
    os.close(fd)


def test_a_shell_switches_debug(mount):
    cfs.run("sh", "-c", f"echo 1 > {mount}/.debug", check=True)
    assert cfs.read(f"{mount}/.debug") == b"1\n"
    cfs.run("sh", "-c", f"echo 0 > {mount}/.debug", check=True)
    assert cfs.read(f"{mount}/.debug") == b"0\n"


# --- Counters ---

def test_the_observed_paths_in_their_order(mount):
    found = re.findall(r'^"([^"]+)": ', text(mount, ".version"), re.M)
    assert found == ["starttime", "clinfo", "vmlist"] + OBSERVED + ["kvstore", "pve1"]


@pytest.mark.parametrize("path", OBSERVED)
def test_every_change_of_an_observed_file_counts(mount, path):
    whole = f"{mount}/{path}"
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    seen = counters(mount)[path]

    def grew(steps=1):
        nonlocal seen
        before, seen = seen, counters(mount)[path]
        return seen - before == steps

    os.close(os.open(whole, os.O_CREAT | os.O_WRONLY))
    assert grew(), "create"
    cfs.write(whole, b"x")
    assert grew(), "write"
    cfs.set_mtime(whole, 1234567890)
    assert grew(), "set mtime"
    os.rename(whole, f"{whole}.away")
    assert grew(), "rename away"
    os.rename(f"{whole}.away", whole)
    assert grew(), "rename onto"
    os.unlink(whole)
    assert grew(), "unlink"
    others = counters(mount)
    assert all(others[name] >= 1 for name in OBSERVED)


def test_other_files_do_not_count(mount, folder):
    before = text(mount, ".version")
    cfs.write(f"{folder}/storage.cfg", b"x")
    assert text(mount, ".version") == before


def test_a_changed_file_has_changed_its_counter(mount):
    """Caches of the management stack hang on this order."""
    path = f"{mount}/storage.cfg"
    for i in range(50):
        before = counters(mount)["storage.cfg"]
        cfs.write(path, str(i).encode())
        assert counters(mount)["storage.cfg"] > before


# --- One text for each open ---

def test_difference_a_virtual_file_is_made_at_open_and_stays(mount):
    os.makedirs(f"{mount}/nodes/pve1/qemu-server", exist_ok=True)
    old = text(mount, ".vmlist")
    fd = os.open(f"{mount}/.vmlist", os.O_RDONLY)
    cfs.write(f"{mount}/nodes/pve1/qemu-server/700.conf", b"x")
    new = text(mount, ".vmlist")
    assert '"700"' in new
    assert os.pread(fd, 10**6, 0).decode() == old
    assert os.pread(fd, 10**6, 5).decode() == old[5:]
    os.close(fd)


def test_difference_two_readers_do_not_share_a_text(mount):
    os.makedirs(f"{mount}/nodes/pve1/qemu-server", exist_ok=True)
    for vmid in range(800, 830):
        os.stat(f"{mount}/.vmlist")
        cfs.write(f"{mount}/nodes/pve1/qemu-server/{vmid}.conf", b"x")
        assert f'"{vmid}"' in text(mount, ".vmlist"), "no old text within a second"


def test_programs_that_ask_for_the_size_first_get_the_whole_text(mount):
    os.makedirs(f"{mount}/nodes/pve1/lxc", exist_ok=True)
    for vmid in range(900, 920):
        cfs.write(f"{mount}/nodes/pve1/lxc/{vmid}.conf", b"x")
        by_cat = cfs.run("cat", f"{mount}/.vmlist", check=True).stdout
        assert json.loads(by_cat) == json.loads(text(mount, ".vmlist"))
