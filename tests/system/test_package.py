# SPDX-License-Identifier: Apache-2.0
"""The Debian packages on a clean Debian 12 with systemd, in a guest kernel.

Takes the packages that scripts/package has made, from the directory CFSGATE_PACKAGES. Where that is
not set the tests skip, since each boots a system; the long variant takes build/release/packages, and
fails without them.
"""
import glob
import os
import re
import shutil
import sqlite3

import pytest

import cfs
import debian_guest

REPOSITORY = os.path.dirname(os.path.dirname(cfs.HERE))
FOLDER = os.environ.get("CFSGATE_PACKAGES") or os.path.join(REPOSITORY, "build/release/packages")
APT = "apt-get install --yes --no-install-recommends"
STATE = "/var/lib/pve-cluster"
ORIGINAL = "/usr/bin/pmxcfs"


def find_package(name):
    found = glob.glob(f"{FOLDER}/{name}_*.deb")
    return found[0] if len(found) == 1 else None


def why_not():
    if not cfs.LONG and not os.environ.get("CFSGATE_PACKAGES"):
        return "no CFSGATE_PACKAGES, the directory with the packages of scripts/package"
    if not find_package("cfsgate") or not find_package("cfsgate-pmxcfs"):
        return f"no packages in {FOLDER}: make them with scripts/package"
    return debian_guest.missing()


if not cfs.LONG:
    pytestmark = [pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
                  pytest.mark.seconds(900)]
else:
    pytestmark = pytest.mark.seconds(900)


# --- Packages ---

def rebuild(deb, target, change):
    """The same package after change(folder)."""
    folder = target + ".d"
    cfs.run("dpkg-deb", "--raw-extract", deb, folder, check=True)
    change(folder)
    cfs.run("dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", folder, target, check=True, timeout=300)
    shutil.rmtree(folder)


def raise_version(folder):
    """Of the package, and of what it depends on exactly."""
    path = f"{folder}/DEBIAN/control"
    with open(path) as file:
        text = file.read()
    version = re.search(r"^Version: (.*)$", text, re.MULTILINE)[1]
    with open(path, "w") as file:
        file.write(text.replace(version, version + "+next"))
    for place in glob.glob(f"{folder}/usr/share/doc/*/copyright"):
        with open(place, "a") as file:
            file.write("The next version.\n")


def make_original(folder, version):
    """Stands for the package of the original: the same names, and a daemon that only runs."""
    root = f"{folder}/original.d"
    for name, mode, text in (
            ("DEBIAN/control", 0o644,
             f"Package: pve-cluster\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <n@localhost>\n"
             "Description: stands for the original\n"),
            ("DEBIAN/postinst", 0o755,
             "#!/bin/sh\nset -e\ndeb-systemd-helper unmask pve-cluster.service\n"
             "deb-systemd-helper enable pve-cluster.service\n"
             "systemctl daemon-reload\ndeb-systemd-invoke restart pve-cluster.service\n"),
            ("DEBIAN/prerm", 0o755,
             '#!/bin/sh\nset -e\n[ "$1" != remove ] || deb-systemd-invoke stop pve-cluster.service\n'),
            ("usr/bin/pmxcfs", 0o755,
             f"#!/bin/sh\n# the original {version}\nsleep infinity &\necho $! >/run/pve-cluster.pid\n"),
            ("usr/share/man/man8/pmxcfs.8.gz", 0o644, f"page of the original {version}\n"),
            ("usr/share/perl5/PVE/Cluster.pm", 0o644, "1;\n"),
            # Where packages for Debian 12 have it; it is the same place as /usr/lib.
            ("lib/systemd/system/pve-cluster.service", 0o644,
             f"[Unit]\nDescription=the original {version}\n[Service]\nType=forking\n"
             "PIDFile=/run/pve-cluster.pid\nExecStart=/usr/bin/pmxcfs\n"
             "[Install]\nWantedBy=multi-user.target\n")):
        os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
        with open(f"{root}/{name}", "w") as file:
            file.write(text)
        os.chmod(f"{root}/{name}", mode)
    target = f"{folder}/original-{version}.deb"
    cfs.run("dpkg-deb", "--root-owner-group", "--build", root, target, check=True)
    shutil.rmtree(root)


