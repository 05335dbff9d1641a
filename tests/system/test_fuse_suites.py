# SPDX-License-Identifier: Apache-2.0
"""Test suites and load programs of others on the FUSE mount. They are no part of this repository.

CFSGATE_SUITES names a directory with fsx, fsstress and pjdfstest, built as test_nfs_suites.py says;
dbench and stress-ng come from their packages. What is not there is skipped. What of a suite does not
apply is listed here with its reason, and in docs/suites.md.

After each of them the store must be whole, and its tree the one that snapshot and journal give.
"""
import os
import re
import shutil

import pytest

import cfs
import disks
from cfs import MIB
from test_nfs_suites import WHOLE, failures, suite


@pytest.fixture
def node(make_daemon, tmp_path):
    """A daemon; at the end its tree is rebuilt as after a power cut, and compared."""
    faults = disks.Faults(str(tmp_path))
    daemon = make_daemon(environment=faults.environment).start()
    yield daemon
    expected = daemon.checksum()
    daemon.kill()
    faults.boot()
    daemon.start()
    assert daemon.status()["store"]["start"] == "rebuilt"
    assert daemon.checksum() == expected, "not what the journal says"
    daemon.stop()
    daemon.check()


@pytest.fixture
def folder(node):
    path = node.path("suite")
    os.mkdir(path)
    return path


def tool(name):
    found = shutil.which(name)
    if not found:
        pytest.skip(f"no {name}")
    return found


def run_tool(*command, timeout, **options):
    done = cfs.run(*command, timeout=timeout, **options)
    assert done.returncode == 0, \
        f"{command}: exit {done.returncode}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done


# --- fsx and fsstress of xfstests ---

# Mappings are left out: a file that is open for writing has no shared ones (docs/differences.md).
NO_MAPPINGS = ["-R", "-W"]
FSX = {
    "a quarter of a file": (["-l", str(MIB // 4)], 100_000),
    "a whole file": (["-l", str(MIB), "-c", "100"], 20_000),
    "direct I/O": (["-l", str(MIB), "-Z", "-r", "4096", "-t", "4096", "-w", "4096"], 20_000),
}


@pytest.mark.seconds(900)
@pytest.mark.parametrize("name", FSX)
def test_fsx(folder, name):
    """Each read against a copy in memory."""
    options, operations = FSX[name]
    program = suite("xfstests", "ltp", "fsx")
    run_tool(program, "-q", "-N", str(operations if cfs.LONG else operations // 20), "-S", "5",
             *NO_MAPPINGS, *options, "-P", "/tmp", "file", cwd=folder, timeout=800)


@pytest.mark.seconds(900)
def test_fsstress(folder):
    """Frequency 0: what the tree does not have."""
    program = suite("xfstests", "ltp", "fsstress")
    absent = [f"-f{name}=0" for name in ("link", "symlink", "mknod", "chown", "setxattr", "attr_set",
                                         "removefattr", "attr_remove")]
    run_tool(program, "-d", folder, "-n", "5000" if cfs.LONG else "500", "-p", "4", "-s", "12",
             "-l", "1", *absent, timeout=800)
    assert [name for _, _, files in os.walk(folder) for name in files], "it has made files"


# --- dbench ---

@pytest.mark.seconds(300)
def test_dbench(folder):
    """The load of a file server, with files that fit: those of its own are up to 40 MiB large."""
    program = tool("dbench")
    source = "/usr/share/dbench/client.txt"
    load = os.path.join(os.path.dirname(folder), os.pardir, "dbench.txt")
    with open(source) as original, open(load, "w") as fitting:
        for line in original:
            fitting.write(fit(line))
    run_tool(program, "-c", load, "-t", "60" if cfs.LONG else "3", "-D", folder, "4", timeout=200)


def fit(line):
    """The same request within the first 1 MiB."""
    fields = line.split()
    if fields and fields[0] in ("WriteX", "ReadX") and int(fields[2]) + int(fields[3]) > MIB:
        fields[2] = str(int(fields[2]) % (MIB - 128 * 1024))
        return " ".join(fields) + "\n"
    return line


# --- stress-ng ---

STRESSORS = {name: [] for name in (
    "chdir dentry dir dirdeep dirmany dup fallocate fcntl filename flock fpunch fstat getdent handle "
    "inotify io lease locka lockf lockofd open rename touch utime").split()}
STRESSORS |= {name: [f"--{name}-{what}", "1M"] for name, what in (
    ("hdd", "bytes"), ("seek", "size"), ("sync-file", "bytes"), ("readahead", "bytes"))}
# What does not apply:
#   access, chmod, chown, dnotify, umask     modes and owners are fixed
#   link, symlink, mknod                     there are no such entries
#   chattr, fiemap, inode-flags, verity, xattr   not there
#   copy-file, iomix, revio                  write beyond 1 MiB, whatever size they are told
#   mmap, msync                              shared writable mappings are refused


@pytest.mark.seconds(200)
@pytest.mark.parametrize("names", STRESSORS if cfs.LONG else [" ".join(STRESSORS)],
                         ids=None if cfs.LONG else ["all at once"])
def test_stress_ng(folder, names):
    program = tool("stress-ng")
    stressors = [part for name in names.split() for part in (f"--{name}", "2" if cfs.LONG else "1",
                                                             *STRESSORS[name])]
    run_tool(program, *stressors, "--temp-path", folder, "--verify", "--no-rand-seed",
             "--timeout", "20" if cfs.LONG else "5", timeout=120)


# --- pjdfstest ---

PJDFSTEST = [f"{folder}/{number}" for folder in WHOLE for number in WHOLE[folder].split()]


@pytest.mark.seconds(900)
def test_pjdfstest(folder):
    suite("pjdfstest", "pjdfstest")
    failed = {}
    for name in PJDFSTEST:
        found = failures(name, f"{folder}/{name.replace('/', '-')}")
        if found:
            failed[name] = found
    assert not failed
