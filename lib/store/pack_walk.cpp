#include "lib/store/pack_walk.hpp"

#include <algorithm>

#include "lib/crypto/hash.hpp"

namespace lucid::store {

namespace {

constexpr std::size_t kWindow = 256 << 10;  // bytes looked at in one read when searching the next entry

class Walker {
 public:
  Walker(const WalkRequest& request, const Packs::Each& each) : r_(request), each_(each) {
    walk_.size = r_.files.size(r_.file, r_.path);
    walk_.end = r_.from;
    limit_ = std::min(r_.to, walk_.size);
  }

  PackWalk run() {
    std::uint64_t at = r_.from;
    while (at < limit_) {
      std::uint64_t next = 0;
      if (take(at, next)) {
        at = walk_.end = next;
        continue;
      }
      if (r_.on_bad_bytes == OnBadBytes::stop) break;
      std::optional<std::uint64_t> resumed;
      // A chunk whose content is damaged still says where the next one starts.
      if (next > at && next < limit_ && whole(next)) resumed = next;
      if (!resumed) resumed = search(at + 1);
      walk_.bad.emplace_back(at, resumed.value_or(limit_));
      if (!resumed) break;
      at = *resumed;
    }
    return std::move(walk_);
  }

 private:
  // The end of the entry that seems to start at `at`, 0 when none does.
  std::uint64_t entry_end(ByteView header, std::uint64_t at) const {
    std::optional<std::uint32_t> length = r_.chunk_length(header);
    if (!length || *length < r_.header_bytes) return 0;
    std::uint64_t end = at + *length + kPackSealSize;
    return end <= limit_ ? end : 0;
  }

  // Reads the entry at `at` into entry_; false unless it is whole. `end`: where it claims to end, or 0.
  bool load(std::uint64_t at, std::uint64_t& end) {
    header_.resize(r_.header_bytes);
    if (r_.files.read_at(r_.file, header_, at, r_.path) != header_.size()) return false;
    end = entry_end(header_, at);
    if (end == 0) return false;
    entry_.resize(end - at);
    if (r_.files.read_at(r_.file, entry_, at, r_.path) != entry_.size()) return false;
    ByteView stored = ByteView(entry_).first(entry_.size() - kPackSealSize);
    hash_ = crypto::blake3(stored);
    return std::equal(hash_.begin(), hash_.end(), entry_.end() - kPackSealSize);
  }

  bool whole(std::uint64_t at) {
    std::uint64_t end = 0;
    return load(at, end);
  }

  bool take(std::uint64_t at, std::uint64_t& end) {
    if (!load(at, end)) return false;
    ByteView stored = ByteView(entry_).first(entry_.size() - kPackSealSize);
    each_({{r_.pack, at, static_cast<std::uint32_t>(stored.size())}, stored, hash_});
    return true;
  }

  // The first offset >= `at` where a whole entry starts.
  std::optional<std::uint64_t> search(std::uint64_t at) {
    Bytes window(kWindow + r_.header_bytes);
    while (at < limit_) {
      std::size_t got = r_.files.read_at(r_.file, window, at, r_.path);
      if (got < r_.header_bytes) return std::nullopt;
      std::size_t starts = std::min(kWindow, got - r_.header_bytes + 1);
      for (std::size_t i = 0; i < starts; ++i) {
        if (entry_end(ByteView(window).subspan(i, r_.header_bytes), at + i) != 0 && whole(at + i)) return at + i;
      }
      at += starts;
    }
    return std::nullopt;
  }

  const WalkRequest& r_;
  const Packs::Each& each_;
  PackWalk walk_;
  std::uint64_t limit_ = 0;
  Bytes header_, entry_;
  Hash32 hash_{};
};

}  // namespace

PackWalk walk_pack(const WalkRequest& request, const Packs::Each& each) { return Walker(request, each).run(); }

}  // namespace lucid::store