def make_config_db(path, name, content):
    """A database of the original with one file."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE tree (inode INTEGER PRIMARY KEY NOT NULL, parent INTEGER NOT NULL"
                         " CHECK(typeof(parent)=='integer'), version INTEGER NOT NULL, writer INTEGER"
                         " NOT NULL, mtime INTEGER NOT NULL, type INTEGER NOT NULL, name TEXT NOT NULL,"
                         " data BLOB)")
        database.execute("INSERT INTO tree VALUES (0,0,2,0,1700000000,8,'__version__',NULL)")
        database.execute("INSERT INTO tree VALUES (2,0,2,0,1700000000,8,?,?)", (name, content))
    database.close()


def files_of(path):
    database = sqlite3.connect(path)
    try:
        return dict(database.execute("SELECT name, data FROM tree WHERE inode != 0").fetchall())
    finally:
        database.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the guests see at /host: the packages, the same with a higher version, the stand-in."""
    assert why_not() is None, why_not()
    path = str(tmp_path_factory.mktemp("packages"))
    for name in ("cfsgate", "cfsgate-pmxcfs"):
        shutil.copy(find_package(name), f"{path}/{name}.deb")
        rebuild(f"{path}/{name}.deb", f"{path}/{name}-next.deb", raise_version)
    for version in ("9.0", "9.1"):
        make_original(path, version)
    make_config_db(f"{path}/config.db", "datacenter.cfg", b"keyboard: de\n")
    return path


@pytest.fixture
def host(folder):
    """A clean system, booted."""
    with debian_guest.DebianGuest(debian_guest.disk(find_package("cfsgate")), folder) as guest:
        yield Host(guest)
        # For whoever reads of a failure.
        print(guest.run("journalctl -b --no-pager -u cfsgated -u pve-cluster | tail -n 60").stdout)


class Host:
    """What the tests ask of the guest."""

    def __init__(self, guest):
        self.guest = guest

    def __call__(self, script, timeout=600):
        """Runs it; its output. Fails if it fails."""
        done = self.guest.run(f"set -e -o pipefail\n{script}", timeout=timeout)
        assert done.returncode == 0, f"{script}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def fails(self, script):
        return self.guest.run(script, timeout=600).returncode != 0

    def property(self, unit, name):
        return self(f"systemctl show --property {name} --value {unit}")

    def number(self, unit, name):
        return int(self.property(unit, name))

    def state(self, unit):
        return self.property(unit, "ActiveState")

    def await_state(self, unit, state, seconds=60):
        cfs.wait_for(lambda: self.state(unit) == state, f"{unit} is {state}", seconds)

    def main_pid(self, unit):
        return self.number(unit, "MainPID")

    def mounted(self, path="/etc/pve"):
        """The kind of what is mounted there, in the mount namespace of the whole host."""
        return self("awk -v at=" + path + """ '$5 == at { for (i = 7; i < NF; ++i) if ($i == "-") t = $(i + 1) }
            END { print t }' /proc/1/mountinfo""")


# --- Tests ---

