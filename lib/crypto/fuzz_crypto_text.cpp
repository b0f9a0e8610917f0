// Hostile key texts, tokens and sealed bytes: whatever is accepted must be the one way to write it.
#include <cstdint>
#include <cstdlib>

#include "lib/crypto/aead.hpp"
#include "lib/crypto/sealed_box.hpp"
#include "lib/crypto/service_token.hpp"
#include "lib/crypto/signature.hpp"

using namespace lucid;
using namespace lucid::crypto;

namespace {
void require(bool good) {
  if (!good) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ManualClock clock;
  static const Secret32 zero;
  static const ServiceTokens tokens(zero, clock);
  static const BoxKey box{Secret32()};
  ByteView bytes(data, size);
  std::string_view text = as_text(bytes);
  std::string_view line = text.ends_with('\n') ? text.substr(0, text.size() - 1) : text;

  if (auto key = BoxPublicKey::parse(text)) require(key->text() == text);
  if (auto key = VerifyKey::parse(text)) require(key->text() == text);
  if (auto key = BoxKey::parse(text)) require(key->text() == line);
  if (auto key = SigningKey::parse(text)) require(key->text() == line);
  if (auto service = tokens.verify(text)) require(text.starts_with("v1." + *service + "."));
  (void)box.open(bytes);
  if (size >= kTagSize) {
    Bytes out(size - kTagSize);
    (void)open(zero, Nonce{}, {}, bytes, out);
  }
  return 0;
}
