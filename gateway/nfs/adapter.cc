// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/adapter.h"

#include <algorithm>
#include <random>

#include "gateway/nfs/file_handle.h"

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::chrono::seconds kTextKept{2};

}  // namespace

std::shared_ptr<OpenFile> VirtualTexts::get(FileSystem& files, std::uint64_t client, FileId id,
                                            Time now) {
    Text& text = texts_[{client, id}];
    if (text.file == nullptr || now - text.made > kTextKept) {
        const Caller root;  // who may read it is asked where it is read
        auto opened = files.open(root, id, {.read = true, .write = false});
        text = {opened ? std::move(*opened) : nullptr, now};
    }
    return text.file;
}

void VirtualTexts::drop_old(Time now) {
    std::erase_if(texts_, [&](const auto& text) { return now - text.second.made > kTextKept; });
}

Adapter::Adapter(FileSystem& served, ExportRules export_rules)
    : files(served), rules(std::move(export_rules)), file_system(served.id()) {
    std::random_device random;
    std::generate(write_verifier.begin(), write_verifier.end(),
                  [&] { return static_cast<char>(random()); });
}

Result<FileId> Adapter::id_of(const nfs_fh3& handle) const {
    const FileHandle decoded =
        CFSGATE_TRY(decode_handle({handle.data.data_val, handle.data.data_len}));
    // Mounts from before the node joined its cluster go on.
    if (decoded.file_system == file_system || files.was_id(decoded.file_system)) return decoded.id;
    return fail(Errno::StaleHandle, "file handle: of another file system");
}

std::string Adapter::handle_of(FileId id) const { return encode_handle(file_system, id); }

Attributes Adapter::as_seen(const Request& request, const Attributes& attributes) {
    if (!to_virtual(attributes.id) || attributes.kind != FileKind::File) return attributes;
    const auto text =
        virtual_texts.get(files, request.client, attributes.id, std::chrono::steady_clock::now());
    if (text == nullptr) return attributes;
    Attributes seen = attributes;
    seen.size = text->opened_size();
    seen.version = text->opened_version();
    return seen;
}

Result<Attributes> Adapter::attributes(const Request& request, FileId id) {
    return as_seen(request, CFSGATE_TRY(files.attributes(request.caller(), id)));
}

post_op_attr Adapter::post_op(const Request& request, FileId id) {
    const auto found = attributes(request, id);
    return to_post_op(found ? std::optional<Attributes>(*found) : std::nullopt, file_system);
}

}  // namespace cfsgate::gateway::nfs
