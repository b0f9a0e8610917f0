#include "lib/net/target.hpp"

#include <algorithm>

#include "lib/base/bytes.hpp"
#include "lib/net/client.hpp"

namespace lucid::net {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::unexpected<Error> refused(const char* reason) {
  return std::unexpected(Error(ErrorKind::malformed, "bad_target", std::string("the request target ") + reason));
}

bool has_dot_segment(std::string_view path) {
  while (!path.empty()) {
    std::size_t slash = path.find('/');
    std::string_view segment = path.substr(0, slash);
    if (segment == "." || segment == "..") return true;
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return false;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (text.size() - i < 3) return std::nullopt;
      int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out.push_back(static_cast<char>(high << 4 | low));
      i += 2;
    } else {
      out.push_back(text[i] == '+' && plus == Plus::space ? ' ' : text[i]);
    }
  }
  return out;
}

Expected<Target> parse_target(std::string_view target) {
  // Absolute form must be accepted by every server (RFC 9112 section 3.2.2); its authority says nothing we use.
  if (constexpr std::string_view kScheme = "http://"; target.starts_with(kScheme)) {
    std::size_t slash = target.find('/', kScheme.size());
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  if (target.empty() || target.front() != '/') return refused("must start with '/'");
  if (target.find('#') != std::string_view::npos) return refused("must not have a fragment");

  std::size_t mark = target.find('?');
  std::string_view raw_path = target.substr(0, mark);
  Target out;
  // Nearly every path has no escape at all.
  if (raw_path.find('%') == std::string_view::npos) {
    out.path = raw_path;
  } else {
    std::optional<std::string> path = percent_decode(raw_path);
    if (!path) return refused("has a '%' without two hex digits");
    if (std::count(path->begin(), path->end(), '/') != std::count(raw_path.begin(), raw_path.end(), '/'))
      return refused("must not have an escaped '/'");
    out.path = std::move(*path);
  }
  if (has_control(out.path)) return refused("must not have control characters");
  if (!is_utf8(out.path)) return refused("must be UTF-8");
  if (has_dot_segment(out.path)) return refused("must not have '.' or '..' segments");

  if (mark == std::string_view::npos) return out;
  std::string_view rest = target.substr(mark + 1);
  while (!rest.empty()) {
    std::size_t end = rest.find('&');
    std::string_view pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (pair.empty()) continue;
    std::size_t equals = pair.find('=');
    std::optional<std::string> key = percent_decode(pair.substr(0, equals), Plus::space);
    std::optional<std::string> value =
        equals == std::string_view::npos ? std::string() : percent_decode(pair.substr(equals + 1), Plus::space);
    if (!key || !value) return refused("has a '%' without two hex digits in its query");
    if (!is_utf8(*key) || !is_utf8(*value)) return refused("must be UTF-8");
    if (key->find('\0') != std::string::npos || value->find('\0') != std::string::npos) return refused("must not contain NUL");
    out.query[std::move(*key)] = std::move(*value);
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    bool unreserved =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out.push_back(c);
    } else {
      unsigned char byte = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

}  // namespace lucid::net
