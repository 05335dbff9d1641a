# SPDX-License-Identifier: Apache-2.0
"""What administrators' tools get. docs/tools.md is the table for people; each row has a test here.

A daemon with `--chmod strict` (the default) refuses modes and owners that a path does not have, as
the original does; one with `--chmod lenient` accepts them without effect.
"""
import os
import pty
import select
import shutil
import subprocess
import time

import pytest

import cfs


@pytest.fixture(scope="module")
def lenient_daemon():
    instance = cfs.Daemon(arguments=["--chmod", "lenient"]).start()
    yield instance
    try:
        instance.stop()
    finally:
        instance.remove()


@pytest.fixture
def lenient(lenient_daemon, request):
    """A fresh directory in the tree of the lenient daemon."""
    path = lenient_daemon.path("".join(c if c.isalnum() else "-" for c in request.node.name))
    os.mkdir(path)
    return path


@pytest.fixture
def source(tmp_path):
    """A tree outside, owned by root:root, with the usual modes."""
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    for name, content in (("one", "first\n"), ("sub/two", "second\n" * 1000)):
        (top / name).write_text(content)
        os.chmod(top / name, 0o644)
        os.utime(top / name, (1500000000, 1500000000))
    os.chmod(top, 0o755)
    os.chmod(top / "sub", 0o755)
    return str(top)


def tool(*command, code=0, **options):
    """Runs a tool; it must end with this exit code."""
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = cfs.run(*command, **options)
    assert done.returncode == code, \
        f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stdout}{done.stderr}"
    return done


def assert_copied(target, mtime=None):
    assert cfs.read(f"{target}/one") == b"first\n"
    assert cfs.read(f"{target}/sub/two") == b"second\n" * 1000
    assert cfs.names(target) == ["one", "sub"] and cfs.names(f"{target}/sub") == ["two"]
    if mtime:
        assert cfs.fresh_stat(f"{target}/one").mtime.sec == mtime
        assert cfs.fresh_stat(f"{target}/sub/two").mtime.sec == mtime


# --- Copying ---

def test_cp(folder, source):
    """cp and cp -r work; so do copies within the tree and out of it."""
    tool("cp", "-r", source, f"{folder}/copy")
    assert_copied(f"{folder}/copy")
    tool("cp", f"{folder}/copy/one", f"{folder}/again")
    tool("cp", "-f", f"{source}/sub/two", f"{folder}/again")
    assert cfs.read(f"{folder}/again") == b"second\n" * 1000


def test_cp_preserving_everything_strict(folder, source):
    """cp -a copies content and times, complains about owners and modes, and exits with 1."""
    done = tool("cp", "-a", source, f"{folder}/copy", code=1)
    assert "Operation not permitted" in done.stderr
    assert_copied(f"{folder}/copy", 1500000000)


def test_cp_preserving_times_strict(folder, source):
    """cp -r --preserve=timestamps does all that the tree can keep, and exits with 0."""
    tool("cp", "-r", "--preserve=timestamps", source, f"{folder}/copy")
    assert_copied(f"{folder}/copy", 1500000000)


def test_cp_preserving_everything_lenient(lenient, source):
    """cp -a exits with 0; modes and owners stay those of the tree."""
    tool("cp", "-a", source, f"{lenient}/copy")
    assert_copied(f"{lenient}/copy", 1500000000)
    assert os.stat(f"{lenient}/copy/one").st_mode & 0o7777 == 0o640
    assert os.stat(f"{lenient}/copy/one").st_gid == cfs.WWW_DATA


def test_cp_out_of_the_tree(folder, source, tmp_path):
    """cp -a out of the tree works."""
    tool("cp", "-r", source, f"{folder}/copy")
    tool("cp", "-a", f"{folder}/copy", tmp_path / "out")
    assert (tmp_path / "out" / "one").read_text() == "first\n"


