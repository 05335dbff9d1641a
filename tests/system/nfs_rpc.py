# SPDX-License-Identifier: Apache-2.0
"""NFSv3 and MOUNT 3 from this process, by any credential and from any port (RFC 1813, RFC 5531).

Arguments and results are declared by their fields; a reply is a dict with "status" and what follows
it. `call()` gives the bytes of a request, for tests that want to spoil them.
"""
import errno
import itertools
import os
import socket
import struct

NFS, MOUNT = 100003, 100005
EXPORT = "/etc/pve"
(OK, PERM, NOENT, ACCES, EXIST, NOTDIR, ISDIR, INVAL, ROFS, STALE, BADHANDLE, NOTSUPP, TOOSMALL) = (
    0, 1, 2, 13, 17, 20, 21, 22, 30, 70, 10001, 10004, 10005)
REGULAR, DIRECTORY, LINK = 1, 2, 5
READ, LOOKUP, MODIFY, EXTEND, DELETE, EXECUTE = 1, 2, 4, 8, 16, 32  # bits of ACCESS
UNCHECKED, GUARDED, EXCLUSIVE = 0, 1, 2
FILE_SYNC = 2


# --- XDR ---

def u32(value):
    return struct.pack(">I", value)


def u64(value):
    return struct.pack(">Q", value)


def opaque(data):
    data = os.fsencode(data)
    return u32(len(data)) + data + bytes(-len(data) % 4)


def attributes_to_set(mode=None, uid=None, gid=None, size=None, mtime=None):
    """sattr3. `mtime`: seconds, or "now"."""
    def maybe(pack, value):
        return u32(0) if value is None else u32(1) + pack(value)
    times = {None: u32(0), "now": u32(1)}.get(mtime) or u32(2) + u32(mtime) + u32(0)
    return maybe(u32, mode) + maybe(u32, uid) + maybe(u32, gid) + maybe(u64, size) + u32(0) + times


