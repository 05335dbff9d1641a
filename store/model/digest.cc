// SPDX-License-Identifier: Apache-2.0
#include "store/model/digest.h"

#include <array>
#include <concepts>
#include <cstring>

#include <openssl/evp.h>

#include "store/base/check.h"

namespace cfsgate {
namespace {

// Fetched once: looking an algorithm up costs more than hashing a small entry. Never freed, since
// other threads may hash until the process ends.
const EVP_MD* sha256_algorithm() {
    static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    CFSGATE_CHECK(algorithm != nullptr);
    return algorithm;
}

// One context for each thread serves all whole-entry digests; making one costs an allocation and
// a look-up. It is fresh again after each finish().
Sha256& thread_context() {
    thread_local Sha256 context;
    return context;
}

/// The numbers of an entry, packed, so that one update hashes them all.
class PackedFields {
public:
    template <std::unsigned_integral T>
    void put(T value) {
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            bytes_[size_++] = static_cast<char>((std::uint64_t{value} >> (8 * i)) & 0xff);
        }
    }
    std::string_view bytes() const { return {bytes_.data(), size_}; }

private:
    // inode, version, writer, mtime, size, type, parent
    std::array<char, 8 + 8 + 4 + 4 + 4 + 1 + 8> bytes_;
    std::size_t size_ = 0;
};

enum class WithInode : bool { No, Yes };

void add_entry(Sha256& sum, const Inode& inode, std::string_view content, WithInode with_inode) {
    PackedFields fields;
    if (with_inode == WithInode::Yes) fields.put(inode.number.value());
    fields.put(inode.version.value());
    fields.put(inode.writer.value());
    fields.put(inode.mtime);
    fields.put(inode.size);
    fields.put(static_cast<std::uint8_t>(inode.type));
    fields.put(inode.parent.value());
    sum.update(fields.bytes());
    sum.update(inode.name);
    if (!inode.is_directory() && !inode.unbacked) sum.update(content);
}

}  // namespace

struct Sha256::Context {
    Context() : handle(EVP_MD_CTX_new()) {
        CFSGATE_CHECK(handle != nullptr);
        CFSGATE_CHECK(EVP_DigestInit_ex(handle, sha256_algorithm(), nullptr) == 1);
    }
    ~Context() { EVP_MD_CTX_free(handle); }
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    EVP_MD_CTX* handle;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
    if (bytes.empty()) return;
    CFSGATE_CHECK(EVP_DigestUpdate(context_->handle, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
    Digest digest{};
    unsigned int size = 0;
    CFSGATE_CHECK(EVP_DigestFinal_ex(context_->handle, digest.data(), &size) == 1);
    CFSGATE_CHECK(size == digest.size());
    // With no algorithm named, OpenSSL keeps the present one and only resets its state.
    CFSGATE_CHECK(EVP_DigestInit_ex(context_->handle, nullptr, nullptr) == 1);
    return digest;
}

Digest Sha256::of(std::string_view bytes) {
    Sha256& context = thread_context();
    context.update(bytes);
    return context.finish();
}

Digest index_digest(const Inode& inode, std::string_view content) {
    Sha256& context = thread_context();
    add_entry(context, inode, content, WithInode::No);
    return context.finish();
}

Digest entry_checksum(const Inode& inode, std::string_view content) {
    Sha256& context = thread_context();
    add_entry(context, inode, content, WithInode::Yes);
    return context.finish();
}

void add_to_tree_checksum(Sha256& sum, const Inode& inode, std::string_view content) {
    add_entry(sum, inode, content, WithInode::Yes);
}

std::string to_hex(const Digest& digest) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(2 * digest.size());
    for (const unsigned char byte : digest) {
        text.push_back(kDigits[byte >> 4]);
        text.push_back(kDigits[byte & 0xf]);
    }
    return text;
}

}  // namespace cfsgate
