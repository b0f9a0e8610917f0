// Bytes as a bundle, verified with the key of the golden files. What verifies as good must also be readable, in full.
#include <algorithm>
#include <array>

#include "lib/recording/bundle.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lucid;
  using namespace lucid::recording;
  static const crypto::VerifyKey key = [] {
    std::array<std::uint8_t, 32> seed;
    seed.fill(7);
    return crypto::SigningKey(crypto::Secret32(seed)).verify_key();
  }();
  const ByteView bytes(data, size);
  auto read = [&](std::uint64_t offset, std::span<std::uint8_t> out) -> std::size_t {
    if (offset >= bytes.size()) return 0;
    std::size_t n = std::min<std::size_t>(out.size(), bytes.size() - offset);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), n, out.begin());
    return n;
  };
  auto report = verify_bundle(size, read, key);
  if ((report.verdict == Verdict::good) != report.findings.empty()) __builtin_trap();
  std::uint64_t chunks = 0;
  auto manifest = read_bundle(size, read, [&](const ChunkHeader& header, ByteView stored) {
    if (stored_size(header) != stored.size()) __builtin_trap();
    ++chunks;
  });
  if (report.verdict == Verdict::good && (!manifest || chunks != report.chunks)) __builtin_trap();
  return 0;
}
