# SPDX-License-Identifier: Apache-2.0
"""A real daemon on a real mount, and what tests need around it.

Waiting is always for a condition, with a deadline. Nothing here touches a mount that may hang
without somebody who can end it: see abort_all().
"""
import base64
import contextlib
import ctypes
import errno
import grp
import glob
import json
import mmap
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.path.dirname(HERE), "data")
ORIGINAL = os.path.join(DATA, "pmxcfs-9.1.6")
VECTORS = os.path.join(DATA, "vectors")

# Everything, in every variant: scripts/test --long. Without it the slow tests do a part of that.
LONG = bool(os.environ.get("CFSGATE_LONG"))

MIB = 1 << 20
TREE_BYTES_MAX = 128 * MIB
ENTRIES_MAX = 262144
WWW_DATA = grp.getgrnam("www-data").gr_gid
NOBODY = pwd.getpwnam("nobody")
VIRTUAL_FILES = [".version", ".members", ".vmlist", ".rrd", ".clusterlog", ".debug"]
VIRTUAL_LINKS = ["local", "qemu-server", "openvz", "lxc"]


# --- Programs under test ---

def build_directory():
    return os.environ.get("CFSGATE_BUILD", "")


def find_program(name):
    """The path of a built program, or None."""
    for folder in ("gateway", "gateway/daemon", "clients", "tests/system", "tests/support", "tests/bench",
                   "."):
        path = os.path.join(build_directory(), folder, name)
        if os.path.isfile(path):
            return os.path.abspath(path)
    return None


def program(name):
    path = find_program(name)
    assert path, f"{name} is not in CFSGATE_BUILD={build_directory()!r}"
    return path


def sanitized():
    """Whether the daemon was built with a sanitizer: everything is slower then."""
    with open(program("cfsgated"), "rb") as file:
        text = file.read()
    return b"__asan_init" in text or b"__tsan_init" in text


def run(*command, timeout=30, check=False, data=None, **options):
    """Runs a command to its end; text output. Bytes in `data` go to its standard input."""
    done = subprocess.run([str(part) for part in command], input=data, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    done.stdout = done.stdout.decode(errors="replace")
    done.stderr = done.stderr.decode(errors="replace")
    if check:
        assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}{done.stdout}"
    return done


def cfsgate(*arguments, **options):
    """The command line client."""
    return run(program("cfsgate"), *arguments, **options)


# --- Waiting ---

