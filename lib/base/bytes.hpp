// Byte strings, bounded little-endian reading and writing, hex and base64. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lucid {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using Hash32 = std::array<std::uint8_t, 32>;

inline ByteView as_bytes(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }
inline std::string_view as_text(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

std::string to_hex(ByteView bytes);
std::optional<Bytes> from_hex(std::string_view hex);
std::string to_base64(ByteView bytes);                    // RFC 4648 section 4, padded
std::optional<Bytes> from_base64(std::string_view text);  // strict: padding required, no spaces, canonical trailing bits
std::string to_base64url(ByteView bytes);                 // RFC 4648 section 5, no padding
std::optional<Bytes> from_base64url(std::string_view text);

// True when `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool is_utf8(std::string_view text);
// `text` with every malformed byte replaced by U+FFFD, cut at a character boundary to at most `max_bytes`.
std::string to_utf8(std::string_view text, std::size_t max_bytes);

// Appends little-endian fields to a growing byte string.
class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}
  void u8(std::uint8_t v) { out_.push_back(v); }
  void u16(std::uint16_t v) { put(v); }
  void u32(std::uint32_t v) { put(v); }
  void u64(std::uint64_t v) { put(v); }
  void i64(std::int64_t v) { put(static_cast<std::uint64_t>(v)); }
  void bytes(ByteView v) { out_.insert(out_.end(), v.begin(), v.end()); }
  // u16 length, then the bytes; longer text is cut to 65535 bytes by the caller, never here.
  void text16(std::string_view v) {
    u16(static_cast<std::uint16_t>(v.size()));
    bytes(as_bytes(v));
  }
  void text32(std::string_view v) {
    u32(static_cast<std::uint32_t>(v.size()));
    bytes(as_bytes(v));
  }
  std::size_t size() const { return out_.size(); }

 private:
  template <class T>
  void put(T v) {
    for (std::size_t i = 0; i < sizeof(T); ++i) out_.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
  }
  Bytes& out_;
};

// Reads little-endian fields from bytes nobody vouches for. After the first short read `ok()` is false and every
// further read answers zero or empty, so a parser may read a whole struct and check once.
class ByteReader {
 public:
  explicit ByteReader(ByteView in) : in_(in) {}
  std::uint8_t u8() { return static_cast<std::uint8_t>(get(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(get(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(get(4)); }
  std::uint64_t u64() { return get(8); }
  std::int64_t i64() { return static_cast<std::int64_t>(get(8)); }
  // A view into the input of exactly `n` bytes, or empty with ok() false.
  ByteView bytes(std::size_t n) {
    if (!ok_ || in_.size() - at_ < n) return fail(), ByteView{};
    ByteView v = in_.subspan(at_, n);
    at_ += n;
    return v;
  }
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> a{};
    ByteView v = bytes(N);
    if (v.size() == N) std::memcpy(a.data(), v.data(), N);
    return a;
  }
  std::string_view text16() { return as_text(bytes(u16())); }
  std::string_view text32() { return as_text(bytes(u32())); }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && at_ == in_.size(); }
  std::size_t remaining() const { return ok_ ? in_.size() - at_ : 0; }
  std::size_t position() const { return at_; }
  void fail() { ok_ = false; }

 private:
  std::uint64_t get(std::size_t n) {
    if (!ok_ || in_.size() - at_ < n) return fail(), 0;
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < n; ++i) v |= std::uint64_t{in_[at_ + i]} << (8 * i);
    at_ += n;
    return v;
  }
  ByteView in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace lucid
