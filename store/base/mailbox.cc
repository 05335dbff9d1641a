// SPDX-License-Identifier: Apache-2.0
#include "store/base/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "store/base/check.h"

namespace cfsgate {

Result<std::shared_ptr<Mailbox>> Mailbox::make() {
    UniqueFd event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!event.valid()) return fail_posix(errno, "eventfd");
    return std::shared_ptr<Mailbox>(new Mailbox(std::move(event)));
}

void Mailbox::post(Letter letter) {
    {
        MutexLock lock(mutex_);
        if (closed_) return;
        letters_.push_back(std::move(letter));
        if (letters_.size() > 1) return;  // the loop knows already
    }
    const std::uint64_t one = 1;
    CFSGATE_CHECK(::write(event_.get(), &one, sizeof(one)) == sizeof(one));
}

std::vector<Mailbox::Letter> Mailbox::take() {
    // Before the letters: one that is posted in between rings again.
    std::uint64_t count = 0;
    const ssize_t got = ::read(event_.get(), &count, sizeof(count));
    CFSGATE_CHECK(got == sizeof(count) || errno == EAGAIN);
    std::vector<Letter> letters;
    MutexLock lock(mutex_);
    letters.swap(letters_);
    return letters;
}

void Mailbox::close() {
    std::vector<Letter> dropped;
    MutexLock lock(mutex_);
    closed_ = true;
    dropped.swap(letters_);
}

}  // namespace cfsgate
