// SPDX-License-Identifier: Apache-2.0
#include "gateway/fuse/mount.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

#include "gateway/fuse/adapter.h"
#include "store/base/mount_table.h"
#include "store/base/unique_fd.h"

namespace cfsgate::gateway::fuse {
namespace {

/// How often a loop that has been told to end is woken until it does.
constexpr int kWakeMs = 20;

/// The connection's number is the minor of the mount's device, by the kernel's own list: nothing
/// here may touch the mount.
std::uint32_t find_connection(const std::string& mount_point) {
    const auto table = read_mount_table();
    const MountEntry* mount = table ? find_mount(*table, mount_point) : nullptr;
    return mount != nullptr ? mount->device_minor : 0;
}

class MountImpl final : public Mount {
public:
    MountImpl(FileSystem& files, MountOptions options, Logger log)
        : options_(std::move(options)), adapter_(files, std::move(log)) {}
    ~MountImpl() override {
        if (session_ == nullptr) return;
        unmount();
        fuse_session_destroy(session_);
    }

    Status start() {
        wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!wake_.valid()) return fail_posix(errno, "eventfd");
        fuse_args args = FUSE_ARGS_INIT(0, nullptr);
        const int bad = fuse_opt_add_arg(&args, "cfsgated") |
                        fuse_opt_add_arg(&args, "-oallow_other,default_permissions") |
                        fuse_opt_add_arg(&args, "-ofsname=/dev/fuse") |
                        (options_.trace ? fuse_opt_add_arg(&args, "-odebug") : 0);
        if (bad == 0) {
            session_ = fuse_session_new(&args, &operations(), sizeof(fuse_lowlevel_ops), &adapter_);
        }
        fuse_opt_free_args(&args);
        if (session_ == nullptr) return fail(Errno::InputOutput, "libfuse refused its options");
        errno = 0;
        if (fuse_session_mount(session_, options_.mount_point.c_str()) != 0) {
            return fail_posix(errno != 0 ? errno : EIO, "mount " + options_.mount_point);
        }
        mounted_ = true;
        connection_ = find_connection(options_.mount_point);
        adapter_.cache.start(session_);
        adapter_.files.add_invalidation_sink(
            [this](const std::vector<store::Change>& changes) { adapter_.cache.changed(changes); });
        return {};
    }

    int serve() override {
        // libfuse's loop sleeps in a semaphore that only a signal can interrupt, and a signal that
        // comes too early is lost; so the loop has a thread of its own and is woken until it ends.
        struct sigaction action {};
        action.sa_handler = [](int) {};
        ::sigaction(SIGUSR2, &action, nullptr);
        std::atomic<bool> ended{false};
        int result = 0;
        std::thread loop([&] {
            ::pthread_setname_np(::pthread_self(), "fuse-loop");
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGUSR2);
            ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
            result = run_loop();
            ended = true;
            wake();
        });
        pollfd wait{wake_.get(), POLLIN, 0};
        while (::poll(&wait, 1, -1) < 0 && errno == EINTR) {
        }
        while (!ended) {
            fuse_session_exit(session_);
            ::pthread_kill(loop.native_handle(), SIGUSR2);
            ::poll(nullptr, 0, kWakeMs);
        }
        loop.join();
        return stopping_ ? 0 : std::abs(result);
    }

    void stop() noexcept override {
        stopping_ = true;
        wake();
    }

    void unmount() override {
        if (!mounted_) return;
        mounted_ = false;
        // Nobody answers any more. Forcing ends what still waits, and with it a notification that
        // waits for a page; only then may the notifier's descriptor be closed.
        ::umount2(options_.mount_point.c_str(), MNT_FORCE | MNT_DETACH);
        adapter_.held.stop();
        adapter_.locks.stop();
        adapter_.interrupts.stop();
        adapter_.cache.stop();
        fuse_session_unmount(session_);
    }

    std::uint32_t connection() const override { return connection_; }

    MountCounters counters() const override {
        MountCounters counters;
        counters.requests = adapter_.requests.load(std::memory_order_relaxed);
        counters.interrupted = adapter_.interrupts.count();
        counters.notifications = adapter_.cache.notifications();
        counters.held_truncations = adapter_.held.count();
        return counters;
    }

private:
    int run_loop() {
        fuse_loop_config* config = fuse_loop_cfg_create();
        fuse_loop_cfg_set_clone_fd(config, 0);
        fuse_loop_cfg_set_max_threads(config, options_.threads_max);
        fuse_loop_cfg_set_idle_threads(config, options_.threads_max);
        const int result = fuse_session_loop_mt(session_, config);
        fuse_loop_cfg_destroy(config);
        return result;
    }

    void wake() noexcept {
        const std::uint64_t one = 1;
        static_cast<void>(!::write(wake_.get(), &one, sizeof one));
    }

    MountOptions options_;
    UniqueFd wake_;
    Adapter adapter_;
    fuse_session* session_ = nullptr;
    bool mounted_ = false;
    std::uint32_t connection_ = 0;
    std::atomic<bool> stopping_{false};
};

}  // namespace

Result<std::unique_ptr<Mount>> Mount::create(FileSystem& files, MountOptions options, Logger log) {
    auto mount = std::make_unique<MountImpl>(files, std::move(options), std::move(log));
    CFSGATE_TRY(mount->start());
    return mount;
}

}  // namespace cfsgate::gateway::fuse
