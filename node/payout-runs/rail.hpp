// The way money leaves: a rail takes a batch of payments under an idempotency key and says later what became of each.
// One thread at a time per rail (PayoutRuns sees to it). What a rail cannot find out is an exception (lucid::Error), never
// an answer: whoever asked knows nothing then, keeps the batch, and asks again. Only three things are answers: the rail
// has the batch, the rail does not know the key, the rail refuses the batch for good.
//
// What a rail must keep: the same key submitted again pays nothing more; a key it has taken stays known. PayoutRuns stores
// the key durably before the first call and asks status() before every submit().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/base/error.hpp"
#include "lib/base/id.hpp"

namespace lucid::payout_runs {

struct Payment {
  Id payout, node;
  std::string period;
  std::int64_t micro = 0;  // > 0
  bool operator==(const Payment&) const = default;
};

struct Submission {
  Id batch;
  std::string currency;
  std::vector<Payment> payments;
};

struct Accepted {
  std::string reference;  // the rail's own name for the batch; "" when refused
  std::string refusal;    // why the rail will never pay it; "" when accepted
};

struct PaymentStatus {
  enum class Fate { open, paid, rejected };  // paid and rejected are final
  Id payout, node;
  std::int64_t micro = 0;
  Fate fate = Fate::open;
  std::int64_t confirmations = 0;
  std::string reason;  // why rejected
};

struct BatchStatus {
  bool known = false;  // false: the rail has never taken this key; the rest is empty
  std::string reference, currency;
  std::vector<PaymentStatus> payments;
};

inline constexpr std::size_t kMaxReference = 200;  // bytes; a rail answering longer ones answers wrongly

class Rail {
 public:
  virtual ~Rail() = default;
  virtual const char* name() const = 0;
  // When it answers a reference, the rail holds the batch durably and will not take another one for the key.
  virtual Accepted submit(const Submission& batch, const std::string& key) = 0;
  virtual BatchStatus status(const std::string& key, const std::string& reference) = 0;
  // Called once before the first submit of a life with the newest reference in our books: throws Error{corrupt} when the
  // rail's own books end before it (restored from an old copy, cut, replaced), so that nothing is paid on top of a gap.
  virtual void expect(const std::string& newest_reference) { (void)newest_reference; }
};

}  // namespace lucid::payout_runs
