# SPDX-License-Identifier: Apache-2.0
"""What the driver relies on, from a real corosync: order, views, large messages, quorum, nodes."""
import json
import re
import subprocess
import threading

import pytest

import cfs
import cluster

GROUP = "probe_group"
WHOLE_BYTES_MAX = cfs.MIB - 1024  # CpgGroup::kWholeBytesMax

pytestmark = pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not()))


class Probe:
    """A running group_probe, and all lines that it has printed."""

    def __init__(self, node, group=GROUP):
        self.node = node
        self.lines = []
        self._heard = threading.Condition()
        self.process = node.spawn(cfs.program("group_probe"), group, log="probe",
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._listen, daemon=True).start()
        self.expect("joined")

    def _listen(self):
        with self.process.popen.stdout as output:
            for line in output:
                with self._heard:
                    self.lines.append(line.decode(errors="replace").strip())
                    self._heard.notify_all()

    def tell(self, command):
        self.process.popen.stdin.write(f"{command}\n".encode())
        self.process.popen.stdin.flush()

    def expect(self, pattern, since=0, seconds=20):
        """Waits for a line that matches, among those from number `since`; the match."""
        found = None

        def look():
            nonlocal found
            found = next((match for line in self.lines[since:]
                          if (match := re.fullmatch(pattern, line))), None)
            return found

        with self._heard:
            assert self._heard.wait_for(look, seconds), (
                f"{self.node.name}: no {pattern!r} in\n" + "\n".join(self.lines[-20:]))
        return found

    def mark(self):
        with self._heard:
            return len(self.lines)

    def messages(self):
        with self._heard:
            return [line for line in self.lines if line.startswith("message ")]

    def views(self, since=0):
        """[(node numbers, joined, numbers of those who left)]"""
        with self._heard:
            lines = self.lines[since:]
        found = [re.fullmatch(r"view (\S*) joined=(yes|no) left=(\S*)", line) for line in lines]
        return [(numbers(match[1]), match[2] == "yes", numbers(match[3]))
                for match in found if match]

    def expect_view(self, wanted, since=0, seconds=20):
        """Waits for a view of these node numbers; (joined, left) of it."""
        names = ",".join(rf"{number}/\d+" for number in wanted)
        match = self.expect(rf"view {names} joined=(yes|no) left=(\S*)", since, seconds)
        return match[1] == "yes", numbers(match[2])

    def end(self):
        self.process.popen.stdin.close()
        self.process.wait()


def numbers(members):
    return sorted(int(member.split("/")[0]) for member in members.split(",") if member)


@pytest.fixture(scope="module", name="ring")
def _ring():
    with cluster.Cluster(3) as ring:
        yield ring


@pytest.fixture(name="probes")
def _probes(ring):
    """A probe on each node, all in one view."""
    probes = {node.number: Probe(node) for node in ring.nodes}
    for probe in probes.values():
        probe.expect_view([1, 2, 3])
    yield probes
    for probe in probes.values():
        probe.end()


def expect_everywhere(probes, pattern, seconds=20):
    return [probe.expect(pattern, seconds=seconds) for probe in probes.values()]


def test_all_members_see_one_order(probes):
    for number, probe in probes.items():
        probe.tell(f"burst 300 from{number}")
    for number in probes:
        expect_everywhere(probes, rf"message {number} \d+ \w+ from{number}-300")
    first, *others = [probe.messages() for probe in probes.values()]
    assert len(first) == 900
    assert all(other == first for other in others)
    for number in probes:
        own = [line.split()[-1] for line in first if line.startswith(f"message {number} ")]
        assert own == [f"from{number}-{i}" for i in range(1, 301)]


def test_the_name_on_the_wire_ends_with_its_nul(probes):
    # Corosync compares it too: a name without it would be another group.
    shown = probes[1].node.exec("corosync-cpgtool").stdout
    assert re.search(rf"^{GROUP}\\x00$", shown, re.MULTILINE), shown


def test_views_tell_who_joined_and_who_left(ring):
    first = Probe(ring[1])
    assert first.expect_view([1]) == (True, [])
    second = Probe(ring[2])
    assert first.expect_view([1, 2]) == (True, [])
    assert second.expect_view([1, 2]) == (True, [])
    assert second.views()[0] == ([1, 2], True, [])
    since = first.mark()
    second.tell("leave")
    assert first.expect_view([1], since) == (False, [2])
    # The last that it sees: a view without itself.
    assert second.expect_view([1]) == (False, [2])
    since = first.mark()
    second.tell("join")
    assert first.expect_view([1, 2], since) == (True, [])
    since = first.mark()
    second.process.end()
    assert first.expect_view([1], since) == (False, [2])
    first.end()


@pytest.mark.parametrize("size", [WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1, cfs.MIB + 60, 5 * cfs.MIB])
def test_large_messages_arrive_whole(probes, size):
    for number, probe in probes.items():
        probe.tell(f"size {size} large{number}")
    for number, probe in probes.items():
        sent = probe.expect(rf"sent {size} (\w+) .*", seconds=60)
        print(f"node {number}: {sent[0]}")
        expect_everywhere(probes, rf"message {number} {size} {sent[1]} large{number}", seconds=60)
    first, *others = [probe.messages() for probe in probes.values()]
    assert all(other == first for other in others)


