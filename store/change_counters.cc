// SPDX-License-Identifier: Apache-2.0
#include "store/change_counters.h"

namespace cfsgate::store {

void ChangeCounters::count(std::string_view path) {
    for (std::size_t i = 0; i < kObservedPaths.size(); ++i) {
        if (kObservedPaths[i] == path) {
            counters_[i].fetch_add(1, std::memory_order_acq_rel);
            return;
        }
    }
}

void ChangeCounters::count_all() {
    for (auto& counter : counters_) counter.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace cfsgate::store
