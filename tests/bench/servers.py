# SPDX-License-Identifier: Apache-2.0
"""What is measured, each in a machine of its own (namespaces), and the load on it.

A Subject is a name and a directory to put load on. cfsgate and the original run alike: as the daemon
of a node of scripts/lib/cluster_lab.py, with their default paths, the state on the disk that is asked
for.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(REPOSITORY, "scripts", "lib"),
                os.path.join(REPOSITORY, "tests", "system")]

import cfs  # noqa: E402  pylint: disable=wrong-import-position
import cluster_lab  # noqa: E402  pylint: disable=wrong-import-position
from cluster_lab import wait_for  # noqa: E402,F401  pylint: disable=wrong-import-position

DURABLE, RELAXED, ORIGINAL, EMPTY, DISK = "durable", "relaxed", "original", "empty", "disk"
RING = "ring"


def add_options(parser):
    """Those that every benchmark of mounts has."""
    parser.add_argument("--build", default="build/release", help="the build to measure")
    parser.add_argument("--directory", help="where the stores lie: on a real disk, and not below "
                                            "/var or /etc (default: the build directory)")
    parser.add_argument("--peer", default=os.environ.get("CFSGATE_PEER", ""),
                        help="the original's program (default: $CFSGATE_PEER); without it there is "
                             "no reference")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--real-time", action="store_true",
                        help="load and servers alike go before all other work of the machine, which "
                             "nearly stops: only where it cannot be made quiet")
    parser.add_argument("--report", help="a directory for the report (default: a new one in /tmp)")
    parser.add_argument("--quick", action="store_true",
                        help="a look at whether all of it works: short, few, no figures to keep")


def check_options(options):
    if os.geteuid() != 0:
        sys.exit("this needs root, for namespaces and mounts")
    options.build = os.path.abspath(options.build)
    options.directory = os.path.realpath(options.directory or options.build)
    if options.directory.startswith(("/var/", "/etc/")):
        sys.exit("--directory: a node has its own /var and /etc, and would not find what is there")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    if options.real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # children inherit it
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    options.report = options.report or tempfile.mkdtemp(prefix="cfsgate-bench-")
    os.makedirs(options.report, exist_ok=True)
    if options.quick:
        options.rounds, options.seconds = 1, 0.2
    if not options.peer:
        say("CFSGATE_PEER names no program of the original's: cfsgate is measured alone")
    elif not os.access(options.peer, os.X_OK):
        sys.exit(f"{options.peer} cannot be run")


def say(text):
    print(text, file=sys.stderr, flush=True)


class Subject:
    """`nodes`: those whose processes do the work; the first is the one under load."""

    def __init__(self, name, directory, nodes=()):
        self.name = name
        self.directory = directory
        self.nodes = list(nodes)
        self.node = self.nodes[0] if self.nodes else None

    def processor_seconds(self):
        """Spent by daemons and corosyncs so far."""
        spent = 0
        for node in self.nodes:
            for process in (node.daemon, node.corosync):
                if process:
                    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as file:
                        fields = file.read().rsplit(")", 1)[1].split()
                    spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")


# --- Servers on one node ---

class Box(cluster_lab.Cluster):
    """One node without corosync; its state below `directory`."""

    def __init__(self, directory, command):
        super().__init__(1, command, tempfile.mkdtemp(prefix="box-", dir=directory))
        self.node = self[1]

    def up(self):
        os.makedirs(os.path.join(self.directory, "logs"), exist_ok=True)
        self.switch = self.hold([], "lifeline=$1\n", [], os.path.join(self.directory, "logs/switch"))
        wait_for(lambda: os.readlink(f"/proc/{self.switch.pid}/ns/net")
                 != os.readlink("/proc/self/ns/net"), 10, "the switch has its own network")
        self._add_bridge("br0")
        self.node.boot()


def command_of(name, options):
    """What is run in a node."""
    if name == ORIGINAL:
        return [options.peer, "-f", "-l"]
    if name == EMPTY:
        return [f"{options.build}/tests/bench/empty_fuse", cluster_lab.MOUNT]
    return [f"{options.build}/gateway/cfsgated", "--foreground", "--local", "--durability", name]


def stop(node):
    """Asks the daemon to end; the original does not always."""
    try:
        node.daemon.end(signal.SIGTERM, 20)
    except cluster_lab.LabError:
        say("SIGTERM did not end it in 20 s: killed")
        node.kill_daemon()
    node.daemon = None


@contextlib.contextmanager
def box(name, options, directory=None, start=True):
    """A Subject that runs, or is ready to."""
    with Box(directory or options.directory, command_of(name, options)) as machine:
        if start:
            machine.node.start_daemon()
        yield Subject(name, machine.node.tree, [machine.node])
        if machine.node.daemon:
            stop(machine.node)


def names(options, *wanted):
    """Of those the ones that can be measured here."""
    return [name for name in wanted if name != ORIGINAL or options.peer]


@contextlib.contextmanager
def boxes(options, *wanted, **more):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(box(name, options, **more)) for name in names(options, *wanted)]


# --- Disks whose writes can be counted ---

class LoopDisk:
    """A file system in a file; what is written to its device is counted by the kernel."""

    def __init__(self, directory, mebibytes=2048):
        self.image = tempfile.mktemp(prefix="disk-", suffix=".img", dir=directory)
        self.path = tempfile.mkdtemp(prefix="disk-", dir=directory)
        with open(self.image, "wb") as file:
            file.truncate(mebibytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0",
                        self.image], check=True)
        subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)
        number = os.stat(self.path).st_dev
        device = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
        self._statistics = os.path.join(device, "stat")

    def written(self):
        """Bytes since it is there, when all that was to be written is."""
        self.flush()
        return self.written_now()

    def written_now(self):
        with open(self._statistics, encoding="ascii") as file:
            return int(file.read().split()[6]) * 512

    def flush(self):
        subprocess.run(["sync", "-f", self.path], check=True)

    def remove(self):
        subprocess.run(["umount", "-l", self.path], check=False)
        os.rmdir(self.path)
        os.unlink(self.image)


@contextlib.contextmanager
def loop_disk(options):
    disk = LoopDisk(options.directory)
    try:
        yield disk
    finally:
        disk.remove()


def in_own_mounts():
    """Runs this program again where its mounts are gone with it."""
    if os.geteuid() == 0 and "CFSGATE_BENCH_INSIDE" not in os.environ:
        os.environ["CFSGATE_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable,
                              *sys.argv])


# --- Load ---

def start_load(options, directory, workload, *arguments):
    return subprocess.Popen([f"{options.build}/tests/bench/fs_load",
                             *(str(part) for part in arguments), directory, workload],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(load, errors_allowed=False, seconds=900):
    """What fs_load measured: one dictionary, see its output."""
    output, problems = load.communicate(timeout=seconds)
    if load.returncode not in (0, 3):
        raise RuntimeError(f"fs_load: {problems.strip()}")
    result = json.loads(output)["results"][0]
    if result["errors"] and not errors_allowed:
        raise RuntimeError(f"{result['workload']}: {result['errors']} times {result['first_error']}")
    return result


def load(options, directory, workload, *arguments, **more):
    return result_of(start_load(options, directory, workload, *arguments), **more)


def prepare(options, subjects, workloads):
    """The files that these workloads read, so that the first round is like the others."""
    for subject in subjects:
        say(f"preparing {subject.name}")
        subprocess.run([f"{options.build}/tests/bench/fs_load", "--prepare", subject.directory,
                        *workloads], check=True, stdout=subprocess.DEVNULL)


def measure(options, subjects, cases, rounds=None):
    """Each round asks all subjects for each case, one right after the other, in an order that
    changes. `cases`: (workload, threads). -> {(workload, threads): {name: [result, ...]}}"""
    results = {}
    for number in range(rounds or options.rounds):
        for workload, threads in cases:
            asked = [subject for subject in subjects
                     if (workload == "fdatasync") == (subject.name == DISK)]
            turn = number % max(1, len(asked))
            for subject in asked[turn:] + asked[:turn]:
                os.sync()  # nobody pays for what another left
                spent = subject.processor_seconds()
                found = load(options, subject.directory, workload, "--threads", threads,
                             "--seconds", options.seconds)
                spent = subject.processor_seconds() - spent
                found["processor_us"] = 1e6 * spent / found["operations"]
                results.setdefault((workload, threads), {}).setdefault(subject.name, []).append(found)
            say(f"round {number + 1}: {workload} {threads}: " + ", ".join(
                f"{name} {found[-1]['per_second']:.0f}"
                for name, found in results[(workload, threads)].items()))
    return results


def memory(pid):
    """(private, resident) MiB of a process. Pages of a mapped file are the kernel's cache, and not
    private although nobody else maps them."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        text = file.read()
    return [int(re.search(rf"^{key}: *(\d+) kB", text, re.MULTILINE)[1]) / 1024
            for key in ("Anonymous", "Rss")]


# --- Trees to begin with ---

def write_database(path, files, size, directories, more=()):
    """A config.db of the original with `files` files of `size` bytes, and further rows
    (name, content) at its top."""
    rows = []
    inode = 1
    for name, content in more:
        inode += 1
        rows.append((inode, 0, 8, name, content))
    parents = []
    for number in range(directories):
        inode += 1
        parents.append(inode)
        rows.append((inode, 0, 4, f"d{number}", None))
    content = (b"x" * 63 + b"\n") * (size // 64 + 1)
    for number in range(files):
        inode += 1
        rows.append((inode, parents[number % directories], 8, f"f{number}", content[:size]))
    cfs.make_database(path, rows)
