// Routing tokens from anybody's first packet: no bytes crash the reader, and none but those signed by the key are ever taken for a token.
#include <cstdlib>

#include "rdp/controller/token.hpp"

using namespace lucid;
using namespace lucid::controller;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static SeededRandom random(1);
  static const crypto::SigningKey key = crypto::SigningKey::make(random);
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto token = open_token(text, key.verify_key())) {
    std::string sealed = seal_token(*token, key);  // Ed25519 is deterministic: there is one text for one token
    if (!sealed.ends_with(text)) std::abort();
  } else if (token.error().kind() != ErrorKind::forbidden) {
    std::abort();
  }
  return 0;
}
