// SPDX-License-Identifier: Apache-2.0
// Decides what the tree comes from, where a state directory may hold our store, the original's
// config.db, or both.
#pragma once

#include "gateway/daemon/options.h"
#include "store/base/log.h"
#include "store/base/result.h"
#include "store/store.h"

namespace cfsgate::gateway::daemon {

/// After it Store::open() finds the right tree. The caller holds the directory's lock.
///   no store, no config.db     nothing to do: open() makes an empty store
///   no store, a config.db      it is imported
///   a store, the config.db as it was imported or exported, or none     the store
///   a store, a config.db that has changed since     `choice` decides; Ask: error Busy that names
///       both versions; ConfigDb moves the old store's files into a dated folder, then imports
/// Errors: as said, NotFound for a choice of what is not there, and those of import and store.
Status choose_database(const store::StoreOptions& options, DatabaseChoice choice,
                       const Logger& log);

}  // namespace cfsgate::gateway::daemon
