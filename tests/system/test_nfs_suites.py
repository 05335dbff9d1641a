# SPDX-License-Identifier: Apache-2.0
"""Test suites of others against the kernel's NFS mount. They are no part of this repository:

CFSGATE_SUITES names a directory, outside of /tmp or in it, with what is to run, each built in place:

    cthon04/        Connectathon: basic/test1... and special/op_unlk... built, general/ with its sources
    xfstests/       ltp/fsx and ltp/fsstress built
    pjdfstest/      pjdfstest built, and tests/

What is not there is skipped. What of a suite does not apply is listed here with its reason. The tree is
what it is made for, not a general file system: owner and group are always root:www-data, modes follow
from the path and cannot be set, a file has at most 1 MiB, times of files are whole seconds and there is
no time of reading, and there are no hard links, no symbolic links but those of the root, no devices and
no pipes.
"""
import os
import re
import shutil

import pytest

import cfs
import kernel_client

pytestmark = pytest.mark.guest(memory=1024)

SUITES = os.environ.get("CFSGATE_SUITES", "")


def suite(*path):
    """A program or directory of a suite; skips if it is not there."""
    if not SUITES:
        pytest.skip("CFSGATE_SUITES is not set")
    found = os.path.join(SUITES, *path)
    if not os.path.exists(found):
        pytest.skip(f"no {found}")
    return found


@pytest.fixture(scope="module")
def daemon():
    with kernel_client.Daemon() as instance:
        yield instance
        kernel_client.unmount(instance.nfs_mounts.pop())
        instance.client("check", timeout=120)


@pytest.fixture
def folder(daemon, request):
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")
    path = f"{daemon.nfs_mount}/{name}"
    os.mkdir(path)
    yield path
    cfs.run("rm", "-rf", path, timeout=120)
    # what was open when it was removed goes a moment later
    cfs.wait_for(lambda: cfs.run("rm", "-rf", path).returncode == 0, "nothing is left", 5)


# --- Connectathon ---

def connectathon(folder, *command, timeout=300):
    program = suite("cthon04", *command[0].split("/"))
    done = cfs.run(program, *command[1:], timeout=timeout, cwd=folder,
                   env={**os.environ, "NFSTESTDIR": f"{folder}/d", "TMPDIR": "."})
    assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}"
    return done


BASIC = {
    "test1": "files and directories are created",
    "test2": "and removed",
    "test3": "look-ups through a mount point",
    "test4a": "getattr and lookup",
    "test5": "1 MiB is written and read",
    "test5a": "written",
    "test5b": "read",
    "test6": "readdir",
    "test7a": "rename",
    "test9": "statfs",
    # test4: chmod
    # test7, test7b: hard links
    # test8: symbolic links
}


@pytest.mark.seconds(400)
def test_connectathon_basic(folder):
    """In one directory and one after the other, as the suite does it."""
    suite("cthon04", "basic", "test1")
    os.mkdir(f"{folder}/d")
    for name in BASIC:
        if name == "test7a" and not os.path.exists(f"{SUITES}/cthon04/basic/test7a"):
            continue  # its makefile does not build it
        connectathon(folder, f"basic/{name}", "-t")


SPECIAL = [
    ["op_unlk"],  # an open file is removed
    ["op_ren"],  # an open file is renamed
    ["excltest"],  # exclusive creation
    ["negseek", "negative-seek"],
    ["rename", "100"],
    ["truncate"],
    ["holey"],
    ["rewind"],
    ["telldir"],
    ["freesp"],
    ["bigfile", "-s", "1", "big"],  # 1 MiB instead of 30
    # op_chmod: modes are fixed
    # dupreq, nfsidem: hard links and symbolic links
    # bigfile2: 4 GiB
]


@pytest.mark.seconds(400)
@pytest.mark.parametrize("command", SPECIAL, ids=lambda command: command[0])
def test_connectathon_special(folder, command):
    connectathon(folder, f"special/{command[0]}", *command[1:])


def compile_in(folder, *arguments, timeout=200):
    done = cfs.run("cc", "-w", *arguments, cwd=folder, timeout=timeout,
                   env={**os.environ, "TMPDIR": "/tmp"})
    assert done.returncode == 0, done.stderr


@pytest.mark.seconds(900)
def test_connectathon_general(folder):
    """Its steps by hand: files of the tree are never executable, and its scripts run what they have
    compiled in place."""
    source = suite("cthon04", "general")
    if not shutil.which("cc"):
        pytest.skip("no compiler")
    for name in os.listdir(source):
        if name.endswith((".c", ".sh", ".tst", ".in")) or name.endswith("dummy"):
            cfs.run("cp", f"{source}/{name}", folder, check=True)
    compile_in(folder, "-o", "stat", "stat.c", "-lm")
    for _ in range(2):
        compile_in(folder, "-o", "large", "large.c")
    for number in (1, 2, 3):
        cfs.run("cp", f"{folder}/large.c", f"{folder}/large{number}.c", check=True)
    done = cfs.run("sh", "large4.sh", cwd=folder, timeout=400,
                   env={**os.environ, "CC": "cc", "CFLAGS": "-w", "TMPDIR": "/tmp"})
    assert done.returncode == 0, done.stderr
    if shutil.which("tbl") and shutil.which("nroff"):
        cfs.run("sh", "-c", "tbl nroff.in > nroff.tbl && nroff < nroff.tbl > nroff.out && test -s nroff.out",
                cwd=folder, timeout=120, check=True)
    cfs.run("sh", "mkdummy", cwd=folder, check=True)
    if shutil.which("make"):
        cfs.run("make", "-f", "makefile.tst", cwd=folder, timeout=120, check=True)
    cfs.run("sh", "rmdummy", cwd=folder, check=True)
    assert not [name for name in os.listdir(folder) if name.startswith("dummy")]


