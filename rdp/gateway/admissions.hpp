// Asks the session controller whether a connection may go on, and where to, on threads of its own: the call blocks and the upstream's name
// may have to be resolved. Any thread may submit; `done` is called on one of these threads. The destructor waits for calls under way.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include <sys/socket.h>

#include "lib/contracts/controller.hpp"
#include "rdp/gateway/refusal.hpp"

namespace lucid::gateway {

struct Admitted {
  contracts::Admission admission;
  sockaddr_storage upstream{};
  socklen_t upstream_size = 0;
};
struct NotAdmitted {
  Refusal refusal = Refusal::unavailable;
  std::string code, detail;
};
using Decision = std::variant<Admitted, NotAdmitted>;

class Admissions {
 public:
  using Ask = std::function<contracts::Admission(const contracts::AdmissionRequest&)>;
  explicit Admissions(Ask ask, int threads = 4);
  ~Admissions();
  // False when too many wait already.
  bool submit(contracts::AdmissionRequest request, std::function<void(Decision)> done);
  std::size_t waiting() const;

 private:
  struct Waiting {
    contracts::AdmissionRequest request;
    std::function<void(Decision)> done;
  };
  void run();
  Decision decide(const contracts::AdmissionRequest& request) const;

  const Ask ask_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lucid::gateway
