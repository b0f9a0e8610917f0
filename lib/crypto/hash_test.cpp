#include "lib/crypto/hash.hpp"

#include <cstdio>
#include <memory>

#include "lib/crypto/test_vectors.hpp"

namespace lucid::crypto {
namespace {

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i % 251);
  return bytes;
}

// What `program` says of the file's content: the first word it prints.
std::string asked(const std::string& program, const std::string& path) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen((program + " '" + path + "' 2>&1").c_str(), "r"), ::pclose);
  char line[256] = {};
  if (!pipe || std::fgets(line, sizeof line, pipe.get()) == nullptr) return "";
  std::string_view text = line;
  return std::string(text.substr(0, text.find(' ')));
}

TEST(Hash, Blake3MatchesThePublishedVectors) {
  LUCID_NEED_VECTORS(folder)
  json::value file = test::load_vectors(*folder + "/blake3/test_vectors.json");
  const json::array& cases = file.at("cases").as_array();
  EXPECT_GE(cases.size(), 30u);
  for (const json::value& entry : cases) {
    auto size = static_cast<std::size_t>(entry.at("input_len").as_int64());
    std::string expected(std::string_view(entry.at("hash").as_string()).substr(0, 64));
    EXPECT_EQ(to_hex(blake3(pattern(size))), expected) << size;
  }
}

TEST(Hash, Sha256MatchesFips180) {
  EXPECT_EQ(to_hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, AgreesWithTheSystemsPrograms) {
  TempDir folder;
  for (std::size_t size : {0u, 1u, 63u, 64u, 65u, 1024u, 1025u, 100'000u, 3'000'001u}) {
    std::string path = folder.path() + "/" + std::to_string(size);
    Bytes content = pattern(size);
    system_files().replace_file(path, content);
    EXPECT_EQ(asked("b3sum", path), to_hex(blake3(content))) << size;
    EXPECT_EQ(asked("sha256sum", path), to_hex(sha256(content))) << size;
  }
}

TEST(Hash, PiecewiseIsTheSameAsWhole) {
  Bytes content = pattern(10'000);
  for (std::size_t step : {1u, 7u, 64u, 1023u, 9'999u}) {
    Blake3Hasher b;
    Sha256Hasher s;
    for (std::size_t at = 0; at < content.size(); at += step) {
      ByteView piece = ByteView(content).subspan(at, std::min(step, content.size() - at));
      b.update(piece);
      s.update(piece);
    }
    EXPECT_EQ(b.finish(), blake3(content)) << step;
    EXPECT_EQ(s.finish(), sha256(content)) << step;
  }
}

}  // namespace
}  // namespace lucid::crypto
