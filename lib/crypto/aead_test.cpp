#include "lib/crypto/aead.hpp"

#include <thread>

#include <sodium.h>

#include "lib/crypto/test_vectors.hpp"

namespace lucid::crypto {
namespace {

Secret32 key_of(ByteView bytes) { return Secret32(std::span<const std::uint8_t, 32>(bytes.data(), 32)); }

std::size_t below(RandomSource& random, std::size_t limit) {
  auto bytes = random.array<4>();
  return (bytes[0] | bytes[1] << 8 | bytes[2] << 16) % limit;
}

TEST(Aead, PassesEveryWycheproofCase) {
  LUCID_NEED_VECTORS(folder)
  json::value file = test::load_vectors(*folder + "/wycheproof/xchacha20_poly1305_test.json");
  int valid = 0, invalid = 0, other_nonce = 0;
  for (const json::value& group : file.at("testGroups").as_array()) {
    for (const json::value& entry : group.at("tests").as_array()) {
      const json::object& test = entry.as_object();
      SCOPED_TRACE(test.at("tcId").as_int64());
      Bytes key = test::hex_field(test, "key"), iv = test::hex_field(test, "iv"), aad = test::hex_field(test, "aad");
      Bytes message = test::hex_field(test, "msg"), sealed = test::hex_field(test, "ct"), tag = test::hex_field(test, "tag");
      bool expect_valid = test.at("result").as_string() == "valid";
      if (iv.size() != kNonceSize || key.size() != 32) {
        // The types of seal and open leave no room for such a nonce or key.
        EXPECT_FALSE(expect_valid);
        ++other_nonce;
        continue;
      }
      Nonce nonce;
      std::copy(iv.begin(), iv.end(), nonce.begin());
      sealed.insert(sealed.end(), tag.begin(), tag.end());
      Bytes opened(message.size());
      EXPECT_EQ(open(key_of(key), nonce, aad, sealed, opened), expect_valid);
      Bytes resealed(message.size() + kTagSize);
      seal(key_of(key), nonce, aad, message, resealed);
      if (expect_valid) {
        EXPECT_EQ(opened, message);
        EXPECT_EQ(resealed, sealed);
      } else {
        EXPECT_NE(resealed, sealed);
        EXPECT_EQ(opened, Bytes(message.size(), 0)) << "text of an altered message was left behind";
      }
      ++(expect_valid ? valid : invalid);
    }
  }
  EXPECT_EQ(valid + invalid + other_nonce, file.at("numberOfTests").as_int64());
  EXPECT_GT(valid, 100);
  EXPECT_GT(invalid, 30);
}

TEST(Aead, AgreesWithLibsodiumBothWays) {
  ASSERT_GE(sodium_init(), 0);
  SeededRandom random(1);
  for (int round = 0; round < 500; ++round) {
    // Around the block edges of both ciphers, and now and then large.
    std::size_t size = round < 300 ? static_cast<std::size_t>(round) : below(random, 200'000);
    Secret32 key = Secret32::random(random);
    Nonce nonce = random.array<kNonceSize>();
    Bytes associated = test::random_bytes(random, below(random, 80));
    Bytes message = test::random_bytes(random, size);

    Bytes ours(size + kTagSize), theirs(size + kTagSize);
    seal(key, nonce, associated, message, ours);
    crypto_aead_xchacha20poly1305_ietf_encrypt(theirs.data(), nullptr, message.data(), size, associated.data(), associated.size(), nullptr,
                                               nonce.data(), key.bytes().data());
    ASSERT_EQ(ours, theirs) << size;

    Bytes opened(size);
    ASSERT_TRUE(open(key, nonce, associated, theirs, opened));
    ASSERT_EQ(opened, message);
    Bytes opened_by_them(size);
    ASSERT_EQ(crypto_aead_xchacha20poly1305_ietf_decrypt(opened_by_them.data(), nullptr, nullptr, ours.data(), ours.size(),
                                                         associated.data(), associated.size(), nonce.data(), key.bytes().data()),
              0);
    ASSERT_EQ(opened_by_them, message);
  }
}

TEST(Aead, WorksInPlace) {
  SeededRandom random(2);
  Secret32 key = Secret32::random(random);
  Nonce nonce = random.array<kNonceSize>();
  Bytes message = test::random_bytes(random, 70'001), apart(70'001 + kTagSize), buffer = message;
  seal(key, nonce, {}, message, apart);
  buffer.resize(buffer.size() + kTagSize);
  seal(key, nonce, {}, ByteView(buffer).first(message.size()), buffer);
  EXPECT_EQ(buffer, apart);
  ASSERT_TRUE(open(key, nonce, {}, buffer, std::span(buffer).first(message.size())));
  buffer.resize(message.size());
  EXPECT_EQ(buffer, message);
}

TEST(Aead, NoticesEveryChangedBitAndWipesTheOutput) {
  SeededRandom random(3);
  Secret32 key = Secret32::random(random);
  Nonce nonce = random.array<kNonceSize>();
  Bytes associated = test::random_bytes(random, 9), message = test::random_bytes(random, 40), sealed(56), opened(40, 0xaa);
  seal(key, nonce, associated, message, sealed);
  auto refuses = [&](ByteView with_associated, const Nonce& with_nonce, ByteView with_sealed) {
    opened.assign(40, 0xaa);
    return !open(key, with_nonce, with_associated, with_sealed, opened) && opened == Bytes(40, 0);
  };
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes altered = sealed;
    altered[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_TRUE(refuses(associated, nonce, altered)) << bit;
  }
  for (std::size_t bit = 0; bit < associated.size() * 8; ++bit) {
    Bytes altered = associated;
    altered[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_TRUE(refuses(altered, nonce, sealed)) << bit;
  }
  for (std::size_t bit = 0; bit < kNonceSize * 8; ++bit) {
    Nonce altered = nonce;
    altered[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_TRUE(refuses(associated, altered, sealed)) << bit;
  }
  EXPECT_TRUE(open(key, nonce, associated, sealed, opened));
}

TEST(Aead, RefusesTextShorterThanATagAndOutputsOfTheWrongSize) {
  Secret32 key;
  Nonce nonce{};
  Bytes none, fifteen(15), sixteen(16), one(1);
  EXPECT_FALSE(open(key, nonce, {}, none, none));
  EXPECT_FALSE(open(key, nonce, {}, fifteen, none));
  EXPECT_THROW((void)open(key, nonce, {}, sixteen, one), Error);
  EXPECT_THROW(seal(key, nonce, {}, one, sixteen), Error);
}

TEST(Aead, ThreadsDoNotDisturbOneAnother) {
  std::vector<std::thread> threads;
  std::array<int, 4> wrong{};
  for (std::size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([t, &wrong] {
      SeededRandom random(100 + t);
      for (int i = 0; i < 200; ++i) {
        Secret32 key = Secret32::random(random);
        Nonce nonce = random.array<kNonceSize>();
        Bytes message = test::random_bytes(random, 1000), sealed(1016), opened(1000);
        seal(key, nonce, {}, message, sealed);
        if (!open(key, nonce, {}, sealed, opened) || opened != message) ++wrong[t];
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

}  // namespace
}  // namespace lucid::crypto
