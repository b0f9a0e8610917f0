#include <algorithm>

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include "lib/net/http.hpp"
#include "lib/net/response_head.hpp"

namespace lucid::net {
namespace {

// Every Error with these kinds tells the client when to come back, even where the thrower did not say.
constexpr std::chrono::seconds kDefaultRetry{1};

ErrorKind kind_of(int status, const std::string& code) {
  switch (status) {
    case 400: return ErrorKind::malformed;
    case 401: return ErrorKind::unauthorized;
    case 403: return ErrorKind::forbidden;
    case 404: return ErrorKind::not_found;
    case 405: return ErrorKind::method_not_allowed;
    case 408: return ErrorKind::timeout;
    case 409:
    case 412: return ErrorKind::conflict;
    case 413: return ErrorKind::too_large;
    case 415: return ErrorKind::unsupported_media;
    case 422: return ErrorKind::invalid;
    case 429: return ErrorKind::rate_limited;
    // `corrupt` shares its status with `internal`; its code tells them apart.
    case 500: return code.find("corrupt") != std::string::npos ? ErrorKind::corrupt : ErrorKind::internal;
    case 502:
    case 503:
    case 504: return ErrorKind::unavailable;
    case 507: return ErrorKind::storage_full;
    default: return status >= 400 && status < 500 ? ErrorKind::malformed : ErrorKind::internal;
  }
}

std::string text_member(const json::object& object, std::string_view key, std::size_t max) {
  const json::value* v = object.if_contains(key);
  const json::string* s = v != nullptr ? v->if_string() : nullptr;
  return s != nullptr ? to_utf8({s->data(), s->size()}, max) : std::string();
}

bool is_code(std::string_view code) {
  return !code.empty() && code.size() <= 64 &&
         std::all_of(code.begin(), code.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

// Retry-After as seconds; the HTTP-date form is not one we send.
std::optional<std::chrono::seconds> retry_after_of(const Headers& headers) {
  std::optional<std::string_view> text = headers.get("Retry-After");
  if (!text || text->empty() || text->size() > 6) return std::nullopt;
  int seconds = 0;
  for (char c : *text) {
    if (c < '0' || c > '9') return std::nullopt;
    seconds = seconds * 10 + (c - '0');
  }
  return std::chrono::seconds(seconds);
}

std::vector<FieldError> fields_of(const json::object& object) {
  const json::value* list = object.if_contains("errors");
  if (list == nullptr || !list->is_array()) return {};
  std::vector<FieldError> fields;
  for (const json::value& item : list->get_array()) {
    if (!item.is_object() || fields.size() == 100) continue;
    fields.push_back({text_member(item.get_object(), "pointer", 1000), text_member(item.get_object(), "reason", 1000)});
  }
  return fields;
}

}  // namespace

Response problem_with_status(int status, const Error& error, const std::string& request_id) {
  json::object body{{"type", "urn:lucid:problem:" + error.code()}, {"title", reason_phrase(status)}, {"status", status},
                    {"detail", to_utf8(error.what(), 2000)},       {"code", error.code()},           {"request_id", request_id}};
  if (!error.fields().empty()) {
    json::array errors;
    for (const FieldError& field : error.fields())
      errors.push_back({{"pointer", to_utf8(field.pointer, 1000)}, {"reason", to_utf8(field.reason, 1000)}});
    body["errors"] = std::move(errors);
  }
  Response response = Response::json(status, body);
  response.headers.set("Content-Type", "application/problem+json");
  std::optional<std::chrono::seconds> retry = error.retry_after();
  if (!retry && (status == 429 || status == 503)) retry = kDefaultRetry;
  if (retry) response.headers.set("Retry-After", std::to_string(retry->count()));
  if (status == 401) response.headers.set("WWW-Authenticate", "Bearer");
  return response;
}

Response problem(const Error& error, const std::string& request_id) {
  return problem_with_status(http_status(error.kind()), error, request_id);
}

Error error_from(int status, const Headers& headers, ByteView body, const std::string& what) {
  json::object object;
  if (Expected<json::value> parsed = parse_json(as_text(body)); parsed && parsed->is_object()) object = std::move(parsed->get_object());
  std::string code = text_member(object, "code", 64);
  std::string detail = text_member(object, "detail", 2000);
  ErrorKind kind = kind_of(status, code);
  if (!is_code(code)) code = default_code(kind);
  if (detail.empty()) detail = fmt::format("{} was answered with status {}", what, status);
  Error error = Error(kind, code, detail).with_fields(fields_of(object));
  if (std::optional<std::chrono::seconds> retry = retry_after_of(headers)) error = error.with_retry_after(*retry);
  return error;
}

}  // namespace lucid::net
