// What the agent is made of: this machine's figures, its identity over kills, its shelf of chunks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include <sys/stat.h>

#include "lib/crypto/hash.hpp"
#include "node/agent/identity.hpp"
#include "node/agent/machine.hpp"
#include "node/agent/shelf.hpp"

namespace lucid::node_agent {
namespace {

class AgentParts : public testing::Test {
 protected:
  AgentParts() {
    std::string pattern = testing::TempDir() + "/node-parts-XXXXXX";
    directory = ::mkdtemp(pattern.data());
  }
  ~AgentParts() override { std::filesystem::remove_all(directory); }
  std::string directory;
  SystemRandom random;
  FileOps& files = system_files();
};

TEST(AgentMachine, ReadsIdleTimeOfAllProcessorsFromProcStat) {
  auto times = parse_cpu_times("cpu  10 20 30 400 50 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8\n");
  ASSERT_TRUE(times);
  EXPECT_EQ(times->idle, 470u);
  EXPECT_EQ(times->total, 531u);
}

TEST(AgentMachine, RefusesWhatIsNoProcText) {
  for (const char* text :
       {"", "cpu", "cpu  1 2 3", "cpu  a b c d e f g h", "intr 1 2", "cpu  -1 2 3 4 5 6 7 8", "cpu  1 2 3 18446744073709551615 5 6 7 8"})
    EXPECT_FALSE(parse_cpu_times(text)) << text;
  for (const char* text :
       {"", "MemTotal:", "MemTotal: x kB\nMemAvailable: 1 kB", "MemTotal: 10240 kB\n", "MemTotal: 1024 kB\nMemAvailable: 10240 kB\n"})
    EXPECT_FALSE(parse_memory(text)) << text;
  auto memory = parse_memory("MemTotal:       16384000 kB\nMemFree:  5 kB\nMemAvailable:    8192000 kB\n");
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->total_mb, 16'000);
  EXPECT_EQ(memory->available_mb, 8'000);
}

TEST(AgentMachine, ThisOneHasSomeOfEverything) {
  Machine machine(system_files());
  EXPECT_GE(machine.cpu_millicores(), 1'000);
  EXPECT_GT(machine.memory_mb(), 100);
  Machine::Free free = machine.free();
  EXPECT_GE(free.cpu_millicores, 0);
  EXPECT_LE(free.cpu_millicores, machine.cpu_millicores());
  EXPECT_LE(free.memory_mb, machine.memory_mb());
}

TEST_F(AgentParts, KeyAndPlaceStayTheSameOverStarts) {
  Id id = Id::make(SystemClock(), random);
  crypto::VerifyKey key;
  {
    Identity identity(directory, files, random);
    EXPECT_FALSE(identity.place());
    key = identity.key().verify_key();
    identity.set_place({id, "http://127.0.0.1:8095", "n-1", contracts::NodeType::storage, 77, true});
  }
  Identity again(directory, files, random);
  EXPECT_EQ(again.key().verify_key(), key);
  ASSERT_TRUE(again.place());
  EXPECT_EQ(again.place()->node, id);
  EXPECT_EQ(again.place()->type, contracts::NodeType::storage);
  EXPECT_EQ(again.place()->storage_bytes, 77u);
  EXPECT_TRUE(again.place()->activated);
  struct stat status{};
  ASSERT_EQ(::stat((directory + "/node.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(AgentParts, AKeyOthersCanReadIsRefused) {
  { Identity identity(directory, files, random); }
  ASSERT_EQ(::chmod((directory + "/node.key").c_str(), 0644), 0);
  try {
    Identity identity(directory, files, random);
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "key_mode"); }
}

TEST_F(AgentParts, FilesThatAreNotOursAreRefused) {
  { Identity identity(directory, files, random); }
  for (const char* text : {"", "{", "{}", "{\"id\":\"x\"}"}) {
    files.replace_file(directory + "/node.json", as_bytes(text));
    EXPECT_THROW(Identity(directory, files, random), Error) << text;
  }
  files.remove(directory + "/node.json");
  for (const char* text : {"", "-1", "1e3", "99999999999999999999999"}) {
    files.replace_file(directory + "/sequence", as_bytes(text));
    EXPECT_THROW(Identity(directory, files, random), Error) << text;
  }
}

TEST_F(AgentParts, ASequenceIsNeverUsedAgainHoweverTheNodeEnded) {
  std::uint64_t last = 0;
  for (int life = 0; life < 5; ++life) {  // every life ends as by kill -9: nothing is written at its end
    Identity identity(directory, files, random);
    for (int i = 0; i < 700 * (life + 1); ++i) {
      std::uint64_t next = identity.next_sequence();
      ASSERT_GT(next, last);
      last = next;
    }
    if (life == 2) {
      identity.skip_to(1'000'000);
      last = identity.next_sequence();
      EXPECT_EQ(last, 1'000'001u);
      identity.skip_to(5);  // never back
    }
  }
}

TEST_F(AgentParts, NoSequenceIsGivenOutThatCouldNotBeReserved) {
  FaultyFileOps faulty([](std::string_view call, const std::string& path, std::uint64_t) {
    return call == "sync_data" && path.find("sequence") != std::string::npos ? ENOSPC : 0;
  });
  Identity identity(directory, faulty, random);
  EXPECT_THROW(identity.next_sequence(), Error);
  EXPECT_FALSE(files.exists(directory + "/sequence"));
}

TEST_F(AgentParts, AShelfAnswersWhatWasPutAndNothingElse) {
  Id session = Id::make(SystemClock(), random);
  Bytes chunk(10'000, 7);
  {
    Shelf shelf(directory + "/chunks", files, 25'000);
    EXPECT_EQ(shelf.put(session, 0, chunk), crypto::blake3(chunk));
    shelf.put(session, 1, chunk);
    shelf.put(session, 1, chunk);  // the same again takes no more room
    EXPECT_EQ(shelf.used(), 20'000u);
    try {
      shelf.put(session, 2, chunk);
      FAIL();
    } catch (const Error& e) { EXPECT_EQ(e.kind(), ErrorKind::storage_full); }
    EXPECT_FALSE(shelf.get(session, 2));
  }
  Shelf shelf(directory + "/chunks", files, 25'000);
  EXPECT_EQ(shelf.used(), 20'000u);
  EXPECT_EQ(shelf.get(session, 1), chunk);
  std::string path = directory + "/chunks/" + session.text() + "/0000000000000001.chunk";
  Bytes bytes = files.read_file(path);
  for (std::size_t at : {std::size_t{0}, std::size_t{5'000}, bytes.size() - 1}) {
    Bytes damaged = bytes;
    damaged[at] ^= 1;
    files.replace_file(path, damaged);
    EXPECT_FALSE(shelf.get(session, 1)) << at;
  }
  files.replace_file(path, ByteView(bytes).first(20));
  EXPECT_FALSE(shelf.get(session, 1));
  files.remove(path);
  EXPECT_FALSE(shelf.get(session, 1));
}

TEST_F(AgentParts, WhatACrashLeftOfAWriteIsRemovedFromTheShelf) {
  Id session = Id::make(SystemClock(), random);
  {
    Shelf shelf(directory + "/chunks", files, 1 << 20);
    shelf.put(session, 0, Bytes(100, 1));
  }
  std::string torn = directory + "/chunks/" + session.text() + "/0000000000000001.chunk.tmp-1-0";
  files.replace_file(torn, Bytes(50, 1));
  Shelf shelf(directory + "/chunks", files, 1 << 20);
  EXPECT_FALSE(files.exists(torn));
  EXPECT_EQ(shelf.used(), 100u);
}

}  // namespace
}  // namespace lucid::node_agent
