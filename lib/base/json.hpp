// JSON at the edges: Boost.JSON with limits, and a FieldReader that turns an object into values while collecting every
// refused field with its RFC 6901 pointer, so one answer names all mistakes. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "lib/base/error.hpp"

namespace lucid {

namespace json = boost::json;

// Parses one JSON text: at most `max_bytes` long, nested at most 32 deep, valid UTF-8. Error kind: malformed.
Expected<json::value> parse_json(std::string_view text, std::size_t max_bytes = 1 << 20);

// Reads fields of an object nobody vouches for. Typical use:
//   FieldReader in(object);
//   auto name = in.text("name", {.min = 1, .max = 255});
//   auto rate = in.integer_or("frame_rate", 15, 1, 60);
//   in.finish();                 // throws Error{invalid} listing every refused and every unknown field
class FieldReader {
 public:
  struct TextRule {
    std::size_t min = 0;  // characters of UTF-8, counted in code points
    std::size_t max = 255;
  };
  explicit FieldReader(const json::value& value, std::string pointer = "");
  explicit FieldReader(json::value&&, std::string pointer = "") = delete;  // it keeps a reference

  std::string text(std::string_view key, TextRule rule);
  std::string text_or(std::string_view key, std::string fallback, TextRule rule);
  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max);
  std::int64_t integer_or(std::string_view key, std::int64_t fallback, std::int64_t min, std::int64_t max);
  bool boolean_or(std::string_view key, bool fallback);
  // One of `words`; answers its index.
  std::size_t word_or(std::string_view key, std::size_t fallback, const std::vector<std::string_view>& words);
  std::vector<std::string> texts_or_empty(std::string_view key, std::size_t max_items, TextRule rule);
  // The member as it is, or null when absent (marks the key as known).
  const json::value* raw(std::string_view key);
  // A reader over a member object (empty object when absent); its errors join this one's.
  FieldReader child(std::string_view key);
  void refuse(std::string_view key, std::string reason);
  bool has(std::string_view key) const;
  void finish();        // for the root reader only
  void finish_child();  // marks unknown members of a child

 private:
  const json::object* object_ = nullptr;
  std::string pointer_;
  std::vector<std::string> known_;
  std::vector<FieldError> own_errors_;
  std::vector<FieldError>* errors_;
};

}  // namespace lucid
