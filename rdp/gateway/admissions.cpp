#include "rdp/gateway/admissions.hpp"

#include <cstring>

#include <netdb.h>

namespace lucid::gateway {
namespace {

constexpr std::size_t kMaxWaiting = 256;

bool resolve(Admitted& to) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  if (::getaddrinfo(to.admission.upstream_host.c_str(), std::to_string(to.admission.upstream_port).c_str(), &hints, &found) != 0)
    return false;
  std::memcpy(&to.upstream, found->ai_addr, found->ai_addrlen);
  to.upstream_size = found->ai_addrlen;
  ::freeaddrinfo(found);
  return true;
}

}  // namespace

Admissions::Admissions(Ask ask, int threads) : ask_(std::move(ask)) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

Admissions::~Admissions() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Admissions::submit(contracts::AdmissionRequest request, std::function<void(Decision)> done) {
  {
    std::lock_guard lock(mutex_);
    if (waiting_.size() >= kMaxWaiting) return false;
    waiting_.push_back({std::move(request), std::move(done)});
  }
  changed_.notify_one();
  return true;
}

std::size_t Admissions::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

Decision Admissions::decide(const contracts::AdmissionRequest& request) const {
  try {
    Admitted yes{.admission = ask_(request)};
    if (resolve(yes)) return yes;
    return NotAdmitted{Refusal::upstream, "upstream_unknown", "the address of " + yes.admission.upstream_host + " cannot be found"};
  } catch (const Error& e) { return NotAdmitted{refusal_of(e), e.code(), e.what()}; } catch (const std::exception& e) {
    return NotAdmitted{Refusal::unavailable, "internal", e.what()};
  }
}

void Admissions::run() {
  for (;;) {
    Waiting next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    Decision decision = decide(next.request);
    next.done(std::move(decision));
  }
}

}  // namespace lucid::gateway