def test_mv_within(folder):
    """mv of files works, mv of a directory with entries is refused as by the original."""
    cfs.write(f"{folder}/a", b"a")
    cfs.write(f"{folder}/b", b"b")
    tool("mv", f"{folder}/a", f"{folder}/b")
    tool("mv", "-n", f"{folder}/b", f"{folder}/c")
    assert cfs.read(f"{folder}/c") == b"a"
    os.makedirs(f"{folder}/d/sub")
    done = tool("mv", "-T", f"{folder}/d", f"{folder}/e", code=1)
    assert "not empty" in done.stderr
    assert cfs.names(f"{folder}/d") == ["sub"]


def test_mv_into_the_tree_strict(folder, source):
    """mv of a file from another file system copies it, complains about owner and mode, and exits
    with 0."""
    done = tool("mv", f"{source}/one", f"{folder}/one")
    assert "Operation not permitted" in done.stderr
    assert cfs.read(f"{folder}/one") == b"first\n"
    assert not os.path.exists(f"{source}/one")


def test_mv_into_the_tree_lenient(lenient, source):
    """With --chmod lenient mv into the tree exits with 0."""
    tool("mv", f"{source}/one", f"{lenient}/one")
    assert cfs.read(f"{lenient}/one") == b"first\n"
    assert not os.path.exists(f"{source}/one")


def test_install_strict(folder, mount, source):
    """install sets mode 0600 while it copies: it works below priv/ with -m 600; elsewhere the
    content arrives and the exit code is 1. install -d works."""
    for mode in ("640", "755"):
        done = tool("install", "-m", mode, f"{source}/one", f"{folder}/f{mode}", code=1)
        assert "Operation not permitted" in done.stderr
        assert cfs.read(f"{folder}/f{mode}") == b"first\n"
    os.makedirs(f"{mount}/priv", exist_ok=True)
    tool("install", "-m", "600", f"{source}/one", f"{mount}/priv/installed")
    assert cfs.read(f"{mount}/priv/installed") == b"first\n"
    tool("install", "-d", f"{folder}/made")


def test_install_lenient(lenient, source):
    """install works with any mode."""
    tool("install", f"{source}/one", f"{lenient}/one")
    tool("install", "-o", "nobody", "-m", "600", f"{source}/one", f"{lenient}/two")
    assert cfs.read(f"{lenient}/two") == b"first\n"


def test_rsync_archive_strict(folder, source):
    """rsync -a sets mode 0600 on its temporary files: no file is copied, exit code 23. rsync -rt
    copies the content and also exits with 23."""
    done = tool("rsync", "-a", f"{source}/", f"{folder}/archive/", code=23)
    assert "Operation not permitted" in done.stderr
    assert cfs.names(f"{folder}/archive") == ["sub"]
    tool("rsync", "-rt", f"{source}/", f"{folder}/copy/", code=23)
    assert_copied(f"{folder}/copy")


@pytest.mark.parametrize("way", ["--inplace", "--temp-dir=/tmp"])
def test_rsync_strict(folder, source, way):
    """rsync -rtp --chmod=D755,F640 works with --inplace, and with --temp-dir elsewhere."""
    command = ("rsync", "-rtp", "--chmod=D755,F640", way, f"{source}/", f"{folder}/copy/")
    for number, content in enumerate(("first\n", "changed\n", "first\n")):
        with open(f"{source}/one", "w") as file:
            file.write(content)
        os.utime(f"{source}/one", (1500000000 + number, 1500000000 + number))
        tool(*command)
        assert cfs.read(f"{folder}/copy/one") == content.encode()
        assert cfs.fresh_stat(f"{folder}/copy/one").mtime.sec == 1500000000 + number
    assert_copied(f"{folder}/copy")
    done = tool(*command, "--itemize-changes", "--omit-dir-times")
    assert done.stdout.strip() == "", "nothing is left to do"


