#include <charconv>

#include "rdp/monitor/alerts/engine.hpp"

namespace lucid::monitor {
namespace {

constexpr std::size_t kPage = 500;

// Every document of a collection, in pages.
template <class F>
void each_kept(store::Documents& documents, const char* collection, std::string from, F f) {
  for (;;) {
    auto page = documents.scan(collection, {.from = from, .limit = kPage});
    for (const store::Document& d : page) f(d);
    if (page.size() < kPage) return;
    from = page.back().key + '\0';
  }
}

std::uint64_t seq_of(std::string_view key) {
  std::uint64_t seq = 0;
  std::from_chars(key.data(), key.data() + key.size(), seq, 16);
  return seq;
}

// Whether its absence means that nobody answered rather than that the subject has ended.
bool by_answer(const Rule& rule) {
  const Metric* metric = find_metric(rule.metric);
  return metric != nullptr && (metric->subject == Subject::none || metric->subject == Subject::certificate);
}

}  // namespace

Alerts::State::State(store::Documents& d, const Clock& c, RandomSource& r, Tell t) : documents(d), clock(c), random(r), tell(std::move(t)) {
  load_rules();
  load_silences();
  auto told = documents.get(kStates, kToldKey);
  told_seq = stored_told_seq = told ? read_told(told->json) : 0;
  auto first = documents.scan(kEvents, {.limit = 1});
  if (!first.empty()) first_seq = seq_of(first.front().key);
  load_alerts();
}

void Alerts::State::load_rules() {
  auto add = [&](Rule rule) {
    auto& watch = watches[rule.name];
    if (watch == nullptr) watch = std::make_unique<Watch>();
    rule.built_in = watch->rule.built_in || rule.built_in;
    replace_rule(*watch, std::move(rule));
  };
  for (Rule& rule : default_rules()) add(std::move(rule));
  each_kept(documents, kRules, "", [&](const store::Document& d) {
    if (auto rule = read_kept_rule(d.key, d.json))
      add(std::move(*rule));
    else
      log.error("an alert rule that was kept cannot be read and is left out", {{"rule", d.key}});
  });
  index_rules();
}

void Alerts::State::index_rules() {
  by_metric.clear();
  for (auto& [name, watch] : watches) {
    const Metric* metric = find_metric(watch->rule.metric);
    if (metric != nullptr && watch->rule.enabled) by_metric[metric->name].push_back(watch.get());
  }
}

void Alerts::State::load_silences() {
  each_kept(documents, kSilences, "", [&](const store::Document& d) {
    if (auto silence = read_kept_silence(d.json))
      silences.push_back(std::move(*silence));
    else
      log.error("a silence that was kept cannot be read and is left out", {{"silence", d.key}});
  });
}

// Events that are stored and not told come before what their alerts' states say: a crash may have come between the two.
void Alerts::State::load_alerts() {
  std::deque<AlertEvent> events;
  std::map<Id, AlertState> newest;
  std::uint64_t last = 0;
  {
    std::lock_guard lock(memory);
    last = told_seq;
  }
  each_kept(documents, kEvents, store::sortable(last + 1), [&](const store::Document& d) {
    auto event = read_event(d.json);
    if (!event) return log.error("an alert event that was kept cannot be read and is left out", {{"event", d.key}});
    newest[event->alert.id] = event->alert.state;
    events.push_back(std::move(*event));
  });
  if (auto end = documents.scan(kEvents, {.limit = 1, .order = store::Order::descending}); !end.empty())
    last = std::max(last, seq_of(end.front().key));

  std::vector<KeptAlert> firing;
  std::vector<std::string> over;
  each_kept(documents, kStates, "", [&](const store::Document& d) {
    if (d.key == kToldKey) return;
    auto kept = read_kept(d.json);
    if (!kept) {
      log.error("the state of an alert cannot be read and is left out", {{"alert", d.key}});
      over.push_back(d.key);
      return;
    }
    auto event = newest.find(kept->alert.id);
    if (event != newest.end() && event->second == AlertState::resolved)
      over.push_back(d.key);
    else
      firing.push_back(std::move(*kept));
    if (event != newest.end() && event->second == AlertState::firing && !firing.back().told) {
      firing.back().told = true;
      documents.put(kStates, d.key, kept_text(firing.back()));
    }
  });
  for (const std::string& key : over) documents.remove(kStates, key);

  std::lock_guard lock(memory);
  for (auto& [name, watch] : watches)
    std::erase_if(watch->tracks, [](const auto& t) { return t.second.alert.state == AlertState::firing; });
  orphans.clear();
  for (KeptAlert& kept : firing) place(std::move(kept));
  while (!events.empty() && events.front().seq <= told_seq) events.pop_front();  // told meanwhile by another thread
  untold = std::move(events);
  last_seq = std::max(last_seq, last);
  reload = false;
}

void Alerts::State::place(KeptAlert kept) {
  Track track;
  track.told = kept.told;
  auto watch = watches.find(kept.alert.rule);
  bool known = watch != watches.end() && watch->second->rule.enabled && watch->second->condition == kept.condition;
  track.alert = std::move(kept.alert);
  track.alert.state = AlertState::firing;
  if (!known) return orphans.push_back(std::move(track));
  Track& there = watch->second->tracks[track.alert.subject];
  if (there.alert.state == AlertState::firing) return orphans.push_back(std::move(track));
  there = std::move(track);
}

void Alerts::State::replace_rule(Watch& watch, Rule rule) {
  std::string condition = condition_of(rule);
  if (condition != watch.condition) orphan(watch);
  watch.condition = std::move(condition);
  watch.holds = by_answer(rule);
  watch.rule = std::move(rule);
}

void Alerts::State::orphan(Watch& watch) {
  for (auto& [subject, track] : watch.tracks)
    if (track.alert.state == AlertState::firing) orphans.push_back(std::move(track));
  watch.tracks.clear();
}

}  // namespace lucid::monitor
