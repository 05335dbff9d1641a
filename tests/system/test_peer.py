# SPDX-License-Identifier: Apache-2.0
"""A tree goes over to the original program and comes back, whole.

Needs a built pmxcfs: CFSGATE_PEER names the executable. It has fixed paths (/etc/pve, /run,
/var/lib/pve-cluster), so it runs in namespaces of its own where these are directories of the test.
"""
import contextlib
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import tempfile

import pytest

import cfs

PEER = os.environ.get("CFSGATE_PEER", "")

pytestmark = pytest.mark.skipif(
    not (os.path.isabs(PEER) and os.access(PEER, os.X_OK)),
    reason="CFSGATE_PEER does not name (by an absolute path) an executable pmxcfs")

# No network and no System V objects either: it listens on an abstract socket, which belongs to
# the network namespace.
NAMESPACES = ["unshare", "--mount", "--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child"]

INSIDE = """set -e
mount --make-rprivate /
mount --bind "$1/etc" /etc
mount --bind "$1/lib" /var/lib
mount --bind "$1/run" /run
hostname pve1
exec "$2" -l -f
"""


class Original:
    """pmxcfs in the foreground, in local mode, on a database."""

    def __init__(self, database):
        self.base = tempfile.mkdtemp(prefix="cfs.", dir="/tmp")
        for folder in ("etc/pve", "lib/pve-cluster", "run"):
            os.makedirs(f"{self.base}/{folder}")
        self.database = f"{self.base}/lib/pve-cluster/config.db"
        shutil.copy(database, self.database)
        self.log_file = f"{self.base}/log"
        self.process = None
        self._settings()

    def _settings(self):
        """What the C library and the program read below /etc."""
        for name in ("passwd", "group", "ld.so.cache"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(f"/etc/{name}", f"{self.base}/etc/{name}")
        texts = {"hosts": "127.0.0.1 localhost\n10.0.0.1 pve1\n",  # a loopback address is refused
                 "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n"}
        for name, text in texts.items():
            with open(f"{self.base}/etc/{name}", "w") as file:
                file.write(text)

    def start(self):
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*NAMESPACES, "sh", "-c", INSIDE, "sh", self.base, PEER],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/")
        cfs.live.append(self)
        try:
            cfs.wait_for(self.answers, "the original serves", 20)
        except AssertionError as error:
            text = f"{error}\n{self.log()}"
            self.abort()
            raise AssertionError(text) from None
        return self

    @property
    def pid(self):
        """Of the first process in the namespaces, seen from here; None before it is there."""
        parent = self.process.pid
        with contextlib.suppress(OSError):
            with open(f"/proc/{parent}/task/{parent}/children") as file:
                return int((file.read().split() or [0])[0]) or None
        return None

    @property
    def mount(self):
        return f"/proc/{self.pid}/root/etc/pve"

    def path(self, *parts):
        return os.path.join(self.mount, *parts)

    def answers(self):
        code = self.process.poll()
        assert code is None, f"the original ended with {code} at start"
        try:
            return (self.pid and cfs.mounts_at("/etc/pve", self.pid)
                    and cfs.run("stat", self.path(".version"), timeout=10).returncode == 0)
        except (OSError, subprocess.TimeoutExpired):
            return False

    def log(self, lines=60):
        with open(self.log_file, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def stop(self):
        """SIGTERM, and the database is left as the program closes it."""
        assert self.process.poll() is None, f"the original had ended:\n{self.log()}"
        os.kill(self.pid, signal.SIGTERM)
        try:
            code = self.process.wait(20)
        finally:
            self.abort()
        assert code == 0, f"the original ended with {code}:\n{self.log()}"

    def abort(self):
        """Ends the namespaces, and with them the program and its mount."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self in cfs.live:
            cfs.live.remove(self)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        try:
            if kind is None and self.process.poll() is None:
                self.stop()
        finally:
            self.abort()
            shutil.rmtree(self.base, ignore_errors=True)


# --- What is compared ---

def entry(path):
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(cfs.read(path)).hexdigest()
    else:
        content = None
    return (oct(found.st_mode), found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns, content)


def tree(mount):
    """Every entry below the mount with what stat and read say. Virtual files name the run that
    made them, so they are left out."""
    found = {".": entry(mount)}
    for folder, folders, files in os.walk(mount):
        for name in folders + files:
            path = os.path.relpath(os.path.join(folder, name), mount)
            if path not in cfs.VIRTUAL_FILES:
                found[path] = entry(os.path.join(folder, name))
    return found


def guests(mount):
    ids = json.loads(cfs.read(f"{mount}/.vmlist")).get("ids", {})
    return {vmid: (guest["node"], guest["type"]) for vmid, guest in ids.items()}


def seen(daemon):
    return {"tree": tree(daemon.mount), "guests": guests(daemon.mount),
            "free": os.statvfs(daemon.mount).f_bfree, "slots": os.statvfs(daemon.mount).f_ffree}


def assert_same(found, expected):
    """As a comparison of the whole, but what a failure prints is what differs."""
    for part, value in expected.items():
        if not isinstance(value, dict):
            assert found[part] == value, part
            continue
        differing = {key: (found[part].get(key), value.get(key))
                     for key in found[part].keys() | value.keys()
                     if found[part].get(key) != value.get(key)}
        assert differing == {}, f"{part}: (found, expected)"


def rows(database):
    """A file without content may be stored as NULL or as an empty blob."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(
            "SELECT inode, parent, version, writer, mtime, type, CAST(name AS BLOB), "
            "coalesce(data, x'') FROM tree ORDER BY inode").fetchall()