def test_rsync_archive_lenient(lenient, source):
    """rsync -a exits with 0. Times are those of its rename, since a rename sets the time here; with
    --inplace they are the source's."""
    tool("rsync", "-a", f"{source}/", f"{lenient}/copy/")
    assert_copied(f"{lenient}/copy")
    tool("rsync", "-a", "--inplace", f"{source}/", f"{lenient}/other/")
    assert_copied(f"{lenient}/other", 1500000000)


def test_tar_out_of_the_tree(folder, source, tmp_path):
    """tar -c of the tree works."""
    tool("cp", "-r", source, f"{folder}/copy")
    tool("tar", "-cf", tmp_path / "a.tar", "-C", folder, "copy")
    tool("tar", "-xf", tmp_path / "a.tar", "-C", tmp_path, "--no-same-owner")
    assert (tmp_path / "copy" / "one").read_text() == "first\n"


def make_archive(source, tmp_path):
    tool("tar", "-cf", tmp_path / "a.tar", "-C", source, ".")
    return tmp_path / "a.tar"


def test_tar_into_the_tree_strict(folder, source, tmp_path):
    """tar -x as root restores modes and owners: it extracts the content, complains, exits with 2."""
    archive = make_archive(source, tmp_path)
    os.mkdir(f"{folder}/copy")
    done = tool("tar", "-xf", archive, "-C", f"{folder}/copy", code=2)
    assert "Operation not permitted" in done.stderr
    assert_copied(f"{folder}/copy")


def test_tar_without_modes_strict(folder, source, tmp_path):
    """tar -x --no-same-permissions --no-same-owner works for an archive without an entry for `.`."""
    tool("tar", "-cf", tmp_path / "a.tar", "-C", source, "one", "sub")
    os.mkdir(f"{folder}/copy")
    tool("tar", "-xf", tmp_path / "a.tar", "-C", f"{folder}/copy", "--no-same-permissions",
         "--no-same-owner")
    assert_copied(f"{folder}/copy", 1500000000)


def test_tar_into_the_tree_lenient(lenient, source, tmp_path):
    """tar -x exits with 0."""
    archive = make_archive(source, tmp_path)
    os.mkdir(f"{lenient}/copy")
    tool("tar", "-xf", archive, "-C", f"{lenient}/copy")
    assert_copied(f"{lenient}/copy", 1500000000)


# --- Editing ---

def test_sed_in_place(folder):
    """sed -i replaces the file by a temporary one."""
    cfs.write(f"{folder}/f", b"one two\n")
    tool("sed", "-i", "s/two/three/", f"{folder}/f")
    assert cfs.read(f"{folder}/f") == b"one three\n"
    assert cfs.names(folder) == ["f"]
    tool("sed", "-i.bak", "s/three/four/", f"{folder}/f")
    assert cfs.read(f"{folder}/f.bak") == b"one three\n"


def test_vim(folder):
    """vim saves, with its swap file in the tree, and leaves nothing beside the file."""
    cfs.write(f"{folder}/f", b"one two\n")
    tool("vim", "-es", "-u", "NONE", "-c", "set swapfile", "-c", "%s/two/three/", "-c", "wq",
         f"{folder}/f")
    assert cfs.read(f"{folder}/f") == b"one three\n"
    assert cfs.names(folder) == ["f"]


@pytest.mark.parametrize("copy", ["auto", "yes", "no"])
def test_vim_with_backups(folder, copy):
    """vim keeps a backup in each of its ways to make one."""
    cfs.write(f"{folder}/f", b"one two\n")
    tool("vim", "-es", "-u", "NONE", "-c", f"set backup backupskip= backupcopy={copy}", "-c", "%s/two/three/",
         "-c", "wq", f"{folder}/f")
    assert cfs.read(f"{folder}/f") == b"one three\n"
    assert cfs.read(f"{folder}/f~") == b"one two\n"


