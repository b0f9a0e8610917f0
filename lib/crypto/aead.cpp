#include "lib/crypto/aead.hpp"

#include <algorithm>
#include <cstring>

#include <openssl/evp.h>
#include <sodium.h>

#include "lib/base/error.hpp"
#include "lib/crypto/sodium.hpp"

namespace lucid::crypto {
namespace {

enum class Direction { open = 0, seal = 1 };

void check(bool good) {
  if (!good) throw Error(ErrorKind::internal, "run ChaCha20-Poly1305: OpenSSL failed");
}

// One OpenSSL context a thread, so that a call allocates nothing. Between calls it holds a key of zeros.
class Cipher {
 public:
  Cipher() : context_(EVP_CIPHER_CTX_new()) {
    static EVP_CIPHER* const algorithm = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
    check(context_ != nullptr && algorithm != nullptr);
    check(EVP_CipherInit_ex2(context_, algorithm, nullptr, nullptr, 1, nullptr) == 1);
  }
  ~Cipher() { EVP_CIPHER_CTX_free(context_); }
  Cipher(const Cipher&) = delete;

  // The XChaCha20 construction: a key of its own for the first 16 bytes of the nonce, the other 8 after four zeros.
  void start(const Secret32& key, const Nonce& nonce, Direction direction) {
    sodium_ready();
    std::uint8_t subkey[32];
    std::uint8_t inner[12] = {};
    crypto_core_hchacha20(subkey, nonce.data(), key.bytes().data(), nullptr);
    std::memcpy(inner + 4, nonce.data() + 16, 8);
    int good = EVP_CipherInit_ex2(context_, nullptr, subkey, inner, static_cast<int>(direction), nullptr);
    sodium_memzero(subkey, sizeof subkey);
    check(good == 1);
  }

  void forget() {
    static constexpr std::uint8_t kZeros[32] = {};
    check(EVP_CipherInit_ex2(context_, nullptr, kZeros, kZeros, -1, nullptr) == 1);
  }

  void associate(ByteView bytes) { pass(bytes, nullptr); }
  void crypt(ByteView in, std::uint8_t* out) {
    // A null output would make OpenSSL take the text for associated data.
    if (!in.empty()) pass(in, out);
  }

  void tag(std::uint8_t* out) {
    int size = 0;
    check(EVP_CipherFinal_ex(context_, out, &size) == 1);
    check(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, kTagSize, out) == 1);
  }

  bool tag_is(const std::uint8_t* expected) {
    std::uint8_t copy[kTagSize];
    std::memcpy(copy, expected, kTagSize);
    check(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, kTagSize, copy) == 1);
    int size = 0;
    return EVP_CipherFinal_ex(context_, copy, &size) == 1;
  }

 private:
  // OpenSSL counts in int.
  void pass(ByteView in, std::uint8_t* out) {
    while (!in.empty()) {
      ByteView part = in.first(std::min<std::size_t>(in.size(), 1 << 30));
      int size = 0;
      check(EVP_CipherUpdate(context_, out, &size, part.data(), static_cast<int>(part.size())) == 1);
      if (out != nullptr) out += part.size();
      in = in.subspan(part.size());
    }
  }

  EVP_CIPHER_CTX* context_;
};

Cipher& cipher() {
  thread_local Cipher shared;
  return shared;
}

}  // namespace

void seal(const Secret32& key, const Nonce& nonce, ByteView associated, ByteView plaintext, std::span<std::uint8_t> out) {
  if (out.size() != plaintext.size() + kTagSize)
    throw Error(ErrorKind::internal, "seal: the output is not exactly the plaintext's size and the tag's");
  Cipher& c = cipher();
  c.start(key, nonce, Direction::seal);
  c.associate(associated);
  c.crypt(plaintext, out.data());
  c.tag(out.data() + plaintext.size());
  c.forget();
}

bool open(const Secret32& key, const Nonce& nonce, ByteView associated, ByteView sealed, std::span<std::uint8_t> out) {
  if (sealed.size() < kTagSize) {
    wipe(out);
    return false;
  }
  if (out.size() != sealed.size() - kTagSize)
    throw Error(ErrorKind::internal, "open: the output is not exactly the sealed text's size without its tag");
  Cipher& c = cipher();
  c.start(key, nonce, Direction::open);
  c.associate(associated);
  c.crypt(sealed.first(out.size()), out.data());
  bool good = c.tag_is(sealed.data() + out.size());
  c.forget();
  if (!good) wipe(out);
  return good;
}

}  // namespace lucid::crypto
