// Keys of recorders' spool files, opened once with the processor's private key and kept for the segments that follow.
// Bounded: the least recently used of 256 is wiped. Thread-safe.
#pragma once

#include <list>
#include <mutex>

#include "lib/crypto/sealed_box.hpp"
#include "lib/recording/spool_format.hpp"

namespace lucid::processor {

class SpoolKeys {
 public:
  explicit SpoolKeys(crypto::BoxKey own) : own_(std::move(own)) {}
  const crypto::BoxPublicKey& public_key() const { return own_.public_key(); }
  // Error{invalid, "spool_key"} when the header was not sealed to this processor.
  crypto::Secret32 open(const recording::SpoolHeader& header);

 private:
  struct Entry {
    recording::SpoolHeader header;
    crypto::Secret32 key;
  };
  crypto::BoxKey own_;
  std::mutex mutex_;
  std::list<Entry> recent_;  // most recently used first
};

}  // namespace lucid::processor
