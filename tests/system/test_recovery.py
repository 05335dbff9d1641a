# SPDX-License-Identifier: Apache-2.0
"""cfsgate repair on real stores, and the page docs/recovery.md: its commands, exactly as written."""
import json
import os
import re
import shutil
import textwrap

import pytest

import cfs

PAGE = os.path.join(os.path.dirname(os.path.dirname(cfs.HERE)), "docs", "recovery.md")


# --- Repair ---

def journal_files(state):
    return sorted(name for name in os.listdir(state) if name.startswith("journal."))


def in_file(path, change):
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        change(data)
        file.seek(0)
        file.truncate()
        file.write(data)


def flip(path, text):
    def change(data):
        at = data.find(text)
        assert at >= 0, f"{text} is not in {path}"
        data[at] ^= 0x40
    in_file(path, change)


def another_boot(state):
    """As after a power cut: the pages of tree.mdb may be anything."""
    path = os.path.join(state, "state")
    with open(path) as file:
        lines = [line for line in file if line.split()[0] not in ("boot", "state", "tree")]
    with open(path, "w") as file:
        file.write("".join(lines) + "state in-use\nboot an-earlier-boot\n")
    in_file(os.path.join(state, "tree.mdb"),
            lambda data: data.__setitem__(slice(0, 8192), b"\xa5" * 8192))


@pytest.fixture
def store(make_daemon):
    """A stopped daemon with 200 changes, a snapshot in the middle of them."""
    daemon = make_daemon().start()
    os.mkdir(daemon.path("d"))
    for number in range(200):
        if number == 100:
            daemon.request("snapshot")
        cfs.write(daemon.path("d/f"), b"<%d>" % number + b"c" * 500)
    daemon.stop()
    return daemon


def repair(daemon, code=0):
    done = cfs.cfsgate("repair", "--json", "--state", daemon.state)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def last_number(daemon):
    """Of the last change that is there, as the mount shows it after the next start."""
    daemon.start()
    content = cfs.read(daemon.path("d/f"))
    cfs.write(daemon.path("d/after"), b"goes on")
    daemon.stop()
    daemon.check()
    return int(content[1:content.index(b">")])


def test_a_good_store(store):
    before = sorted(os.listdir(store.state))
    for arguments in (["--dry-run"], []):
        done = cfs.cfsgate("repair", "--state", store.state, *arguments, check=True)
        assert "nothing is wrong" in done.stdout
    assert sorted(os.listdir(store.state)) == before


def test_a_damaged_tree(store):
    in_file(os.path.join(store.state, "tree.mdb"),
            lambda data: data.__setitem__(slice(4096, len(data)), b"\x5a" * (len(data) - 4096)))
    done = cfs.cfsgate("repair", "--dry-run", "--state", store.state)
    assert done.returncode == 1 and "damaged: tree.mdb" in done.stdout
    done = cfs.cfsgate("check", "--state", store.state)
    assert done.returncode == 1 and "tree.mdb" in done.stdout, done.stdout + done.stderr
    report = repair(store)
    assert report["repaired"] and not report["lost"]
    assert os.path.exists(os.path.join(store.state, report["aside"], "tree.mdb"))
    assert last_number(store) == 199


def test_a_damaged_record(store):
    """In the middle of the journal, after a power cut: what is before it is kept."""
    another_boot(store.state)
    flip(os.path.join(store.state, journal_files(store.state)[-1]), b"<150>")
    report = repair(store, code=5)
    assert report["source"].startswith("snapshot.") and len(report["lost"]) == 1
    assert last_number(store) == 149


def test_a_damaged_record_before_newer_segments(store):
    """The same with a segment behind it: what is lost is listed, and the exit code says so."""
    state = store.state
    store.start()
    # A record that does not fit in the segment begins another one.
    for _ in range(20):
        cfs.write(store.path("d/large"), os.urandom(cfs.MIB))
    store.stop()
    assert len(journal_files(state)) >= 2
    another_boot(state)
    flip(os.path.join(state, journal_files(state)[0]), b"<150>")
    done = cfs.cfsgate("repair", "--dry-run", "--state", state)
    assert done.returncode == 5 and "lost: the journal: records" in done.stdout
    report = repair(store, code=5)
    assert len(report["lost"]) == 1
    aside = os.listdir(os.path.join(state, report["aside"]))
    assert journal_files(state)[1] not in aside and "report" in aside
    assert any(name.startswith("journal.") for name in aside)
    assert last_number(store) == 149


def test_a_damaged_record_where_the_tree_is_well(store):
    flip(os.path.join(store.state, journal_files(store.state)[-1]), b"<150>")
    report = repair(store)
    assert report["damaged"] and not report["lost"] and report["source"] == "tree.mdb"
    assert last_number(store) == 199