class Reader:
    """The words of a message, taken one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def raw(self, size):
        value = self.data[self.at:self.at + size]
        assert len(value) == size, "a message that ends too early"
        self.at += size
        return value

    def u32(self):
        return struct.unpack(">I", self.raw(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.raw(8))[0]

    def opaque(self):
        value = self.raw(self.u32())
        self.raw(-len(value) % 4)
        return value

    def name(self):
        return os.fsdecode(self.opaque())

    def verifier(self):
        return self.raw(8)

    def time(self):
        return self.u32(), self.u32()

    def attributes(self):
        found = dict(zip(("type", "mode", "nlink", "uid", "gid"), (self.u32() for _ in range(5))))
        found.update(size=self.u64(), used=self.u64(), rdev=self.time(), fsid=self.u64(),
                     fileid=self.u64(), atime=self.time(), mtime=self.time(), ctime=self.time())
        return found

    def optional(self, read):
        return read() if self.u32() else None

    def post_op(self):
        return self.optional(self.attributes)

    def post_op_handle(self):
        return self.optional(self.opaque)

    def wcc(self):
        before = self.optional(lambda: {"size": self.u64(), "mtime": self.time(), "ctime": self.time()})
        return {"before": before, "after": self.post_op()}

    def entries(self, plus=False):
        found = []
        while self.u32():
            entry = {"fileid": self.u64(), "name": self.name(), "cookie": self.u64()}
            if plus:
                entry.update(attributes=self.post_op(), handle=self.post_op_handle())
            found.append(entry)
        return found

    def entries_plus(self):
        return self.entries(plus=True)

    def mounts(self):
        found = []
        while self.u32():
            found.append((self.name(), self.name()))
        return found

    def fields(self, wanted):
        return {name: getattr(self, kind)() for name, kind in wanted}


# --- Procedures: number, arguments, what follows the status when it is OK and when it is not ---

def _fields(text):
    """"a:b c" is a field a of kind b, and one of a kind that is called like it."""
    return [(word.split(":")[0], word.split(":")[-1]) for word in text.split()]


def _procedure(number, pack, ok, failed=""):
    return number, pack, _fields(ok), _fields(failed)


def _in_directory(directory, name, *rest):
    return b"".join([opaque(directory), opaque(name), *rest])


def _create(directory, name, how=GUARDED, what=None):
    """`what`: attributes_to_set(), or the eight bytes of the verifier of an EXCLUSIVE one."""
    return _in_directory(directory, name, u32(how), what or attributes_to_set())


def _mknod(directory, name, kind=7):
    return _in_directory(directory, name, u32(kind), attributes_to_set())


def _setattr(handle, what, guard=None):
    return opaque(handle) + what + (u32(0) if guard is None else u32(1) + u32(guard[0]) + u32(guard[1]))


def _write(handle, offset, data, stable=FILE_SYNC):
    return opaque(handle) + u64(offset) + u32(len(data)) + u32(stable) + opaque(data)


def _readdir(handle, cookie=0, verifier=bytes(8), size=65536):
    return opaque(handle) + u64(cookie) + verifier + u32(size)


def _readdirplus(handle, cookie=0, verifier=bytes(8), names_size=65536, size=65536):
    return opaque(handle) + u64(cookie) + verifier + u32(names_size) + u32(size)


PROCEDURES = {
    "null": _procedure(0, lambda: b"", ""),
    "getattr": _procedure(1, opaque, "attributes"),
    "setattr": _procedure(2, _setattr, "wcc", "wcc"),
    "lookup": _procedure(3, _in_directory, "handle:opaque attributes:post_op directory:post_op",
                         "directory:post_op"),
    "access": _procedure(4, lambda handle, bits=63: opaque(handle) + u32(bits),
                         "attributes:post_op access:u32", "attributes:post_op"),
    "readlink": _procedure(5, opaque, "attributes:post_op target:name", "attributes:post_op"),
    "read": _procedure(6, lambda handle, offset=0, size=1 << 20: opaque(handle) + u64(offset) + u32(size),
                       "attributes:post_op count:u32 eof:u32 data:opaque", "attributes:post_op"),
    "write": _procedure(7, _write, "wcc count:u32 committed:u32 verifier", "wcc"),
    "create": _procedure(8, _create, "handle:post_op_handle attributes:post_op wcc", "wcc"),
    "mkdir": _procedure(9, lambda directory, name: _in_directory(directory, name, attributes_to_set()),
                        "handle:post_op_handle attributes:post_op wcc", "wcc"),
    "symlink": _procedure(10, lambda directory, name, target:
                          _in_directory(directory, name, attributes_to_set(), opaque(target)),
                          "handle:post_op_handle attributes:post_op wcc", "wcc"),
    "mknod": _procedure(11, _mknod, "handle:post_op_handle attributes:post_op wcc", "wcc"),
    "remove": _procedure(12, _in_directory, "wcc", "wcc"),
    "rmdir": _procedure(13, _in_directory, "wcc", "wcc"),
    "rename": _procedure(14, lambda directory, name, target, new_name:
                         _in_directory(directory, name) + _in_directory(target, new_name),
                         "wcc target:wcc", "wcc target:wcc"),
    "link": _procedure(15, lambda handle, directory, name: opaque(handle) + _in_directory(directory, name),
                       "attributes:post_op wcc", "attributes:post_op wcc"),
    "readdir": _procedure(16, _readdir, "attributes:post_op verifier entries eof:u32",
                          "attributes:post_op"),
    "readdirplus": _procedure(17, _readdirplus, "attributes:post_op verifier entries:entries_plus eof:u32",
                              "attributes:post_op"),
    "fsstat": _procedure(18, opaque, "attributes:post_op tbytes:u64 fbytes:u64 abytes:u64 tfiles:u64 "
                         "ffiles:u64 afiles:u64 invarsec:u32", "attributes:post_op"),
    "fsinfo": _procedure(19, opaque, "attributes:post_op rtmax:u32 rtpref:u32 rtmult:u32 wtmax:u32 "
                         "wtpref:u32 wtmult:u32 dtpref:u32 maxfilesize:u64 time_delta:time "
                         "properties:u32", "attributes:post_op"),
    "pathconf": _procedure(20, opaque, "attributes:post_op linkmax:u32 name_max:u32 no_trunc:u32 "
                           "chown_restricted:u32 case_insensitive:u32 case_preserving:u32",
                           "attributes:post_op"),
    "commit": _procedure(21, lambda handle, offset=0, size=0: opaque(handle) + u64(offset) + u32(size),
                         "wcc verifier", "wcc"),
}
WITHOUT_STATUS = {"null"}


# --- RPC ---

AUTH_NONE = u32(0) + u32(0)
# What an RPC error is about, as (reply_stat, accept_stat or reject_stat[, auth_stat]).
PROG_UNAVAIL, PROG_MISMATCH, PROC_UNAVAIL, GARBAGE_ARGS = (0, 1), (0, 2), (0, 3), (0, 4)
RPC_MISMATCH, BADCRED, REJECTEDCRED, BADVERF, TOOWEAK = (1, 0), (1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 5)


class RpcError(Exception):
    def __init__(self, why):
        super().__init__(f"RPC error {why}")
        self.why = why


def auth_sys(uid, gid=None, gids=(), machine="test"):
    body = u32(0) + opaque(machine) + u32(uid) + u32(uid if gid is None else gid) + u32(len(gids))
    return u32(1) + opaque(body + b"".join(map(u32, gids)))


def call(xid, program, version, procedure, arguments=b"", credential=AUTH_NONE, verifier=AUTH_NONE,
         rpc_version=2):
    words = struct.pack(">6I", xid, 0, rpc_version, program, version, procedure)
    return words + credential + verifier + arguments


def record(message, fragment_bytes=None):
    """With its record marks, in one fragment or in many."""
    size = fragment_bytes or max(1, len(message))
    parts = [message[at:at + size] for at in range(0, len(message), size)] or [b""]
    last = len(parts) - 1
    return b"".join(u32((at == last) << 31 | len(part)) + part for at, part in enumerate(parts))


def request(xid, name, *arguments, credential=AUTH_NONE, **options):
    """The record of a call of an NFS procedure."""
    number, pack, _, _ = PROCEDURES[name]
    return record(call(xid, NFS, 3, number, pack(*arguments, **options), credential))


def parse_reply(message):
    """Of a reply: its xid, and a Reader of what follows its RPC header, or an RpcError."""
    reader = Reader(message)
    xid, kind, denied = reader.u32(), reader.u32(), reader.u32()
    assert kind == 1, "a message that is no reply"
    if denied:
        why = reader.u32()
        return xid, RpcError((1, why, reader.u32()) if why == 1 else (1, why))
    assert (reader.u32(), reader.u32()) == (0, 0), "a verifier in a reply"
    why = reader.u32()
    return xid, RpcError((0, why)) if why else reader


def parse_result(name, reader):
    if isinstance(reader, RpcError):
        raise reader
    _, _, ok, failed = PROCEDURES[name]
    status = OK if name in WITHOUT_STATUS else reader.u32()
    result = {"status": status, **reader.fields(failed if status else ok)}
    assert reader.at == len(reader.data), f"{name}: {len(reader.data) - reader.at} bytes left over"
    return result


class Connection:
    """One TCP connection. Calls may be sent ahead; replies are taken in any order."""
    xids = itertools.count(1)

    def __init__(self, port, host="127.0.0.1", credential=AUTH_NONE, source=None, source_port=0,
                 timeout=30):
        """`source_port`: one number, 0 for any, or "reserved" for one below 1024."""
        self.credential = credential
        self.socket = _connect((host, port), source, source_port, timeout)
        self.replies = {}

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.close()

    def receive_record(self):
        """The next message; empty bytes at the end of the stream."""
        message = b""
        while True:
            mark = self._exactly(4)
            if not mark:
                return b""
            word, = struct.unpack(">I", mark)
            message += self._exactly(word & 0x7fffffff)
            if word >> 31:
                return message

    def _exactly(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                assert not data, "the connection ended within a message"
                return b""
            data += piece
        return bytes(data)

    def receive(self, xid):
        while xid not in self.replies:
            message = self.receive_record()
            if not message:
                raise ConnectionResetError(errno.ECONNRESET, "no reply, but the end")
            answered, reader = parse_reply(message)
            self.replies[answered] = reader
        return self.replies.pop(xid)

    def call(self, program, version, procedure, arguments=b"", credential=None, **options):
        """A Reader of the result's bytes. Raises RpcError."""
        xid = next(self.xids)
        self.socket.sendall(record(call(xid, program, version, procedure, arguments,
                                        credential or self.credential, **options)))
        reader = self.receive(xid)
        if isinstance(reader, RpcError):
            raise reader
        return reader

    def send(self, name, *arguments, credential=None, **options):
        """An NFS request; the answer is taken with take()."""
        xid = next(self.xids)
        self.socket.sendall(request(xid, name, *arguments, credential=credential or self.credential,
                                    **options))
        return name, xid

    def take(self, sent):
        name, xid = sent
        return parse_result(name, self.receive(xid))

    def ask(self, name, *arguments, **options):
        return self.take(self.send(name, *arguments, **options))

    # --- What tests often do ---

    def mnt(self, path=EXPORT):
        """The handle of a directory, or the status that refuses it."""
        reader = self.call(MOUNT, 3, 1, opaque(path))
        status = reader.u32()
        return status or reader.opaque()

    def dump(self):
        return self.call(MOUNT, 3, 2).mounts()

    def walk(self, path):
        """The handle of an entry, by look-ups from the export's root."""
        handle = self.mnt()
        assert isinstance(handle, bytes), f"MNT: status {handle}"
        for name in path.split("/"):
            if name:
                found = self.ask("lookup", handle, name)
                assert found["status"] == OK, f"{path}: {name}: status {found['status']}"
                handle = found["handle"]
        return handle

    def list(self, handle, plus=False, **options):
        """All entries but "." and "..", or the status that refuses them."""
        entries, cookie, verifier = [], 0, bytes(8)
        while True:
            part = self.ask("readdirplus" if plus else "readdir", handle, cookie, verifier, **options)
            if part["status"]:
                return part["status"]
            entries += part["entries"]
            if part["eof"]:
                return [entry for entry in entries if entry["name"] not in (".", "..")]
            cookie, verifier = entries[-1]["cookie"], part["verifier"]


def _connect(target, source, source_port, timeout):
    if source_port != "reserved":
        bound = (source or "", source_port) if source or source_port else None
        return socket.create_connection(target, timeout, source_address=bound)
    for port in range(1023, 511, -1):
        try:
            return socket.create_connection(target, timeout, source_address=(source or "", port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise
    raise OSError(errno.EADDRINUSE, "no reserved port is free")


def as_root(port, host="127.0.0.1", **options):
    """A connection as the kernel's client makes it: it speaks for everybody."""
    return Connection(port, host, auth_sys(0), source_port="reserved", **options)
