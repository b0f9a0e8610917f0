#include "node/management/work_records.hpp"

#include <array>
#include <string_view>

#include "lib/contracts/fields.hpp"

namespace lucid::node_management {
namespace {

constexpr std::array<const char*, 3> kKindWords{"hold", "challenge", "validate"};
constexpr std::array<const char*, 3> kEndWords{"passed", "wrong", "late"};

template <class E>
E word(contracts::Fields& in, std::string_view key, const std::array<const char*, 3>& words) {
  std::string text = in.text(key);
  for (std::size_t i = 0; i < words.size(); ++i)
    if (text == words[i]) return static_cast<E>(i);
  in.refuse(key);
  return E{};
}

// Reads a text this service wrote.
template <class T, class Read>
T read_own(const std::string& text, const char* what, Read read) {
  auto value = parse_json(text);
  if (!value) throw Error(ErrorKind::corrupt, "bad_document", std::string("a stored ") + what + " is no JSON");
  contracts::Fields in(*value);
  T out = read(in);
  if (!in.ok()) throw Error(ErrorKind::corrupt, "bad_document", std::string("stored: ") + in.error(what).what());
  return out;
}

json::object object_of(const WorkItem& item) {
  const contracts::NodeWork& w = item.work;
  return {{"id", w.id.text()},        {"kind", kKindWords[static_cast<std::size_t>(w.kind)]},
          {"node", item.node.text()}, {"session", w.session.text()},
          {"sequence", w.sequence},   {"offset", w.offset},
          {"length", w.length},       {"nonce", to_hex(w.nonce)},
          {"chunks", w.chunks},       {"deadline_ms", w.deadline_ms},
          {"bytes", item.bytes},      {"expected", to_hex(item.expected)}};
}

}  // namespace

std::string to_text(const WorkItem& item) { return json::serialize(object_of(item)); }

std::string to_text(const WorkItem& item, const WorkResult& result) {
  json::object object = object_of(item);
  object["end"] = kEndWords[static_cast<std::size_t>(result.end)];
  object["reason"] = result.reason;
  return json::serialize(object);
}

WorkItem read_work_item(const std::string& text) {
  return read_own<WorkItem>(text, "piece of work", [](contracts::Fields& in) {
    WorkItem item;
    item.work.id = in.id("id");
    item.work.kind = word<contracts::NodeWork::Kind>(in, "kind", kKindWords);
    item.node = in.id("node");
    item.work.session = in.id("session");
    item.work.sequence = in.number<std::uint64_t>("sequence");
    item.work.offset = in.number<std::uint64_t>("offset");
    item.work.length = in.number<std::uint64_t>("length");
    item.work.nonce = in.hash("nonce");
    item.work.chunks = in.number<std::uint64_t>("chunks");
    item.work.deadline_ms = in.number<std::int64_t>("deadline_ms");
    item.bytes = in.number<std::uint64_t>("bytes");
    item.expected = in.hash("expected");
    return item;
  });
}

WorkResult read_work_result(const std::string& text) {
  return read_own<WorkResult>(text, "result of work", [](contracts::Fields& in) {
    auto end = word<WorkEnd>(in, "end", kEndWords);
    return WorkResult{end, in.text("reason")};
  });
}

std::string to_text(const HoldingRecord& h) {
  return json::serialize(json::object{{"chunks", h.chunks},
                                      {"total_bytes", h.total_bytes},
                                      {"next", h.next},
                                      {"bytes", h.bytes},
                                      {"missing", json::array(h.missing.begin(), h.missing.end())}});
}

HoldingRecord read_holding(const std::string& text) {
  return read_own<HoldingRecord>(text, "holding", [](contracts::Fields& in) {
    HoldingRecord h;
    h.chunks = in.number<std::uint64_t>("chunks");
    h.total_bytes = in.number<std::uint64_t>("total_bytes");
    h.next = in.number<std::uint64_t>("next");
    h.bytes = in.number<std::uint64_t>("bytes");
    for (const json::value& value : in.array("missing")) {
      boost::system::error_code wrong;
      auto sequence = value.to_number<std::uint64_t>(wrong);
      if (wrong || sequence >= h.next) in.refuse("missing");
      h.missing.insert(sequence);
    }
    return h;
  });
}

std::string to_text(const RecordingRecord& r) {
  json::array validators;
  for (const Id& id : r.validators) validators.push_back(json::value(id.text()));
  json::object failed;
  for (const auto& [id, times] : r.failed) failed[id.text()] = times;
  return json::serialize(json::object{{"chunks", r.chunks},
                                      {"bytes", r.bytes},
                                      {"root", to_hex(r.root)},
                                      {"validators", std::move(validators)},
                                      {"failed", std::move(failed)}});
}

RecordingRecord read_recording(const std::string& text) {
  return read_own<RecordingRecord>(text, "recording", [](contracts::Fields& in) {
    RecordingRecord r;
    r.chunks = in.number<std::uint64_t>("chunks");
    r.bytes = in.number<std::uint64_t>("bytes");
    r.root = in.hash("root");
    for (const std::string& validator : in.texts("validators")) {
      auto id = Id::parse(validator);
      if (!id) in.refuse("validators");
      r.validators.insert(id.value_or(Id{}));
    }
    if (const json::object* failed = in.value("failed").if_object())
      for (const auto& [key, times] : *failed) {
        auto id = Id::parse(key);
        boost::system::error_code wrong;
        auto n = times.to_number<std::uint64_t>(wrong);
        if (!id || wrong) in.refuse("failed");
        r.failed[id.value_or(Id{})] = n;
      }
    return r;
  });
}

}  // namespace lucid::node_management
