// Who this node is: DIRECTORY/node.key (Ed25519, 0600), node.json (its id, name, offer and service), sequence (how far signed requests may have
// counted), made by the first start and kept for good. Sequences are reserved on disk a thousand at a time, so that a killed node never uses
// one again. next_sequence() and skip_to() from any thread, the rest from one. Errors: what files say; Error{corrupt} for a file that is not ours.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "lib/base/file_ops.hpp"
#include "lib/base/random.hpp"
#include "lib/contracts/nodes.hpp"

namespace lucid::node_agent {

inline constexpr std::uint64_t kReserved = 1'000;

class Identity {
 public:
  Identity(std::string directory, FileOps& files, RandomSource& random);
  const crypto::SigningKey& key() const { return key_; }

  struct Place {
    Id node;
    std::string url, name;
    contracts::NodeType type = contracts::NodeType::worker;
    std::uint64_t storage_bytes = 0;  // it offers
    bool activated = false;
  };
  const std::optional<Place>& place() const { return place_; }
  void set_place(Place place);  // durable

  std::uint64_t next_sequence();
  void skip_to(std::uint64_t used);  // the service has seen this one

 private:
  void reserve(std::uint64_t above);
  static crypto::SigningKey open_key(const std::string& path, FileOps& files, RandomSource& random);
  std::string directory_;
  FileOps& files_;
  crypto::SigningKey key_;
  std::optional<Place> place_;
  std::mutex mutex_;
  std::uint64_t sequence_ = 0, reserved_ = 0;
};

}  // namespace lucid::node_agent