# --- xfstests ---

NO_CLONES = ["-J", "-B", "-E", "-0"]


@pytest.mark.seconds(1500)
def test_fsx(folder):
    """100 000 operations on one file, also through mappings, each checked against a copy in memory.

    Not asked for: clones and the like, which NFSv3 does not have. fsx finds that out by itself, but
    with a file of two blocks, and a block of NFS is a whole file of ours."""
    program = suite("xfstests", "ltp", "fsx")
    done = cfs.run(program, "-q", "-N", "100000", "-l", "262144", "-S", "7", *NO_CLONES, "-P", "/tmp",
                   "file", cwd=folder, timeout=1400)
    assert done.returncode == 0, f"{done.stdout[-5000:]}{done.stderr[-2000:]}"


@pytest.mark.seconds(300)
def test_fsx_with_the_largest_file(folder):
    """Up to the limit of 1 MiB, closing and opening now and then, with direct reads and writes too."""
    program = suite("xfstests", "ltp", "fsx")
    for more in (["-c", "100"], ["-Z", "-r", "4096", "-t", "4096", "-w", "4096"]):
        done = cfs.run(program, "-q", "-N", "3000", "-l", str(cfs.MIB), "-S", "8", *NO_CLONES, "-P", "/tmp",
                       *more, f"file{len(more)}", cwd=folder, timeout=250)
        assert done.returncode == 0, f"{more}: {done.stdout[-5000:]}{done.stderr[-2000:]}"


@pytest.mark.seconds(600)
def test_fsstress(daemon, folder):
    """Two processes, random calls. It looks at no result, so the trees are compared, and checked.

    Frequency 0: what the tree does not have."""
    program = suite("xfstests", "ltp", "fsstress")
    absent = [f"-f{name}=0" for name in ("link", "symlink", "mknod", "chown", "setxattr", "attr_set",
                                         "removefattr", "attr_remove")]
    done = cfs.run(program, "-d", folder, "-n", "1500", "-p", "2", "-s", "11", "-l", "1", *absent,
                   timeout=550)
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert [name for _, _, files in os.walk(folder) for name in files], "it has made files"
    other = f"{daemon.mount}/{os.path.basename(folder)}"
    cfs.run("diff", "-r", folder, other, timeout=300, check=True)
    assert not [name for _, _, files in os.walk(other) for name in files if name.startswith(".nfs")]


# --- pjdfstest ---

# Folders that do not apply:
#   chflags, posix_fallocate, granular   not on Linux, or not with NFSv3
#   chmod, chown                         modes and owners are fixed
#   link, symlink, mkfifo, mknod         there are no such entries
# Files of the other folders that pass whole, by NFS as by FUSE:
WHOLE = {
    "ftruncate": "01 04 08 09 12 13 14",
    "mkdir": "02 04 12",
    "open": "04 13 15 18 19 20 21 23",
    "rename": "15 16 18 19",
    "rmdir": "04 12 15",
    "truncate": "01 04 08 09 12 13 14",
    "unlink": "04 13",
    "utimensat": "01 03",
    # unlink/14: an open file that was removed has a link left, since the client has renamed it
    # utimensat/09: times of NFSv3 end in 2106
}
# Files of which a part applies: what works by FUSE must work by NFS. The others begin with
# another owner (chown), with another mode (chmod) or with a link in each of their checks.
IN_PART = {
    "ftruncate": "00 03",  # files over 1 MiB; longer paths than the tree allows
    "mkdir": "00 01",  # modes; pipes
    "open": "00 01",  # modes; pipes
    "rename": "01 02 13 14 24",  # pipes; links; number of links of directories
    "rmdir": "00 01 03",  # pipes, links
    "truncate": "00",
    "unlink": "02",
    "utimensat": "00 04",  # time of reading
}
PJDFSTEST = [f"{folder}/{number}" for folder in WHOLE for number in WHOLE[folder].split()]
PJDFSTEST_IN_PART = [f"{folder}/{number}" for folder in IN_PART for number in IN_PART[folder].split()]


def failures(name, folder):
    """Numbers of the checks that failed, with what they say."""
    script = suite("pjdfstest", "tests", *f"{name}.t".split("/"))
    suite("pjdfstest", "pjdfstest")
    os.makedirs(folder, exist_ok=True)
    done = cfs.run("sh", script, cwd=folder, timeout=280)
    plan = re.search(r"^1\.\.(\d+)", done.stdout, re.M)
    assert plan and int(plan[1]) == len(re.findall(r"^(?:not )?ok", done.stdout, re.M)), done.stdout
    return {int(number): text for number, text in
            re.findall(r"^not ok (\d+)(.*)", done.stdout, re.M) if "TODO" not in text}


@pytest.mark.seconds(300)
@pytest.mark.parametrize("name", PJDFSTEST)
def test_pjdfstest(folder, name):
    assert not failures(name, f"{folder}/test")


@pytest.mark.seconds(600)
@pytest.mark.parametrize("name", PJDFSTEST_IN_PART)
def test_pjdfstest_in_part(daemon, folder, name):
    by_fuse = failures(name, f"{daemon.mount}/{os.path.basename(folder)}/fuse")
    by_nfs = failures(name, f"{folder}/nfs")
    only_by_nfs = {number: by_nfs[number] for number in by_nfs.keys() - by_fuse.keys()}
    assert not only_by_nfs
