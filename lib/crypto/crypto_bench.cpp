#include <benchmark/benchmark.h>
#include <openssl/evp.h>
#include <sodium.h>

#include "lib/crypto/aead.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/crypto/kdf.hpp"
#include "lib/crypto/sealed_box.hpp"
#include "lib/crypto/signature.hpp"

namespace lucid::crypto {
namespace {

void count_bytes(benchmark::State& state) { state.SetBytesProcessed(state.iterations() * state.range(0)); }

void BM_Seal(benchmark::State& state) {
  Secret32 key;
  Nonce nonce{};
  Bytes in(static_cast<std::size_t>(state.range(0))), out(in.size() + kTagSize);
  for (auto _ : state) seal(key, nonce, {}, in, out);
  count_bytes(state);
}
void BM_Open(benchmark::State& state) {
  Secret32 key;
  Nonce nonce{};
  Bytes in(static_cast<std::size_t>(state.range(0))), sealed(in.size() + kTagSize);
  seal(key, nonce, {}, in, sealed);
  for (auto _ : state) benchmark::DoNotOptimize(open(key, nonce, {}, sealed, in));
  count_bytes(state);
}
// The yardsticks: OpenSSL's ChaCha20-Poly1305 with one context kept, and libsodium's XChaCha20-Poly1305.
void BM_BareOpenSsl(benchmark::State& state) {
  Bytes in(static_cast<std::size_t>(state.range(0))), out(in.size() + kTagSize);
  std::uint8_t key[32] = {}, nonce[12] = {};
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, EVP_chacha20_poly1305(), nullptr, nullptr, nullptr);
  for (auto _ : state) {
    int size = 0;
    EVP_EncryptInit_ex(context, nullptr, nullptr, key, nonce);
    EVP_EncryptUpdate(context, out.data(), &size, in.data(), static_cast<int>(in.size()));
    EVP_EncryptFinal_ex(context, out.data() + in.size(), &size);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize, out.data() + in.size());
  }
  EVP_CIPHER_CTX_free(context);
  count_bytes(state);
}
void BM_Libsodium(benchmark::State& state) {
  Bytes in(static_cast<std::size_t>(state.range(0))), out(in.size() + kTagSize);
  std::uint8_t key[32] = {}, nonce[24] = {};
  for (auto _ : state)
    crypto_aead_xchacha20poly1305_ietf_encrypt(out.data(), nullptr, in.data(), in.size(), nullptr, 0, nullptr, nonce, key);
  count_bytes(state);
}
BENCHMARK(BM_Seal)->Arg(4 << 10)->Arg(64 << 10)->Arg(1 << 20);
BENCHMARK(BM_Open)->Arg(4 << 10)->Arg(64 << 10)->Arg(1 << 20);
BENCHMARK(BM_BareOpenSsl)->Arg(4 << 10)->Arg(64 << 10)->Arg(1 << 20);
BENCHMARK(BM_Libsodium)->Arg(64 << 10);

void BM_Blake3(benchmark::State& state) {
  Bytes in(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(blake3(in));
  count_bytes(state);
}
void BM_Sha256(benchmark::State& state) {
  Bytes in(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(sha256(in));
  count_bytes(state);
}
BENCHMARK(BM_Blake3)->Arg(1 << 10)->Arg(64 << 10);
BENCHMARK(BM_Sha256)->Arg(65)->Arg(64 << 10);

void BM_RatchetStep(benchmark::State& state) {
  Secret32 key;
  for (auto _ : state) {
    Secret32 chunk = derive(key, "chunk");
    key = derive(key, "next");
    benchmark::DoNotOptimize(chunk);
  }
}
void BM_Sign(benchmark::State& state) {
  SigningKey key{Secret32()};
  Bytes text(160);
  for (auto _ : state) benchmark::DoNotOptimize(key.sign(text));
}
void BM_Verify(benchmark::State& state) {
  SigningKey key{Secret32()};
  Bytes text(160);
  Signature signature = key.sign(text);
  for (auto _ : state) benchmark::DoNotOptimize(key.verify_key().verify(text, signature));
}
void BM_SealTo(benchmark::State& state) {
  SystemRandom random;
  BoxKey key = BoxKey::make(random);
  Bytes text(64 << 10);
  for (auto _ : state) benchmark::DoNotOptimize(seal_to(key.public_key(), text, random));
}
BENCHMARK(BM_RatchetStep);
BENCHMARK(BM_Sign);
BENCHMARK(BM_Verify);
BENCHMARK(BM_SealTo);

}  // namespace
}  // namespace lucid::crypto

BENCHMARK_MAIN();
