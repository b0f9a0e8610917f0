#include "lib/webhooks/book.hpp"

#include <algorithm>
#include <array>

namespace lucid::webhooks {
namespace {

constexpr const char* kHooks = "webhooks";
constexpr const char* kQueue = "webhook_queue";
constexpr std::size_t kMaxKinds = 32, kMaxKind = 64, kMaxBody = 256 << 10, kMaxProblem = 300;
constexpr std::array<std::int64_t, 6> kPausesMs{5'000, 30'000, 120'000, 600'000, 1'800'000, 3'600'000};
constexpr std::int64_t kStorePauseMs = 5'000;

std::string prefix_of(const Hook& hook) { return hook.id.text() + "/"; }
constexpr std::string_view kSecretOf = "/secret";
std::string secret_key(const Id& id) { return id.text() + std::string(kSecretOf); }

json::value time_or_null(std::int64_t wall_ms) { return wall_ms == 0 ? json::value(nullptr) : json::value(to_rfc3339(wall_ms)); }

bool is_kind(std::string_view text) {
  return !text.empty() && text.size() <= kMaxKind && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

bool wants(const Hook& hook, const std::string& kind) {
  return hook.state != HookState::disabled &&
         (hook.kinds.empty() || std::find(hook.kinds.begin(), hook.kinds.end(), kind) != hook.kinds.end());
}

Error corrupt(const std::string& key) {
  return Error(ErrorKind::corrupt, "read the webhooks: the document " + key + " is not what was stored");
}

}  // namespace

const char* name(HookState state) {
  switch (state) {
    case HookState::active: return "active";
    case HookState::failing: return "failing";
    case HookState::disabled: return "disabled";
  }
  return "";
}

json::value to_json(const Hook& hook) {
  json::array kinds(hook.kinds.begin(), hook.kinds.end());
  return {{"id", hook.id.text()},
          {"url", hook.url},
          {"kinds", std::move(kinds)},
          {"state", name(hook.state)},
          {"created_at", time_or_null(hook.created_wall_ms)},
          {"last_success_at", time_or_null(hook.last_success_wall_ms)},
          {"last_failure_at", time_or_null(hook.last_failure_wall_ms)},
          {"last_problem", hook.last_problem},
          {"waiting", hook.waiting}};
}

Book::Book(store::Documents& documents, const Clock& clock, RandomSource& random, runtime::Log log)
    : documents_(documents), clock_(clock), random_(random), log_(std::move(log)) {
  load();
}

void Book::load() {
  // At most kMaxHooks hooks of two documents each. A secret without its hook is of one whose making or removal was cut short.
  for (const store::Document& document : documents_.scan(kHooks, {.limit = 4 * kMaxHooks})) {
    if (!document.key.ends_with(kSecretOf)) {
      load_hook(document);
      continue;
    }
    auto id = Id::parse(std::string_view(document.key).substr(0, document.key.size() - kSecretOf.size()));
    if (!id || !entries_.contains(*id)) documents_.remove(kHooks, document.key);
  }
  load_queue();
}

void Book::load_hook(const store::Document& document) {
  auto value = parse_json(document.json);
  auto id = Id::parse(document.key);
  auto sealed = id ? documents_.get(kHooks, secret_key(*id)) : std::nullopt;
  if (!value || !id || !sealed) throw corrupt(document.key);
  auto entry = std::make_shared<Entry>();
  try {
    FieldReader in(*value);
    entry->hook.id = *id;
    entry->hook.url = in.text("url", {.min = 1, .max = 2'000});
    entry->hook.kinds = in.texts_or_empty("kinds", kMaxKinds, {.min = 1, .max = kMaxKind});
    entry->hook.created_wall_ms = in.integer("created", 0, INT64_MAX);
    entry->hook.last_success_wall_ms = in.integer("last_success", 0, INT64_MAX);
    entry->hook.last_failure_wall_ms = in.integer("last_failure", 0, INT64_MAX);
    entry->hook.last_problem = in.text("last_problem", {.max = kMaxProblem});
    entry->hook.state = static_cast<HookState>(in.integer("state", 0, 2));
    entry->stored_success_wall_ms = entry->hook.last_success_wall_ms;
    entry->failing_since_wall_ms = in.integer("failing_since", 0, INT64_MAX);
    in.finish();
  } catch (const Error&) { throw corrupt(document.key); }
  auto address = parse_address(entry->hook.url);
  // {"secret":"whsec_<44 characters>"}: read by place, so that no parser leaves copies of it.
  constexpr std::string_view kBefore = R"({"secret":"whsec_)";
  auto secret = sealed->json.size() == kBefore.size() + 46 && sealed->json.starts_with(kBefore)
                    ? from_base64(std::string_view(sealed->json).substr(kBefore.size(), 44))
                    : std::nullopt;
  wipe(sealed->json);
  if (!address || !secret || secret->size() != 32) throw corrupt(document.key);
  entry->address = std::move(*address);
  entry->secret = crypto::Secret32(std::span<const std::uint8_t, 32>(secret->data(), 32));
  crypto::wipe(*secret);
  entry->due_steady_ms = clock_.steady_ms();
  entries_.emplace(*id, std::move(entry));
}

void Book::load_queue() {
  std::string from;
  while (true) {
    auto first = documents_.scan(kQueue, {.from = from, .limit = 1});
    if (first.empty()) return;
    std::string prefix = first[0].key.substr(0, first[0].key.find('/')) + "/";
    auto id = Id::parse(std::string_view(prefix).substr(0, prefix.size() - 1));
    auto entry = id ? entries_.find(*id) : entries_.end();
    if (entry == entries_.end()) {
      documents_.remove_range(kQueue, first[0].key, store::after_prefix(prefix));
    } else {
      entry->second->hook.waiting = documents_.count(kQueue, prefix, store::after_prefix(prefix));
      auto last =
          documents_.scan(kQueue, {.from = prefix, .to = store::after_prefix(prefix), .limit = 1, .order = store::Order::descending});
      std::uint64_t number = 0;
      for (char c : last.empty() ? std::string_view() : std::string_view(last[0].key).substr(prefix.size()))
        number = number << 4 | static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
      next_number_ = std::max(next_number_, number + 1);
    }
    from = store::after_prefix(prefix);
  }
}

void Book::save(const Entry& entry) {
  const Hook& h = entry.hook;
  documents_.put(kHooks, h.id.text(),
                 json::serialize(json::object{{"url", h.url},
                                              {"kinds", json::array(h.kinds.begin(), h.kinds.end())},
                                              {"created", h.created_wall_ms},
                                              {"last_success", h.last_success_wall_ms},
                                              {"last_failure", h.last_failure_wall_ms},
                                              {"last_problem", h.last_problem},
                                              {"state", static_cast<int>(h.state)},
                                              {"failing_since", entry.failing_since_wall_ms}}));
}

Made Book::add(const std::string& url, std::vector<std::string> kinds) {
  std::vector<FieldError> refused;
  auto address = parse_address(url);
  if (!address) refused.push_back({"/url", address.error().what()});
  if (kinds.size() > kMaxKinds) refused.push_back({"/kinds", "must have at most 32 members"});
  for (std::size_t i = 0; i < kinds.size() && i < kMaxKinds; ++i)
    if (!is_kind(kinds[i])) refused.push_back({"/kinds/" + std::to_string(i), "must be 1 to 64 characters of A-Z a-z 0-9 . _ -"});
  if (!refused.empty()) throw Error(ErrorKind::invalid, "the webhook cannot be registered as asked").with_fields(std::move(refused));
  if (entries_.size() >= kMaxHooks)
    throw Error(ErrorKind::conflict, "limit_reached", "register a webhook: there are 50 already; remove one first");
  auto entry = std::make_shared<Entry>();
  entry->hook.id = Id::make(clock_, random_);
  entry->hook.url = url;
  entry->hook.kinds = std::move(kinds);
  entry->hook.created_wall_ms = clock_.wall_ms();
  entry->address = std::move(*address);
  entry->secret = crypto::Secret32::random(random_);
  entry->due_steady_ms = clock_.steady_ms();
  Made made{.hook = entry->hook, .secret = secret_text(entry->secret)};
  std::string sealed;
  sealed.reserve(100);
  sealed.append(R"({"secret":")").append(made.secret).append("\"}");
  // The secret first: a hook that is there has one.
  try {
    documents_.put(kHooks, secret_key(entry->hook.id), sealed);
  } catch (...) {
    wipe(sealed);
    throw;
  }
  wipe(sealed);
  save(*entry);
  entries_.emplace(entry->hook.id, std::move(entry));
  return made;
}

std::vector<Hook> Book::list() const {
  std::vector<Hook> hooks;
  for (const auto& [id, entry] : entries_) hooks.push_back(entry->hook);
  return hooks;
}

std::shared_ptr<Entry> Book::find(const Id& id) const {
  auto it = entries_.find(id);
  if (it == entries_.end()) throw Error(ErrorKind::not_found, "there is no webhook " + id.text());
  return it->second;
}

void Book::remove(const Id& id) {
  auto entry = find(id);
  std::string prefix = prefix_of(entry->hook);
  documents_.remove_range(kQueue, prefix, store::after_prefix(prefix));
  entry->hook.waiting = 0;
  documents_.remove(kHooks, id.text());
  entry->removed = true;
  entries_.erase(id);
  documents_.remove(kHooks, secret_key(id));
}

std::string Book::body_of(const std::string& id, const std::string& kind, const json::value& data) const {
  return json::serialize(json::object{{"id", id}, {"type", kind}, {"timestamp", to_rfc3339(clock_.wall_ms())}, {"data", data}});
}

void Book::enqueue(const std::string& kind, const json::value& data) {
  if (!is_kind(kind)) throw Error(ErrorKind::internal, "queue a webhook event: '" + to_utf8(kind, kMaxKind) + "' is no kind");
  std::vector<std::shared_ptr<Entry>> to;
  for (const auto& [id, entry] : entries_)
    if (wants(entry->hook, kind)) to.push_back(entry);
  if (to.empty()) return;
  std::string id = Id::make(clock_, random_).text(), body = body_of(id, kind, data);
  if (body.size() > kMaxBody) throw Error(ErrorKind::too_large, "queue a webhook event of kind " + kind + ": it has more than 256 KiB");
  if (!is_utf8(body)) throw Error(ErrorKind::invalid, "queue a webhook event of kind " + kind + ": it is not UTF-8");
  std::string document = json::serialize(json::object{{"id", id}, {"at", clock_.wall_ms()}, {"body", body}});
  std::vector<store::Documents::Insert> inserts;
  for (const auto& entry : to) inserts.push_back({kQueue, prefix_of(entry->hook) + store::sortable(next_number_), document});
  ++next_number_;
  documents_.insert_many(inserts);
  for (const auto& entry : to) {
    // A hook that had nothing to do is due since now; one that has its pause keeps it.
    if (entry->hook.waiting == 0) entry->due_steady_ms = std::max(entry->due_steady_ms, clock_.steady_ms());
    ++entry->hook.waiting;
    if (entry->hook.waiting > kMaxWaiting) drop_beyond(*entry);
  }
}

bool Book::wants_turn(const Entry& entry) const {
  return !entry.busy && entry.hook.state != HookState::disabled && (entry.hook.waiting > 0 || !entry.unmarked.empty());
}

std::optional<Job> Book::take() {
  while (true) {
    std::int64_t now = clock_.steady_ms();
    std::shared_ptr<Entry> next;
    for (const auto& [id, entry] : entries_)
      if (wants_turn(*entry) && entry->due_steady_ms <= now && (!next || entry->due_steady_ms < next->due_steady_ms)) next = entry;
    if (!next) return std::nullopt;
    try {
      if (auto job = first_of(next)) return job;
    } catch (const Error& e) {
      log_.warn("what waits for a webhook cannot be read", {{"hook", next->hook.id.text()}, {"error", e.what()}});
      next->due_steady_ms = now + kStorePauseMs;
    }
  }
}

std::optional<Job> Book::first_of(const std::shared_ptr<Entry>& entry) {
  if (!entry->unmarked.empty()) {
    if (!unmark(*entry, entry->unmarked)) return std::nullopt;
    entry->unmarked.clear();
  }
  std::string prefix = prefix_of(entry->hook);
  auto first = documents_.scan(kQueue, {.from = prefix, .to = store::after_prefix(prefix), .limit = 1});
  if (first.empty()) {
    entry->hook.waiting = 0;
    return std::nullopt;
  }
  auto value = parse_json(first[0].json);
  const json::object* object = value ? value->if_object() : nullptr;
  const json::value* id = object != nullptr ? object->if_contains("id") : nullptr;
  const json::value* body = object != nullptr ? object->if_contains("body") : nullptr;
  if (id == nullptr || !id->is_string() || body == nullptr || !body->is_string()) {
    documents_.remove(kQueue, first[0].key);
    lose(*entry, 1, "its document is not what was stored");
    return std::nullopt;
  }
  entry->busy = true;
  return Job{.entry = entry, .key = first[0].key, .id = std::string(id->as_string()), .body = std::string(body->as_string())};
}

// Whether the event is out of the queue. When not, it is asked again instead of delivered again.
bool Book::unmark(Entry& entry, const std::string& key) {
  try {
    if (documents_.remove(kQueue, key) && entry.hook.waiting > 0) --entry.hook.waiting;
    return true;
  } catch (const Error& e) {
    log_.warn("a delivered event cannot be taken out of the queue", {{"hook", entry.hook.id.text()}, {"error", e.what()}});
    entry.due_steady_ms = clock_.steady_ms() + kStorePauseMs;
    return false;
  }
}

void Book::done(const Job& job, const Outcome& outcome) {
  Entry& entry = *job.entry;
  bool test = job.key.empty();
  if (!test) entry.busy = false;
  if (entry.removed) return;
  if (outcome.kind == Outcome::Kind::delivered) {
    bool news = entry.failing_since_wall_ms != 0 || entry.hook.last_success_wall_ms == 0 || entry.hook.state != HookState::active;
    entry.failures = 0;
    entry.failing_since_wall_ms = 0;
    entry.due_steady_ms = clock_.steady_ms();
    entry.hook.last_success_wall_ms = clock_.wall_ms();
    entry.hook.last_problem.clear();
    if (!test && !unmark(entry, job.key)) entry.unmarked = job.key;
    if (news) set_state(entry, HookState::active);
  } else if (!test) {
    failed(entry, outcome);
  }
}

void Book::failed(Entry& entry, const Outcome& outcome) {
  Hook& hook = entry.hook;
  hook.last_failure_wall_ms = clock_.wall_ms();
  hook.last_problem = to_utf8(outcome.problem, kMaxProblem);
  if (entry.failing_since_wall_ms == 0) entry.failing_since_wall_ms = hook.last_failure_wall_ms;
  if (outcome.kind == Outcome::Kind::gone) {
    // Its documents say so before anything is dropped: nobody can ask for these events again.
    set_state(entry, HookState::disabled);
    try {
      std::string prefix = prefix_of(hook);
      lose(entry, documents_.remove_range(kQueue, prefix, store::after_prefix(prefix)), "the receiver says that it is gone");
      hook.waiting = 0;
    } catch (const Error& e) { log_.warn("the queue of a webhook cannot be emptied", {{"hook", hook.id.text()}, {"error", e.what()}}); }
    return;
  }
  std::int64_t pause = kPausesMs[std::min<std::size_t>(static_cast<std::size_t>(entry.failures++), kPausesMs.size() - 1)];
  // From 80 % to 120 %: hooks of one receiver that failed together do not come back together.
  pause = pause * (800 + (random_.array<1>()[0] * 400) / 255) / 1000;
  entry.due_steady_ms = clock_.steady_ms() + std::max(pause, std::min(outcome.retry_after_ms, kPausesMs.back()));
  bool failing = hook.last_failure_wall_ms - entry.failing_since_wall_ms >= kGiveUpMs;
  if (failing && hook.state == HookState::active)
    log_.warn("a webhook has failed for a day", {{"hook", hook.id.text()}, {"problem", hook.last_problem}});
  set_state(entry, failing ? HookState::failing : hook.state);
  drop_old(entry);
}

void Book::set_state(Entry& entry, HookState state) {
  if (state == HookState::disabled && entry.hook.state != state)
    log_.warn("a webhook is disabled: its receiver answered 410", {{"hook", entry.hook.id.text()}});
  entry.hook.state = state;
  try {
    save(entry);
    entry.stored_success_wall_ms = entry.hook.last_success_wall_ms;
  } catch (const Error& e) { log_.warn("the state of a webhook cannot be stored", {{"hook", entry.hook.id.text()}, {"error", e.what()}}); }
}

// What has waited for a day and has not been taken now.
void Book::drop_old(Entry& entry) {
  std::string prefix = prefix_of(entry.hook);
  try {
    while (true) {
      auto first = documents_.scan(kQueue, {.from = prefix, .to = store::after_prefix(prefix), .limit = 1});
      if (first.empty()) return;
      auto value = parse_json(first[0].json);
      const json::object* object = value ? value->if_object() : nullptr;
      const json::value* at = object != nullptr ? object->if_contains("at") : nullptr;
      if (at != nullptr && at->is_int64() && clock_.wall_ms() - at->as_int64() < kGiveUpMs) return;
      documents_.remove(kQueue, first[0].key);
      lose(entry, 1, "it was not taken for a day");
    }
  } catch (const Error& e) { log_.warn("the queue of a webhook cannot be read", {{"hook", entry.hook.id.text()}, {"error", e.what()}}); }
}

// The event is accepted already: a failure here waits for the next one.
void Book::drop_beyond(Entry& entry) {
  std::string prefix = prefix_of(entry.hook);
  try {
    for (const store::Document& oldest :
         documents_.scan(kQueue, {.from = prefix, .to = store::after_prefix(prefix), .limit = entry.hook.waiting - kMaxWaiting}))
      if (documents_.remove(kQueue, oldest.key)) lose(entry, 1, "10 000 others wait");
  } catch (const Error& e) { log_.warn("the queue of a webhook cannot be cut", {{"hook", entry.hook.id.text()}, {"error", e.what()}}); }
}

void Book::lose(Entry& entry, std::uint64_t count, const char* why) {
  if (count == 0) return;
  lost_ += count;
  entry.hook.waiting -= std::min(entry.hook.waiting, count);
  log_.warn("webhook events are lost", {{"hook", entry.hook.id.text()}, {"count", std::to_string(count)}, {"why", why}});
}

void Book::settle() {
  for (const auto& [id, entry] : entries_)
    if (entry->hook.last_success_wall_ms > entry->stored_success_wall_ms) set_state(*entry, entry->hook.state);
}

std::optional<std::int64_t> Book::next_in() const {
  std::optional<std::int64_t> next;
  for (const auto& [id, entry] : entries_)
    if (wants_turn(*entry)) next = std::min(next.value_or(INT64_MAX), entry->due_steady_ms);
  if (next) *next = std::max<std::int64_t>(*next - clock_.steady_ms(), 0);
  return next;
}

std::uint64_t Book::waiting() const {
  std::uint64_t sum = 0;
  for (const auto& [id, entry] : entries_) sum += entry->hook.waiting;
  return sum;
}

}  // namespace lucid::webhooks
