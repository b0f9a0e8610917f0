#include "node/payout-runs/ledger.hpp"

#include <algorithm>
#include <charconv>
#include <functional>

#include <fmt/format.h>

#include "lib/base/json.hpp"
#include "lib/crypto/hash.hpp"

namespace lucid::payout_runs {
namespace {

constexpr std::string_view kDomain = "lucid-ledger-v1\n";
constexpr std::string_view kSignatureMember = ",\"sig\":\"";
constexpr std::size_t kMaxLine = 2'048;
constexpr std::size_t kBlock = 1 << 20;

std::string unsigned_text(const LedgerLine& l) {
  return fmt::format(
      R"({{"v":1,"n":{},"prev":"{}","at":"{}","key":{},"batch":"{}","index":{},"of":{},"payout":"{}","period":{},"node":"{}","micro":{},"currency":{})",
      l.n, to_hex(l.prev), to_rfc3339(l.at_wall_ms), json::serialize(json::value(l.key)), l.batch.text(), l.index, l.of,
      l.payment.payout.text(), json::serialize(json::value(l.payment.period)), l.payment.node.text(), l.payment.micro,
      json::serialize(json::value(l.currency)));
}

Hash32 hash_of(std::string_view line) { return crypto::sha256(as_bytes(line)); }
std::string reference_of(std::uint64_t n, const Hash32& hash) { return fmt::format("{}-{}", n, to_hex(hash)); }

std::string signed_text(std::string_view unsigned_line) { return std::string(kDomain).append(unsigned_line); }

std::string_view unsigned_part(std::string_view line) { return line.substr(0, line.rfind(kSignatureMember)); }

Error damaged(const std::string& path, std::uint64_t line, const std::string& why) {
  return Error(
      ErrorKind::corrupt, "ledger_damaged",
      fmt::format("the ledger {} cannot be used: line {}: {}; put back an undamaged copy, nothing is paid until then", path, line, why));
}

struct Walked {
  std::uint64_t end = 0, size = 0, lines = 0;
  Hash32 head{};
  std::string last;     // the last good line
  std::string problem;  // of line lines + 1; a torn tail is none
};

// Every good line from the start, in order. Stops at the first that is not.
using EachLine = std::function<std::string(const LedgerLine&, std::string_view text, std::uint64_t from, const Hash32& hash)>;
Walked walk(FileOps& files, const File& file, const std::string& path, const EachLine& each) {
  Walked w;
  w.size = files.size(file, path);
  Bytes buffer;
  std::uint64_t read_to = 0;
  std::size_t at = 0;
  for (;;) {
    std::string_view rest = as_text(ByteView(buffer).subspan(at));
    std::size_t newline = rest.find('\n');
    if (newline == std::string_view::npos && rest.size() <= kMaxLine && read_to < w.size) {
      buffer.erase(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(at));
      at = 0;
      std::size_t kept = buffer.size();
      buffer.resize(kept + static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, w.size - read_to)));
      std::size_t got = files.read_at(file, std::span(buffer).subspan(kept), read_to, path);
      buffer.resize(kept + got);
      read_to += got;
      if (got == 0) w.size = read_to;
      continue;
    }
    if (rest.empty()) return w;
    std::string_view text = rest.substr(0, std::min(newline, kMaxLine + 1));
    // Bytes a crash may leave behind what was made durable: no end of line, or holes of a block that never got to the disk.
    bool torn = newline == std::string_view::npos && rest.size() <= kMaxLine;
    if (torn || text.find('\0') != std::string_view::npos) return w;
    auto line = newline > kMaxLine ? std::nullopt : parse_ledger_line(text);
    if (!line)
      w.problem = "it is not a line of a ledger";
    else if (line->n != w.lines + 1)
      w.problem = fmt::format("its number is {}", line->n);
    else if (line->prev != w.head)
      w.problem = "it does not follow from the line before";
    Hash32 hash = hash_of(text);
    if (w.problem.empty()) w.problem = each(*line, text, w.end, hash);
    if (!w.problem.empty()) return w;
    w.last = std::string(text);
    w.head = hash;
    ++w.lines;
    w.end += newline + 1;
    at += newline + 1;
  }
}

}  // namespace

std::string ledger_line(LedgerLine line, const crypto::SigningKey& key) {
  std::string text = unsigned_text(line);
  return fmt::format("{}{}{}\"}}", text, kSignatureMember, to_base64url(key.sign(as_bytes(signed_text(text)))));
}

