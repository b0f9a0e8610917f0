// Reads fields of JSON that another of our services sent: strict, but with one error for the whole value (people's
// input goes through FieldReader, which names every field). Any thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/id.hpp"
#include "lib/base/json.hpp"

namespace lucid::contracts {

class Fields {
 public:
  explicit Fields(const json::value& value) : object_(value.if_object()) {
    if (object_ == nullptr) wrong_ = "(not an object)";
  }
  template <class T>
  T number(std::string_view key) {
    const json::value* v = find(key);
    if (v == nullptr) return {};
    if (v->is_uint64()) return fits<T>(key, v->get_uint64());
    if (v->is_int64()) return fits<T>(key, v->get_int64());
    return refuse(key), T{};
  }
  double real(std::string_view key) {
    const json::value* v = find(key);
    if (v == nullptr || !v->is_number()) return refuse(key), 0.0;
    return v->to_number<double>();
  }
  bool boolean(std::string_view key) {
    const json::value* v = find(key);
    if (v == nullptr || !v->is_bool()) return refuse(key), false;
    return v->get_bool();
  }
  std::string text(std::string_view key) {
    const json::value* v = find(key);
    if (v == nullptr || !v->is_string()) return refuse(key), std::string{};
    return std::string(v->get_string().data(), v->get_string().size());
  }
  Id id(std::string_view key) {
    auto parsed = Id::parse(text(key));
    if (!parsed) return refuse(key), Id{};
    return *parsed;
  }
  Hash32 hash(std::string_view key) {
    auto bytes = from_hex(text(key));
    Hash32 h{};
    if (!bytes || bytes->size() != h.size()) return refuse(key), h;
    std::copy(bytes->begin(), bytes->end(), h.begin());
    return h;
  }
  const json::array& array(std::string_view key) {
    static const json::array empty;
    const json::value* v = find(key);
    if (v == nullptr || !v->is_array()) return refuse(key), empty;
    return v->get_array();
  }
  std::vector<std::string> texts(std::string_view key) {
    std::vector<std::string> out;
    for (const json::value& item : array(key)) {
      if (!item.is_string()) return refuse(key), out;
      out.emplace_back(item.get_string().data(), item.get_string().size());
    }
    return out;
  }
  const json::value& value(std::string_view key) {
    static const json::value null;
    const json::value* v = find(key);
    return v == nullptr ? null : *v;
  }
  void refuse(std::string_view key) {
    if (wrong_.empty()) wrong_ = key;
  }
  bool ok() const { return wrong_.empty(); }
  Error error(const std::string& what) const {
    return Error(ErrorKind::malformed, "the " + what + " has a missing or wrong field: " + wrong_);
  }

 private:
  const json::value* find(std::string_view key) {
    const json::value* v = object_ != nullptr ? object_->if_contains(key) : nullptr;
    if (v == nullptr) refuse(key);
    return v;
  }
  template <class T, class N>
  T fits(std::string_view key, N n) {
    if (!std::in_range<T>(n)) return refuse(key), T{};
    return static_cast<T>(n);
  }
  const json::object* object_;
  std::string wrong_;
};

}  // namespace lucid::contracts
