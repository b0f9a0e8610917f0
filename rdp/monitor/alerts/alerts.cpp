#include "rdp/monitor/alerts/alerts.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>

#include <fmt/format.h>

#include "rdp/monitor/alerts/engine.hpp"
#include "rdp/monitor/alerts/values.hpp"

namespace lucid::monitor {
namespace {

constexpr std::int64_t kMaxSilenceMs = 366LL * 86'400'000;
constexpr std::size_t kMaxPage = 1'000;

void check(const Silence& silence, std::int64_t now) {
  std::vector<FieldError> refused;
  if (const char* why = pattern_problem(silence.rule)) refused.push_back({"/rule", why});
  if (const char* why = pattern_problem(silence.subject)) refused.push_back({"/subject", why});
  if (const char* why = line_problem(silence.reason)) refused.push_back({"/reason", why});
  if (silence.until_wall_ms <= now) refused.push_back({"/until", "must be in the future"});
  if (silence.until_wall_ms > now + kMaxSilenceMs) refused.push_back({"/until", "must be within a year"});
  if (!refused.empty())
    throw Error(ErrorKind::invalid, refused.front().pointer + " " + refused.front().reason).with_fields(std::move(refused));
}

std::vector<AlertEvent> read_events(const std::vector<store::Document>& page) {
  std::vector<AlertEvent> out;
  for (const store::Document& d : page)
    if (auto event = read_event(d.json)) out.push_back(std::move(*event));
  return out;
}

}  // namespace

Alerts::Alerts(store::Documents& documents, const Clock& clock, RandomSource& random, Tell tell)
    : state_(std::make_unique<State>(documents, clock, random, std::move(tell))) {}

Alerts::~Alerts() = default;

std::vector<Rule> Alerts::rules() const {
  std::lock_guard lock(state_->memory);
  std::vector<Rule> out;
  for (const auto& [name, watch] : state_->watches) out.push_back(watch->rule);
  return out;
}

Rule Alerts::put_rule(const Rule& wanted) {
  json::value all = to_json(wanted);
  json::object body = all.as_object();
  body.erase("name");
  body.erase("built_in");
  json::value of_rule = std::move(body);
  Rule rule = read_rule(wanted.name, of_rule);

  std::lock_guard work(state_->work);
  {
    std::lock_guard lock(state_->memory);
    auto there = state_->watches.find(rule.name);
    if (there == state_->watches.end() && state_->watches.size() >= kMaxRules)
      throw Error(ErrorKind::conflict, "limit_reached", fmt::format("there are {} alert rules; remove one first", kMaxRules));
    rule.built_in = there != state_->watches.end() && there->second->rule.built_in;
  }
  state_->documents.put(kRules, rule.name, json::serialize(to_json(rule)));

  std::lock_guard lock(state_->memory);
  auto& watch = state_->watches[rule.name];
  if (watch == nullptr) watch = std::make_unique<Watch>();
  state_->replace_rule(*watch, rule);
  state_->index_rules();
  return rule;
}

void Alerts::remove_rule(const std::string& name) {
  std::lock_guard work(state_->work);
  {
    std::lock_guard lock(state_->memory);
    auto there = state_->watches.find(name);
    if (there == state_->watches.end()) throw Error(ErrorKind::not_found, "alert_rule_not_found", "there is no alert rule of this name");
    if (there->second->rule.built_in)
      throw Error(ErrorKind::conflict, "built_in_rule", fmt::format("{} is built in: it can be disabled, not removed", name));
  }
  state_->documents.remove(kRules, name);
  std::lock_guard lock(state_->memory);
  auto there = state_->watches.find(name);
  state_->orphan(*there->second);
  state_->watches.erase(there);
  state_->index_rules();
}

std::vector<Alert> Alerts::live() const {
  std::lock_guard lock(state_->memory);
  std::vector<Alert> out;
  auto add = [&](const Track& track, const Watch* watch) {
    Alert& a = out.emplace_back(track.alert);
    a.silenced = state_->is_silenced(a);
    if (watch != nullptr) a.summary = filled(watch->rule.summary, a.subject, value_text(a.metric, a.value));
  };
  for (const auto& [name, watch] : state_->watches)
    for (const auto& [subject, track] : watch->tracks) add(track, watch.get());
  for (const Track& track : state_->orphans) add(track, nullptr);
  std::ranges::sort(out, [](const Alert& a, const Alert& b) {
    return std::tie(b.since_wall_ms, a.rule, a.subject) < std::tie(a.since_wall_ms, b.rule, b.subject);
  });
  return out;
}

std::vector<AlertEvent> Alerts::past(std::uint64_t before_seq, std::size_t limit) const {
  return read_events(state_->documents.scan(kEvents, {.to = before_seq == 0 ? std::string() : store::sortable(before_seq),
                                                      .limit = std::min(limit, kMaxPage),
                                                      .order = store::Order::descending}));
}

std::vector<AlertEvent> Alerts::after(std::uint64_t seq, std::size_t limit) const {
  if (seq == UINT64_MAX) return {};
  return read_events(state_->documents.scan(kEvents, {.from = store::sortable(seq + 1), .limit = std::min(limit, kMaxPage)}));
}

std::uint64_t Alerts::last_seq() const {
  std::lock_guard lock(state_->memory);
  return state_->last_seq;
}

std::uint64_t Alerts::left_out() const {
  std::lock_guard lock(state_->memory);
  return state_->left_out;
}

std::vector<Silence> Alerts::silences() const {
  std::lock_guard lock(state_->memory);
  std::vector<Silence> out;
  std::int64_t now = state_->clock.wall_ms();
  std::ranges::copy_if(state_->silences, std::back_inserter(out), [&](const Silence& s) { return s.until_wall_ms > now; });
  return out;
}

Silence Alerts::silence(Silence silence) {
  check(silence, state_->clock.wall_ms());
  std::lock_guard work(state_->work);
  {
    std::lock_guard lock(state_->memory);
    if (state_->silences.size() >= kMaxSilences)
      throw Error(ErrorKind::conflict, "limit_reached", fmt::format("there are {} silences; end one first", kMaxSilences));
  }
  silence.id = Id::make(state_->clock, state_->random);
  state_->documents.put(kSilences, silence.id.text(), json::serialize(to_json(silence)));
  std::lock_guard lock(state_->memory);
  state_->silences.push_back(silence);
  return silence;
}

void Alerts::end_silence(const Id& id) {
  std::lock_guard work(state_->work);
  auto is_it = [&](const Silence& s) { return s.id == id; };
  {
    std::lock_guard lock(state_->memory);
    if (std::ranges::none_of(state_->silences, is_it))
      throw Error(ErrorKind::not_found, "silence_not_found", "there is no silence of this id");
  }
  state_->documents.remove(kSilences, id.text());
  std::lock_guard lock(state_->memory);
  std::erase_if(state_->silences, is_it);
}

}  // namespace lucid::monitor