def test_a_damaged_snapshot(store):
    name = [name for name in os.listdir(store.state) if name.startswith("snapshot.")][-1]
    flip(os.path.join(store.state, name), b"<99>")
    report = repair(store)
    assert os.path.exists(os.path.join(store.state, report["aside"], name))
    assert last_number(store) == 199


def test_a_missing_state_file(store):
    os.unlink(os.path.join(store.state, "state"))
    assert repair(store)["repaired"]
    assert last_number(store) == 199


def test_not_while_a_daemon_runs(store):
    store.start()
    for arguments in (["--dry-run"], []):
        done = cfs.cfsgate("repair", "--state", store.state, *arguments)
        assert done.returncode == 4 and "stop it first" in done.stderr
    store.stop()


def test_nothing_can_be_had(store):
    """Then the message says so, and nothing was changed."""
    for name in os.listdir(store.state):
        if name.startswith(("journal.", "snapshot.", "tree.mdb")):
            os.unlink(os.path.join(store.state, name))
    in_file(os.path.join(store.state, "state"),
            lambda data: data.__init__(data.replace(b"begins empty", b"begins snapshot")))
    before = sorted(os.listdir(store.state))
    done = cfs.cfsgate("repair", "--state", store.state)
    assert done.returncode == 1 and "recover the node from a backup" in done.stderr
    assert sorted(os.listdir(store.state)) == before


@pytest.mark.skipif(shutil.disk_usage("/tmp").free < 500 * cfs.MIB, reason="little space in /tmp")
def test_a_full_disk_changes_nothing(store, tmp_path):
    """The new files do not fit: the store stays as it was."""
    place = tmp_path / "disk"
    place.mkdir()
    used = sum(os.path.getsize(os.path.join(store.state, name)) for name in os.listdir(store.state))
    cfs.run("mount", "-t", "tmpfs", "-o", f"size={used // 1024 + 2048}k", "none", place, check=True)
    try:
        for name in os.listdir(store.state):
            shutil.copy2(os.path.join(store.state, name), place / name)
        os.unlink(place / "state")
        before = {name: cfs.read(place / name) for name in os.listdir(place)}
        done = cfs.cfsgate("repair", "--state", str(place))
        assert done.returncode == 1 and "No space left" in done.stderr, done.stdout + done.stderr
        assert {name: cfs.read(place / name) for name in os.listdir(place)} == before
    finally:
        cfs.run("umount", place, check=True)


# --- The page ---

def page_sections():
    """heading -> the shell commands below it."""
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    sections = {}
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        heading = part.split("\n", 1)[0]
        blocks = re.findall(r"^```sh\n(.*?)^```$", part, flags=re.M | re.S)
        if blocks:
            sections[heading] = "".join(blocks)
    return sections


SYSTEMCTL = """#!/bin/sh
case "$1" in
start) exec cfsgated ;;
stop)
    [ -f /run/pve-cluster.pid ] || exit 0
    pid=$(cat /run/pve-cluster.pid)
    kill "$pid" && tail --pid="$pid" -f /dev/null
    ;;
restart) "$0" stop "$2"; "$0" start "$2" ;;
*) exit 1 ;;
esac
"""

# A host of its own: every place that the page names is there, and none of it is this machine's.
HOST = """
set -eu
for place in /var/lib /run /root /mnt; do mount -t tmpfs none $place; done
mkdir {base}/etc && cp -a /etc/. {base}/etc/ && rm -rf {base}/etc/corosync {base}/etc/pve
mkdir -p {base}/etc/cfsgate && : >{base}/etc/cfsgate/cfsgate.conf
mount --bind {base}/etc /etc
mkdir /run/cfsgate
hostname {host}
ip link set lo up
export PATH={base}/bin:$PATH
cd /root
"""

PREPARE = """
systemctl start cfsgated
mkdir -p /etc/pve/nodes/pve1/qemu-server
echo 'memory: 512' >/etc/pve/nodes/pve1/qemu-server/100.conf
echo 'nodes pve1' >/etc/pve/storage.cfg
cfsgate backup /root/pve.backup
"""


