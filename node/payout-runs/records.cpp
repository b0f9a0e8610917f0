#include "node/payout-runs/records.hpp"

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"

namespace lucid::payout_runs {
namespace {

constexpr std::size_t kMaxRecord = 64 << 20;

Error corrupt(const char* what) {
  return Error(ErrorKind::corrupt, "payout_record_corrupt",
               fmt::format("a stored {} cannot be read; put back a copy of the database", what));
}

json::object parsed(std::string_view text, const char* what) {
  auto value = parse_json(text, kMaxRecord);
  if (!value || !value->is_object()) throw corrupt(what);
  return std::move(value->as_object());
}

// Our own records: anything that is not as we wrote it is corrupt.
template <class Read>
auto reading(std::string_view text, const char* what, Read read) {
  json::object o = parsed(text, what);
  try {
    return read(o);
  } catch (const boost::system::system_error&) {
  } catch (const std::out_of_range&) {}
  throw corrupt(what);
}

std::string text_of(const json::object& o, const char* key) { return std::string(o.at(key).as_string()); }
template <class T = std::int64_t>
T number(const json::object& o, const char* key) {
  return o.at(key).to_number<T>();
}
Id id_of(const json::value& value, const char* what) {
  auto id = Id::parse(value.as_string());
  if (!id) throw corrupt(what);
  return *id;
}
payouts::Currency currency_of(const json::object& o, const char* what) {
  auto currency = payouts::Currency::parse(text_of(o, "currency"));
  if (!currency) throw corrupt(what);
  return *currency;
}
payouts::Ratio ratio_of(const json::object& o, const char* key) {
  const json::object& r = o.at(key).as_object();
  return {number<std::uint32_t>(r, "part"), number<std::uint32_t>(r, "of")};
}
json::object ratio(const payouts::Ratio& r) { return {{"part", r.part}, {"of", r.of}}; }
payouts::Micros amount(const json::object& o, const char* key) {
  auto micros = payouts::parse_micros(o.at(key).as_string(), payouts::Zero::allowed);
  if (!micros) throw corrupt("amount");
  return *micros;
}
std::string amount(payouts::Micros micros) { return payouts::to_text(micros); }

}  // namespace

json::value to_json(const payouts::Policy& p) {
  return json::object{{"withheld", ratio(p.withheld)},
                      {"fee", ratio(p.fee)},
                      {"threshold", amount(p.threshold)},
                      {"split_above", amount(p.split_above)},
                      {"minimum", amount(p.minimum)}};
}

json::value to_json(const PeriodRecord& p) {
  const payouts::Totals& t = p.totals;
  return json::object{{"id", p.id},
                      {"first_epoch", p.first},
                      {"last_epoch", p.last},
                      {"currency", p.currency.code()},
                      {"budget", amount(p.budget)},
                      {"budget_carried_in", amount(p.budget_carried_in)},
                      {"budget_carried_out", amount(p.budget_carried_out)},
                      {"policy", to_json(p.policy)},
                      {"totals",
                       {{"carried_in", amount(t.carried_in)},
                        {"withheld_in", amount(t.withheld_in)},
                        {"share", amount(t.share)},
                        {"paid", amount(t.paid)},
                        {"fee", amount(t.fee)},
                        {"carried_out", amount(t.carried_out)},
                        {"withheld_out", amount(t.withheld_out)}}},
                      {"previous", p.previous},
                      {"closed_at", to_rfc3339(p.closed_wall_ms)},
                      {"lines", p.lines},
                      {"payouts", p.payouts},
                      {"pieces", p.pieces},
                      {"statement_sha256", to_hex(p.statement)}};
}

PeriodRecord read_period_record(std::string_view text) {
  return reading(text, "payout period", [](const json::object& o) {
    PeriodRecord p;
    p.id = text_of(o, "id");
    p.first = number<std::uint64_t>(o, "first_epoch");
    p.last = number<std::uint64_t>(o, "last_epoch");
    p.currency = currency_of(o, "payout period");
    p.budget = amount(o, "budget");
    p.budget_carried_in = amount(o, "budget_carried_in");
    p.budget_carried_out = amount(o, "budget_carried_out");
    const json::object& policy = o.at("policy").as_object();
    p.policy = {.withheld = ratio_of(policy, "withheld"),
                .fee = ratio_of(policy, "fee"),
                .threshold = amount(policy, "threshold"),
                .split_above = amount(policy, "split_above"),
                .minimum = amount(policy, "minimum")};
    const json::object& t = o.at("totals").as_object();
    p.totals = {.carried_in = amount(t, "carried_in"),
                .withheld_in = amount(t, "withheld_in"),
                .share = amount(t, "share"),
                .paid = amount(t, "paid"),
                .fee = amount(t, "fee"),
                .carried_out = amount(t, "carried_out"),
                .withheld_out = amount(t, "withheld_out")};
    p.previous = text_of(o, "previous");
    p.closed_wall_ms = from_rfc3339(o.at("closed_at").as_string()).value_or(0);
    p.lines = number<std::size_t>(o, "lines");
    p.payouts = number<std::size_t>(o, "payouts");
    p.pieces = number<std::size_t>(o, "pieces");
    auto digest = from_hex(o.at("statement_sha256").as_string());
    if (!digest || digest->size() != p.statement.size()) throw corrupt("payout period");
    std::copy(digest->begin(), digest->end(), p.statement.begin());
    return p;
  });
}

json::value to_json(const Event& e) {
  json::object o{{"at", to_rfc3339(e.at_wall_ms)}, {"trigger", name(e.trigger)}, {"to", name(e.to)}};
  if (!e.batch.is_nil()) o["batch"] = e.batch.text();
  if (!e.reference.empty()) o["reference"] = e.reference;
  if (!e.cause.empty()) o["cause"] = e.cause;
  return o;
}

Event read_event(std::string_view text) {
  return reading(text, "payout event", [](const json::object& o) {
    Event e;
    e.at_wall_ms = from_rfc3339(o.at("at").as_string()).value_or(0);
    auto to = state(o.at("to").as_string());
    auto trigger = std::find_if(kTriggers.begin(), kTriggers.end(), [&](Trigger t) { return o.at("trigger").as_string() == name(t); });
    if (!to || trigger == kTriggers.end()) throw corrupt("payout event");
    e.to = *to;
    e.trigger = *trigger;
    if (o.contains("batch")) e.batch = id_of(o.at("batch"), "payout event");
    if (o.contains("reference")) e.reference = text_of(o, "reference");
    if (o.contains("cause")) e.cause = text_of(o, "cause");
    return e;
  });
}

std::vector<Id> Payout::batches() const {
  std::vector<Id> all;
  for (const Event& e : events)
    if (e.trigger == Trigger::claim && std::find(all.begin(), all.end(), e.batch) == all.end()) all.push_back(e.batch);
  return all;
}
std::size_t Payout::attempts() const { return batches().size(); }
std::optional<Id> Payout::batch() const {
  for (auto e = events.rbegin(); e != events.rend(); ++e)
    if (e->trigger == Trigger::claim) return e->batch;
  return std::nullopt;
}
std::string Payout::reference() const { return state() == State::completed ? events.back().reference : std::string(); }

std::string payout_document(const Payout& p) {
  return json::serialize(json::object{{"id", p.payment.payout.text()},
                                      {"node", p.payment.node.text()},
                                      {"period", p.payment.period},
                                      {"amount", amount(p.payment.micro)},
                                      {"currency", p.currency},
                                      {"index", p.index},
                                      {"of", p.of},
                                      {"made_at", to_rfc3339(p.made_wall_ms)}});
}

Payout read_payout(std::string_view text) {
  return reading(text, "payout", [](const json::object& o) {
    Payout p;
    p.payment = {.payout = id_of(o.at("id"), "payout"),
                 .node = id_of(o.at("node"), "payout"),
                 .period = text_of(o, "period"),
                 .micro = amount(o, "amount")};
    p.currency = text_of(o, "currency");
    p.index = number<std::size_t>(o, "index");
    p.of = number<std::size_t>(o, "of");
    p.made_wall_ms = from_rfc3339(o.at("made_at").as_string()).value_or(0);
    return p;
  });
}

json::value describe(const Payout& p) {
  json::array history;
  State from = State::pending;
  for (const Event& e : p.events) {
    json::object row = to_json(e).as_object();
    row["from"] = name(from);
    from = e.to;
    history.push_back(std::move(row));
  }
  json::object o{{"id", p.payment.payout.text()},
                 {"node", p.payment.node.text()},
                 {"period", p.payment.period},
                 {"amount", amount(p.payment.micro)},
                 {"currency", p.currency},
                 {"index", p.index},
                 {"of", p.of},
                 {"state", name(p.state())},
                 {"attempts", p.attempts()},
                 {"made_at", to_rfc3339(p.made_wall_ms)},
                 {"since", to_rfc3339(p.events.empty() ? p.made_wall_ms : p.events.back().at_wall_ms)},
                 {"history", std::move(history)}};
  if (auto batch = p.batch()) o["batch"] = batch->text();
  if (p.state() == State::completed) o["reference"] = p.reference();
  if (p.state() == State::failed) o["reason"] = p.events.back().cause;
  return o;
}

Id payout_id(const std::string& period, poot::Epoch last, const Id& node, std::size_t index) {
  Hash32 hash = crypto::sha256(as_bytes(fmt::format("lucid-payout-v1\n{}\n{}\n{}", period, node.text(), index)));
  std::array<std::uint8_t, 16> bytes{};
  auto ms = static_cast<std::uint64_t>(poot::ends_wall_ms(last));
  for (std::size_t i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(ms >> (8 * (5 - i)));
  std::copy(hash.begin(), hash.begin() + 10, bytes.begin() + 6);
  bytes[6] = static_cast<std::uint8_t>(0x70 | (bytes[6] & 0x0f));
  bytes[8] = static_cast<std::uint8_t>(0x80 | (bytes[8] & 0x3f));
  return Id(bytes);
}

std::string event_key(const Id& payout, std::size_t number) { return fmt::format("{}/{:06}", payout.text(), number); }

json::value to_json(const Batch& b) {
  json::array payments;
  for (const Payment& p : b.submission.payments)
    payments.push_back({{"payout", p.payout.text()}, {"node", p.node.text()}, {"period", p.period}, {"amount", amount(p.micro)}});
  return json::object{{"id", b.submission.batch.text()},
                      {"currency", b.submission.currency},
                      {"key", b.key},
                      {"reference", b.reference},
                      {"settled", b.settled},
                      {"made_at", to_rfc3339(b.made_wall_ms)},
                      {"payments", std::move(payments)}};
}

Batch read_batch(std::string_view text) {
  return reading(text, "payout batch", [](const json::object& o) {
    Batch b;
    b.submission.batch = id_of(o.at("id"), "payout batch");
    b.submission.currency = text_of(o, "currency");
    b.key = text_of(o, "key");
    b.reference = text_of(o, "reference");
    b.settled = o.at("settled").as_bool();
    b.made_wall_ms = from_rfc3339(o.at("made_at").as_string()).value_or(0);
    for (const json::value& v : o.at("payments").as_array()) {
      const json::object& p = v.as_object();
      b.submission.payments.push_back({.payout = id_of(p.at("payout"), "payout batch"),
                                       .node = id_of(p.at("node"), "payout batch"),
                                       .period = text_of(p, "period"),
                                       .micro = amount(p, "amount")});
    }
    return b;
  });
}

json::value to_json(const std::vector<payouts::Account>& accounts) {
  json::array rows;
  for (const payouts::Account& a : accounts) rows.push_back(json::array{a.node.text(), amount(a.carried_in), amount(a.withheld_in)});
  return json::object{{"accounts", std::move(rows)}};
}

std::vector<payouts::Account> read_accounts(std::string_view text) {
  return reading(text, "list of accounts", [](const json::object& o) {
    std::vector<payouts::Account> accounts;
    for (const json::value& v : o.at("accounts").as_array()) {
      const json::array& row = v.as_array();
      auto carried = payouts::parse_micros(row.at(1).as_string(), payouts::Zero::allowed);
      auto withheld = payouts::parse_micros(row.at(2).as_string(), payouts::Zero::allowed);
      if (!carried || !withheld) throw corrupt("list of accounts");
      accounts.push_back({.node = id_of(row.at(0), "list of accounts"),
                          .standing = payouts::Standing::member,
                          .carried_in = *carried,
                          .withheld_in = *withheld});
    }
    return accounts;
  });
}

}  // namespace lucid::payout_runs