# --- What is changed ---

def change_everything(daemon, name, vmid):
    """Each kind of change, in a directory of this name and on a guest of this number."""
    folder = daemon.path(name)
    os.makedirs(f"{folder}/d/e")
    cfs.write(f"{folder}/created", b"created")
    cfs.write(f"{folder}/written", b"one")
    cfs.write(f"{folder}/written", b"two, longer")
    cfs.write(f"{folder}/full", os.urandom(cfs.MIB))
    cfs.write(f"{folder}/empty", b"")
    cfs.write(f"{folder}/grün \n\"'", b"a name")
    cfs.write(f"{folder}/source", b"renamed")
    cfs.write(f"{folder}/target", b"replaced")
    os.rename(f"{folder}/source", f"{folder}/target")
    os.rename(f"{folder}/d/e", f"{folder}/moved")
    cfs.write(f"{folder}/deleted", b"deleted")
    os.unlink(f"{folder}/deleted")
    os.rmdir(f"{folder}/d")
    cfs.write(f"{folder}/cut", bytes(range(256)) * 20)
    os.truncate(f"{folder}/cut", 1000)
    os.truncate(f"{folder}/cut", 1500)
    cfs.set_mtime(f"{folder}/cut", 1234567890)
    change_guests(daemon, vmid)
    os.makedirs(daemon.path("priv", "lock", name))
    cfs.write(daemon.path("priv", name), b"private")


def change_guests(daemon, vmid):
    for node, kind in (("pve1", "qemu-server"), ("pve2", "qemu-server"), ("pve1", "lxc")):
        os.makedirs(daemon.path("nodes", node, kind), exist_ok=True)
    cfs.write(daemon.path("nodes/pve1/lxc", f"{vmid}.conf"), b"memory: 512\n")
    cfs.write(daemon.path("nodes/pve1/qemu-server", f"{vmid + 1}.conf"), b"memory: 1024\n")
    os.rename(daemon.path("nodes/pve1/qemu-server", f"{vmid + 1}.conf"),
              daemon.path("nodes/pve2/qemu-server", f"{vmid + 1}.conf"))
    cfs.write(daemon.path("nodes/pve1/qemu-server", f"{vmid + 2}.conf"), b"")
    os.unlink(daemon.path("nodes/pve1/qemu-server", f"{vmid + 2}.conf"))


def change_more(daemon, name):
    """What the other program left is changed as well, not only what is new."""
    folder = daemon.path(name)
    cfs.write(f"{folder}/created", b"changed by the other")
    os.rename(f"{folder}/full", f"{folder}/moved/full")
    os.unlink(f"{folder}/empty")
    cfs.write(f"{folder}/grün \n\"'", b"")
    os.rename(f"{folder}/target", f"{folder}/written")


# --- The tests ---

DATABASES = {"whole": f"{cfs.ORIGINAL}/config.db",
             "tree-basic": f"{cfs.VECTORS}/config-db/tree-basic.db",
             "after-sync": f"{cfs.VECTORS}/config-db/after-sync.db"}


@pytest.fixture(params=DATABASES, ids=list(DATABASES))
def database(request):
    return DATABASES[request.param]


def imported(make_daemon, database):
    daemon = make_daemon()
    cfs.cfsgate("import", database, "--state", daemon.state, check=True, timeout=120)
    return daemon


def exported(daemon, file):
    cfs.cfsgate("export", file, "--state", daemon.state, check=True, timeout=120)
    return str(file)


def test_the_original_opens_an_export_and_shows_the_same_tree(make_daemon, tmp_path, database):
    daemon = imported(make_daemon, database).start()
    change_everything(daemon, "ours", 999001)
    expected = seen(daemon)
    daemon.stop()
    file = exported(daemon, tmp_path / "out.db")
    with Original(file) as original:
        assert_same(seen(original), expected)
        original.stop()
        assert rows(original.database) == rows(file), "opening it changes nothing"


def test_a_tree_that_the_original_changed_comes_back(make_daemon, tmp_path, database):
    daemon = imported(make_daemon, database).start()
    change_everything(daemon, "ours", 999001)
    daemon.stop()
    with Original(exported(daemon, tmp_path / "out.db")) as original:
        change_more(original, "ours")
        change_everything(original, "theirs", 999101)
        expected = seen(original)
        original.stop()
        back = imported(make_daemon, original.database)
        changed = rows(original.database)
    back.check()
    back.start()
    assert_same(seen(back), expected)
    back.stop()
    assert rows(exported(back, tmp_path / "back.db")) == changed


def test_the_database_of_a_new_tree_is_opened(make_daemon, tmp_path):
    daemon = make_daemon().start()
    expected = seen(daemon)
    daemon.stop()
    with Original(exported(daemon, tmp_path / "out.db")) as original:
        assert_same(seen(original), expected)
        os.mkdir(original.path("d"))
