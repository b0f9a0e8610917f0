// The text form keys share: a prefix that says what the key is, then 32 bytes in base64url. Private to lib/crypto. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/bytes.hpp"
#include "lib/crypto/secret.hpp"

namespace lucid::crypto {

inline std::string key_text(std::string_view prefix, ByteView bytes) { return std::string(prefix) + to_base64url(bytes); }

inline std::optional<std::array<std::uint8_t, 32>> parse_key_text(std::string_view prefix, std::string_view text) {
  if (!text.starts_with(prefix)) return std::nullopt;
  std::optional<Bytes> bytes = from_base64url(text.substr(prefix.size()));
  if (!bytes || bytes->size() != 32) return std::nullopt;
  std::array<std::uint8_t, 32> key;
  std::copy(bytes->begin(), bytes->end(), key.begin());
  wipe(*bytes);
  return key;
}

// Secret keys live in files of one line: one newline at the end is part of the form.
inline std::optional<Secret32> parse_secret_text(std::string_view prefix, std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  auto key = parse_key_text(prefix, text);
  if (!key) return std::nullopt;
  Secret32 secret(*key);
  wipe(*key);
  return secret;
}

}  // namespace lucid::crypto