def test_life_of_the_package(host):
    """Install, start, write, upgrade, still there, remove, install again, purge."""
    host(f"{APT} /host/cfsgate.deb")
    assert host.state("cfsgated") == "active"
    assert host("systemctl is-enabled cfsgated") == "enabled"
    assert host.fails("systemctl is-enabled srv-pve.mount")
    assert host.mounted() == "fuse"
    assert host("stat -c '%a %U:%G' /etc/pve") == "755 root:www-data"
    assert host("cfsgate check; cfsgated --version").endswith(host("cfsgate --version").split()[-1])
    host("mkdir -p /etc/pve/nodes/pve1 && echo first >/etc/pve/nodes/pve1/config")
    assert host("dpkg --verify cfsgate") == ""

    host("sed -i '1i deadline = 29' /etc/cfsgate/cfsgate.conf")
    before = host.main_pid("cfsgated")
    host(f"{APT} /host/cfsgate-next.deb")
    assert host("dpkg-query -W -f '${Version}' cfsgate").endswith("+next")
    assert "The next version." in host("cat /usr/share/doc/cfsgate/copyright")
    assert host.state("cfsgated") == "active" and host.main_pid("cfsgated") != before
    assert host("cat /etc/pve/nodes/pve1/config") == "first"
    assert host("head -n 1 /etc/cfsgate/cfsgate.conf") == "deadline = 29"
    host("echo second >/etc/pve/nodes/pve1/config")

    assert host("apt-get remove --yes cfsgate").count("kept") == 0
    assert host.mounted() == "" and host.fails("pidof cfsgated")
    assert host("ls -A /run/pve-cluster") == "", "nobody waits for the daemon"
    assert host("ls /etc/cfsgate") == "cfsgate.conf"
    assert host(f"ls {STATE}") != ""

    host(f"{APT} /host/cfsgate.deb")
    assert host.state("cfsgated") == "active"
    assert host("cat /etc/pve/nodes/pve1/config") == "second"

    said = host("apt-get purge --yes cfsgate")
    assert f"kept {STATE}" in said and f"rm -r {STATE}" in said
    assert host.mounted() == "" and host(f"ls {STATE}") != ""
    assert host("ls -d /etc/cfsgate /run/cfsgate /run/pve-cluster 2>/dev/null || true") == ""
    assert host("find /etc/systemd /var/lib/systemd -name '*cfsgate*' -o -name 'srv-pve*'") == ""
    assert host.fails("systemctl --failed --no-legend | grep -E 'cfsgate|pve'")


def test_a_purge_leaves_no_empty_directory(host):
    host(f"dpkg --unpack /host/cfsgate.deb && mkdir -p {STATE}")
    said = host("dpkg --purge cfsgate")
    assert "kept" not in said
    host(f"test ! -e {STATE} && test ! -e /etc/cfsgate")


def test_the_unit(host):
    """Readiness, sandbox, restart, watchdog; the mount is the host's at all times."""
    host(f"{APT} /host/cfsgate.deb")
    unit = "cfsgated.service"
    assert host(f"systemd-analyze verify --man=no {unit} srv-pve.mount 2>&1") == ""
    assert "OK" in host(f"systemd-analyze security --threshold=50 {unit} | tail -n 1")
    assert host.property(unit, "Type") == "notify"
    assert host.property(unit, "WatchdogUSec") == "1min"
    pid = host.main_pid(unit)
    assert host(f"readlink /proc/{pid}/ns/mnt") == host("readlink /proc/1/ns/mnt")
    assert host(f"sed -n 's/^NoNewPrivs:\\t//p; s/^Seccomp:\\t//p' /proc/{pid}/status").split() == ["1", "2"]
    assert int(host(f"sed -n 's/^VmLck:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{pid}/status")) > 0
    assert host.fails(f"journalctl -b -u {unit} -p warning | grep -i 'operation not permitted'")

    host("echo kept >/etc/pve/file")
    host(f"systemctl restart {unit}")
    assert (host.mounted(), host("cat /etc/pve/file")) == ("fuse", "kept")

    host(f"kill -KILL {host.main_pid(unit)}")
    cfs.wait_for(lambda: not host.fails("cat /etc/pve/file"), "it comes back after a crash", 60)
    assert host.property(unit, "NRestarts") == "1"

    host(f"""mkdir -p /run/systemd/system/{unit}.d
        printf '[Service]\\nWatchdogSec=10\\n' >/run/systemd/system/{unit}.d/watchdog.conf
        systemctl daemon-reload && systemctl restart {unit}""")
    pid = host.main_pid(unit)
    cfs.wait_for(lambda: host.number(unit, "WatchdogTimestampMonotonic") >
                 host.number(unit, "ActiveEnterTimestampMonotonic"), "signs of the watchdog", 30)
    host(f"kill -STOP {pid}")
    cfs.wait_for(lambda: host.main_pid(unit) not in (0, pid) and host.state(unit) == "active",
                 "the watchdog replaces a daemon that hangs", 60)
    assert host("cat /etc/pve/file") == "kept"

    # A stop of a daemon that is killed leaves no mount.
    host(f"printf '[Service]\\nRestartSec=600\\nKillSignal=SIGKILL\\n' >/run/systemd/system/{unit}.d/watchdog.conf")
    host(f"systemctl daemon-reload; systemctl stop {unit}")
    assert host.mounted() == "" and host.property(unit, "Result") == "signal"
    # After a crash nobody writes below the mount.
    host(f"systemctl start {unit}")
    host(f"kill -KILL {host.main_pid(unit)}")
    cfs.wait_for(lambda: host.property(unit, "SubState") == "auto-restart", "it waits for the restart", 60)
    assert "not connected" in host("{ echo x >/etc/pve/new; } 2>&1 || true")
    host(f"systemctl stop {unit}; cfsgated --unmount-dead")
    assert (host.mounted(), host.state(unit)) == ("", "inactive")
    assert host("ls -A /etc/pve") == ""

    host(f"rm -r /run/systemd/system/{unit}.d; systemctl daemon-reload; systemctl restart {unit}")
    host(f"systemctl stop {unit}")
    assert host.mounted() == "" and host.property(unit, "Result") == "success"


