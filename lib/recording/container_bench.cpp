// Chunk throughput against the bare library calls on the same bytes, taken in turns so that both meet the same machine.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <blake3.h>
#include <openssl/evp.h>
#include <zstd.h>

#include "lib/crypto/hash.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/key_epoch.hpp"

using namespace lucid;
using namespace lucid::recording;

namespace {

constexpr std::size_t kSegment = 1 << 20;

// Runs of flat pixels, repeated glyphs and noise in the proportions of tiles on a desktop.
Bytes tiles(std::uint64_t seed) {
  SeededRandom random(seed);
  Bytes out;
  while (out.size() < kSegment) {
    auto b = random.array<64>();
    if (b[0] < 120)
      out.insert(out.end(), b[1] + 8u, b[2]);
    else if (b[0] < 220)
      for (int i = 0; i < 8; ++i) out.insert(out.end(), b.begin() + 8, b.begin() + 12 + b[3] % 16);
    else
      out.insert(out.end(), b.begin(), b.end());
  }
  out.resize(kSegment);
  return out;
}

Bytes noise(std::uint64_t seed) {
  Bytes out(kSegment);
  SeededRandom(seed).fill(out);
  return out;
}

double seconds(const std::function<void()>& work) {
  auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Median seconds of each of `works`, run in turns.
std::vector<double> medians(const std::vector<std::function<void()>>& works, int rounds = 41) {
  std::vector<std::vector<double>> times(works.size());
  for (int i = 0; i < rounds; ++i)
    for (std::size_t k = 0; k < works.size(); ++k) times[k].push_back(seconds(works[k]));
  std::vector<double> out;
  for (auto& t : times) {
    std::nth_element(t.begin(), t.begin() + rounds / 2, t.end());
    out.push_back(t[static_cast<std::size_t>(rounds / 2)]);
  }
  return out;
}

// ZSTD_compress2, EVP ChaCha20-Poly1305 and BLAKE3 with kept contexts and buffers: what any sealer must at least do.
struct BareCalls {
  ZSTD_CCtx* zstd = ZSTD_createCCtx();
  EVP_CIPHER_CTX* cipher = EVP_CIPHER_CTX_new();
  Bytes compressed = Bytes(ZSTD_compressBound(kSegment)), sealed = Bytes(ZSTD_compressBound(kSegment) + 120);
  BareCalls() { ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, 3); }
  ~BareCalls() {
    ZSTD_freeCCtx(zstd);
    EVP_CIPHER_CTX_free(cipher);
  }
  void run(ByteView plain) {
    static const std::uint8_t key[32] = {1}, nonce[12] = {2}, header[80] = {3};
    std::size_t size = ZSTD_compress2(zstd, compressed.data(), compressed.size(), plain.data(), plain.size());
    const std::uint8_t* body = compressed.data();
    if (size * 100 > plain.size() * 98) body = plain.data(), size = plain.size();
    int n = 0;
    EVP_EncryptInit_ex(cipher, EVP_chacha20_poly1305(), nullptr, key, nonce);
    EVP_EncryptUpdate(cipher, nullptr, &n, header, sizeof header);
    EVP_EncryptUpdate(cipher, sealed.data() + 104, &n, body, static_cast<int>(size));
    EVP_EncryptFinal_ex(cipher, sealed.data() + 104 + size, &n);
    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, sealed.data() + 104 + size);
    blake3_hasher hasher;
    Hash32 hash;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, sealed.data(), 120 + size);
    blake3_hasher_finalize(&hasher, hash.data(), hash.size());
    benchmark::DoNotOptimize(hash);
  }
};

void report(const char* name, const Bytes& plain) {
  const crypto::Secret32 key{std::array<std::uint8_t, 32>{1}};
  SystemRandom random;
  ChunkSealer sealer;
  BareCalls bare;
  const SegmentInfo info{.last_ms = 1000};
  const SealedChunk chunk = sealer.seal(info, plain, key, random);
  auto seal = [&] { benchmark::DoNotOptimize(sealer.seal(info, plain, key, random).blake3); };
  auto calls = [&] { bare.run(plain); };
  auto open = [&] { benchmark::DoNotOptimize(open_chunk(chunk.stored, key)->data()); };
  auto verify = [&] {
    auto header = parse_chunk_header(chunk.stored);
    benchmark::DoNotOptimize(evidence::leaf_hash(encode_leaf(leaf_of(*header, crypto::blake3(chunk.stored)))));
  };
  auto t = medians({seal, calls, open, verify});
  const double mib = static_cast<double>(plain.size()) / (1 << 20), stored_gb = static_cast<double>(chunk.stored.size()) / 1e9;
  std::printf(
      "%-12s stored %7zu B  seal %7.1f MiB/s (%6.1f chunks/s)  bare calls %7.1f MiB/s  ratio %5.1f %%  open %7.1f MiB/s  verify %5.2f "
      "GB/s\n",
      name, chunk.stored.size(), mib / t[0], 1 / t[0], mib / t[1], 100 * t[1] / t[0], mib / t[2], stored_gb / t[3]);
}

}  // namespace

int main() {
  std::printf("1 MiB segments, one thread, medians\n");
  report("tiles", tiles(1));
  report("noise", noise(1));
  report("flat", Bytes(kSegment, 0x33));
  Ratchet ratchet(crypto::Secret32{std::array<std::uint8_t, 32>{1}});
  constexpr std::uint64_t kSteps = 1'000'000;
  std::clock_t start = std::clock();
  ratchet.chunk_key(kSteps);
  double t = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  std::printf("ratchet: %.0f ns of CPU a step, 10 million steps in %.1f s\n", t * 1e9 / kSteps, t * 10);
  return 0;
}
