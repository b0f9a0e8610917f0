#include "sessions/processor/spool_keys.hpp"

#include <algorithm>

#include "lib/base/error.hpp"

namespace lucid::processor {

crypto::Secret32 SpoolKeys::open(const recording::SpoolHeader& header) {
  constexpr std::size_t kKept = 256;
  std::lock_guard lock(mutex_);
  auto it = std::find_if(recent_.begin(), recent_.end(),
                         [&](const Entry& e) { return e.header.spool_id == header.spool_id && e.header.sealed_key == header.sealed_key; });
  if (it == recent_.end()) {
    auto key = recording::open_spool_key(header, own_);
    if (!key)
      throw Error(ErrorKind::invalid, "spool_key", "the segment's spool key is not sealed to this processor's key (or was altered)");
    recent_.push_front({header, std::move(*key)});
    if (recent_.size() > kKept) recent_.pop_back();
  } else {
    recent_.splice(recent_.begin(), recent_, it);
  }
  return recent_.front().key.clone();
}

}  // namespace lucid::processor