def test_partition_and_heal(ring, probes):
    since = {number: probe.mark() for number, probe in probes.items()}
    ring.partition([1, 2], [3])
    assert probes[1].expect_view([1, 2], since[1]) == (False, [3])
    assert probes[3].expect_view([3], since[3]) == (False, [1, 2])
    probes[1].expect("quorum yes 1,2", since[1])
    probes[3].expect("quorum no 3", since[3])
    probes[1].tell("send majority")
    # The group takes messages without quorum too; who may write is the daemon's to decide.
    probes[3].tell("send minority")
    probes[2].expect(r"message 1 \d+ \w+ majority", since[2])
    probes[3].expect(r"message 3 \d+ \w+ minority", since[3])

    since = {number: probe.mark() for number, probe in probes.items()}
    ring.heal()
    for number, probe in probes.items():
        probe.expect("quorum yes 1,2,3", since[number])
        probe.expect_view([1, 2, 3], since[number])
        # Each side sees the other join; nobody sees messages of before.
        views = probe.views(since[number])
        assert any(joined for _, joined, _ in views), views
        print(f"node {number}: {views}")
    assert not any("minority" in line for line in probes[1].messages())
    assert not any("majority" in line for line in probes[3].messages())


def test_a_corosync_that_dies_is_told_and_found_again(ring, probes):
    since = probes[2].mark()
    ring[2].kill_corosync()
    lost = probes[2].expect("lost (.*)", since, seconds=2)
    assert "CS_ERR_LIBRARY" in lost[1] or "library" in lost[1].lower(), lost[1]
    probes[1].expect_view([1, 3], seconds=20)
    since = probes[2].mark()
    ring[2].start_corosync()
    probes[2].expect(r"connected 2/\d+", since)
    probes[2].expect_view([1, 2, 3], since)
    probes[2].expect("quorum yes 1,2,3", since)
    probes[2].tell("send again")
    expect_everywhere(probes, r"message 2 \d+ \w+ again")


def test_the_load_on_a_ring_alone(ring):
    program = cfs.program("ring_load")
    others = [node.spawn(program, "--follow", log="ring_load", stdin=subprocess.PIPE)
              for node in ring.nodes[1:]]
    done = ring[1].exec(program, "--members", 3, "--window", 8, "--seconds", 0.2)
    assert done.returncode == 0, done.stdout
    result, = json.loads(done.stdout)["results"]
    assert (result["workload"], result["threads"], result["errors"]) == ("message", 8, 0)
    assert sum(count for _, count in result["histogram"]) == result["operations"] > 8
    assert 0 < result["p50_us"] <= result["p99_us"] <= result["max_us"] <= 1e6 * result["seconds"]
    for one in others:
        one.popen.stdin.close()
        assert one.wait() == 0


def test_votes_and_nodes(ring, probes):
    probes[1].tell("votes")
    probes[1].expect(r"votes expected=3 total=3 needed=2 device= \(\)")
    probes[2].tell("nodes")
    nodes = " ".join(f"{i}:n{i}:1:10\\.77\\.0\\.{i}" for i in (1, 2, 3))
    probes[2].expect(rf"nodes lab version=1 self=2 token=\d+ consensus=\d+ {nodes}")
    # A reload of corosync.conf is told without asking.
    ring.config_version += 1
    since = probes[3].mark()
    ring.reload()
    probes[3].expect(r"nodes lab version=2 self=3 .*", since)


def test_a_quorum_device_is_in_the_votes():
    with cluster.Cluster(2, qdevice=True) as ring:
        probe = Probe(ring[1])

        def votes():
            since = probe.mark()
            probe.tell("votes")
            return probe.expect(r"votes (.*)", since)[1]

        cluster.wait_for(lambda: votes() == "expected=3 total=3 needed=2 device=Qdevice "
                                            "(registered, alive, voting)", 20, "three votes")
        ring[2].kill()
        probe.expect("quorum yes 1", probe.mark() - 1)
        ring[cluster.QNETD].kill()
        probe.expect("quorum no 1", seconds=40)
        probe.end()


def test_a_node_is_added_and_a_disk_outlives_a_power_cut():
    with cluster.Cluster(2) as ring:
        probe = Probe(ring[1])
        with open(ring[2].disk() + "/kept", "w", encoding="ascii") as file:
            file.write("here")
        node = ring.add_node()
        probe.expect(r"nodes lab version=2 .* 3:n3:1:10\.77\.0\.3")
        ring.wait_quorate()
        joining = Probe(node)
        joining.expect_view([1, 3])
        ring[2].kill()
        ring.wait_ring([1, 3])
        ring[2].restart(daemon=False)
        ring.wait_quorate()
        assert ring[2].exec("cat", "/var/lib/pve-cluster/kept").stdout == "here"
        assert ring[1].exec("hostname").stdout == "n1\n"
        joining.end()
        probe.end()
