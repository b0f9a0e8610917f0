// A recording's evidence handed out: verified on the server, or packed into a bundle that anybody can verify. Any thread;
// one BundleStream belongs to one thread. Throws lucid::Error.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "lib/contracts/processor.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/recording/bundle.hpp"
#include "sessions/api/recordings.hpp"
#include "sessions/api/session.hpp"

namespace lucid::api {

struct Verification {
  recording::VerifyReport report;
  std::string checkpoint;  // the signed note it was compared with
};
// Reads every chunk of the session from storage and compares with the newest checkpoint, signed by `key`. While the
// session is live, chunks newer than the checkpoint are left for the next time.
Verification verify_session(Recordings& recordings, contracts::ProcessorClient& processor, const Session& session,
                            const crypto::VerifyKey& key);
json::object to_json(const Verification& verification);

// The bytes of a bundle, pulled piece by piece: one chunk is in memory at a time.
class BundleStream {
 public:
  // A live session's bundle holds what its newest checkpoint covers. Error{not_found} while nothing was recorded.
  BundleStream(Recordings& recordings, contracts::ProcessorClient& processor, const Id& session);
  // Up to out.size() bytes; 0 at the end.
  std::size_t read(std::span<std::uint8_t> out);

 private:
  void produce();
  Recordings& recordings_;
  Id session_;
  contracts::ProcessorClient::Snapshot snapshot_;
  Bytes pending_;
  std::size_t given_ = 0;
  recording::BundleWriter writer_;
  std::uint64_t next_ = 0;
  bool finished_ = false;
};

}  // namespace lucid::api
