# SPDX-License-Identifier: Apache-2.0
"""Locks of other hosts: three kernels, one with the daemon, two that mount its tree by NFS with the
network lock manager. What programs of one host do with each other is in test_file_locks.py.

With CFSGATE_SUITES (test_nfs_suites.py) also Connectathon's suite, lock/tlocklfs built in place."""
import json
import os
import re
import shutil
import tempfile
import time

import pytest

import cfs
import guest

pytestmark = pytest.mark.seconds(400)

PORT = 2049
GRACE = 15  # seconds
NETWORK = "10.77.0.0/16"
SUITES = os.environ.get("CFSGATE_SUITES", "")

# Locks, says so, keeps the lock until a file appears, and says that, too.
HOLDER = """
import errno, fcntl, os, sys, time
path, call, how, release = sys.argv[1:]
descriptor = os.open(path, os.O_RDWR)
flags = {"ex": fcntl.LOCK_EX, "sh": fcntl.LOCK_SH}[how[:2]] | (fcntl.LOCK_NB if how.endswith("nb") else 0)
try:
    getattr(fcntl, call)(descriptor, flags)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
    sys.exit(1)
print("ok", flush=True)
while not os.path.exists(release):
    time.sleep(0.02)
os.close(descriptor)
print("released", flush=True)
"""


class Holder:
    """A process of a host that locks a file."""

    count = 0

    def __init__(self, host, path, call, how):
        Holder.count += 1
        self.host = host
        self.flag = f"/tmp/release{Holder.count}"
        self.job = host.kernel.start_job(["python3", "-c", HOLDER, f"{host.tree}/{path}", call, how,
                                          self.flag])

    def result(self, seconds=60):
        return self.job.line(seconds)

    def release(self):
        self.host.kernel.run(["touch", self.flag], check=True)
        assert self.result() == "released"
        assert self.job.wait().returncode == 0


class Host:
    """A kernel, and where its programs find the tree."""

    def __init__(self, kernel, tree):
        self.kernel = kernel
        self.tree = tree

    def hold(self, path, call="flock", how="ex-nb"):
        return Holder(self, path, call, how)

    def tries(self, path, call="flock", how="ex-nb"):
        """Whether it gets the lock at once; it keeps nothing."""
        holder = self.hold(path, call, how)
        result = holder.result()
        if result == "ok":
            holder.release()
        return result


class Server(Host):
    def __init__(self, kernel):
        super().__init__(kernel, "/tmp/d/m")
        kernel.run("mkdir -p /tmp/d/m /tmp/d/r /tmp/d/s /run/rpcbind; rpcbind", check=True)
        self.job = None

    def start(self):
        self.job = self.kernel.start_job([
            cfs.program("cfsgated"), "--foreground", "--local", "--mount", self.tree, "--state",
            "/tmp/d/s", "--run", "/tmp/d/r", "--pid-file", "/tmp/d/pid", "--control",
            "/tmp/d/control", "--node-name", "pve1", "--nfs-listen", "0.0.0.0", "--nfs-rpcbind", "on",
            "--nfs-grace", str(GRACE), "--export.allow", f"{NETWORK} rw squash=none"])
        cfs.wait_for(lambda: self.kernel.run(f"stat -L {self.tree}/.version && rpcinfo -p | grep -q 100021")
                     .returncode == 0, "the daemon serves", 60)

    def stop(self):
        self.kernel.run("kill $(cat /tmp/d/pid)", check=True)
        assert self.job.wait().returncode == 0, self.log()

    def kill(self):
        self.kernel.run("kill -9 $(cat /tmp/d/pid)", check=True)
        self.job.wait()
        self.kernel.run(f"umount -l {self.tree}", check=True)

    def status(self):
        done = self.kernel.run([cfs.program("cfsgate"), "status", "--control", "/tmp/d/control", "--json"],
                               check=True)
        return json.loads(done.stdout)["locks"]

    def log(self):
        return self.job.stderr + self.job.stdout


