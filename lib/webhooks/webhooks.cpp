#include "lib/webhooks/webhooks.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

#include <charconv>

#include "lib/net/trace.hpp"
#include "lib/webhooks/book.hpp"

namespace lucid::webhooks {
namespace {

constexpr std::size_t kSenders = 4;
constexpr std::chrono::milliseconds kAttempt{5'000};
constexpr std::size_t kMaxAnswer = 4 << 10;

std::int64_t retry_after_ms(const net::Response& response) {
  std::string_view text = response.headers.get("Retry-After").value_or("");
  std::int64_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && seconds > 0 && seconds <= 86'400 ? seconds * 1'000 : 0;
}

// The path and query of a hook's URL may be what lets one in.
std::string without_path(std::string text, const Address& address) {
  std::string path = address.target.substr(0, address.target.find('?'));
  if (path.size() < 2) return text;
  for (std::size_t at = text.find(path); at != std::string::npos; at = text.find(path)) text.erase(at, path.size());
  return text;
}

Outcome attempt(net::Client& client, const Job& job, std::int64_t wall_ms) {
  const Entry& entry = *job.entry;
  net::Call call;
  call.method = net::Method::post;
  call.target = entry.address.target;
  call.body = as_bytes(job.body);
  call.content_type = "application/json";
  call.timeout = kAttempt;
  call.cut_body = kMaxAnswer;
  call.headers.set("User-Agent", "lucid");
  call.headers.set("webhook-id", job.id);
  call.headers.set("webhook-timestamp", std::to_string(wall_ms / 1'000));
  call.headers.set("webhook-signature", signature_with(entry.secret.bytes(), job.id, wall_ms / 1'000, job.body));
  try {
    // Receivers are strangers: what we do at this moment is not theirs to know.
    net::TraceScope nothing({});
    net::Response response = client.send(call);
    if (response.status / 100 == 2) return {};
    std::string problem = "answered " + std::to_string(response.status);
    if (response.status / 100 == 3) problem += "; redirects are not followed";
    return {.kind = response.status == 410 ? Outcome::Kind::gone : Outcome::Kind::failed,
            .problem = std::move(problem),
            .retry_after_ms = retry_after_ms(response)};
  } catch (const std::exception& e) { return {.kind = Outcome::Kind::failed, .problem = without_path(e.what(), entry.address)}; }
}

}  // namespace

struct Webhooks::State {
  explicit State(Parts given)
      : parts(std::move(given)),
        book(parts.documents, parts.clock, parts.random, parts.log),
        waiting(parts.metrics.gauge("lucid_webhook_waiting", "Events that wait to be delivered to webhooks")),
        seconds(parts.metrics.histogram("lucid_webhook_delivery_seconds", "Time an attempt to deliver an event took")) {
    for (const char* outcome : {"delivered", "failed", "lost"}) deliveries(outcome);
    std::lock_guard lock(mutex);
    changed();
  }
  ~State() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    turn.notify_all();
    for (std::thread& sender : senders) sender.join();
    book.settle();
  }

  runtime::Counter& deliveries(const char* outcome) {
    return parts.metrics.counter("lucid_webhook_deliveries_total", "Attempts to deliver events to webhooks, and events given up",
                                 {{"outcome", outcome}});
  }
  // With the lock held, after every change.
  void changed() {
    waiting.set(static_cast<double>(book.waiting()));
    if (std::uint64_t lost = book.lost(); lost > lost_told) {
      deliveries("lost").add(static_cast<double>(lost - lost_told));
      lost_told = lost;
    }
    while (senders.size() < std::min(kSenders, book.hooks())) senders.emplace_back([this] { run(); });
    turn.notify_all();
  }
  void run() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      std::optional<Job> job = book.take();
      if (!job) {
        if (auto in = book.next_in())
          turn.wait_for(lock, std::chrono::milliseconds(std::clamp<std::int64_t>(*in, 1, 3'600'000)));
        else
          turn.wait(lock);
        continue;
      }
      lock.unlock();
      Outcome outcome = deliver(*job);
      lock.lock();
      book.done(*job, outcome);
      deliveries(outcome.kind == Outcome::Kind::delivered ? "delivered" : "failed").add();
      changed();
    }
  }
  Outcome deliver(const Job& job) {
    auto began = std::chrono::steady_clock::now();
    Outcome outcome;
    try {
      std::unique_ptr<net::Client>& client = job.entry->client;
      if (!client) client = std::make_unique<net::Client>(net::ClientConfig{.base_url = job.entry->address.base, .bearer = {}});
      outcome = attempt(*client, job, parts.clock.wall_ms());
    } catch (const std::exception& e) { outcome = {.kind = Outcome::Kind::failed, .problem = e.what()}; }
    seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    return outcome;
  }

  Parts parts;
  std::mutex mutex;
  std::condition_variable turn;
  Book book;
  runtime::Gauge& waiting;
  runtime::Histogram& seconds;
  std::uint64_t lost_told = 0;
  bool stopping = false;
  std::vector<std::thread> senders;
};

Webhooks::Webhooks(Parts parts) : state_(std::make_unique<State>(std::move(parts))) {}
Webhooks::~Webhooks() = default;

Made Webhooks::add(const std::string& url, std::vector<std::string> kinds) {
  std::lock_guard lock(state_->mutex);
  Made made = state_->book.add(url, std::move(kinds));
  state_->changed();
  return made;
}

std::vector<Hook> Webhooks::list() const {
  std::lock_guard lock(state_->mutex);
  return state_->book.list();
}

void Webhooks::remove(const Id& id) {
  std::lock_guard lock(state_->mutex);
  state_->book.remove(id);
  state_->changed();
}

void Webhooks::enqueue(const std::string& kind, const json::value& data) {
  std::lock_guard lock(state_->mutex);
  state_->book.enqueue(kind, data);
  state_->changed();
}

std::optional<std::string> Webhooks::test(const Id& id) {
  Job job;
  {
    std::lock_guard lock(state_->mutex);
    job.entry = state_->book.find(id);
    job.id = Id::make(state_->parts.clock, state_->parts.random).text();
    job.body = state_->book.body_of(job.id, "test", {{"hook", id.text()}});
  }
  net::Client client({.base_url = job.entry->address.base, .bearer = {}});
  Outcome outcome = attempt(client, job, state_->parts.clock.wall_ms());
  std::lock_guard lock(state_->mutex);
  state_->book.done(job, outcome);
  state_->changed();
  if (outcome.kind == Outcome::Kind::delivered) return std::nullopt;
  return outcome.problem;
}

void Webhooks::wake() {
  std::lock_guard lock(state_->mutex);
  state_->turn.notify_all();
}

}  // namespace lucid::webhooks