def test_the_mount_by_nfs(host):
    """srv-pve.mount goes and comes with the daemon; open mounts of others outlive an upgrade."""
    host(f"{APT} /host/cfsgate.deb")
    # No more than mount.nfs and what it reads, which is of netbase; all that it depends on would
    # install for minutes.
    host("dpkg-deb -x /var/cache/apt/archives/nfs-common_*.deb /root/nfs")
    host("cp -P /root/nfs/sbin/*mount.nfs /sbin/; echo 'tcp 6 TCP' >>/etc/protocols")
    host("echo first >/etc/pve/file; systemctl enable --now srv-pve.mount")
    assert host.mounted("/srv/pve") == "nfs"
    assert host("cat /srv/pve/file") == "first"
    host("systemctl restart cfsgated")
    host.await_state("srv-pve.mount", "active")
    host("systemctl stop cfsgated")
    assert host.mounted("/srv/pve") == "" and host.mounted() == ""
    host("systemctl start cfsgated")
    host.await_state("srv-pve.mount", "active")

    # A mount that does not belong to the unit, with an open file. For reading: Linux keeps what it has
    # cached of a file as long as the same client has it open for writing (docs/nfs.md).
    host("mkdir /mnt/other && cfsgate mount-nfs /mnt/other")
    host("""systemd-run --unit holder bash -c 'exec 5</mnt/other/file 6>/run/said
        while sleep 0.2; do date +%s%N >/mnt/other/alive || exit 9; stat -L /dev/fd/5 || exit 8
        read -r word </mnt/other/file; echo "$word" >&6; done'""")
    cfs.wait_for(lambda: host("tail -n 1 /run/said 2>/dev/null || true") == "first", "it reads", 30)
    host(f"{APT} /host/cfsgate-next.deb")
    host("echo second >/etc/pve/file")
    cfs.wait_for(lambda: host("tail -n 1 /run/said") == "second", "it goes on by NFS", 60)
    assert host.state("holder") == "active"
    host("systemctl stop holder; cfsgate mount-nfs --unmount /mnt/other")

    host("apt-get remove --yes cfsgate")
    assert host.mounted("/srv/pve") == "" and host.mounted() == ""