class Client(Host):
    def __init__(self, kernel, server, statd):
        super().__init__(kernel, "/mnt/pve")
        self.server = server
        self.statd = statd
        self.set_up()

    def set_up(self):
        self.kernel.run(f"ip route add {NETWORK} via {self.kernel.server}; mkdir -p /run/rpcbind "
                        f"{self.tree}; rpcbind && rpc.statd --no-notify -P {self.statd}", check=True)
        self.mount()

    def mount(self):
        self.kernel.run(["mount", "-t", "nfs", "-o", f"vers=3,proto=tcp,port={PORT},mountproto=tcp,"
                         f"mountport={PORT},actimeo=0", f"{self.server}:/etc/pve", self.tree],
                        check=True, timeout=120)

    def crash_and_boot(self):
        """What statd has noted survives, as on a disk."""
        self.kernel.abort()
        self.kernel.release = None
        self.kernel.start()
        self.kernel.run(f"ip route add {NETWORK} via {self.kernel.server}; mkdir -p /run/rpcbind "
                        f"{self.tree}; rpcbind && rpc.statd --no-notify -P {self.statd} && "
                        f"sm-notify -f -P {self.statd}", check=True)
        self.mount()


@pytest.fixture(scope="module")
def hosts():
    if guest.missing():
        pytest.skip(guest.missing())
    for name in ("rpcbind", "rpc.statd", "sm-notify"):
        if not shutil.which(name, path="/usr/sbin:/sbin"):
            pytest.skip(f"no {name} (packages rpcbind, nfs-common)")
    if cfs.sanitized():
        pytest.skip("programs with a sanitizer do not run in a guest")
    folders = [tempfile.mkdtemp(prefix="statd.", dir="/tmp") for _ in range(2)]
    for folder in folders:
        for name in ("sm", "sm.bak"):
            os.mkdir(f"{folder}/{name}")
    kernels = []
    try:
        with guest.Network() as network:
            network.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
            for name, share in (("pve1", ()), ("alpha", folders[:1]), ("beta", folders[1:])):
                kernels.append(guest.Guest(name, memory=320, seconds=1500, network=network, share=share,
                                           see=[SUITES] if SUITES else [], modules=["lockd"]))
                kernels[-1].start()
            server_kernel, a_kernel, b_kernel = kernels
            server_kernel.run(f"ip route add {NETWORK} via {server_kernel.server}", check=True)
            server = Server(server_kernel)
            server.start()
            address = server_kernel.address.split("/")[0]
            yield server, Client(a_kernel, address, folders[0]), Client(b_kernel, address, folders[1])
    finally:
        for kernel in kernels:
            kernel.abort()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(hosts):
    return hosts[0]


@pytest.fixture
def a(hosts):
    return hosts[1]


@pytest.fixture
def b(hosts):
    return hosts[2]


@pytest.fixture
def file(server, request):
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")
    server.kernel.run(f"echo text > {server.tree}/{name}", check=True)
    yield name
    cfs.wait_for(lambda: server.status() == {"held": 0, "waiting": 0},
                 f"no lock is left: {server.status()}", 10)


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_between_two_hosts(a, b, file, call):
    holder = a.hold(file, call)
    assert holder.result() == "ok"
    assert b.tries(file, call) == "EAGAIN"
    assert b.tries(file, call, "sh-nb") == "EAGAIN"
    holder.release()
    holder = b.hold(file, call, "sh-nb")
    assert holder.result() == "ok"
    assert a.tries(file, call, "sh-nb") == "ok"
    assert a.tries(file, call) == "EAGAIN"
    holder.release()
    assert a.tries(file, call) == "ok"


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_between_a_host_and_the_mount_of_the_server(server, a, file, call):
    holder = a.hold(file, call)
    assert holder.result() == "ok"
    # Whatever it was there, it came as a range: neither kind is free here.
    assert server.tries(file, "flock") == "EAGAIN"
    assert server.tries(file, "lockf") == "EAGAIN"
    holder.release()
    holder = server.hold(file, call)
    assert holder.result() == "ok"
    assert a.tries(file, "flock") == "EAGAIN"
    assert a.tries(file, "lockf") == "EAGAIN"
    holder.release()


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_who_waits_is_called_when_it_is_free(server, a, b, file, call):
    first = server.hold(file, call)
    assert first.result() == "ok"
    second = a.hold(file, call, "ex")
    cfs.wait_for(lambda: server.status()["waiting"] == 1, "a waits", 20)
    third = b.hold(file, call, "ex")
    cfs.wait_for(lambda: server.status()["waiting"] == 2, "b waits", 20)
    first.release()
    assert second.result(20) == "ok"  # by itself a client looks after 30 s
    second.release()
    assert third.result(20) == "ok"
    third.release()


def test_a_process_of_the_server_waits_for_a_host(server, a, file):
    first = a.hold(file, "lockf")
    assert first.result() == "ok"
    second = server.hold(file, "lockf", "ex")
    cfs.wait_for(lambda: server.status()["waiting"] == 1, "it waits", 20)
    first.release()
    assert second.result(20) == "ok"
    second.release()


