// SPDX-License-Identifier: Apache-2.0
// A connection to one of corosync's closed process groups.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "replication/core/view.h"
#include "store/base/result.h"

namespace cfsgate::replication {

/// What arrives, in the order that is the same for all members of a ring. Called by dispatch_one()
/// alone; may multicast, join and leave, but must not destroy the group.
struct GroupEvents {
    /// The members from here on. `joined`: some of them are new, which may be this process, or all
    /// of another partition. `left`: who was there and is not any more. A process that leaves is
    /// told so by a view that it is not in.
    std::function<void(std::vector<Member> members, bool joined, std::vector<Member> left)> on_view;
    /// The bytes live until the call returns. Own messages arrive too, at their place.
    std::function<void(Member from, std::string_view bytes)> on_message;
};

/// A connection by libcpg. Destroying it leaves the group, which the others see at once.
///
/// **Large messages.** Up to kWholeBytesMax a message is handed over in one piece and a call takes
/// microseconds. Beyond, libcpg cuts it into pieces of that size and joins them at the receivers;
/// any size works, but:
///   - each piece is a request that corosync answers; where it is full, or forms a ring, the
///     library itself sleeps 10 ms and tries again, 100 times for each piece (and says so on
///     stderr: "sleep. counter="). So the call may take a second for each piece: on an idle ring of
///     three 1 MiB took 20 ms, and 5 MiB between 0.5 and 1.4 s;
///   - TryAgain may come when some pieces are out. They are never delivered: receivers drop them at
///     the first piece of the sender's next large message, or when it leaves. So the whole is sent
///     again, as for a small one;
///   - a process that joins between the first piece and the last is in the view and does not get
///     the message, while all others do. corosync refuses (TryAgain) a piece after a view change
///     that it knows of, but not one that it had taken just before. Messages that all members of a
///     view must have should stay below the limit;
///   - pieces are kept per handle of libcpg. Where one handle leaves and joins again, what it had of
///     a large message meets the rest of another one: garbage, or writes past the end. So join()
///     after leave() takes a new handle, with a new descriptor.
///
/// Errors:  TryAgain: nothing was done, or will be delivered; call again later. InputOutput:
///          corosync is gone; destroy this and connect() anew. Others: the call itself was wrong.
/// Threads: one at a time. dispatch_one() takes over 1 MiB of stack.
/// Waits:   for corosync's answer in connect(), join(), leave() and for large messages: as long as
///          it takes where corosync is stopped by a signal. multicast() of a small one never waits.
class CpgGroup {
public:
    /// The largest message that libcpg does not cut: its IPC buffer of 1 MiB less 1 KiB.
    static constexpr std::size_t kWholeBytesMax = (1U << 20) - 1024;

    /// Connects to this node's corosync; does not join yet. The name on the wire is `group` and its
    /// terminating NUL. Errors: TryAgain while corosync starts, InputOutput where there is none,
    /// NoAccess where it refuses this user.
    static Result<std::unique_ptr<CpgGroup>> connect(std::string_view group, GroupEvents events);

    ~CpgGroup();
    CpgGroup(const CpgGroup&) = delete;
    CpgGroup& operator=(const CpgGroup&) = delete;

    /// Readable when dispatch_one() has something to do, also when corosync is gone. Another one
    /// after each join() that follows a leave().
    int descriptor() const;
    /// This node and this process, as they were at connect(): a daemon connects after its last fork.
    Member self() const { return self_; }

    /// The first view arrives by on_view, with `joined`. TryAgain also while corosync has not yet
    /// told the ring of the end of an earlier handle; Exists if joined already. After leave(): events
    /// that had not been dispatched are dropped, the last view as well.
    Status join();
    /// The last view, without this process, arrives by on_view. NotFound if not joined.
    Status leave();
    /// Calls at most one of the events. Errors: TryAgain: there was nothing.
    Status dispatch_one();

    /// Hands the bytes to corosync; that it has taken them is no promise that they arrive: they do
    /// if this node stays in the ring. Not joined: NotFound for a large message; a small one
    /// vanishes, since corosync gives no answer to it.
    Status multicast(std::string_view bytes);
    /// The parts as one message. Below kWholeBytesMax in all, and 60 parts at most; else Invalid.
    Status multicast(std::span<const iovec> parts);

private:
    struct Handle;

    CpgGroup(std::string_view group, GroupEvents events);

    std::string group_;
    GroupEvents events_;
    std::unique_ptr<Handle> handle_;
    Member self_;
    bool left_ = false;
};

}  // namespace cfsgate::replication
