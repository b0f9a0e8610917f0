#include "lib/crypto/key_store.hpp"

#include <cerrno>
#include <filesystem>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lucid::crypto {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kNames = {"admin.token",  "checkpoint.key", "checkpoint.pub", "playback.key",
                                         "playback.pub", "service.key",    "spool.key",      "spool.pub"};

class KeyStoreTest : public testing::Test {
 protected:
  KeyStore start() { return KeyStore(directory_, system_files(), random_); }
  void write(const std::string& name, std::string_view text) { system_files().replace_file(directory_ + "/" + name, as_bytes(text)); }
  // The code of the error, whose message has to name the file in one line.
  static std::string refusal(const std::string& path, const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unavailable);
      EXPECT_THAT(error.what(), HasSubstr(path));
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      return error.code();
    }
    return "none";
  }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  TempDir folder_;
  std::string directory_ = folder_.path() + "/data/keys";
  SystemRandom random_;
};

TEST_F(KeyStoreTest, FirstStartCreatesTheWholeSetAndLaterStartsReadIt) {
  KeyStore store = start();
  EXPECT_EQ(system_files().list(directory_), kNames);
  EXPECT_EQ(system_files().list(folder_.path() + "/data"), std::vector<std::string>{"keys"});
  for (const std::string& name : kNames) {
    struct stat status{};
    ASSERT_EQ(::stat(path(name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u) << name;
  }
  EXPECT_EQ(store.checkpoint_key().verify_key(), store.checkpoint_public());
  EXPECT_EQ(store.spool_key().public_key(), store.spool_public());
  EXPECT_EQ(store.playback_key().public_key(), store.playback_public());
  EXPECT_NE(store.spool_public(), store.playback_public());
  EXPECT_THAT(store.admin_token(), testing::MatchesRegex("lucid_[A-Za-z0-9_-]{43}"));

  KeyStore again = start();
  EXPECT_EQ(again.spool_public(), store.spool_public());
  EXPECT_EQ(again.admin_token(), store.admin_token());
  EXPECT_TRUE(again.service_key().equals(store.service_key()));
}

TEST_F(KeyStoreTest, NoTwoDeploymentsShareAKey) {
  KeyStore one = start();
  KeyStore two(folder_.path() + "/other/keys", system_files(), random_);
  EXPECT_NE(one.admin_token(), two.admin_token());
  EXPECT_NE(one.checkpoint_public(), two.checkpoint_public());
  EXPECT_FALSE(one.service_key().equals(two.service_key()));
}

TEST_F(KeyStoreTest, AMissingKeyIsRefusedAndNeverMadeAnew) {
  start();
  ASSERT_TRUE(std::filesystem::remove(path("spool.key")));
  KeyStore store = start();
  EXPECT_EQ(refusal(path("spool.key"), [&] { (void)store.spool_key(); }), "key_missing");
  EXPECT_FALSE(std::filesystem::exists(path("spool.key")));
  EXPECT_NO_THROW((void)store.spool_public()) << "a host may hold only the keys its services need";
}

TEST_F(KeyStoreTest, SecretsThatOthersMayReadAreRefusedWithTheRemedy) {
  KeyStore store = start();
  for (unsigned mode : {0640u, 0604u, 0610u, 0644u, 0660u}) {
    ASSERT_EQ(::chmod(path("service.key").c_str(), mode), 0);
    EXPECT_EQ(refusal(path("service.key"), [&] { (void)store.service_key(); }), "key_mode") << std::oct << mode;
    EXPECT_EQ(refusal("chmod 600 " + path("service.key"), [&] { (void)store.service_key(); }), "key_mode");
  }
  ASSERT_EQ(::chmod(path("service.key").c_str(), 0400), 0);
  EXPECT_NO_THROW((void)store.service_key());
}

TEST_F(KeyStoreTest, PublicKeysThatOthersMayChangeAreRefused) {
  KeyStore store = start();
  ASSERT_EQ(::chmod(path("spool.pub").c_str(), 0644), 0);
  EXPECT_NO_THROW((void)store.spool_public());
  ASSERT_EQ(::chmod(path("spool.pub").c_str(), 0664), 0);
  EXPECT_EQ(refusal(path("spool.pub"), [&] { (void)store.spool_public(); }), "key_mode");
}

TEST_F(KeyStoreTest, MalformedKeysAreRefused) {
  KeyStore store = start();
  std::string box = store.spool_key().text();
  for (const std::string& text : {std::string(), std::string("\n"), box.substr(0, box.size() - 1), box + "\n\n", box + box,
                                  store.checkpoint_key().text(), std::string(100'000, 'A'), std::string("\0\0\0", 3)}) {
    write("spool.key", text);
    EXPECT_EQ(refusal(path("spool.key"), [&] { (void)store.spool_key(); }), "key_malformed") << text.substr(0, 80);
    write("spool.pub", text);
    EXPECT_EQ(refusal(path("spool.pub"), [&] { (void)store.spool_public(); }), "key_malformed");
    write("service.key", text);
    EXPECT_EQ(refusal(path("service.key"), [&] { (void)store.service_key(); }), "key_malformed");
    write("admin.token", text);
    EXPECT_EQ(refusal(path("admin.token"), [&] { (void)store.admin_token(); }), "key_malformed");
  }
  write("spool.key", box);
  EXPECT_NO_THROW((void)store.spool_key()) << "the newline is optional";
}

TEST_F(KeyStoreTest, UnreadableKeysAreRefused) {
  KeyStore store = start();
  std::filesystem::remove(path("spool.key"));
  std::filesystem::create_directory(path("spool.key"));
  EXPECT_EQ(refusal(path("spool.key"), [&] { (void)store.spool_key(); }), "key_unreadable");
  for (std::string_view call : {"open", "read_at"}) {
    FaultyFileOps faulty([&](std::string_view name, const std::string&, std::uint64_t) { return name == call ? EACCES : 0; });
    KeyStore behind(directory_, faulty, random_);
    EXPECT_EQ(refusal(path("admin.token"), [&] { (void)behind.admin_token(); }), "key_unreadable");
  }
}

// Every system call of the first start fails in turn: afterwards there is the whole set or none, and the next start
// works.
TEST_F(KeyStoreTest, AFailureAnywhereLeavesAllKeysOrNone) {
  std::uint64_t calls = 0;
  {
    FaultyFileOps counting([](std::string_view, const std::string&, std::uint64_t) { return 0; });
    KeyStore store(folder_.path() + "/counted/keys", counting, random_);
    calls = counting.calls();
  }
  ASSERT_GT(calls, 24u);
  int with_keys = 0;
  for (std::uint64_t n = 0; n < calls; ++n) {
    std::string data = folder_.path() + "/run" + std::to_string(n);
    FaultyFileOps faulty([n](std::string_view, const std::string&, std::uint64_t number) { return number == n ? ENOSPC : 0; });
    EXPECT_THROW(KeyStore(data + "/keys", faulty, random_), Error) << n;
    std::vector<std::string> left = system_files().list(data);
    if (!left.empty()) {
      ++with_keys;
      EXPECT_EQ(left, std::vector<std::string>{"keys"}) << n;
      EXPECT_EQ(system_files().list(data + "/keys"), kNames) << n;
    }
    EXPECT_NO_THROW((void)KeyStore(data + "/keys", system_files(), random_).admin_token()) << n;
  }
  EXPECT_EQ(with_keys, 1) << "only the last sync comes after the rename";
}

// Five services of one deployment start at the same moment and have to agree on one set.
TEST_F(KeyStoreTest, ProcessesThatStartTogetherUseTheSameKeys) {
  for (int round = 0; round < 10; ++round) {
    std::string directory = folder_.path() + "/together" + std::to_string(round) + "/keys";
    int go[2], answers[2];
    ASSERT_EQ(::pipe(go), 0);
    ASSERT_EQ(::pipe(answers), 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 5; ++i) {
      pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        ::close(go[1]);
        char byte;
        (void)!::read(go[0], &byte, 1);  // answers end of file to all of them at once
        std::string token = "failed";
        try {
          token = KeyStore(directory, system_files(), random_).admin_token();
        } catch (...) {}
        token.resize(49, ' ');
        ::_exit(::write(answers[1], token.data(), token.size()) == 49 ? 0 : 1);
      }
      children.push_back(child);
    }
    ::close(go[0]);
    ::close(go[1]);
    ::close(answers[1]);
    std::string expected = "";
    for (int i = 0; i < 5; ++i) {
      char token[49];
      ASSERT_EQ(::read(answers[0], token, sizeof token), 49);
      if (i == 0) expected.assign(token, sizeof token);
      EXPECT_EQ(std::string(token, sizeof token), expected);
    }
    EXPECT_TRUE(expected.starts_with("lucid_"));
    ::close(answers[0]);
    for (pid_t child : children) ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    EXPECT_EQ(system_files().list(folder_.path() + "/together" + std::to_string(round)), std::vector<std::string>{"keys"});
  }
}

}  // namespace
}  // namespace lucid::crypto
