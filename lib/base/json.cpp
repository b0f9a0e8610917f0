#include "lib/base/json.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <boost/json/parse.hpp>

#include "lib/base/bytes.hpp"

namespace lucid {
namespace {

const json::object& empty_object() {
  static const json::object empty;
  return empty;
}

// One reference token of RFC 6901: '~' and '/' are written ~0 and ~1.
std::string escape_pointer(std::string_view key) {
  std::string out;
  for (char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

Expected<json::value> parse_json(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes)
    return std::unexpected(Error(ErrorKind::too_large, fmt::format("JSON text is larger than {} bytes", max_bytes)));
  json::parse_options options;
  options.max_depth = 32;
  boost::system::error_code ec;
  json::value value = json::parse(text, ec, {}, options);
  if (ec) return std::unexpected(Error(ErrorKind::malformed, "not valid JSON: " + ec.message()));
  return value;
}

FieldReader::FieldReader(const json::value& value, std::string pointer)
    : object_(value.if_object()), pointer_(std::move(pointer)), errors_(&own_errors_) {
  if (object_ == nullptr) {
    object_ = &empty_object();
    errors_->push_back({pointer_, "must be a JSON object"});
  }
}

const json::value* FieldReader::raw(std::string_view key) {
  known_.emplace_back(key);
  const json::value* v = object_->if_contains(key);
  return v != nullptr && v->is_null() ? nullptr : v;
}

bool FieldReader::has(std::string_view key) const {
  const json::value* v = object_->if_contains(key);
  return v != nullptr && !v->is_null();
}

void FieldReader::refuse(std::string_view key, std::string reason) {
  errors_->push_back({pointer_ + "/" + std::string(key), std::move(reason)});
}

std::string FieldReader::text(std::string_view key, TextRule rule) {
  if (!has(key)) {
    known_.emplace_back(key);
    refuse(key, "is required");
    return {};
  }
  return text_or(key, {}, rule);
}

std::string FieldReader::text_or(std::string_view key, std::string fallback, TextRule rule) {
  const json::value* v = raw(key);
  if (v == nullptr) return fallback;
  const json::string* s = v->if_string();
  if (s == nullptr) return refuse(key, "must be a string"), fallback;
  std::string_view text{s->data(), s->size()};
  if (text.find('\0') != std::string_view::npos) return refuse(key, "must not contain NUL"), fallback;
  std::size_t n = code_points(text);
  if (n < rule.min || n > rule.max) return refuse(key, fmt::format("must have {} to {} characters", rule.min, rule.max)), fallback;
  return std::string(text);
}

std::int64_t FieldReader::integer(std::string_view key, std::int64_t min, std::int64_t max) {
  if (!has(key)) {
    known_.emplace_back(key);
    refuse(key, "is required");
    return min;
  }
  return integer_or(key, min, min, max);
}

std::int64_t FieldReader::integer_or(std::string_view key, std::int64_t fallback, std::int64_t min, std::int64_t max) {
  const json::value* v = raw(key);
  if (v == nullptr) return fallback;
  std::int64_t n = 0;
  if (v->is_int64())
    n = v->get_int64();
  else if (v->is_uint64() && v->get_uint64() <= static_cast<std::uint64_t>(INT64_MAX))
    n = static_cast<std::int64_t>(v->get_uint64());
  else
    return refuse(key, "must be an integer"), fallback;
  if (n < min || n > max) return refuse(key, fmt::format("must be {} to {}", min, max)), fallback;
  return n;
}

bool FieldReader::boolean_or(std::string_view key, bool fallback) {
  const json::value* v = raw(key);
  if (v == nullptr) return fallback;
  if (!v->is_bool()) return refuse(key, "must be true or false"), fallback;
  return v->get_bool();
}

std::size_t FieldReader::word_or(std::string_view key, std::size_t fallback, const std::vector<std::string_view>& words) {
  const json::value* v = raw(key);
  if (v == nullptr) return fallback;
  if (const json::string* s = v->if_string())
    for (std::size_t i = 0; i < words.size(); ++i)
      if (words[i] == std::string_view{s->data(), s->size()}) return i;
  refuse(key, fmt::format("must be one of {}", fmt::join(words, ", ")));
  return fallback;
}

std::vector<std::string> FieldReader::texts_or_empty(std::string_view key, std::size_t max_items, TextRule rule) {
  const json::value* v = raw(key);
  if (v == nullptr) return {};
  const json::array* a = v->if_array();
  if (a == nullptr || a->size() > max_items)
    return refuse(key, fmt::format("must be an array of at most {}", max_items)), std::vector<std::string>{};
  std::vector<std::string> out;
  for (std::size_t i = 0; i < a->size(); ++i) {
    const json::string* s = (*a)[i].if_string();
    std::string_view text = s != nullptr ? std::string_view{s->data(), s->size()} : std::string_view{};
    std::size_t n = code_points(text);
    if (s == nullptr || n < rule.min || n > rule.max || text.find('\0') != std::string_view::npos)
      errors_->push_back({fmt::format("{}/{}/{}", pointer_, escape_pointer(key), i),
                          fmt::format("must be a string of {} to {} characters", rule.min, rule.max)});
    else
      out.emplace_back(text);
  }
  return out;
}

FieldReader FieldReader::child(std::string_view key) {
  const json::value* v = raw(key);
  static const json::value empty = json::object{};
  FieldReader reader(v != nullptr && v->is_object() ? *v : empty, pointer_ + "/" + std::string(key));
  reader.errors_ = errors_;
  if (v != nullptr && !v->is_object()) refuse(key, "must be a JSON object");
  return reader;
}

void FieldReader::finish_child() {
  for (const auto& member : *object_) {
    std::string_view key{member.key().data(), member.key().size()};
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      errors_->push_back({pointer_ + "/" + escape_pointer(to_utf8(key, 100)), "is not a known field"});
  }
}

void FieldReader::finish() {
  finish_child();
  if (!errors_->empty()) {
    const FieldError& first = errors_->front();
    throw Error(ErrorKind::invalid, fmt::format("{} {}{}", first.pointer.empty() ? "the body" : first.pointer, first.reason,
                                                errors_->size() > 1 ? fmt::format(" (and {} more)", errors_->size() - 1) : ""))
        .with_fields(*errors_);
  }
}

}  // namespace lucid
