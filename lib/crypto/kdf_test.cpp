#include "lib/crypto/kdf.hpp"

#include "lib/crypto/test_vectors.hpp"

namespace lucid::crypto {
namespace {

TEST(Kdf, HkdfPassesEveryWycheproofCase) {
  LUCID_NEED_VECTORS(folder)
  json::value file = test::load_vectors(*folder + "/wycheproof/hkdf_sha256_test.json");
  int seen = 0, invalid = 0;
  for (const json::value& group : file.at("testGroups").as_array()) {
    for (const json::value& entry : group.at("tests").as_array()) {
      const json::object& test = entry.as_object();
      SCOPED_TRACE(test.at("tcId").as_int64());
      auto made = hkdf_sha256(test::hex_field(test, "ikm"), test::hex_field(test, "salt"), test::hex_field(test, "info"),
                              static_cast<std::size_t>(test.at("size").as_int64()));
      ++seen;
      if (test.at("result").as_string() == "valid") {
        ASSERT_TRUE(made);
        EXPECT_EQ(*made, test::hex_field(test, "okm"));
      } else {
        ++invalid;
        EXPECT_FALSE(made);
      }
    }
  }
  EXPECT_EQ(seen, file.at("numberOfTests").as_int64());
  EXPECT_GT(invalid, 0);
}

TEST(Kdf, HkdfMatchesRfc5869) {
  auto made = hkdf_sha256(Bytes(22, 0x0b), *from_hex("000102030405060708090a0b0c"), *from_hex("f0f1f2f3f4f5f6f7f8f9"), 42);
  EXPECT_EQ(to_hex(*made), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

TEST(Kdf, HkdfAnswersUpTo255BlocksAndNoMore) {
  EXPECT_EQ(hkdf_sha256(Bytes(32), {}, {}, 8160)->size(), 8160u);
  EXPECT_FALSE(hkdf_sha256(Bytes(32), {}, {}, 8161));
  EXPECT_TRUE(hkdf_sha256(Bytes(32), {}, {}, 0)->empty());
}

TEST(Kdf, HmacMatchesRfc4231) {
  EXPECT_EQ(to_hex(hmac_sha256(Bytes(20, 0x0b), as_bytes("Hi There"))), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  // A key longer than a block is hashed first.
  EXPECT_EQ(to_hex(hmac_sha256(Bytes(131, 0xaa), as_bytes("Test Using Larger Than Block-Size Key - Hash Key First"))),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

// Made with Python: hashlib.blake2b(b"chunk", key=bytes(range(32)), digest_size=32).
TEST(Kdf, DeriveIsKeyedBlake2b) {
  std::array<std::uint8_t, 32> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  Secret32 key{std::span<const std::uint8_t, 32>(bytes)};
  EXPECT_EQ(to_hex(derive(key, "chunk").bytes()), "48431df70503a28d28a61a56271e7495fb39c61f7d055d83cfcc4efd4b881225");
  EXPECT_EQ(to_hex(derive(key, "next").bytes()), "a0987dcf622af057ee891bbc9feee46bc522f7cce1a3f4efa0337b325faf9a1c");
  EXPECT_EQ(to_hex(derive(key, "").bytes()), "4e51e7a913fc80137da52880fecca175bf81e117d5c68126dc2774033517ea0d");
}

}  // namespace
}  // namespace lucid::crypto
