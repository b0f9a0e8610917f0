#include "lib/net/trace.hpp"

#include <algorithm>
#include <utility>

namespace lucid::net {
namespace {

Trace& slot() {
  thread_local Trace trace;
  return trace;
}

bool is_id_of(std::string_view text) {
  bool hex = std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  return hex && text.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

const Trace& current_trace() { return slot(); }

TraceScope::TraceScope(Trace trace) : previous_(std::exchange(slot(), std::move(trace))) {}
TraceScope::~TraceScope() { slot() = std::move(previous_); }

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

bool is_traceparent(std::string_view text) {
  // 00-<32 hex trace id>-<16 hex parent id>-<2 hex flags>
  if (text.size() != 55 || !text.starts_with("00-") || text[35] != '-' || text[52] != '-') return false;
  std::string_view flags = text.substr(53);
  return is_id_of(text.substr(3, 32)) && is_id_of(text.substr(36, 16)) && (flags == "00" || is_id_of(flags));
}

std::string_view trace_id_of(std::string_view traceparent) {
  return is_traceparent(traceparent) ? traceparent.substr(3, 32) : std::string_view();
}

}  // namespace lucid::net
