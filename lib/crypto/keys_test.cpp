// Secrets, sealed boxes, signatures and service tokens.
#include <set>
#include <type_traits>

#include <sodium.h>

#include "lib/crypto/sealed_box.hpp"
#include "lib/crypto/secret.hpp"
#include "lib/crypto/service_token.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/crypto/test_vectors.hpp"

namespace lucid::crypto {
namespace {

static_assert(!std::is_copy_constructible_v<Secret32> && !std::is_copy_assignable_v<Secret32>);
static_assert(!std::is_copy_constructible_v<BoxKey> && !std::is_copy_constructible_v<SigningKey>);

// NOLINTBEGIN(bugprone-use-after-move,clang-analyzer-cplusplus.Move): what is left behind is what the next test is about.
bool is_zero(const Secret32& secret) { return secret.equals(Secret32()); }

TEST(Secret, MovingLeavesTheSourceWiped) {
  SeededRandom random(1);
  Secret32 a = Secret32::random(random);
  Secret32 same = a.clone();
  EXPECT_FALSE(is_zero(a));
  Secret32 b(std::move(a));
  EXPECT_TRUE(b.equals(same));
  EXPECT_TRUE(is_zero(a));
  Secret32 c = Secret32::random(random);
  c = std::move(b);
  EXPECT_TRUE(c.equals(same));
  EXPECT_TRUE(is_zero(b));
  c.wipe();
  EXPECT_TRUE(is_zero(c));
}
// NOLINTEND(bugprone-use-after-move,clang-analyzer-cplusplus.Move)

TEST(Secret, IsWipedWhenItGoesOutOfScope) {
  SeededRandom random(2);
  const std::uint8_t* where = nullptr;
  {
    Secret32 secret = Secret32::random(random);
    where = secret.bytes().data();
  }
  // The arena keeps its pages, so looking there is allowed; its slots are reused last in, first out.
  EXPECT_EQ(Bytes(where, where + 32), Bytes(32, 0));
}

TEST(Secret, ManyHaveSlotsOfTheirOwn) {
  SeededRandom random(3);
  std::vector<Secret32> secrets;
  std::set<const std::uint8_t*> places;
  for (int i = 0; i < 5000; ++i) {
    secrets.push_back(Secret32::random(random));
    places.insert(secrets.back().bytes().data());
  }
  SeededRandom again(3);
  for (const Secret32& secret : secrets) ASSERT_TRUE(secret.equals(Secret32::random(again)));
}

TEST(Secret, ConstantTimeEqualityComparesSizesToo) {
  Bytes a{1, 2, 3}, b{1, 2, 3}, c{1, 2, 4}, d{1, 2};
  EXPECT_TRUE(equal_constant_time(a, b));
  EXPECT_FALSE(equal_constant_time(a, c));
  EXPECT_FALSE(equal_constant_time(a, d));
  EXPECT_TRUE(equal_constant_time({}, {}));
}

TEST(SealedBox, AgreesWithLibsodiumBothWays) {
  SeededRandom random(4);
  for (std::size_t size : {0u, 1u, 32u, 100u, 5000u}) {
    BoxKey key = BoxKey::make(random);
    Bytes message = test::random_bytes(random, size);
    Bytes ours = seal_to(key.public_key(), message, random);
    ASSERT_EQ(ours.size(), size + kSealOverhead);
    Bytes opened(size);
    EXPECT_EQ(crypto_box_seal_open(opened.data(), ours.data(), ours.size(), key.public_key().bytes.data(), key.secret().bytes().data()), 0);
    EXPECT_EQ(opened, message);

    Bytes theirs(size + crypto_box_SEALBYTES);
    crypto_box_seal(theirs.data(), message.data(), size, key.public_key().bytes.data());
    EXPECT_EQ(key.open(theirs), message);
  }
}

TEST(SealedBox, TheSameRandomnessGivesTheSameBytes) {
  SeededRandom for_key(5);
  BoxKey key = BoxKey::make(for_key);
  SeededRandom first(6), second(6), third(7);
  Bytes message(32, 0x42);
  Bytes sealed = seal_to(key.public_key(), message, first);
  EXPECT_EQ(sealed, seal_to(key.public_key(), message, second));
  EXPECT_NE(sealed, seal_to(key.public_key(), message, third));
}

TEST(SealedBox, RefusesAlteredBytesAndOtherKeys) {
  SeededRandom random(8);
  BoxKey key = BoxKey::make(random), other = BoxKey::make(random);
  Bytes sealed = seal_to(key.public_key(), Bytes(32, 1), random);
  EXPECT_FALSE(other.open(sealed));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    Bytes altered = sealed;
    altered[i] ^= 0x80;
    EXPECT_FALSE(key.open(altered)) << i;
    EXPECT_FALSE(key.open(ByteView(sealed).first(i))) << i;
  }
}

TEST(SealedBox, TextFormsRoundTripAndAreStrict) {
  SeededRandom random(9);
  BoxKey key = BoxKey::make(random);
  std::string text = key.public_key().text();
  EXPECT_EQ(text.size(), 14u + 43u);
  EXPECT_EQ(BoxPublicKey::parse(text), key.public_key());
  EXPECT_EQ(key.public_key().fingerprint().size(), 16u);
  ASSERT_TRUE(BoxKey::parse(key.text()));
  EXPECT_EQ(BoxKey::parse(key.text())->public_key(), key.public_key());
  EXPECT_TRUE(BoxKey::parse(key.text() + "\n"));
  for (const std::string& bad : {std::string(), text + "A", text + "=", " " + text, text.substr(0, 56), "lucid-sig-pub:" + text.substr(14),
                                 text.substr(14), text + "\n"})
    EXPECT_FALSE(BoxPublicKey::parse(bad)) << bad;
  EXPECT_FALSE(BoxKey::parse(key.text() + "\n\n"));
  EXPECT_FALSE(BoxKey::parse(key.text() + " "));
  EXPECT_FALSE(BoxKey::parse(text));
}

TEST(SealedBox, RefusesLowOrderAndNonCanonicalPublicKeys) {
  SeededRandom random(10);
  for (const char* hex : {"0000000000000000000000000000000000000000000000000000000000000000",
                          "0100000000000000000000000000000000000000000000000000000000000000",
                          "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                          "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                          "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          // 9 with 2^255 - 19 added, and with the ignored top bit set: other names for the base point.
                          "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "0900000000000000000000000000000000000000000000000000000000000080"}) {
    BoxPublicKey key;
    Bytes bytes = *from_hex(hex);
    std::copy(bytes.begin(), bytes.end(), key.bytes.begin());
    EXPECT_FALSE(BoxPublicKey::parse(key.text())) << hex;
  }
  EXPECT_THROW(seal_to(BoxPublicKey{}, Bytes(4), random), Error);
  BoxPublicKey base_point;
  base_point.bytes[0] = 9;
  EXPECT_TRUE(BoxPublicKey::parse(base_point.text()));
}

TEST(Signature, PassesEveryWycheproofCase) {
  LUCID_NEED_VECTORS(folder)
  json::value file = test::load_vectors(*folder + "/wycheproof/ed25519_test.json");
  int seen = 0, invalid = 0;
  for (const json::value& group : file.at("testGroups").as_array()) {
    VerifyKey key;
    Bytes bytes = test::hex_field(group.at("publicKey").as_object(), "pk");
    ASSERT_EQ(bytes.size(), 32u);
    std::copy(bytes.begin(), bytes.end(), key.bytes.begin());
    for (const json::value& entry : group.at("tests").as_array()) {
      const json::object& test = entry.as_object();
      bool valid = test.at("result").as_string() == "valid";
      EXPECT_EQ(key.verify(test::hex_field(test, "msg"), test::hex_field(test, "sig")), valid) << test.at("tcId").as_int64();
      ++seen;
      invalid += !valid;
    }
  }
  EXPECT_EQ(seen, file.at("numberOfTests").as_int64());
  EXPECT_GT(invalid, 30);
}

TEST(Signature, MatchesRfc8032) {
  Bytes seed = *from_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  SigningKey key{Secret32(std::span<const std::uint8_t, 32>(seed))};
  EXPECT_EQ(to_hex(key.verify_key().bytes), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  EXPECT_EQ(to_hex(key.sign(*from_hex("72"))),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00");
}

TEST(Signature, RefusesSmallOrderKeysAndWrongSizes) {
  // With the neutral point as key and R, and S = 0, a lax verifier accepts every message.
  VerifyKey neutral;
  neutral.bytes[0] = 1;
  Bytes forged(64, 0);
  forged[0] = 1;
  EXPECT_FALSE(neutral.verify(as_bytes("anything"), forged));
  SeededRandom random(11);
  SigningKey key = SigningKey::make(random);
  Signature good = key.sign(as_bytes("text"));
  EXPECT_TRUE(key.verify_key().verify(as_bytes("text"), good));
  EXPECT_FALSE(key.verify_key().verify(as_bytes("texT"), good));
  EXPECT_FALSE(key.verify_key().verify(as_bytes("text"), ByteView(good).first(63)));
  EXPECT_FALSE(key.verify_key().verify(as_bytes("text"), {}));
}

TEST(Signature, TextFormsRoundTrip) {
  SeededRandom random(12);
  SigningKey key = SigningKey::make(random);
  EXPECT_EQ(VerifyKey::parse(key.verify_key().text()), key.verify_key());
  EXPECT_EQ(SigningKey::parse(key.text())->verify_key(), key.verify_key());
  EXPECT_FALSE(SigningKey::parse(key.verify_key().text()));
  EXPECT_FALSE(VerifyKey::parse(key.verify_key().text() + "\n"));
}

TEST(ServiceTokens, NameTheServiceUntilTheyExpire) {
  SeededRandom random(13);
  ManualClock clock;
  Secret32 key = Secret32::random(random);
  ServiceTokens issuer(key, clock), verifier(key, clock);
  std::string token = issuer.issue("session-recorder");
  EXPECT_TRUE(token.starts_with("v1.session-recorder.1700000060."));
  EXPECT_EQ(verifier.verify(token), "session-recorder");
  clock.advance(65'000);
  EXPECT_TRUE(verifier.verify(token)) << "5 s of skew are allowed";
  clock.advance(1);
  EXPECT_FALSE(verifier.verify(token));
}

TEST(ServiceTokens, AreHandedOutAgainForHalfTheirLife) {
  ManualClock clock;
  ServiceTokens tokens(Secret32{}, clock);
  std::string first = tokens.issue("a");
  clock.advance(29'999);
  EXPECT_EQ(tokens.issue("a"), first);
  clock.advance(1);
  EXPECT_NE(tokens.issue("a"), first);
  EXPECT_TRUE(tokens.issue("b").starts_with("v1.b."));
  std::string now = tokens.issue("a");
  clock.advance(-120'000);
  EXPECT_NE(tokens.issue("a"), now) << "the wall clock was set back";
}

TEST(ServiceTokens, RefuseForgeries) {
  SeededRandom random(14);
  ManualClock clock;
  ServiceTokens tokens(Secret32::random(random), clock), others(Secret32::random(random), clock);
  std::string token = tokens.issue("session-storage");
  EXPECT_FALSE(others.verify(token));
  for (std::size_t i = 0; i < token.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string altered = token;
      altered[i] = static_cast<char>(altered[i] ^ (1 << bit));
      EXPECT_FALSE(tokens.verify(altered)) << altered;
    }
  for (std::size_t i = 0; i < token.size(); ++i) EXPECT_FALSE(tokens.verify(token.substr(0, i)));
  for (const char* bad : {"", "v1", "v1.", "v1..", "v1...", "v1.a.1", "v1.a.1.", "v1.a.-1.AAAA", "v2.a.1700000060.AAAA"})
    EXPECT_FALSE(tokens.verify(bad)) << bad;
  EXPECT_FALSE(tokens.verify(std::string(100'000, '.')));
  EXPECT_THROW(tokens.issue("a.b"), Error);
  EXPECT_THROW(tokens.issue(""), Error);
}

}  // namespace
}  // namespace lucid::crypto
