#include "rdp/monitor/readings/asking.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/base/bytes.hpp"
#include "rdp/monitor/readings/exposition.hpp"

namespace lucid::monitor {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::size_t kMaxList = 4 << 20, kMaxHealth = 64 << 10;
constexpr int kMaxPages = 20;
// For what a thread does between its last call's end and the answer.
constexpr std::chrono::milliseconds kGrace{100};

std::chrono::milliseconds time_left(SteadyTime until) {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  if (left.count() <= 0) throw Error(ErrorKind::unavailable, "timeout", "there was no time left to ask");
  return left;
}

void ask_for_metrics(net::Client& http, SteadyTime until, std::string& text) {
  net::Call call;
  call.target = "/metrics";
  call.timeout = time_left(until);
  call.cut_body = kMaxHealth;
  call.sink = [&](ByteView piece) {
    if (text.size() + piece.size() > kMaxExposition)
      throw Error(ErrorKind::unavailable, "answer_too_large", fmt::format("its metrics are more than {} bytes", kMaxExposition));
    text.append(as_text(piece));
  };
  if (net::Response response = http.send(call); response.status != 200)
    throw Error(ErrorKind::unavailable, "bad_answer", fmt::format("/metrics answered {}", response.status));
}

// "storage: connection refused", of every dependency that fails.
std::string failing_checks(const net::Response& response) {
  std::string problem;
  auto value = parse_json(as_text(response.body), kMaxHealth);
  const json::value* checks = value && value->is_object() ? value->get_object().if_contains("checks") : nullptr;
  if (checks != nullptr && checks->is_array())
    for (const json::value& check : checks->get_array()) {
      const json::object* c = check.if_object();
      auto text = [&](const char* key) -> std::string_view {
        const json::value* v = c->if_contains(key);
        return v != nullptr && v->is_string() ? std::string_view(v->get_string().data(), v->get_string().size()) : std::string_view{};
      };
      if (c == nullptr || c->if_contains("ok") == nullptr || c->at("ok") == json::value(true)) continue;
      if (!problem.empty()) problem += "; ";
      problem += text("name");
      if (!text("detail").empty()) problem.append(": ").append(text("detail"));
    }
  return problem.empty() ? fmt::format("/health answered {}", response.status) : to_utf8(problem, 500);
}

void ask_for_health(net::Client& http, SteadyTime until, PeerAnswer& answer) {
  net::Call call;
  call.target = "/health";
  call.timeout = time_left(until);
  call.cut_body = kMaxHealth;
  net::Response response = http.send(call);
  answer.healthy = response.status == 200;
  if (!answer.healthy) answer.health_problem = failing_checks(response);
}

json::value ask_for_page(net::Client& http, SteadyTime until, std::string target) {
  net::Call call;
  call.target = std::move(target);
  call.timeout = time_left(until);
  net::Response response = http.expect(call);
  auto value = parse_json(as_text(response.body), kMaxList);
  if (!value) throw value.error();
  return *std::move(value);
}

void ask_for_list(const std::string& service, net::Client& http, SteadyTime until, PeerAnswer& answer) {
  if (service == "session-recorder") answer.pages.push_back(ask_for_page(http, until, "/api/v1/recordings"));
  if (service == "xrdp-integration") answer.pages.push_back(ask_for_page(http, until, "/api/v1/connections"));
  std::string cursor;
  for (int page = 0; service == "rdp-server-manager" && page < kMaxPages; ++page) {
    answer.pages.push_back(
        ask_for_page(http, until, "/api/v1/servers?limit=100" + (cursor.empty() ? "" : "&cursor=" + net::percent_encode(cursor))));
    const json::object* object = answer.pages.back().if_object();
    const json::value* next = object != nullptr ? object->if_contains("cursor") : nullptr;
    if (next == nullptr || !next->is_string() || next->get_string().empty()) break;
    cursor.assign(next->get_string().data(), next->get_string().size());
  }
  answer.listed = !answer.pages.empty();
}

}  // namespace

Asking::Asking(std::vector<ServiceReader::Peer> peers, const Clock& clock, std::chrono::milliseconds deadline)
    : clock_(clock), deadline_(deadline), slots_(peers.size()), answers_(peers.size()) {
  for (std::size_t i = 0; i < peers.size(); ++i) slots_[i].peer = std::move(peers[i]);
  for (Slot& slot : slots_) slot.thread = std::thread([this, &slot] { serve(slot); });
}

Asking::~Asking() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_all();
  for (Slot& slot : slots_) slot.thread.join();
}

const std::vector<PeerAnswer>& Asking::ask() {
  std::vector<Slot*> waiting;
  std::unique_lock lock(mutex_);
  until_ = std::chrono::steady_clock::now() + deadline_;
  for (Slot& slot : slots_) {
    if (slot.state == State::asked) continue;  // a call of an earlier look has not even ended
    slot.state = State::asked;                 // an answer that came too late is forgotten
    waiting.push_back(&slot);
  }
  asked_.notify_all();
  done_.wait_until(lock, until_ + kGrace,
                   [&] { return std::ranges::all_of(waiting, [](const Slot* slot) { return slot->state == State::done; }); });
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].state == State::done) {
      std::swap(answers_[i], slots_[i].answer);
      slots_[i].state = State::idle;
    } else {
      answers_[i] = PeerAnswer{};
      answers_[i].metrics_problem = fmt::format("there was no answer within {} ms", deadline_.count());
    }
  }
  return answers_;
}

void Asking::serve(Slot& slot) {
  std::unique_lock lock(mutex_);
  while (true) {
    asked_.wait(lock, [&] { return stopping_ || slot.state == State::asked; });
    if (stopping_) return;
    Deadline until = until_;
    PeerAnswer answer;
    answer.metrics = std::move(slot.answer.metrics);  // for its memory
    answer.metrics.clear();
    lock.unlock();
    ask_one(slot.peer, until, answer);
    lock.lock();
    slot.answer = std::move(answer);
    slot.state = State::done;
    done_.notify_one();
  }
}

void Asking::ask_one(const ServiceReader::Peer& peer, Deadline until, PeerAnswer& answer) const {
  auto tried = [](std::string& problem, auto&& what) {
    try {
      what();
      return true;
    } catch (const std::exception& e) { problem = to_utf8(e.what(), 500); }
    return false;
  };
  auto began = std::chrono::steady_clock::now();
  if (!tried(answer.metrics_problem, [&] { ask_for_metrics(*peer.http, until, answer.metrics); })) return;
  answer.scrape_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  answer.at_ms = clock_.steady_ms();
  tried(answer.list_problem, [&] { ask_for_list(peer.name, *peer.http, until, answer); });
  tried(answer.health_problem, [&] { ask_for_health(*peer.http, until, answer); });
}

}  // namespace lucid::monitor
