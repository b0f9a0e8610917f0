// The rail to a payment service over HTTP. What it must offer (docs/services/node-management/payouts.md has it in full):
//   POST /v1/batches, Idempotency-Key: KEY  {key, batch, currency, payments:[{id, payee, period, micro}]}
//     → 200|201|202 {key, reference}; 4xx with {code: "batch_refused", detail}: it will never pay this batch
//   GET  /v1/batches/KEY → 200 {key, reference, currency, payments:[{id, payee, micro, state: pending|paid|rejected, confirmations, reason?}]}
//                        → 404 with {code: "batch_unknown"}: it never took this key
// A payment counts as paid with 19 confirmations. Every request and every answer is signed (Ed25519), so nobody between us and the service can
// order a payment or claim one: headers X-Lucid-Account, X-Lucid-Signature; signed text in signed_request() and signed_answer().
// Anything else (timeouts, other statuses, wrong signatures, malformed or huge bodies) is Error{unavailable}: we know nothing then. Errors never
// show credentials or bodies. Owned by whoever owns the rail; one thread at a time; blocks for at most Config::timeout a call.
#pragma once

#include <chrono>

#include "lib/base/file_ops.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/net/client.hpp"
#include "node/payout-runs/rail.hpp"
#include "node/payouts/money.hpp"

namespace lucid::payout_runs {

inline constexpr std::int64_t kConfirmations = 19;
inline constexpr const char* kAccountHeader = "X-Lucid-Account";
inline constexpr const char* kSignatureHeader = "X-Lucid-Signature";

// The file, mode 0600: {"account": "…", "signing_key": "lucid-sig-key:…", "service_key": "lucid-sig-pub:…"}.
struct Credentials {
  std::string account;             // 1–64 of [A-Za-z0-9._-]
  crypto::SigningKey signing_key;  // ours
  crypto::VerifyKey service_key;   // the payment service's
};
// Error{unavailable, "credentials_unreadable"|"credentials_mode"|"credentials_malformed"} naming the file, never what is in it.
Credentials read_credentials(FileOps& files, const std::string& path);

// "lucid-payment-request-v1\n" METHOD "\n" TARGET "\n" KEY "\n" hex(SHA-256(body))
std::string signed_request(std::string_view method, std::string_view target, std::string_view key, ByteView body);
// "lucid-payment-answer-v1\n" METHOD "\n" TARGET "\n" KEY "\n" STATUS "\n" hex(SHA-256(body))
std::string signed_answer(std::string_view method, std::string_view target, std::string_view key, int status, ByteView body);

class HttpRail final : public Rail {
 public:
  struct Config {
    std::string url;  // "https://payments.example" (the certificate is checked against the system's trust store) or "http://127.0.0.1:9400"
    std::chrono::milliseconds timeout{10'000};
    std::size_t max_answer = 1 << 20;
  };
  HttpRail(Config config, Credentials credentials);
  const char* name() const override { return "http"; }
  Accepted submit(const Submission& batch, const std::string& key) override;
  BatchStatus status(const std::string& key, const std::string& reference) override;

 private:
  struct Answer {
    int status = 0;
    json::object body;
    std::string code;  // of a refusal
  };
  Answer call(net::Method method, const std::string& target, const std::string& key, const std::string& body);

  Credentials credentials_;
  net::Client client_;
};

}  // namespace lucid::payout_runs
