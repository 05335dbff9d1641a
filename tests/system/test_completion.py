# SPDX-License-Identifier: Apache-2.0
"""etc/bash-completion/cfsgate: what bash offers at the end of a command line."""
import os

import pytest

import cfs

SCRIPT = os.path.join(cfs.HERE, "../../etc/bash-completion/cfsgate")
# As readline calls it: the words, and the last one to be completed.
ASK = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cfsgate; printf "%s\\n" "${COMPREPLY[@]}"'


@pytest.fixture(scope="module")
def complete(daemon, tmp_path_factory):
    """Asks with a `cfsgate` in the path that knows where the daemon of these tests is."""
    folder = tmp_path_factory.mktemp("bin")
    wrapper = folder / "cfsgate"
    wrapper.write_text(f"""#!/bin/sh
case $1-$2 in
    ls-*) shift; exec '{cfs.program("cfsgate")}' ls --control '{daemon.control}' --mount '{daemon.mount}' "$@" ;;
esac
exec '{cfs.program("cfsgate")}' "$@"
""")
    wrapper.chmod(0o755)

    def ask(*words, **options):
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        done = cfs.run("bash", "-c", ASK, "bash", SCRIPT, "cfsgate", *words, env=environment,
                       check=True, **options)
        assert done.stderr == ""
        return [line for line in done.stdout.split("\n") if line]

    return ask


def test_commands(complete):
    every = complete("")
    assert {"status", "ls", "export", "nfs", "mount-nfs", "--help", "--version"} <= set(every)
    assert len(every) == len(set(every))
    assert complete("expo") == ["export"]
    assert "mount-nfs" in complete("mou") and "status" not in complete("mou")


def test_the_second_word_of_a_command(complete):
    assert {"ls", "cat", "put", "clients"} <= set(complete("nfs", ""))
    assert complete("nfs", "cl") == ["clients"]
    assert "--long" in complete("nfs", "ls", "--l")


def test_options_are_those_of_the_command(complete):
    assert complete("status", "--c") == ["--config", "--checksum", "--control"]
    assert complete("top", "--co") == ["--config", "--count", "--control"]
    assert complete("nfs", "put", "--in") == ["--in-place"]
    assert complete("history", "purge", "--all") == ["--all-nodes"]
    assert complete("nothing", "--") == []


def test_paths_of_the_tree(complete, daemon, mount):
    os.makedirs(f"{mount}/nodes-a/inner")
    cfs.write(f"{mount}/nodes-a/file one", b"x")
    assert complete("get", "nodes-") == ["nodes-a/"]
    assert complete("get", "nodes-a/") == ["nodes-a/file one", "nodes-a/inner/"]
    assert complete("mv", "nodes-a/file one", "nodes-a/i") == ["nodes-a/inner/"]
    assert complete("ls", f"{daemon.mount}/nodes-a/i") == [f"{daemon.mount}/nodes-a/inner/"]
    assert complete("status", "nodes-") == []


@pytest.mark.parametrize("user, asked", [(0, ["asked"]), (65534, [])])
def test_only_root_asks_the_daemon(user, asked):
    script = 'eval "$1"; cfsgate() { echo "-rw 1 date time asked"; }; _cfsgate_tree_paths ""'
    done = cfs.run("setpriv", "--reuid", user, "--clear-groups", "bash", "-c", script, "bash",
                   cfs.read(SCRIPT).decode(), cwd="/", check=True)
    assert done.stdout.split() == asked


def test_files_of_the_host(complete, tmp_path):
    (tmp_path / "config.db").write_text("")
    assert complete("export", f"{tmp_path}/con") == [f"{tmp_path}/config.db"]
    assert complete("status", "--config", f"{tmp_path}/con") == [f"{tmp_path}/config.db"]
    assert complete("top", "-n", "") == complete("top", "--count", "") == []