def nano(path, keys):
    """nano on a terminal of its own, typing these keys one after the other."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", LC_ALL="C.UTF-8", HOME="/nonexistent", ESCDELAY="10")
        os.execvp("nano", ["nano", "--ignorercfiles", path])
    output = wait_for_output(terminal, b"")
    try:
        for key in keys:
            os.write(terminal, key)
            output += wait_for_output(terminal, output)
        end = time.monotonic() + 10
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            wait_for_output(terminal, b"")
            assert time.monotonic() < end, f"nano did not end: {output[-500:]!r}"
    finally:
        os.close(terminal)


def wait_for_output(terminal, before):
    """What the program writes until it has been quiet for a moment."""
    output = b""
    timeout = 5.0
    while select.select([terminal], [], [], timeout)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        output += piece
        timeout = 0.2
    return output


def test_nano(folder):
    """nano saves."""
    if not shutil.which("nano"):
        pytest.skip("nano is not installed")
    cfs.write(f"{folder}/f", b"two\n")
    nano(f"{folder}/f", [b"one ", b"\x0f", b"\r", b"\x18"])  # type, write out, confirm, exit
    assert cfs.read(f"{folder}/f") == b"one two\n"
    assert cfs.names(folder) == ["f"]


# --- Writing from a shell and from programs ---

def test_tee(folder):
    """tee and tee -a."""
    tool("tee", f"{folder}/f", data=b"one\n")
    tool("tee", "-a", f"{folder}/f", data=b"two\n")
    assert cfs.read(f"{folder}/f") == b"one\ntwo\n"


def test_redirections(folder):
    """>, >>, here-documents, <> and noclobber."""
    script = f"""set -e
cd {folder}
echo one > f
echo two >> f
cat >> f <<END
three
END
exec 3<> f
read line <&3
[ "$line" = one ]
set -C
echo x > new
! echo y > new 2>/dev/null
"""
    tool("bash", "-c", script)
    assert cfs.read(f"{folder}/f") == b"one\ntwo\nthree\n"
    assert cfs.read(f"{folder}/new") == b"x\n"


def test_mktemp(folder):
    """mktemp and mktemp -d; the file's mode is the tree's."""
    path = tool("mktemp", "-p", folder).stdout.strip()
    assert os.stat(path).st_mode & 0o7777 == 0o640
    directory = tool("mktemp", "-d", "-p", folder).stdout.strip()
    assert os.path.isdir(directory)


def test_flock(folder):
    """flock excludes other processes of this machine."""
    cfs.write(f"{folder}/lock", b"")
    script = f"flock -n 9 || exit 1; flock -n {folder}/lock true && exit 2; exit 0"
    tool("bash", "-c", f"({script}) 9> {folder}/lock")


def test_find_and_grep(folder, source):
    """find and grep -r see each file once."""
    tool("cp", "-r", source, f"{folder}/copy")
    found = tool("find", folder, "-type", "f").stdout.split()
    assert sorted(found) == [f"{folder}/copy/one", f"{folder}/copy/sub/two"]
    assert tool("find", folder, "-newermt", "2001-01-01", "-name", "two", "-size", "+1k").stdout
    found = tool("grep", "-rc", "second", folder).stdout.split()
    assert sorted(found) == [f"{folder}/copy/one:0", f"{folder}/copy/sub/two:1000"]
    tool("find", folder, "-mindepth", "1", "-delete")
    assert cfs.names(folder) == []


def test_find_and_grep_from_the_root(mount):
    """Also over the virtual entries."""
    tool("find", mount, "-ls")
    assert "starttime" in tool("grep", "-r", "starttime", mount).stdout


def test_touch(folder):
    """touch, touch -d, touch -r, touch -m. touch -a alone changes nothing."""
    tool("touch", f"{folder}/f")
    for option in (["-d", "@1400000000"], ["-m", "-d", "@1400000001"], ["-t", "202001010000"]):
        tool("touch", *option, f"{folder}/f")
    tool("touch", "-d", "@1400000002", f"{folder}/f")
    tool("touch", "-r", f"{folder}/f", f"{folder}/g")
    tool("touch", "-a", f"{folder}/g")
    assert cfs.fresh_stat(f"{folder}/g").mtime.sec == 1400000002


def test_python_replace(folder):
    """os.replace, tempfile and shutil of Python."""
    tool("/usr/bin/python3", "-c", f"""
