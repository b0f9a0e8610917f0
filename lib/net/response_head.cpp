#include "lib/net/response_head.hpp"

#include <ctime>

#include <fmt/format.h>

#include "lib/net/text.hpp"

namespace lucid::net {
namespace {

// RFC 9110 IMF-fixdate, rendered once a second per thread.
std::string_view date_now() {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  thread_local std::time_t rendered = -1;
  thread_local std::string text;
  std::time_t now = std::time(nullptr);
  if (now != rendered) {
    std::tm tm{};
    gmtime_r(&now, &tm);
    text = fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[tm.tm_wday], tm.tm_mday, kMonths[tm.tm_mon], tm.tm_year + 1900,
                       tm.tm_hour, tm.tm_min, tm.tm_sec);
    rendered = now;
  }
  return text;
}

bool is_framing(std::string_view name) {
  return same_word(name, "Content-Length") || same_word(name, "Transfer-Encoding") || same_word(name, "Connection") ||
         same_word(name, "Date") || same_word(name, "X-Request-ID");
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  std::size_t start = out.size();
  out.append(value);
  for (std::size_t i = start; i < out.size(); ++i)
    if (static_cast<unsigned char>(out[i]) < 0x20 || out[i] == 0x7f) out[i] = ' ';
  out.append("\r\n");
}

}  // namespace

const char* reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 507: return "Insufficient Storage";
    default: return status < 400 ? "OK" : "Error";
  }
}

bool may_have_body(int status) { return status >= 200 && status != 204 && status != 304; }

void append_head(std::string& out, const Response& response, const HeadOptions& options) {
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  bool has_cache_control = false, has_nosniff = false;
  for (const auto& [key, value] : response.headers.all()) {
    if (is_framing(key)) continue;
    has_cache_control |= same_word(key, "Cache-Control");
    has_nosniff |= same_word(key, "X-Content-Type-Options");
    append_field(out, key, value);
  }
  if (!has_nosniff) out.append("X-Content-Type-Options: nosniff\r\n");
  if (!has_cache_control) out.append("Cache-Control: no-store\r\n");
  append_field(out, "X-Request-ID", options.request_id);
  append_field(out, "Date", date_now());
  if (may_have_body(response.status)) {
    if (options.chunked)
      out.append("Transfer-Encoding: chunked\r\n");
    else
      fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", options.length);
  }
  if (!options.keep_alive)
    out.append("Connection: close\r\n");
  else if (options.http_1_0)
    out.append("Connection: keep-alive\r\n");
  out.append("\r\n");
}

}  // namespace lucid::net
