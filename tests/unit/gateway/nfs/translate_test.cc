// SPDX-License-Identifier: Apache-2.0
#include "gateway/nfs/translate.h"

#include <map>

#include <gtest/gtest.h>

namespace cfsgate::gateway::nfs {
namespace {

constexpr std::uint64_t kFileSystem = 0xfedcba9876543210;

struct Row {
    Errno code;
    nfsstat3 nfs;
    mountstat3 mount;
};

/// Names every Errno: the compiler warns of one that is missing here, and warnings are errors.
Row row_of(Errno code) {
    constexpr mountstat3 kFault = MNT3ERR_SERVERFAULT;
    switch (code) {
        case Errno::NotPermitted: return {code, NFS3ERR_PERM, MNT3ERR_PERM};
        case Errno::NotFound: return {code, NFS3ERR_NOENT, MNT3ERR_NOENT};
        case Errno::Interrupted: return {code, NFS3ERR_JUKEBOX, kFault};
        case Errno::InputOutput: return {code, NFS3ERR_IO, MNT3ERR_IO};
        case Errno::NoAccess: return {code, NFS3ERR_ACCES, MNT3ERR_ACCES};
        case Errno::Busy: return {code, NFS3ERR_JUKEBOX, kFault};
        case Errno::Exists: return {code, NFS3ERR_EXIST, kFault};
        case Errno::NotDirectory: return {code, NFS3ERR_NOTDIR, MNT3ERR_NOTDIR};
        case Errno::IsDirectory: return {code, NFS3ERR_ISDIR, kFault};
        case Errno::Invalid: return {code, NFS3ERR_INVAL, MNT3ERR_INVAL};
        case Errno::FileTooBig: return {code, NFS3ERR_FBIG, kFault};
        case Errno::NoSpace: return {code, NFS3ERR_NOSPC, kFault};
        case Errno::ReadOnly: return {code, NFS3ERR_ROFS, kFault};
        case Errno::NameTooLong: return {code, NFS3ERR_NAMETOOLONG, MNT3ERR_NAMETOOLONG};
        case Errno::NotImplemented: return {code, NFS3ERR_NOTSUPP, MNT3ERR_NOTSUPP};
        case Errno::NotEmpty: return {code, NFS3ERR_NOTEMPTY, kFault};
        case Errno::NotSupported: return {code, NFS3ERR_NOTSUPP, MNT3ERR_NOTSUPP};
        case Errno::StaleHandle: return {code, NFS3ERR_STALE, kFault};
        case Errno::TimedOut: return {code, NFS3ERR_JUKEBOX, kFault};
        case Errno::Corrupt: return {code, NFS3ERR_IO, MNT3ERR_IO};
        case Errno::BadMessage: return {code, NFS3ERR_BADHANDLE, kFault};
        case Errno::TryAgain: return {code, NFS3ERR_NOT_SYNC, kFault};
    }
    return {code, NFS3_OK, MNT3_OK};
}

TEST(TranslateTest, EveryErrorHasItsStatus) {
    // The enumerators are 0, 1, 2 ...; TryAgain is the last.
    for (int i = 0; i <= static_cast<int>(Errno::TryAgain); ++i) {
        const auto code = static_cast<Errno>(i);
        const Row row = row_of(code);
        ASSERT_NE(row.nfs, NFS3_OK) << i;
        EXPECT_EQ(to_nfsstat3(code), row.nfs) << to_string(code);
        EXPECT_EQ(to_mountstat3(code), row.mount) << to_string(code);
    }
}

Attributes a_file() {
    Attributes attributes;
    attributes.id = FileId(0x123456789a);
    attributes.kind = FileKind::File;
    attributes.mode = 0640;
    attributes.gid = 33;
    attributes.nlink = 1;
    attributes.size = 5000;
    attributes.blocks = 2;
    attributes.mtime = 1700000000;
    attributes.version = Version(7'123'456'789);
    return attributes;
}

TEST(TranslateTest, AttributesOfAFile) {
    const fattr3 out = to_fattr3(a_file(), kFileSystem);
    EXPECT_EQ(out.type, NF3REG);
    EXPECT_EQ(out.mode, 0640U);
    EXPECT_EQ(out.nlink, 1U);
    EXPECT_EQ(out.uid, 0U);
    EXPECT_EQ(out.gid, 33U);
    EXPECT_EQ(out.size, 5000U);
    EXPECT_EQ(out.used, 8192U);
    EXPECT_EQ(out.rdev.specdata1, 0U);
    EXPECT_EQ(out.rdev.specdata2, 0U);
    EXPECT_EQ(out.fsid, kFileSystem);
    EXPECT_EQ(out.fileid, 0x123456789aU);
    for (const nfstime3& time : {out.atime, out.mtime}) {
        EXPECT_EQ(time.seconds, 1700000000U);
        EXPECT_EQ(time.nseconds, 0U);
    }
    EXPECT_EQ(out.ctime.seconds, 1700000000U);
    EXPECT_EQ(out.ctime.nseconds, 123'456'789U);
}

TEST(TranslateTest, TheVersionStaysBelowASecond) {
    Attributes attributes = a_file();
    for (const auto& [version, nanoseconds] : std::map<std::uint64_t, std::uint32_t>{
             {0, 0}, {999'999'999, 999'999'999}, {1'000'000'000, 0}, {UINT64_MAX, 709'551'615}}) {
        attributes.version = Version(version);
        EXPECT_EQ(to_fattr3(attributes, kFileSystem).ctime.nseconds, nanoseconds) << version;
    }
}

TEST(TranslateTest, Kinds) {
    Attributes attributes = a_file();
    attributes.kind = FileKind::Directory;
    EXPECT_EQ(to_fattr3(attributes, 1).type, NF3DIR);
    attributes.kind = FileKind::Symlink;
    EXPECT_EQ(to_fattr3(attributes, 1).type, NF3LNK);
}

TEST(TranslateTest, OptionalAttributes) {
    EXPECT_EQ(to_post_op(std::nullopt, kFileSystem).attributes_follow, FALSE);
    const post_op_attr there = to_post_op(a_file(), kFileSystem);
    EXPECT_EQ(there.attributes_follow, TRUE);
    EXPECT_EQ(there.post_op_attr_u.attributes.fileid, 0x123456789aU);
}

TEST(TranslateTest, WeakCacheData) {
    const wcc_data nothing = to_wcc({}, kFileSystem);
    EXPECT_EQ(nothing.before.attributes_follow, FALSE);
    EXPECT_EQ(nothing.after.attributes_follow, FALSE);

    Attributes after = a_file();
    after.size = 6000;
    const wcc_data both = to_wcc({a_file(), after}, kFileSystem);
    ASSERT_EQ(both.before.attributes_follow, TRUE);
    const wcc_attr& before = both.before.pre_op_attr_u.attributes;
    EXPECT_EQ(before.size, 5000U);
    EXPECT_EQ(before.mtime.seconds, 1700000000U);
    EXPECT_EQ(before.mtime.nseconds, 0U);
    EXPECT_EQ(before.ctime.seconds, 1700000000U);
    EXPECT_EQ(before.ctime.nseconds, 123'456'789U);
    ASSERT_EQ(both.after.attributes_follow, TRUE);
    EXPECT_EQ(both.after.post_op_attr_u.attributes.size, 6000U);

    const wcc_data one = to_wcc({a_file(), std::nullopt}, kFileSystem);
    EXPECT_EQ(one.before.attributes_follow, TRUE);
    EXPECT_EQ(one.after.attributes_follow, FALSE);
}

TEST(TranslateTest, WhatSetattrAsksFor) {
    sattr3 wanted{};
    NewAttributes nothing = to_new_attributes(wanted);
    EXPECT_FALSE(nothing.mode || nothing.uid || nothing.gid || nothing.size || nothing.mtime);
    EXPECT_FALSE(nothing.mtime_is_now);
    EXPECT_FALSE(nothing.guard);

    wanted.mode = {TRUE, {0600}};
    wanted.uid = {TRUE, {1}};
    wanted.gid = {TRUE, {2}};
    wanted.size = {TRUE, {1ULL << 40}};
    wanted.mtime.set_it = SET_TO_CLIENT_TIME;
    wanted.mtime.set_mtime_u.mtime = {0xffffffff, 999};
    const NewAttributes all = to_new_attributes(wanted);
    EXPECT_EQ(all.mode, 0600U);
    EXPECT_EQ(all.uid, 1U);
    EXPECT_EQ(all.gid, 2U);
    EXPECT_EQ(all.size, 1ULL << 40);
    EXPECT_EQ(all.mtime, 0xffffffff);
    EXPECT_FALSE(all.mtime_is_now);

    wanted.mtime.set_it = SET_TO_SERVER_TIME;
    EXPECT_FALSE(to_new_attributes(wanted).mtime);
    EXPECT_TRUE(to_new_attributes(wanted).mtime_is_now);
}

TEST(TranslateTest, AccessTimesAreIgnored) {
    sattr3 wanted{};
    wanted.atime.set_it = SET_TO_CLIENT_TIME;
    wanted.atime.set_atime_u.atime = {5, 6};
    EXPECT_FALSE(to_new_attributes(wanted).mtime);
    wanted.atime.set_it = SET_TO_SERVER_TIME;
    EXPECT_FALSE(to_new_attributes(wanted).mtime_is_now);
}

}  // namespace
}  // namespace cfsgate::gateway::nfs