def test_a_killed_process_does_not_wait_on(server, a, file):
    first = server.hold(file, "lockf")
    assert first.result() == "ok"
    second = a.hold(file, "lockf", "ex")
    cfs.wait_for(lambda: server.status()["waiting"] == 1, "it waits", 20)
    second.job.kill()
    cfs.wait_for(lambda: server.status()["waiting"] == 0, "it does not wait any more", 40)
    first.release()
    assert server.tries(file, "lockf") == "ok"


def test_a_killed_process_holds_nothing(server, a, file):
    first = a.hold(file, "lockf")
    assert first.result() == "ok"
    first.job.kill()
    cfs.wait_for(lambda: server.tries(file, "lockf") == "ok", "the lock is free", 20)


def test_bytes(server, a, b, file):
    script = ("import fcntl, os, sys\n"
              "f = os.open(sys.argv[1], os.O_RDWR)\n"
              "fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, int(sys.argv[2]), int(sys.argv[3]))\n"
              "print('ok', flush=True)\n"
              "input()\n")

    def lock(host, length, start):
        return host.kernel.run(["timeout", "-k", "1", "20", "python3", "-c", script,
                                f"{host.tree}/{file}", str(length), str(start)]).stdout.strip() == "ok"

    with_range = a.kernel.start_job(["python3", "-c", script.replace("input()", "import time; time.sleep(600)"),
                                     f"{a.tree}/{file}", "10", "5"])
    assert with_range.line(30) == "ok"
    assert lock(b, 5, 0)
    assert not lock(b, 6, 0)
    assert lock(server, 0, 15)
    assert not lock(server, 1, 14)
    with_range.kill()


def test_locks_are_claimed_again_after_a_restart_of_the_daemon(server, a, b, file):
    holder = a.hold(file, "lockf")
    assert holder.result() == "ok"
    server.kill()
    server.start()
    started = time.monotonic()
    # Another one's request waits for the end of the grace period, and finds the lock taken.
    other = b.hold(file, "lockf")
    cfs.wait_for(lambda: server.status()["held"] == 1, "a has claimed its lock", GRACE)
    assert server.tries(file, "lockf") == "EAGAIN"
    assert other.result(60) == "EAGAIN"
    assert time.monotonic() - started > GRACE - 8
    holder.release()
    assert b.tries(file, "lockf") == "ok"


def test_a_crash_of_a_host_frees_its_locks_when_it_is_back(server, a, b, file):
    holder = a.hold(file, "lockf")
    assert holder.result() == "ok"
    assert b.tries(file, "lockf") == "EAGAIN"
    a.crash_and_boot()
    cfs.wait_for(lambda: b.tries(file, "lockf") == "ok", "the lock is free", 40)
    assert a.tries(file, "lockf") == "ok"


def test_a_host_that_has_vanished_does_not_get_the_lock_that_it_waited_for(server, b, file):
    first = server.hold(file, "lockf")
    assert first.result() == "ok"
    b.hold(file, "lockf", "ex")
    cfs.wait_for(lambda: server.status()["waiting"] == 1, "b waits", 20)
    b.kernel.abort()
    first.release()
    second = server.hold(file, "lockf", "ex")
    assert second.result(100) == "ok"
    second.release()
    b.crash_and_boot()


def test_a_stop_takes_the_registration_back(server, b, file):
    registered = ["100003", "100005", "100021", "100024"]
    find = f"rpcinfo -p | grep -E '{'|'.join(registered)}'"
    found = server.kernel.run(find).stdout
    assert all(program in found for program in registered), found
    server.stop()
    assert server.kernel.run(find).stdout == ""
    server.start()
    assert b.tries(file) == "ok"  # nobody held a lock, so there is no grace period


@pytest.mark.parametrize("where", ["a host", "the mount of the server"])
def test_connectathon(server, a, where, file):
    """All tests of the suite, one parent and one child process."""
    program = f"{SUITES}/cthon04/lock/tlocklfs"
    if not SUITES or not os.path.exists(program):
        pytest.skip("no cthon04/lock/tlocklfs in CFSGATE_SUITES")
    host = a if where == "a host" else server
    done = host.kernel.run(f"cd /tmp && mkdir {host.tree}/{file}.d && {program} {host.tree}/{file}.d",
                           timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("0/0 fail") == 2, done.stdout
