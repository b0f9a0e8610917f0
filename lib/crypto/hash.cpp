#include "lib/crypto/hash.hpp"

#include <blake3.h>
#include <openssl/evp.h>

#include "lib/base/error.hpp"

namespace lucid::crypto {
namespace {

// Fetched once: looking the algorithm up costs more than hashing a tree node.
const EVP_MD* sha256_algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  if (algorithm == nullptr) throw Error(ErrorKind::internal, "load SHA-256 from OpenSSL: not available");
  return algorithm;
}

struct DigestContext {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  DigestContext() = default;
  DigestContext(const DigestContext&) = delete;
  ~DigestContext() { EVP_MD_CTX_free(context); }

  void start() { check(context != nullptr && EVP_DigestInit_ex2(context, sha256_algorithm(), nullptr) == 1); }
  void update(ByteView bytes) { check(EVP_DigestUpdate(context, bytes.data(), bytes.size()) == 1); }
  Hash32 finish() {
    Hash32 hash;
    check(EVP_DigestFinal_ex(context, hash.data(), nullptr) == 1);
    return hash;
  }
  static void check(bool good) {
    if (!good) throw Error(ErrorKind::internal, "compute SHA-256: OpenSSL failed");
  }
};

}  // namespace

Hash32 blake3(ByteView bytes) {
  Blake3Hasher hasher;
  hasher.update(bytes);
  return hasher.finish();
}

Hash32 sha256(ByteView bytes) {
  thread_local DigestContext digest;
  digest.start();
  digest.update(bytes);
  return digest.finish();
}

struct Blake3Hasher::State {
  blake3_hasher hasher;
};

Blake3Hasher::Blake3Hasher() : state_(std::make_unique_for_overwrite<State>()) { blake3_hasher_init(&state_->hasher); }
Blake3Hasher::~Blake3Hasher() = default;
void Blake3Hasher::update(ByteView bytes) { blake3_hasher_update(&state_->hasher, bytes.data(), bytes.size()); }
Hash32 Blake3Hasher::finish() {
  Hash32 hash;
  blake3_hasher_finalize(&state_->hasher, hash.data(), hash.size());
  return hash;
}

struct Sha256Hasher::State : DigestContext {};

Sha256Hasher::Sha256Hasher() : state_(std::make_unique<State>()) { state_->start(); }
Sha256Hasher::~Sha256Hasher() = default;
void Sha256Hasher::update(ByteView bytes) { state_->update(bytes); }
Hash32 Sha256Hasher::finish() { return state_->finish(); }

}  // namespace lucid::crypto
