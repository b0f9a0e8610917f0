#include "lib/base/file_ops.hpp"

#include <cerrno>

#include <gtest/gtest.h>
#include <sys/stat.h>

using namespace lucid;

TEST(FileOps, ReplaceFileLeavesOldOrNewContentWhicheverCallFails) {
  TempDir dir;
  std::string path = dir.path() + "/key";
  system_files().replace_file(path, as_bytes("old"));
  for (std::uint64_t n = 0;; ++n) {
    system_files().replace_file(path, as_bytes("old"));
    FaultyFileOps faulty([n](std::string_view, const std::string&, std::uint64_t number) { return number == n ? EIO : 0; });
    bool failed = false;
    try {
      faulty.replace_file(path, as_bytes("new"));
    } catch (const Error&) { failed = true; }
    std::string content(as_text(system_files().read_file(path)));
    EXPECT_TRUE(content == "old" || content == "new") << content;
    EXPECT_EQ(system_files().list(dir.path()), std::vector<std::string>{"key"});
    if (!failed) {
      EXPECT_EQ(content, "new");
      EXPECT_GE(n, 5u);  // open, write, sync_data, rename, sync_directory were all made to fail
      break;
    }
  }
  struct stat st{};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST(FileOps, FullDiskIsItsOwnKindOfError) {
  TempDir dir;
  FaultyFileOps faulty([](std::string_view call, const std::string&, std::uint64_t) { return call == "write" ? ENOSPC : 0; });
  try {
    faulty.replace_file(dir.path() + "/x", as_bytes("12345678"));
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.kind(), ErrorKind::storage_full); }
}
