// SPDX-License-Identifier: Apache-2.0
// File contents inside JSON (RFC 4648, section 4: with padding, without line breaks).
#pragma once

#include <string>
#include <string_view>

#include "store/base/result.h"

namespace cfsgate {

std::string encode_base64(std::string_view bytes);

/// Errors: BadMessage for anything that encode_base64() does not write.
Result<std::string> decode_base64(std::string_view text);

}  // namespace cfsgate