class Host:
    """Runs scripts as root of a host with these places and no other processes."""

    def __init__(self, base):
        self.base = str(base)
        os.mkdir(os.path.join(self.base, "bin"))
        for name in ("cfsgate", "cfsgated"):
            os.symlink(cfs.program(name), os.path.join(self.base, "bin", name))
        shim = os.path.join(self.base, "bin", "systemctl")
        with open(shim, "w") as file:
            file.write(SYSTEMCTL)
        os.chmod(shim, 0o755)

    def run(self, before, page, after, host="pve1"):
        """`before` and `after` must succeed whole; of the page each command runs, and what it prints
        and its exit code are in the answer."""
        script = HOST.format(base=self.base, host=host) + PREPARE + textwrap.dedent(before)
        script += "\nset +e\n"
        for line in page.splitlines():
            script += f"echo {cfs_quote('$ ' + line)}\n{line}\necho \"exit $?\"\n"
        script += "set -e\necho '--- after'\n" + textwrap.dedent(after)
        script += "\nsystemctl stop cfsgated\n"
        done = cfs.run("unshare", "--mount", "--uts", "--net", "--ipc", "--pid", "--fork",
                       "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-c",
                       script, timeout=100, stdin=None)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        codes = re.findall(r"^exit (\d+)$", done.stdout.split("--- after")[0], flags=re.M)
        assert len(codes) == len(page.splitlines()), text
        return text, [int(code) for code in codes]


def cfs_quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture
def night(tmp_path):
    return Host(tmp_path)


def section(name):
    return page_sections()[name]


def test_every_section_is_tried():
    """Those of a cluster need one."""
    tests = cfs.read(os.path.abspath(__file__)) + cfs.read(os.path.join(cfs.HERE, "test_cluster.py"))
    untried = [name for name in page_sections()
               if f'section("{name}")'.encode() not in tests
               and f'page_sections()["{name}"]'.encode() not in tests]
    assert not untried


def test_links_lead_somewhere():
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    headings = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
                for heading in re.findall(r"^## (.*)$", text, flags=re.M)}
    for link in re.findall(r"\]\(([^)]*)\)", text):
        place, _, anchor = link.partition("#")
        if place:
            assert os.path.exists(os.path.join(os.path.dirname(PAGE), place)), link
        else:
            assert anchor in headings, link


def test_before_it_happens(night):
    page = section("Before it happens")
    # The page's first command makes it.
    text, codes = night.run("rm /root/pve.backup", page, "test -s /root/pve.backup")
    assert codes == [0, 0] and "node pve1" in text


def test_a_wrong_change(night):
    page = section("A wrong change was made")
    text, codes = night.run("echo wrong >/etc/pve/storage.cfg", page,
                            "grep -q 'nodes pve1' /etc/pve/storage.cfg; test ! -e /root/look")
    assert codes == [0] * 5, text


def test_the_mount_hangs(night):
    page = section("The mount hangs")
    text, codes = night.run("", page, "grep -q 'nodes pve1' /etc/pve/storage.cfg")
    assert codes[-1] == 0, text


def test_the_store_is_damaged(night):
    page = section("The store is damaged")
    text, codes = night.run(
        """
        systemctl stop cfsgated
        dd if=/dev/zero of=/var/lib/pve-cluster/tree.mdb bs=4096 seek=1 count=8 conv=notrunc status=none
        """, page, """
        grep -q 'nodes pve1' /etc/pve/storage.cfg
        test -f /var/lib/pve-cluster/damaged.*/report
        """)
    assert codes == [0, 0, 1, 1, 0, 0, 0], text
    assert "damaged: tree.mdb" in text and "repaired, made of" in text


def test_the_disk_is_in_another_machine(night):
    page = section("The disk is in another machine")
    text, codes = night.run(
        """
        systemctl stop cfsgated
        mkdir -p /mnt/var/lib
        mv /var/lib/pve-cluster /mnt/var/lib/pve-cluster
        mount -o remount,ro /mnt
        """, page, """
        cfsgate recover /root/pve1.backup
        systemctl start cfsgated
        grep -q 'nodes pve1' /etc/pve/storage.cfg
        """)
    assert codes == [0, 0, 0] and "node pve1" in text, text


def test_onto_a_new_host(night):
    page = section("Onto a new host")
    text, codes = night.run(
        """
        systemctl stop cfsgated
        rm -r /var/lib/pve-cluster
        systemctl start cfsgated
        test ! -e /etc/pve/storage.cfg
        """, page, """
        grep -q 'nodes pve1' /etc/pve/storage.cfg
        grep -q 'memory: 512' /etc/pve/local/qemu-server/100.conf
        test -d /var/lib/pve-cluster/store-*
        """)
    assert codes == [0] * 6, text


def test_onto_a_host_with_another_name(night):
    page = section("Onto a host with another name")
    text, codes = night.run(
        """
        systemctl stop cfsgated
        rm -r /var/lib/pve-cluster
        hostname pve7
        systemctl start cfsgated
        """, page, """
        grep -q 'memory: 512' /etc/pve/local/qemu-server/100.conf
        test ! -e /etc/pve/nodes/pve1
        """)
    assert codes == [0] * 4, text
    assert "nodes/pve1 is now nodes/pve7" in text and "still name pve1: storage.cfg" in text
