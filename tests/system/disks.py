# SPDX-License-Identifier: Apache-2.0
"""Disks for tests: small ones, ones with faults, ones whose power can be cut.

Everything is taken away at the end of its `with`, also when the test has failed.
"""
import contextlib
import os
import subprocess
import tempfile

import cfs
from cfs import MIB


@contextlib.contextmanager
def folder(prefix="cfs.disk."):
    path = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(path)


@contextlib.contextmanager
def tmpfs(mebibytes):
    with folder() as path:
        cfs.run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", path, check=True)
        try:
            yield path
        finally:
            cfs.run("umount", "-l", path)


@contextlib.contextmanager
def loop_device(file, *options):
    done = cfs.run("losetup", "-f", "--show", *options, file)
    if done.returncode != 0:
        raise RuntimeError(f"no loop device: {done.stderr}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        cfs.run("losetup", "-d", device)


def make_ext4(path):
    cfs.run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
            path, check=True, timeout=60)


@contextlib.contextmanager
def mounted(device, *options):
    with folder() as path:
        cfs.run("mount", *options, device, path, check=True)
        try:
            yield path
        finally:
            cfs.run("umount", "-l", path)


@contextlib.contextmanager
def ext4(mebibytes):
    """A real disk of that size: its directory and its device."""
    with tmpfs(mebibytes + 8) as space:
        file = f"{space}/disk"
        with open(file, "wb") as disk:
            disk.truncate(mebibytes * MIB)
        make_ext4(file)
        with loop_device(file) as device, mounted(device) as path:
            yield path, device


def fill(path):
    """Takes what is left of a disk."""
    with open(f"{path}/filler", "wb", buffering=0) as file:
        for size in (MIB, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())


class Faults:
    """Environment of a daemon whose disk has faults on request, and whose machine can be switched off
    (tests/support/fault_shim.c)."""

    def __init__(self, folder):
        self._rules = f"{folder}/rules"
        self._boot = f"{folder}/boot"
        self._boots = 0
        self.boot()
        self.environment = {"LD_PRELOAD": cfs.program("fault_shim.so"), "FAULT_FILE": self._rules,
                            "FAULT_BOOT_ID": self._boot,
                            "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def boot(self):
        """The machine starts: nobody knows what of the disk's last writes is there."""
        self._boots += 1
        with open(self._boot, "w") as file:
            file.write(f"boot-{self._boots}\n")

    def begin(self, *rules):
        """Rules as the shim has them: "write 5 /s/journal."; all at one moment."""
        with open(f"{self._rules}.new", "w") as file:
            file.write("\n".join(rules) + "\n")
        os.rename(f"{self._rules}.new", self._rules)

    def end(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._rules)


class PowerDisk:
    """ext4 on a disk whose power can be cut (tests/support/power_disk.cc), mounted at `path`."""

    IMAGES = ("flushed", "half", "all")

    def __init__(self, mebibytes, seed):
        self._mebibytes = mebibytes
        self._seed = seed
        self._open = contextlib.ExitStack()
        self._process = None
        self.path = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            where = stack.enter_context(folder("cfs.power."))
            self._images = stack.enter_context(tmpfs(4 * self._mebibytes + 16))
            self._process = subprocess.Popen(
                [cfs.program("power_disk"), where, str(self._mebibytes), str(self._seed)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(self._end, where)
            assert self._process.stdout.readline() == "ready\n"
            make_ext4(f"{where}/disk")
            device = stack.enter_context(loop_device(f"{where}/disk"))
            self.path = stack.enter_context(mounted(device))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *reason):
        self._open.close()

    def _end(self, where):
        with contextlib.suppress(OSError, ValueError):
            self._process.communicate("end\n", timeout=20)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        cfs.remove_mounts(where)

    def cut(self):
        """The power goes off now. The moment, and what the disk says; images() has what is left."""
        self._process.stdin.write(f"cut {self._images}/image\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        assert answer and answer[0] == "ok", answer
        return float(answer[1]), {"writes": int(answer[2]), "flushes": int(answer[3]),
                                  "unflushed": int(answer[4])}

    @contextlib.contextmanager
    def image(self, which):
        """The directory of a file system as it is found after the cut."""
        with loop_device(f"{self._images}/image.{which}") as device, mounted(device) as path:
            yield path