std::optional<LedgerLine> parse_ledger_line(std::string_view text) {
  auto parsed = parse_json(text, kMaxLine);
  if (!parsed || !parsed->is_object()) return std::nullopt;
  LedgerLine line;
  try {
    FieldReader in(*parsed);
    in.integer("v", 1, 1);
    line.n = static_cast<std::uint64_t>(in.integer("n", 1, INT64_MAX));
    auto prev = from_hex(in.text("prev", {.min = 64, .max = 64}));
    auto at = from_rfc3339(in.text("at", {.max = 40}));
    line.key = in.text("key", {.min = 1, .max = 200});
    auto batch = Id::parse(in.text("batch", {.max = 36}));
    line.index = in.integer("index", 1, 1 << 20);
    line.of = in.integer("of", line.index, 1 << 20);
    auto payout = Id::parse(in.text("payout", {.max = 36}));
    line.payment.period = in.text("period", {.min = 1, .max = 64});
    auto node = Id::parse(in.text("node", {.max = 36}));
    line.payment.micro = in.integer("micro", 1, std::int64_t{1} << 53);
    line.currency = in.text("currency", {.min = 1, .max = 16});
    auto signature = from_base64url(in.text("sig", {.min = 86, .max = 86}));
    in.finish();
    if (!prev || prev->size() != 32 || !at || !batch || !payout || !node || !signature || signature->size() != 64) return std::nullopt;
    std::copy(prev->begin(), prev->end(), line.prev.begin());
    std::copy(signature->begin(), signature->end(), line.signature.begin());
    line.at_wall_ms = *at;
    line.batch = *batch;
    line.payment.payout = *payout;
    line.payment.node = *node;
  } catch (const Error&) { return std::nullopt; }
  if (fmt::format("{}{}{}\"}}", unsigned_text(line), kSignatureMember, to_base64url(line.signature)) != text) return std::nullopt;
  return line;
}

bool signed_by(std::string_view line, const LedgerLine& parsed, const crypto::VerifyKey& key) {
  return key.verify(as_bytes(signed_text(unsigned_part(line))), parsed.signature);
}

LedgerReport check_ledger(FileOps& files, const std::string& path, const crypto::VerifyKey& key, const std::string& reference) {
  LedgerReport report;
  File file = files.open(path, OpenMode::read);
  std::unordered_set<Id> paid;
  struct Seen {
    std::int64_t lines = 0, of = 0;
    Id batch;
    std::string currency;
    std::unordered_set<std::int64_t> indices;
  };
  std::unordered_map<std::string, Seen> batches;
  bool found = reference.empty();
  Walked w = walk(files, file, path, [&](const LedgerLine& l, std::string_view text, std::uint64_t, const Hash32& hash) -> std::string {
    if (!signed_by(text, l, key)) return "its signature does not hold";
    if (!paid.insert(l.payment.payout).second) return fmt::format("payout {} was ordered before", l.payment.payout.text());
    auto [it, fresh] = batches.try_emplace(l.key);
    Seen& seen = it->second;
    if (fresh) seen = {0, l.of, l.batch, l.currency, {}};
    if (seen.of != l.of || seen.batch != l.batch || seen.currency != l.currency || !seen.indices.insert(l.index).second)
      return fmt::format("it disagrees with the lines before it about key {}", l.key);
    ++seen.lines;
    if (__builtin_add_overflow(report.micro[l.currency], l.payment.micro, &report.micro[l.currency]))
      return "the total is too large to be true";
    found |= reference_of(l.n, hash) == reference;
    return "";
  });
  report.lines = w.lines;
  report.batches = batches.size();
  for (const auto& [k, seen] : batches) report.unfinished += seen.lines < seen.of ? 1 : 0;
  if (w.lines > 0) report.head = reference_of(w.lines, w.head);
  if (!w.problem.empty())
    report.problem = fmt::format("line {}: {}", w.lines + 1, w.problem);
  else {
    report.torn_bytes = w.size - w.end;
    if (!found) report.problem = fmt::format("the line {} is not there: the file was cut or replaced", reference);
  }
  return report;
}

LedgerRail::LedgerRail(std::string path, FileOps& files, const Clock& clock, crypto::SigningKey key)
    : path_(std::move(path)), files_(files), clock_(clock), key_(std::move(key)) {}

void LedgerRail::note(const LedgerLine& line, std::uint64_t from, std::uint64_t to, const Hash32& hash) {
  auto [it, fresh] = batches_.try_emplace(line.key);
  Written& written = it->second;
  if (fresh) written.from = from;
  written.to = to;
  written.of = line.of;
  ++written.lines;
  written.reference = reference_of(line.n, hash);
  paid_.insert(line.payment.payout);
  head_ = hash;
  lines_ = line.n;
  end_ = to;
}