def test_in_the_place_of_the_original(host, folder):
    """And back: nothing of the original is lost, its database is taken over and handed back."""
    host(f"mkdir -p {STATE} && cp /host/config.db {STATE}/ && dpkg -i /host/original-9.0.deb")
    assert host("head -n 2 /usr/bin/pmxcfs | tail -n 1") == "# the original 9.0"
    original = host.main_pid("pve-cluster")

    said = host(f"{APT} /host/cfsgate.deb")
    assert "pve-cluster.service serves the tree" in said
    assert host.main_pid("pve-cluster") == original, "installing cfsgate alone changes nothing"
    assert (host.state("cfsgated"), host.mounted()) == ("inactive", "")
    assert host.fails("systemctl is-enabled cfsgated")

    host(f"{APT} /host/cfsgate-pmxcfs.deb")
    assert host.state("pve-cluster") == "active" and host.fails(f"kill -0 {original}")
    assert host("readlink -f /proc/$(cat /run/pve-cluster.pid)/exe") == "/usr/bin/cfsgated"
    assert "pmxcfs" in host(f"tr '\\0' ' ' </proc/{host.main_pid('pve-cluster')}/cmdline")
    assert host.mounted() == "fuse" and host("cat /etc/pve/datacenter.cfg") == "keyboard: de"
    assert host("systemctl is-enabled pve-cluster") == "enabled"
    assert "page of the original 9.0" in host("cat /usr/share/man/man8/pmxcfs.8.gz.original")
    host("echo 'keyboard: fr' >/etc/pve/datacenter.cfg")

    # Upgrades of both sides do not disturb each other.
    host("dpkg -i /host/original-9.1.deb")
    assert host("sed -n 2p /usr/bin/pmxcfs.original") == "# the original 9.1"
    assert host("readlink /usr/bin/pmxcfs") == "cfsgated"
    assert "cfsgate" in host("sed -n 2p /usr/lib/systemd/system/pve-cluster.service")
    host(f"{APT} /host/cfsgate-next.deb /host/cfsgate-pmxcfs-next.deb")
    assert host.state("pve-cluster") == "active" and host.state("cfsgated") == "inactive"
    assert host("cat /etc/pve/datacenter.cfg") == "keyboard: fr"

    said = host("apt-get remove --yes cfsgate-pmxcfs")
    assert "wrote the tree to" in said
    assert host("sed -n 2p /usr/bin/pmxcfs") == "# the original 9.1"
    assert host("sed -n 2p /usr/lib/systemd/system/pve-cluster.service").endswith("original 9.1")
    assert "page of the original 9.1" in host("cat /usr/share/man/man8/pmxcfs.8.gz")
    assert host("dpkg-divert --list '*pmxcfs*' '*pve-cluster*'") == ""
    assert host("find /usr -name '*.original'") == ""
    assert (host.state("pve-cluster"), host.mounted()) == ("active", "")
    host(f"cp {STATE}/config.db /host/returned.db; cp {STATE}/config.db.replaced-* /host/replaced.db")
    assert files_of(f"{folder}/returned.db") == {"datacenter.cfg": b"keyboard: fr\n"}
    assert files_of(f"{folder}/replaced.db") == {"datacenter.cfg": b"keyboard: de\n"}
    assert host("dpkg --verify pve-cluster") == ""

    # Forth again, as docs/package.md says, after the original has changed its database.
    os.unlink(f"{folder}/returned.db")
    make_config_db(f"{folder}/returned.db", "datacenter.cfg", b"keyboard: it\n")
    host(f"cp /host/returned.db {STATE}/config.db")
    host(f"{APT} /host/cfsgate-pmxcfs-next.deb")
    assert host.mounted() == "" and "--use" in host("journalctl -b -u pve-cluster | tail -n 20")
    host("systemctl stop pve-cluster; cfsgated --use=config.db; kill $(cat /run/pve-cluster.pid)")
    host("systemctl reset-failed pve-cluster; systemctl start pve-cluster")
    assert host("cat /etc/pve/datacenter.cfg") == "keyboard: it"


def test_without_the_original(host):
    """cfsgate-pmxcfs beside a running cfsgated: the same tree under the other unit's name."""
    host(f"{APT} /host/cfsgate.deb && echo there >/etc/pve/file")
    assert "disabled cfsgated.service" in host(f"{APT} /host/cfsgate-pmxcfs.deb")
    assert (host.state("pve-cluster"), host.state("cfsgated")) == ("active", "inactive")
    assert host("cat /etc/pve/file; pmxcfs --help | head -n 1") == "there\nUsage: pmxcfs [OPTION...]"
    assert host("systemd-analyze verify --man=no pve-cluster.service 2>&1") == ""
    said = host("apt-get purge --yes cfsgate-pmxcfs")
    assert "systemctl enable --now cfsgated" in said and host.mounted() == ""
    assert host("find /etc/systemd /var/lib/systemd -name 'pve-cluster*'") == ""
    host("systemctl enable --now cfsgated")
    assert host("cat /etc/pve/file") == "there"


def test_lintian_finds_no_errors():
    assert why_not() is None, why_not()
    if not shutil.which("lintian"):
        pytest.skip("no lintian")
    # The address is whoever's who builds packages for others (CFSGATE_MAINTAINER).
    done = cfs.run("lintian", "--fail-on", "error", "--suppress-tags",
                   "bogus-mail-host,bogus-mail-host-in-debian-changelog",
                   find_package("cfsgate"), find_package("cfsgate-pmxcfs"), timeout=600)
    assert done.returncode == 0, done.stdout
