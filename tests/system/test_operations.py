# SPDX-License-Identifier: Apache-2.0
"""System calls on the mount: what each does and which error it gives."""
import errno
import fcntl
import os
import socket
import stat

import pytest

import cfs
from cfs import MIB, raises

READ_ONLY_VIRTUAL = [".version", ".members", ".vmlist", ".rrd", ".clusterlog"]


@pytest.fixture
def file(folder):
    path = os.path.join(folder, "file")
    cfs.write(path, b"content")
    return path


# --- Finding and listing ---

def test_a_missing_name_is_enoent(folder):
    with raises(errno.ENOENT):
        os.stat(f"{folder}/missing")
    with raises(errno.ENOENT):
        os.open(f"{folder}/missing", os.O_RDONLY)


def test_nothing_is_below_a_file(file, mount):
    for path in (f"{file}/x", f"{mount}/.version/x"):
        with raises(errno.ENOTDIR):
            os.stat(path)


def test_the_root_lists_the_virtual_entries_and_the_tree(mount, folder):
    listed = cfs.run("ls", "-a", mount).stdout.split()
    expected = {".", "..", os.path.basename(folder), *cfs.VIRTUAL_FILES, *cfs.VIRTUAL_LINKS}
    assert expected <= set(listed)
    assert len(listed) == len(set(listed))


def test_a_listing_holds_every_name_once(folder):
    names = sorted(f"n{i:05d}" for i in range(700))
    for name in names:
        os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_EXCL))
    assert cfs.names(folder) == names


def test_a_listing_goes_on_while_entries_come_and_go(folder):
    for i in range(500):
        os.close(os.open(f"{folder}/stay{i:04d}", os.O_CREAT | os.O_EXCL))
        os.close(os.open(f"{folder}/go{i:04d}", os.O_CREAT | os.O_EXCL))
    seen = []
    with os.scandir(folder) as entries:
        for entry in entries:
            seen.append(entry.name)
            if len(seen) % 10 == 1 and len(seen) < 4000:
                os.unlink(f"{folder}/go{len(seen) // 10:04d}")
                os.close(os.open(f"{folder}/new{len(seen):05d}", os.O_CREAT))
    assert sorted(name for name in seen if name.startswith("stay")) == [
        f"stay{i:04d}" for i in range(500)]
    assert len(seen) == len(set(seen))


def test_listing_a_file_is_enotdir(file, mount):
    for path in (file, f"{mount}/.members"):
        with raises(errno.ENOTDIR):
            os.listdir(path)


# --- Opening and creating ---

@pytest.mark.parametrize("mode", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_an_existing_file_opens_in_every_mode(file, mode):
    os.close(os.open(file, mode))


def test_a_directory_does_not_open_for_writing(folder):
    for mode in (os.O_WRONLY, os.O_RDWR):
        with raises(errno.EISDIR):
            os.open(folder, mode)


def test_create_needs_its_directory(folder, file):
    with raises(errno.ENOENT):
        os.open(f"{folder}/missing/x", os.O_CREAT | os.O_WRONLY)
    with raises(errno.ENOTDIR):
        os.open(f"{file}/x", os.O_CREAT | os.O_WRONLY)


def test_exclusive_create_of_an_existing_name_is_eexist(folder, file, mount):
    for path in (file, folder, f"{mount}/.version", f"{mount}/local"):
        with raises(errno.EEXIST):
            os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def test_create_without_exclusive_opens_what_exists(file):
    fd = os.open(file, os.O_CREAT | os.O_RDWR)
    assert os.read(fd, 100) == b"content"
    os.close(fd)


def test_creation_mode_and_umask_are_ignored(folder):
    old = os.umask(0o077)
    try:
        os.close(os.open(f"{folder}/f", os.O_CREAT | os.O_WRONLY, 0o777))
        os.mkdir(f"{folder}/d", 0o711)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(f"{folder}/f").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(f"{folder}/d").st_mode) == 0o755


