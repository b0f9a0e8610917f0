// BLAKE3-256 (content of stored chunks) and SHA-256 (RFC 9162 trees, frame digests). Pure; any thread.
#pragma once

#include <memory>

#include "lib/base/bytes.hpp"

namespace lucid::crypto {

Hash32 blake3(ByteView bytes);
Hash32 sha256(ByteView bytes);

// Incremental forms. finish() may be called once.
class Blake3Hasher {
 public:
  Blake3Hasher();
  ~Blake3Hasher();
  void update(ByteView bytes);
  Hash32 finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  void update(ByteView bytes);
  Hash32 finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::crypto
