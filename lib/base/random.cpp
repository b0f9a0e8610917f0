#include "lib/base/random.hpp"

#include <sys/random.h>
#include <cerrno>

#include "lib/base/error.hpp"

namespace lucid {

void SystemRandom::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    ssize_t n = getrandom(out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(ErrorKind::internal, "read random bytes from the kernel: getrandom failed");
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

void SeededRandom::fill(std::span<std::uint8_t> out) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < out.size(); i += 8) {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    for (std::size_t k = i; k < out.size() && k < i + 8; ++k) out[k] = static_cast<std::uint8_t>(z >> (8 * (k - i)));
  }
}

}  // namespace lucid