def wait_for(condition, what, seconds=10.0):
    """The first true value of condition(); fails the test when the deadline passes."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


@contextlib.contextmanager
def raises(*codes):
    """The block must fail with one of these errno values."""
    names = "/".join(errno.errorcode[code] for code in codes)
    try:
        yield
    except OSError as error:
        found = errno.errorcode.get(error.errno, error.errno)
        assert error.errno in codes, f"expected {names}, not {found} ({error})"
    else:
        raise AssertionError(f"expected {names}, but it worked")


@contextlib.contextmanager
def faster_than(seconds, what):
    start = time.monotonic()
    yield
    spent = time.monotonic() - start
    assert spent < seconds, f"{what}: took {spent:.2f} s, limit {seconds} s"


# --- Mounts ---

def mounts_at(path, pid="self"):
    """Mount table entries at exactly this path, innermost last: (connection number, type)."""
    found = []
    with open(f"/proc/{pid}/mountinfo") as table:
        for line in table:
            fields = line.split()
            if fields[4].encode().decode("unicode_escape") == path:
                kind = fields[fields.index("-") + 1]
                found.append((int(fields[2].split(":")[1]), kind))
    return found


def remove_mounts(path):
    while mounts_at(path):
        run("umount", "-f", "-l", path)


live = []  # daemons that were started and not stopped


def abort_all():
    """Ends every daemon and cuts its mount, so that nothing that uses it can stay stuck."""
    for daemon in list(live):
        daemon.abort()


# --- The daemon ---

class Daemon:
    """cfsgated in the foreground on directories of its own."""

    def __init__(self, node_name="pve1", arguments=(), environment=None, state=None, local=True,
                 nfs=False):
        self.base = tempfile.mkdtemp(prefix="cfs.", dir="/tmp")
        os.chmod(self.base, 0o755)  # others must reach the mount
        self.mount = os.path.join(self.base, "m")
        self.state = state or os.path.join(self.base, "s")
        self.run = os.path.join(self.base, "r")
        self.pid_file = os.path.join(self.base, "pid")
        self.control = os.path.join(self.base, "control")
        self.log_file = os.path.join(self.base, "log")
        self.node_name = node_name
        self.local = local
        self.nfs = nfs  # on a free port of the loopback addresses
        self.arguments = list(arguments)
        self.environment = dict(environment or {})
        self.process = None
        for folder in (self.mount, self.run):
            os.mkdir(folder)
        os.makedirs(self.state, exist_ok=True)

    def path(self, *parts):
        return os.path.join(self.mount, *parts)

    def command(self, name=None):
        command = [name or program("cfsgated"), "--foreground"]
        if self.local:
            command += ["--local"]
        command += ["--mount", self.mount, "--state", self.state, "--run", self.run,
                    "--pid-file", self.pid_file, "--control", self.control,
                    "--node-name", self.node_name]
        command += ["--nfs-port", "0"] if self.nfs else ["--nfs", "off"]
        return command + self.arguments

    def full_environment(self):
        environment = dict(os.environ)
        for name, extra in (("ASAN_OPTIONS", "detect_stack_use_after_return=0"),
                            ("UBSAN_OPTIONS", "print_stacktrace=1"), ("TSAN_OPTIONS", "")):
            parts = [environment.get(name, ""), extra, f"log_path={self.base}/sanitizer"]
            environment[name] = ":".join(part for part in parts if part)
        for name, value in self.environment.items():
            if name.endswith("SAN_OPTIONS"):
                value = environment[name] + ":" + value
            environment[name] = value
        return environment

    def spawn(self, name=None):
        """Starts the process and does not wait."""
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(self.command(name), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd="/",
                                            env=self.full_environment())
        live.append(self)
        return self

    def start(self, name=None, seconds=20):
        self.spawn(name)
        try:
            wait_for(self.answers, "the mount answers", seconds)
        except AssertionError as error:
            text = f"{error}\n{self.sanitizer_reports()}{self.log()}"
            self.abort()
            raise AssertionError(text) from None
        return self

    def answers(self):
        """Whether the mount is there and serves. Asks from another process: it may hang."""
        code = self.process.poll()
        assert code is None, f"the daemon ended with {code} at start"
        if not mounts_at(self.mount):
            return False
        try:
            return run("stat", "-L", self.path(".version"), timeout=10).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def alive(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def log(self, lines=60):
        try:
            with open(self.log_file, errors="replace") as log:
                return "".join(log.readlines()[-lines:])
        except OSError:
            return ""

    def sanitizer_reports(self):
        reports = ""
        for name in glob.glob(f"{self.base}/sanitizer*"):
            with open(name, errors="replace") as file:
                reports += file.read()
        return reports

    def stop(self, seconds=15, expect=0):
        """SIGTERM; the daemon must end in bounded time, with this status, and leave nothing."""
        if self.process is None:
            return
        code = self.process.poll()
        assert code is None, f"the daemon had ended with {code}:\n{self.sanitizer_reports()}{self.log()}"
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            stacks = self.stacks()
            self.abort()
            raise AssertionError(f"SIGTERM did not end the daemon in {seconds} s\n{stacks}") from None
        self._ended()
        reports = self.sanitizer_reports()
        assert not reports, reports
        assert code == expect, f"exit {code} instead of {expect}:\n{self.log()}"
        left = mounts_at(self.mount)
        if left:
            remove_mounts(self.mount)
        assert not left, f"still mounted after the end: {left}"
        assert not os.path.exists(self.pid_file), "the pid file is still there after the end"

    def kill(self, clean=True):
        """SIGKILL, as a crash. With `clean` the dead mount is taken away as well."""
        if self.alive():
            self.process.kill()
        if self.process is not None:
            self.process.wait(10)
        self._ended()
        if clean:
            remove_mounts(self.mount)

    def abort(self):
        """Ends the daemon, whatever its state, and whoever waits for it."""
        with contextlib.suppress(Exception):
            if self.alive():
                self.process.kill()
        with contextlib.suppress(Exception):
            remove_mounts(self.mount)
        with contextlib.suppress(Exception):
            self.process.wait(10)
        self._ended()

    def _ended(self):
        if self in live:
            live.remove(self)

    def restart(self):
        self.stop()
        return self.start()

    def stacks(self):
        """Where each thread of the daemon waits."""
        text = ""
        for task in glob.glob(f"/proc/{self.pid}/task/*"):
            with contextlib.suppress(OSError):
                with open(f"{task}/comm") as comm, open(f"{task}/wchan") as wchan:
                    text += f"{comm.read().strip()}: {wchan.read()}\n"
        return text

    def client(self, command, *arguments, data=None, timeout=30, check=True):
        """A `cfsgate` command to this daemon's control socket."""
        return cfsgate(command, "--control", self.control, "--state", self.state, "--mount",
                       self.mount, *arguments, data=data, timeout=timeout, check=check)

    def put(self, path, data):
        """Writes a file of the tree through the control socket, past the mount."""
        return self.client("put", path, data=data)

    def request(self, command, **fields):
        """The same as the client's command, without starting a program: for many in a row."""
        if "data" in fields:
            fields["data"] = base64.b64encode(fields["data"]).decode()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(self.control)
            connection.sendall(json.dumps({"command": command, **fields}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline())
        assert answer["ok"], f"{command} {fields}: {answer}"
        return answer

    def get(self, path):
        return base64.b64decode(self.request("get", path=path)["data"])

    def status(self):
        return json.loads(self.client("status", "--json").stdout)

    def checksum(self):
        """Of the tree that the running daemon serves."""
        return json.loads(self.client("status", "--json", "--checksum").stdout)["tree"]["checksum"]

    def check(self):
        """`cfsgate check` on the state directory that no daemon uses: the report, which must be
        clean."""
        done = cfsgate("check", "--state", self.state, "--json", timeout=120)
        assert done.returncode == 0, f"cfsgate check: exit {done.returncode}: {done.stdout}{done.stderr}"
        report = json.loads(done.stdout)
        assert (report["scope"], report["findings"]) == ("directory", []), report
        return report

    def remove(self):
        """Everything of it. Ends it if it lives."""
        if self.alive() or mounts_at(self.mount):
            self.abort()
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
        finally:
            self.remove()


# --- Files ---

def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    """As a shell's redirection does it: O_TRUNC, one write, close."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        done = os.write(fd, data) if data else 0
        assert done == len(data), f"{done} of {len(data)} bytes written"
    finally:
        os.close(fd)


def replace(path, data):
    """As careful programs do it: a temporary file, renamed over the target."""
    temporary = f"{path}.tmp.{os.getpid()}"
    write(temporary, data)
    os.rename(temporary, path)


def aligned(data_or_size):
    """Bytes in page-aligned memory: one such write or read of 1 MiB is one request."""
    if isinstance(data_or_size, int):
        return mmap.mmap(-1, data_or_size)
    memory = mmap.mmap(-1, len(data_or_size))
    memory[:] = data_or_size
    return memory


def names(path):
    return sorted(os.listdir(path))


libc = ctypes.CDLL(None, use_errno=True)
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4
AT_FDCWD = -100


def _check(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class _Timespec(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_int64), ("tv_nsec", ctypes.c_long)]


def utimens(path, atime, mtime):
    """utimensat() with (seconds, nanoseconds) pairs, which may hold UTIME_OMIT or UTIME_NOW."""
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    _check(libc.utimensat(AT_FDCWD, os.fsencode(path), times, 0))


def set_mtime(path, seconds):
    utimens(path, (seconds, 0), (seconds, 0))


def renameat2(old, new, flags):
    _check(libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


class _StatxTime(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_int64), ("nsec", ctypes.c_uint32), ("pad", ctypes.c_int32)]


class _Statx(ctypes.Structure):
    _fields_ = [("mask", ctypes.c_uint32), ("blksize", ctypes.c_uint32),
                ("attributes", ctypes.c_uint64), ("nlink", ctypes.c_uint32),
                ("uid", ctypes.c_uint32), ("gid", ctypes.c_uint32), ("mode", ctypes.c_uint16),
                ("pad", ctypes.c_uint16), ("ino", ctypes.c_uint64), ("size", ctypes.c_uint64),
                ("blocks", ctypes.c_uint64), ("attributes_mask", ctypes.c_uint64),
                ("atime", _StatxTime), ("btime", _StatxTime), ("ctime", _StatxTime),
                ("mtime", _StatxTime), ("rest", ctypes.c_uint64 * 18)]


def fresh_stat(path, follow=False):
    """Attributes as the daemon has them now, not from the kernel's cache."""
    at_statx_force_sync, at_symlink_nofollow, statx_basic = 0x2000, 0x100, 0x7FF
    flags = at_statx_force_sync | (0 if follow else at_symlink_nofollow)
    buffer = _Statx()
    _check(libc.statx(AT_FDCWD, os.fsencode(path), flags, statx_basic, ctypes.byref(buffer)))
    return buffer


def version_of(path):
    """The version of the tree's last change of this entry: the nanoseconds of its ctime."""
    return fresh_stat(path).ctime.nsec


# --- Other processes ---

class Children:
    """Functions in processes of their own; each gives back what JSON can carry."""

    def __init__(self):
        self._children = []

    def start(self, function, *arguments, user=None):
        """`user`: (uid, gid, further groups) to become first."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os._exit(_child(writer, function, arguments, user))
        os.close(writer)
        self._children.append((pid, reader))
        return pid

    def results(self, seconds=60):
        """What each gave back, in order of start. A failure or an overrun fails the test."""
        end = time.monotonic() + seconds
        answers = []
        try:
            for pid, reader in self._children:
                answers.append(_answer(pid, reader, end))
        finally:
            self.kill()
        for answer in answers:
            assert "failure" not in answer, answer["failure"]
        return [answer["value"] for answer in answers]

    def kill(self):
        for pid, reader in self._children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)
            with contextlib.suppress(OSError):
                os.close(reader)
        self._children = []


def _child(writer, function, arguments, user):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if user is not None:
            uid, gid, groups = user
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        answer = {"value": function(*arguments)}
    except BaseException:  # noqa: everything must reach the parent
        answer = {"failure": traceback.format_exc()}
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(writer, data):]
    return 0


def _answer(pid, reader, end):
    data = b""
    while True:
        ready, _, _ = select.select([reader], [], [], max(0, end - time.monotonic()))
        if not ready:
            return {"failure": f"process {pid} gave no answer in time"}
        piece = os.read(reader, 65536)
        if not piece:
            break
        data += piece
    return json.loads(data) if data else {"failure": f"process {pid} died"}


class Waiting(Children):
    """Children that stop at points that the test waits for: one at a time."""

    def __init__(self):
        super().__init__()
        self._paused, self._go = os.pipe(), os.pipe()

    def pause(self):
        """In a child."""
        os.write(self._paused[1], b"!")
        os.read(self._go[0], 1)

    def paused(self, seconds=30):
        """Waits until a child pauses."""
        assert select.select([self._paused[0]], [], [], seconds)[0], "no child has come so far"
        os.read(self._paused[0], 1)

    def go_on(self):
        os.write(self._go[1], b"!")

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.kill()
        for fd in self._paused + self._go:
            os.close(fd)


def in_child(function, *arguments, user=None, seconds=30):
    children = Children()
    children.start(function, *arguments, user=user)
    return children.results(seconds)[0]


def errno_of(function, *arguments):
    """0, or the errno name of the failure. For use in children."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return 0


def process_state(pid):
    """The letter of /proc/PID/stat, or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


@contextlib.contextmanager
def stopped(daemon):
    """The daemon does nothing inside the block: a signal takes effect some time after it was sent."""
    def states():
        tasks = os.listdir(f"/proc/{daemon.pid}/task")
        return {process_state(f"{daemon.pid}/task/{task}") for task in tasks}

    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: states() == {"T"}, "every thread of the daemon is stopped")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon.pid, signal.SIGCONT)


# --- Databases of the original ---

TREE_TABLE = """CREATE TABLE tree(
    inode INTEGER NOT NULL PRIMARY KEY,
    parent INTEGER NOT NULL CHECK (typeof(parent) = 'integer'),
    version INTEGER NOT NULL CHECK (typeof(version) = 'integer'),
    writer INTEGER NOT NULL CHECK (typeof(writer) = 'integer'),
    mtime INTEGER NOT NULL CHECK (typeof(mtime) = 'integer'),
    type INTEGER NOT NULL CHECK (typeof(type) = 'integer'),
    name TEXT NOT NULL,
    data BLOB)"""


def make_database(file, rows, version=None):
    """A config.db of these rows: (inode, parent, type 4 or 8, name, content)."""
    import sqlite3
    mtime = 1700000000
    connection = sqlite3.connect(file)
    connection.execute(TREE_TABLE)
    last = 1
    for inode, parent, kind, name, content in rows:
        last = max(last, inode)
        connection.execute("INSERT INTO tree VALUES(?,?,?,0,?,?,?,?)",
                           (inode, parent, inode, mtime, kind, name, content))
    connection.execute("INSERT INTO tree VALUES(0,0,?,0,?,8,'__version__',NULL)",
                       (version or last, mtime))
    connection.commit()
    connection.close()


def imported(rows, **options):
    """A daemon, not started, whose state was imported from a database of these rows."""
    daemon = Daemon(**options)
    database = os.path.join(daemon.base, "config.db")
    make_database(database, rows)
    cfsgate("import", database, "--state", daemon.state, check=True, timeout=120)
    os.unlink(database)
    return daemon