def test_a_read_only_mode_at_creation_still_writes_through_that_handle(folder):
    fd = os.open(f"{folder}/f", os.O_CREAT | os.O_WRONLY, 0o400)
    assert os.write(fd, b"x") == 1
    os.close(fd)
    assert cfs.read(f"{folder}/f") == b"x"


# --- Reading and writing ---

def test_reads_end_at_the_end_of_the_file(file):
    fd = os.open(file, os.O_RDONLY)
    assert os.pread(fd, 100, 0) == b"content"
    assert os.pread(fd, 3, 2) == b"nte"
    assert os.pread(fd, 100, 7) == b""
    assert os.pread(fd, 100, 5000) == b""
    os.close(fd)


def test_a_write_handle_reads_what_it_wrote(file):
    fd = os.open(file, os.O_RDWR)
    os.pwrite(fd, b"XY", 1)
    assert os.pread(fd, 100, 0) == b"cXYtent"
    os.close(fd)


def test_a_hole_reads_as_zeros(folder):
    fd = os.open(f"{folder}/f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"end", 10000)
    os.close(fd)
    assert cfs.read(f"{folder}/f") == bytes(10000) + b"end"


def test_the_largest_file_is_one_mebibyte(folder):
    path = f"{folder}/f"
    cfs.write(path, bytes(MIB))
    fd = os.open(path, os.O_RDWR)
    for offset in (MIB, MIB + 1, 2 * MIB):
        with raises(errno.EFBIG):
            os.pwrite(fd, b"x", offset)
    assert os.pwrite(fd, b"x", MIB - 1) == 1
    os.close(fd)
    assert os.stat(path).st_size == MIB
    assert cfs.read(path) == bytes(MIB - 1) + b"x"


def test_a_write_of_two_mebibytes_writes_the_first(folder):
    data = os.urandom(2 * MIB)
    fd = os.open(f"{folder}/f", os.O_CREAT | os.O_WRONLY)
    assert os.write(fd, cfs.aligned(data)) == MIB
    with raises(errno.EFBIG):
        os.write(fd, b"x")
    os.close(fd)
    assert cfs.read(f"{folder}/f") == data[:MIB]


@pytest.mark.parametrize("offset", [0, 1, 511, 4095, 4096, 100001])
def test_content_reads_back_at_any_offset_and_size(folder, offset):
    content = bytearray(300000)
    fd = os.open(f"{folder}/f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, bytes(content), 0)
    for size in (1, 4095, 4096, 4097, 131072, 150001):
        piece = os.urandom(size)
        assert os.pwrite(fd, piece, offset) == size
        content[offset:offset + size] = piece
        assert os.pread(fd, 400000, 0) == bytes(content)
    os.close(fd)
    assert cfs.read(f"{folder}/f") == bytes(content)


def test_append_goes_to_the_end(file):
    first = os.open(file, os.O_WRONLY | os.O_APPEND)
    second = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.write(first, b"1")
    os.write(second, b"22")
    os.write(first, b"3")
    os.close(first)
    os.close(second)
    assert cfs.read(file) == b"content1223"


def test_private_mappings_work_and_shared_writable_ones_are_refused(file):
    import mmap
    fd = os.open(file, os.O_RDWR)
    with raises(errno.ENODEV):
        mmap.mmap(fd, 7, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    private = mmap.mmap(fd, 7, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    assert private[:] == b"content"
    private[0:1] = b"X"
    private.close()
    os.close(fd)
    assert cfs.read(file) == b"content"


# --- Truncating ---

def test_truncate_cuts_and_extends_with_zeros(file):
    os.truncate(file, 3)
    assert cfs.read(file) == b"con"
    os.truncate(file, 6)
    assert cfs.read(file) == b"con\0\0\0"
    os.truncate(file, 0)
    assert cfs.read(file) == b""


def test_truncate_through_a_handle(file):
    fd = os.open(file, os.O_RDWR)
    os.ftruncate(fd, 4)
    assert os.fstat(fd).st_size == 4
    assert os.pread(fd, 10, 0) == b"cont"
    os.ftruncate(fd, 5)
    assert os.pread(fd, 10, 0) == b"cont\0"
    os.close(fd)
    assert cfs.read(file) == b"cont\0"


def test_an_empty_file_can_be_extended(folder):
    cfs.write(f"{folder}/f", b"")
    os.truncate(f"{folder}/f", 5000)
    assert cfs.read(f"{folder}/f") == bytes(5000)


@pytest.mark.parametrize("size", [MIB + 1, 1 << 31, 1 << 32, (1 << 32) + 3, 1 << 50])
def test_truncate_over_one_mebibyte_is_efbig(file, size):
    with raises(errno.EFBIG):
        os.truncate(file, size)
    assert cfs.read(file) == b"content"


def test_truncate_to_one_mebibyte_works(file):
    os.truncate(file, MIB)
    assert cfs.read(file) == b"content" + bytes(MIB - 7)


def test_truncate_to_the_present_length_is_a_change(file):
    before = cfs.version_of(file)
    os.truncate(file, 7)
    assert cfs.version_of(file) == before + 1
    assert cfs.read(file) == b"content"


# --- Making and removing ---

def test_mkdir(folder, file, mount):
    os.mkdir(f"{folder}/d")
    assert cfs.names(f"{folder}/d") == []
    for path in (f"{folder}/d", file, f"{mount}/.version", f"{mount}/local", f"{mount}/lxc"):
        with raises(errno.EEXIST):
            os.mkdir(path)
    with raises(errno.ENOENT):
        os.mkdir(f"{folder}/missing/d")
    with raises(errno.ENOTDIR):
        os.mkdir(f"{file}/d")


def test_unlink(folder, file):
    os.unlink(file)
    assert cfs.names(folder) == []
    with raises(errno.ENOENT):
        os.unlink(file)
    os.mkdir(f"{folder}/d")
    with raises(errno.EISDIR):
        os.unlink(f"{folder}/d")


@pytest.mark.parametrize("name", cfs.VIRTUAL_FILES + cfs.VIRTUAL_LINKS)
def test_virtual_entries_cannot_be_unlinked(mount, name):
    with raises(errno.EACCES):
        os.unlink(f"{mount}/{name}")
    os.lstat(f"{mount}/{name}")


def test_rmdir(folder, file, mount):
    with raises(errno.ENOTEMPTY):
        os.rmdir(folder)
    with raises(errno.ENOTDIR):
        os.rmdir(file)
    with raises(errno.ENOTDIR):
        os.rmdir(f"{mount}/.version")
    with raises(errno.ENOTDIR):
        os.rmdir(f"{mount}/local")
    with raises(errno.ENOENT):
        os.rmdir(f"{folder}/missing")
    with raises(errno.EBUSY):
        os.rmdir(mount)
    os.unlink(file)
    os.rmdir(folder)
    with raises(errno.ENOENT):
        os.stat(folder)


# --- Mode and owner ---

def private_file(mount):
    os.makedirs(f"{mount}/priv", exist_ok=True)
    cfs.write(f"{mount}/priv/chmod", b"x")
    return f"{mount}/priv/chmod"


def test_chmod_accepts_only_the_mode_that_the_path_has_anyway(mount, folder, file):
    private = private_file(mount)
    for path, good in ((file, 0o640), (folder, 0o640), (f"{mount}/.version", 0o640),
                       (f"{mount}/.debug", 0o640), (private, 0o600), (f"{mount}/priv", 0o600)):
        before = os.stat(path).st_mode
        os.chmod(path, good)
        assert os.stat(path).st_mode == before
        other = 0o600 if good == 0o640 else 0o640
        for bad in (other, 0o644, 0o755, 0o700, 0o777, 0o440, 0, good | 0o1000, good | 0o4000):
            with raises(errno.EPERM):
                os.chmod(path, bad)
        assert os.stat(path).st_mode == before


def test_chmod_through_a_handle(file):
    fd = os.open(file, os.O_RDWR)
    os.fchmod(fd, 0o640)
    with raises(errno.EPERM):
        os.fchmod(fd, 0o600)
    os.close(fd)


def test_chown_accepts_only_the_owner_that_everything_has_anyway(mount, folder, file):
    group = cfs.WWW_DATA
    for path in (file, folder, f"{mount}/.version", private_file(mount)):
        for uid, gid in ((0, -1), (-1, group), (0, group), (-1, -1)):
            os.chown(path, uid, gid)
        for uid, gid in ((0, 0), (1, -1), (-1, 0), (group, group), (65534, 65534)):
            with raises(errno.EPERM):
                os.chown(path, uid, gid)
        found = os.stat(path)
        assert (found.st_uid, found.st_gid) == (0, group)


# --- Times ---

def test_utimens_sets_mtime_and_ignores_atime(folder, file):
    for path in (file, folder):
        cfs.utimens(path, (1111111111, 5), (1222222222, 999999999))
        found = os.stat(path)
        assert found.st_mtime_ns == 1222222222 * 10**9
        assert found.st_atime_ns // 10**9 == 1222222222


def test_utimens_now(file):
    cfs.set_mtime(file, 1000)
    os.utime(file)
    assert abs(os.stat(file).st_mtime - __import__("time").time()) < 30


def test_utimens_takes_every_unsigned_32_bit_number(file):
    for seconds in (0, 1, 2**31 - 1, 2**31, 2**32 - 1):
        cfs.set_mtime(file, seconds)
        assert os.stat(file).st_mtime_ns == seconds * 10**9


@pytest.mark.parametrize("seconds", [-1, -5, 2**32, 2**32 + 7, 2**40])
def test_difference_times_that_do_not_fit_are_refused(file, seconds):
    before = os.stat(file).st_mtime_ns
    with raises(errno.EINVAL):
        cfs.set_mtime(file, seconds)
    assert cfs.fresh_stat(file).mtime.sec == before // 10**9


def test_difference_utimens_with_an_omitted_atime_sets_mtime(file):
    cfs.utimens(file, (0, cfs.UTIME_OMIT), (1234567890, 0))
    assert os.stat(file).st_mtime_ns == 1234567890 * 10**9
    cfs.run("touch", "-m", "-d", "@1300000000", file, check=True)
    assert os.stat(file).st_mtime_ns == 1300000000 * 10**9


def test_utimens_with_an_omitted_mtime_changes_nothing(file):
    before = cfs.version_of(file), os.stat(file).st_mtime_ns
    cfs.utimens(file, (1234567890, 0), (0, cfs.UTIME_OMIT))
    cfs.utimens(file, (0, cfs.UTIME_OMIT), (0, cfs.UTIME_OMIT))
    assert (cfs.version_of(file), cfs.fresh_stat(file).mtime.sec * 10**9) == before


@pytest.mark.parametrize("name", ["."] + cfs.VIRTUAL_FILES)
def test_the_root_and_virtual_files_keep_their_times(mount, name):
    with raises(errno.EACCES):
        cfs.set_mtime(f"{mount}/{name}", 1234567890)
    assert os.stat(f"{mount}/{name}").st_mtime_ns == 0


# --- What is not offered ---

def test_no_symbolic_links(folder):
    with raises(errno.ENOSYS):
        os.symlink("target", f"{folder}/link")


def test_no_hard_links(folder, file):
    with raises(errno.EPERM, errno.ENOSYS):  # which one depends on the kernel
        os.link(file, f"{folder}/link")
    assert cfs.names(folder) == ["file"]


def test_mknod_makes_regular_files_only(folder):
    os.mknod(f"{folder}/f", stat.S_IFREG | 0o644)
    assert cfs.read(f"{folder}/f") == b""
    for kind in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK):
        with raises(errno.ENOSYS):
            os.mknod(f"{folder}/x", kind | 0o644, os.makedev(1, 3))
    with raises(errno.EEXIST):
        os.mknod(f"{folder}/f", stat.S_IFREG | 0o644)
    assert cfs.names(folder) == ["f"]


def test_no_unix_sockets(mount):
    with socket.socket(socket.AF_UNIX) as server, raises(errno.ENOSYS):
        server.bind(f"{mount}/sock")


def test_no_extended_attributes(folder, file):
    for path in (file, folder):
        with raises(errno.EOPNOTSUPP):
            os.setxattr(path, "user.a", b"b")
        with raises(errno.EOPNOTSUPP):
            os.getxattr(path, "user.a")
        with raises(errno.EOPNOTSUPP):
            os.listxattr(path)
        with raises(errno.EOPNOTSUPP):
            os.removexattr(path, "user.a")


def test_no_ioctl(file):
    fd = os.open(file, os.O_RDWR)
    with raises(errno.ENOTTY):
        fcntl.ioctl(fd, 0x5401, bytes(64))
    os.close(fd)


def test_fallocate_is_not_supported_and_the_library_writes_zeros(file):
    fd = os.open(file, os.O_RDWR)
    import ctypes
    result = cfs.libc.fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(100))
    assert (result, ctypes.get_errno()) == (-1, errno.EOPNOTSUPP)
    os.posix_fallocate(fd, 0, 5000)
    os.close(fd)
    assert cfs.read(file) == b"content" + bytes(4993)


def test_readlink_of_what_is_no_link_is_einval(folder, file, mount):
    for path in (folder, file, f"{mount}/.version"):
        with raises(errno.EINVAL):
            os.readlink(path)


# --- Flushing and locking ---

def test_fsync_of_files_and_directories(folder, file):
    for path, mode in ((file, os.O_RDWR), (file, os.O_RDONLY), (folder, os.O_RDONLY)):
        fd = os.open(path, mode)
        os.fsync(fd)
        os.fdatasync(fd)
        os.close(fd)


def try_flock(path):
    fd = os.open(path, os.O_RDWR)
    return cfs.errno_of(fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def try_record_lock(path):
    fd = os.open(path, os.O_RDWR)
    return cfs.errno_of(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 0)


def test_flock_and_record_locks_exclude_other_processes(file):
    fd = os.open(file, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert cfs.in_child(try_flock, file) == "EAGAIN"
    fcntl.flock(fd, fcntl.LOCK_UN)
    assert cfs.in_child(try_flock, file) == 0
    fcntl.lockf(fd, fcntl.LOCK_EX, 3, 0)
    assert cfs.in_child(try_record_lock, file) in ("EAGAIN", "EACCES")
    fcntl.lockf(fd, fcntl.LOCK_UN, 3, 0)
    assert cfs.in_child(try_record_lock, file) == 0
    os.close(fd)


def test_access_follows_the_mode_bits(folder, file):
    assert os.access(file, os.R_OK | os.W_OK)
    assert not os.access(file, os.X_OK)
    assert os.access(folder, os.R_OK | os.W_OK | os.X_OK)


# --- Virtual entries ---

@pytest.mark.parametrize("name", READ_ONLY_VIRTUAL)
def test_virtual_files_do_not_change(mount, name):
    path = f"{mount}/{name}"
    fd = os.open(path, os.O_WRONLY)
    with raises(errno.EIO):
        os.write(fd, b"1\n")
    with raises(errno.EIO):
        os.pwrite(fd, b"1\n", 1)
    os.close(fd)
    with raises(errno.EIO):
        os.open(path, os.O_WRONLY | os.O_TRUNC)
    with raises(errno.EIO):
        os.truncate(path, 0)
    with raises(errno.EIO):
        os.truncate(path, 100)


def test_truncate_of_debug_has_no_effect(mount):
    path = f"{mount}/.debug"
    os.truncate(path, 0)
    os.truncate(path, 100)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    assert cfs.read(path) == b"0\n"


@pytest.mark.parametrize("name", cfs.VIRTUAL_FILES + cfs.VIRTUAL_LINKS)
def test_virtual_entries_cannot_be_renamed_or_replaced(mount, folder, file, name):
    with raises(errno.EACCES):
        os.rename(f"{mount}/{name}", f"{folder}/x")
    with raises(errno.EACCES):
        os.rename(file, f"{mount}/{name}")
    assert cfs.read(file) == b"content"


# --- Who may do what ---

WWW = (33, cfs.WWW_DATA, [])
MEMBER = (1000, 1000, [cfs.WWW_DATA])
NOBODY = (cfs.NOBODY.pw_uid, cfs.NOBODY.pw_gid, [])


def changes(mount, folder, file):
    """What an unprivileged user could try, and what came of it."""
    def create():
        os.open(f"{folder}/new", os.O_CREAT | os.O_WRONLY)

    attempts = {
        "write": lambda: os.open(file, os.O_WRONLY),
        "write virtual": lambda: os.open(f"{mount}/.version", os.O_WRONLY),
        "write debug": lambda: os.open(f"{mount}/.debug", os.O_WRONLY),
        "create": create,
        "mkdir": lambda: os.mkdir(f"{folder}/newdir"),
        "unlink": lambda: os.unlink(file),
        "rmdir": lambda: os.rmdir(f"{folder}/d"),
        "rename": lambda: os.rename(file, f"{folder}/renamed"),
        "truncate": lambda: os.truncate(file, 0),
        "enter private": lambda: os.listdir(f"{mount}/priv"),
        "stat in private": lambda: os.stat(f"{mount}/priv/chmod"),
        "read private": lambda: os.open(f"{mount}/priv/chmod", os.O_RDONLY),
    }
    return {name: cfs.errno_of(attempt) for name, attempt in attempts.items()}


@pytest.mark.parametrize("user", [WWW, MEMBER, NOBODY], ids=["www-data", "member", "nobody"])
def test_only_root_changes_anything(mount, folder, file, user):
    private_file(mount)
    os.mkdir(f"{folder}/d")
    found = cfs.in_child(changes, mount, folder, file, user=user)
    assert set(found.values()) == {"EACCES"}, found
    owner = [cfs.in_child(cfs.errno_of, os.chmod, file, 0o640, user=user),
             cfs.in_child(cfs.errno_of, os.chown, file, 0, -1, user=user)]
    assert owner == ["EPERM", "EPERM"]


@pytest.mark.parametrize("user", [WWW, MEMBER], ids=["www-data", "member"])
def test_the_group_reads_everything_that_is_not_private(mount, folder, file, user):
    assert cfs.in_child(lambda: cfs.read(file).decode(), user=user) == "content"
    assert "file" in cfs.in_child(os.listdir, folder, user=user)
    for name in READ_ONLY_VIRTUAL + [".debug"]:
        assert cfs.in_child(cfs.errno_of, cfs.read, f"{mount}/{name}", user=user) == 0
    assert cfs.in_child(os.access, file, os.R_OK, user=user) is True
    assert cfs.in_child(os.access, file, os.W_OK, user=user) is False


def test_others_list_and_follow_links_but_open_nothing(mount, folder, file):
    assert "file" in cfs.in_child(os.listdir, folder, user=NOBODY)
    assert cfs.in_child(os.readlink, f"{mount}/local", user=NOBODY) == "nodes/pve1"
    assert cfs.in_child(lambda: os.stat(file).st_size, user=NOBODY) == 7
    for path in [file] + [f"{mount}/{name}" for name in cfs.VIRTUAL_FILES]:
        assert cfs.in_child(cfs.errno_of, os.open, path, os.O_RDONLY, user=NOBODY) == "EACCES"


# --- statfs and limits ---

def file_sizes_and_entries(top):
    sizes, entries = 0, 1
    for folder, folders, files in os.walk(top):
        links = cfs.VIRTUAL_LINKS if folder == top else []
        virtual = cfs.VIRTUAL_FILES if folder == top else []
        entries += len([name for name in folders if name not in links])
        for name in files:
            if name not in virtual and name not in links:
                entries += 1
                sizes += os.lstat(os.path.join(folder, name)).st_size
    return sizes, entries


def test_statfs_shows_the_limits_and_what_is_used(mount, folder):
    cfs.write(f"{folder}/a", bytes(5000))
    cfs.write(f"{folder}/b", bytes(1))
    sizes, entries = file_sizes_and_entries(mount)
    found = os.statvfs(mount)
    assert (found.f_bsize, found.f_frsize, found.f_blocks) == (4096, 4096, 32768)
    assert found.f_bfree == found.f_bavail == 32768 - (sizes + 4095) // 4096
    assert (found.f_files, found.f_ffree) == (262144, 262144 - entries)
    os.unlink(f"{folder}/a")
    assert os.statvfs(folder).f_ffree == 262144 - entries + 1


def test_difference_statfs_says_the_true_longest_name(mount):
    assert os.statvfs(mount).f_namemax == 255


def test_difference_names_over_255_bytes_are_refused(folder, file):
    longest = "n" * 255
    cfs.write(f"{folder}/{longest}", b"x")
    assert cfs.read(f"{folder}/{longest}") == b"x"
    os.unlink(f"{folder}/{longest}")
    os.mkdir(f"{folder}/{longest}")
    os.rmdir(f"{folder}/{longest}")
    os.rename(file, f"{folder}/{longest}")
    os.rename(f"{folder}/{longest}", file)
    long = f"{folder}/" + "n" * 256
    for attempt in (lambda: os.open(long, os.O_CREAT | os.O_WRONLY), lambda: os.mkdir(long),
                    lambda: os.rename(file, long), lambda: os.mknod(long, stat.S_IFREG)):
        with raises(errno.ENAMETOOLONG):
            attempt()
    # Bytes count, not characters.
    with raises(errno.ENAMETOOLONG):
        os.mkdir(f"{folder}/" + "ä" * 128)


def test_names_are_bytes(folder):
    for name in (b"\xff\xfe", "grün".encode(), b"a b\tc", b"*?[", b"-rf"):
        path = os.path.join(os.fsencode(folder), name)
        os.close(os.open(path, os.O_CREAT))
        assert name in os.listdir(os.fsencode(folder))
        os.unlink(path)


def test_difference_the_tree_holds_at_most_128_mebibytes():
    rows = [(2 + i, 0, 8, f"f{i}", bytes(MIB)) for i in range(126)]
    rows.append((500, 0, 8, "room", b"x"))
    with cfs.imported(rows) as daemon:
        cfs.write(daemon.path("last"), bytes(MIB))
        cfs.write(daemon.path("fits"), bytes(MIB - 1))
        assert os.statvfs(daemon.mount).f_bfree == 0
        fd = os.open(daemon.path("more"), os.O_CREAT | os.O_WRONLY)
        with raises(errno.ENOSPC):
            os.write(fd, b"x")
        os.close(fd)
        with raises(errno.ENOSPC):
            os.truncate(daemon.path("more"), 1)
        assert cfs.read(daemon.path("more")) == b""
        # What does not grow the tree goes on.
        cfs.write(daemon.path("f0"), b"y" * MIB)
        os.truncate(daemon.path("f0"), 10)
        cfs.write(daemon.path("more"), b"now there is room")


def test_difference_the_tree_holds_at_most_262144_entries():
    # The root counts.
    rows = ((2 + i, 0, 8, f"f{i}", None) for i in range(cfs.ENTRIES_MAX - 3))
    with cfs.imported(rows) as daemon:
        cfs.write(daemon.path("one"), b"")
        os.mkdir(daemon.path("two"))
        assert os.statvfs(daemon.mount).f_ffree == 0
        with raises(errno.ENOSPC):
            os.open(daemon.path("three"), os.O_CREAT | os.O_WRONLY)
        with raises(errno.ENOSPC):
            os.mkdir(daemon.path("three"))
        cfs.write(daemon.path("one"), b"content still grows")
        os.rename(daemon.path("f0"), daemon.path("f1"))
        os.mkdir(daemon.path("three"))