void LedgerRail::load() {
  if (file_ && !failed_write_) return;
  if (!file_) {
    batches_.clear();
    paid_.clear();
    end_ = lines_ = 0;
    head_ = {};
    std::size_t slash = path_.find_last_of('/');
    File file = files_.open(path_, OpenMode::append);
    files_.sync_directory(slash == std::string::npos ? "." : path_.substr(0, slash));
    // Lines are believed from here on: what an earlier life wrote and could not sync is made durable first.
    files_.sync_data(file, path_);
    Walked w = walk(files_, file, path_, [&](const LedgerLine& l, std::string_view text, std::uint64_t from, const Hash32& hash) {
      note(l, from, from + text.size() + 1, hash);
      return std::string();
    });
    if (!w.problem.empty()) throw damaged(path_, w.lines + 1, w.problem);
    // The chain makes the last signature vouch for every line before it.
    if (w.lines > 0 && !signed_by(w.last, *parse_ledger_line(w.last), key_.verify_key()))
      throw damaged(path_, w.lines, "it was not signed with this deployment's key");
    file_ = std::move(file);
    failed_write_ = w.size > w.end;
    if (!failed_write_) return;
  }
  files_.truncate(file_, end_, path_);
  files_.sync_data(file_, path_);
  failed_write_ = false;
}

std::vector<LedgerLine> LedgerRail::lines_of(const std::string& key, const Written& written) {
  Bytes bytes(static_cast<std::size_t>(written.to - written.from));
  if (files_.read_at(file_, bytes, written.from, path_) != bytes.size()) throw damaged(path_, lines_, "the file became shorter");
  std::vector<LedgerLine> lines;
  for (std::string_view rest = as_text(bytes); !rest.empty();) {
    std::string_view text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), text.size() + 1));
    auto line = parse_ledger_line(text);
    if (!line || !signed_by(text, *line, key_.verify_key())) throw damaged(path_, lines_, "lines changed behind the service's back");
    if (line->key == key) lines.push_back(std::move(*line));
  }
  return lines;
}

Accepted LedgerRail::submit(const Submission& batch, const std::string& key) {
  load();
  std::unordered_map<std::int64_t, LedgerLine> there;
  if (auto it = batches_.find(key); it != batches_.end())
    for (LedgerLine& line : lines_of(key, it->second)) there.emplace(line.index, std::move(line));
  for (const auto& [index, line] : there)
    if (line.batch != batch.batch || line.currency != batch.currency || line.of != static_cast<std::int64_t>(batch.payments.size()) ||
        !(line.payment == batch.payments[static_cast<std::size_t>(index - 1)]))
      throw Error(ErrorKind::conflict, "key_reused", fmt::format("key {} stands in the ledger {} for another batch", key, path_));

  LedgerLine line{.at_wall_ms = clock_.wall_ms(),
                  .key = key,
                  .batch = batch.batch,
                  .of = static_cast<std::int64_t>(batch.payments.size()),
                  .currency = batch.currency};
  struct New {
    LedgerLine line;
    std::uint64_t from, to;
    Hash32 hash;
  };
  std::vector<New> fresh;
  std::string out;
  line.n = lines_;
  line.prev = head_;
  for (const Payment& payment : batch.payments) {
    ++line.index;
    if (there.contains(line.index)) continue;
    if (paid_.contains(payment.payout))
      return {.reference = "", .refusal = fmt::format("payout {} is in the ledger under another key", payment.payout.text())};
    line.payment = payment;
    ++line.n;
    std::string text = ledger_line(line, key_);
    Hash32 hash = hash_of(text);
    std::uint64_t from = end_ + out.size();
    out += text;
    out += '\n';
    fresh.push_back({line, from, end_ + out.size(), hash});
    line.prev = hash;
  }
  if (!fresh.empty()) {
    failed_write_ = true;  // until it is durable; load() cuts off what a failure leaves
    files_.write(file_, as_bytes(out), path_);
    files_.sync_data(file_, path_);
    failed_write_ = false;
    for (const New& n : fresh) note(n.line, n.from, n.to, n.hash);
  }
  return {.reference = batches_.at(key).reference, .refusal = ""};
}

BatchStatus LedgerRail::status(const std::string& key, const std::string& reference) {
  load();
  auto it = batches_.find(key);
  // Lines are missing after a crash: the batch has to be submitted again, which writes only those.
  if (it == batches_.end() || it->second.lines < it->second.of) {
    if (!reference.empty()) expect(reference);
    return {};
  }
  BatchStatus status{.known = true, .reference = it->second.reference, .currency = "", .payments = {}};
  for (const LedgerLine& line : lines_of(key, it->second)) {
    status.currency = line.currency;
    status.payments.push_back({.payout = line.payment.payout,
                               .node = line.payment.node,
                               .micro = line.payment.micro,
                               .fate = PaymentStatus::Fate::paid,
                               .confirmations = 0,
                               .reason = ""});
  }
  return status;
}

void LedgerRail::expect(const std::string& newest_reference) {
  load();
  if (newest_reference.empty()) return;
  bool there = std::any_of(batches_.begin(), batches_.end(), [&](const auto& b) { return b.second.reference == newest_reference; });
  if (!there)
    throw Error(
        ErrorKind::corrupt, "ledger_shortened",
        fmt::format("the ledger {} no longer holds line {}, which was paid from: put back the whole file, nothing is paid until then",
                    path_, newest_reference));
}

}  // namespace lucid::payout_runs