import os, shutil, tempfile
with tempfile.NamedTemporaryFile('w', dir={folder!r}, delete=False) as file:
    file.write('new')
    file.flush()
    os.fsync(file.fileno())
os.replace(file.name, {folder!r} + '/f')
shutil.copyfile({folder!r} + '/f', {folder!r} + '/g')
directory = os.open({folder!r}, os.O_RDONLY)
os.fsync(directory)
""")
    assert cfs.read(f"{folder}/f") == cfs.read(f"{folder}/g") == b"new"
    assert cfs.names(folder) == ["f", "g"]


def test_git_and_sqlite_are_not_for_this_tree(folder):
    """What needs hard links or shared memory says so and harms nothing: `ln` fails."""
    cfs.write(f"{folder}/f", b"x")
    tool("ln", f"{folder}/f", f"{folder}/g", code=1)
    tool("ln", "-s", "f", f"{folder}/g", code=1)
    assert cfs.names(folder) == ["f"]


def test_df_and_du(folder):
    """df shows the limits of the tree."""
    cfs.write(f"{folder}/f", bytes(10000))
    size = tool("df", "--output=size,itotal", "-B1", folder).stdout.split()[-2:]
    assert size == [str(cfs.TREE_BYTES_MAX), str(cfs.ENTRIES_MAX)]
    tool("du", "-sb", folder)


# --- Ansible ---

def ansible(module, arguments, code=0):
    if not shutil.which("ansible"):
        pytest.skip("ansible is not installed")
    environment = {**os.environ, "ANSIBLE_LOCALHOST_WARNING": "False", "LC_ALL": "C.UTF-8",
                   "ANSIBLE_NOCOWS": "1", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3"}
    return tool("ansible", "localhost", "-c", "local", "-i", "localhost,", "-m", module, "-a",
                arguments, code=code, timeout=60, env=environment)


def test_ansible_copy_and_template_strict(folder, tmp_path):
    """copy and template set mode 0600 on the temporary file of a new target and fail. They work on
    a file that exists, which `file: state=touch` makes."""
    (tmp_path / "t.j2").write_text("host {{ inventory_hostname }}\n")
    for module, arguments, content in (("copy", "content=one", b"one"),
                                       ("template", f"src={tmp_path}/t.j2", b"host localhost\n")):
        target = f"{folder}/{module}"
        done = ansible(module, f"{arguments} dest={target} mode=0640", code=2)
        assert "Operation not permitted" in done.stdout
        cfs.errno_of(os.unlink, target)
        ansible("file", f"path={target} state=touch mode=0640")
        ansible(module, f"{arguments} dest={target} mode=0640")
        assert cfs.read(target) == content
        done = ansible(module, f"{arguments} dest={target} mode=0640")
        assert "SUCCESS" in done.stdout, "nothing is left to do"


def test_ansible_lineinfile_strict(folder):
    """lineinfile works, and a second run changes nothing."""
    cfs.write(f"{folder}/f", b"a=1\nb=2\n")
    done = ansible("lineinfile", f"path={folder}/f regexp=^a= line=a=3")
    assert "CHANGED" in done.stdout
    assert cfs.read(f"{folder}/f") == b"a=3\nb=2\n"
    done = ansible("lineinfile", f"path={folder}/f regexp=^a= line=a=3")
    assert "SUCCESS" in done.stdout
    assert cfs.names(folder) == ["f"]


def test_ansible_copy_lenient(lenient, source):
    """copy with another mode works; the mode stays the tree's."""
    ansible("copy", f"src={source}/one dest={lenient}/f mode=0644 owner=root group=root")
    assert cfs.read(f"{lenient}/f") == b"first\n"
    ansible("copy", f"src={source}/sub/two dest={lenient}/f")
    assert cfs.read(f"{lenient}/f") == b"second\n" * 1000
