#include "lib/crypto/secret.hpp"

#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include <sodium.h>
#include <sys/mman.h>

#include "lib/base/error.hpp"
#include "lib/crypto/sodium.hpp"

namespace lucid::crypto {

void sodium_ready() {
  static const int started = sodium_init();
  if (started < 0) throw Error(ErrorKind::internal, "start libsodium: sodium_init failed");
}

namespace {

constexpr std::size_t kSlot = 32;
constexpr std::size_t kBlock = 64 << 10;

// Slots of 32 bytes in pages of their own, which stay out of core dumps and, where the process may lock memory, out of
// swap. A ratchet makes two secrets a chunk: one guarded mapping each (sodium_malloc) would cost more than the chunk's
// hash. Never destroyed, since secrets in static objects may outlive any order of destruction.
class Arena {
 public:
  std::uint8_t* take() {
    std::lock_guard lock(mutex_);
    if (free_.empty()) grow();
    std::uint8_t* slot = free_.back();
    free_.pop_back();
    return slot;
  }

  void give_back(std::uint8_t* slot) {
    std::lock_guard lock(mutex_);
    free_.push_back(slot);
  }

 private:
  void grow() {
    // Room for every slot ever handed out, so that give_back (run by destructors) cannot fail.
    free_.reserve((blocks_ + 1) * (kBlock / kSlot));
    void* block = ::mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc();
    ++blocks_;
    ::madvise(block, kBlock, MADV_DONTDUMP);
    ::mlock(block, kBlock);
    for (std::size_t at = kBlock; at > 0; at -= kSlot) free_.push_back(static_cast<std::uint8_t*>(block) + at - kSlot);
  }

  std::mutex mutex_;
  std::vector<std::uint8_t*> free_;
  std::size_t blocks_ = 0;
};

Arena& arena() {
  static Arena* shared = new Arena;
  return *shared;
}

}  // namespace

Secret32::Secret32() : bytes_(arena().take()) { sodium_memzero(bytes_, kSlot); }

Secret32::Secret32(std::span<const std::uint8_t, 32> bytes) : bytes_(arena().take()) { std::memcpy(bytes_, bytes.data(), kSlot); }

Secret32 Secret32::random(RandomSource& random) {
  Secret32 secret;
  random.fill(secret.writable());
  return secret;
}

// The slots change hands, so `other` needs one of its own to stay a secret (of zeros).
Secret32::Secret32(Secret32&& other) noexcept : Secret32() { std::swap(bytes_, other.bytes_); }

Secret32& Secret32::operator=(Secret32&& other) noexcept {
  if (this != &other) {
    std::swap(bytes_, other.bytes_);
    other.wipe();
  }
  return *this;
}

Secret32::~Secret32() {
  wipe();
  arena().give_back(bytes_);
}

Secret32 Secret32::clone() const { return Secret32(bytes()); }
void Secret32::wipe() { sodium_memzero(bytes_, kSlot); }
std::span<const std::uint8_t, 32> Secret32::bytes() const { return std::span<const std::uint8_t, 32>(bytes_, kSlot); }
std::span<std::uint8_t, 32> Secret32::writable() { return std::span<std::uint8_t, 32>(bytes_, kSlot); }
bool Secret32::equals(const Secret32& other) const { return sodium_memcmp(bytes_, other.bytes_, kSlot) == 0; }

bool equal_constant_time(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || sodium_memcmp(a.data(), b.data(), a.size()) == 0);
}

void wipe(std::span<std::uint8_t> bytes) {
  if (!bytes.empty()) sodium_memzero(bytes.data(), bytes.size());
}

}  // namespace lucid::crypto
