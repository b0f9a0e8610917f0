#include "lib/net/http.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include "lib/net/text.hpp"

namespace lucid::net {

const char* name(Method method) {
  switch (method) {
    case Method::get: return "GET";
    case Method::head: return "HEAD";
    case Method::post: return "POST";
    case Method::put: return "PUT";
    case Method::patch: return "PATCH";
    case Method::del: return "DELETE";
  }
  return "GET";
}

void Headers::set(std::string_view name, std::string value) {
  auto same = [&](const auto& item) { return same_word(item.first, name); };
  auto first = std::find_if(items_.begin(), items_.end(), same);
  if (first == items_.end()) {
    items_.emplace_back(std::string(name), std::move(value));
    return;
  }
  first->second = std::move(value);
  items_.erase(std::remove_if(first + 1, items_.end(), same), items_.end());
}

void Headers::add(std::string_view name, std::string value) { items_.emplace_back(std::string(name), std::move(value)); }

std::optional<std::string_view> Headers::get(std::string_view name) const {
  for (const auto& [key, value] : items_)
    if (same_word(key, name)) return value;
  return std::nullopt;
}

const std::string& Request::param(const std::string& name) const {
  auto found = params.find(name);
  if (found == params.end()) throw Error(ErrorKind::internal, "the route has no parameter " + name);
  return found->second;
}

std::optional<std::string> Request::query_text(const std::string& name) const {
  auto found = query.find(name);
  if (found == query.end()) return std::nullopt;
  return found->second;
}

std::int64_t Request::query_integer_or(const std::string& name, std::int64_t fallback, std::int64_t min, std::int64_t max) const {
  auto found = query.find(name);
  if (found == query.end()) return fallback;
  const std::string& text = found->second;
  std::int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || text.empty() || value < min || value > max) {
    std::string reason = fmt::format("must be an integer from {} to {}", min, max);
    throw Error(ErrorKind::invalid, fmt::format("the query parameter {} {}", name, reason)).with_fields({{"/" + name, reason}});
  }
  return value;
}

json::value Request::json_body() const {
  std::string_view type = headers.get("Content-Type").value_or("");
  type = trim(type.substr(0, type.find(';')));
  if (!same_word(type, "application/json"))
    throw Error(ErrorKind::unsupported_media, "the body must be sent as Content-Type: application/json");
  // The route's max_body has bounded it already.
  Expected<json::value> value = parse_json(as_text(body), body.size());
  if (!value) throw value.error();
  return std::move(*value);
}

Response Response::json(int status, const json::value& value) { return json_text(status, json::serialize(value)); }

Response Response::json_text(int status, std::string text) {
  Response response = Response::text(std::move(text), "application/json");
  response.status = status;
  return response;
}

Response Response::bytes(Bytes body, std::string content_type) {
  Response response;
  response.body = std::move(body);
  response.headers.set("Content-Type", std::move(content_type));
  return response;
}

Response Response::text(std::string body, std::string content_type) {
  return bytes(Bytes(body.begin(), body.end()), std::move(content_type));
}

Response Response::empty(int status) {
  Response response;
  response.status = status;
  return response;
}

}  // namespace lucid::net
