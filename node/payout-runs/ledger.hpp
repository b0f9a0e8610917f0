// The ledger: an append-only file of signed payment orders an operator pays from, one JSON line per payout, and the rail
// that writes it. Format in prose: docs/services/node-management/payouts.md. A line counts when its '\n' is there.
//   {"v":1,"n":N,"prev":HEX,"at":T,"key":K,"batch":ID,"index":I,"of":COUNT,"payout":ID,"period":P,"node":ID,"micro":M,"currency":C,"sig":S}
// n counts from 1; prev is the SHA-256 of the line before without its '\n' (64 zeros for the first); sig is base64url of
// the Ed25519 signature of "lucid-ledger-v1\n" ‖ everything before `,"sig"`. No spaces, members in this order: a line has
// one spelling.
//
// Owned by whoever owns the rail; one thread at a time. When submit() returns, every line of the batch survives power
// loss. A crash leaves whole lines and perhaps a torn tail, which the next life cuts off; the batch is then unknown until
// its missing lines are written under the same key. Bytes damaged anywhere else stop the rail (Error{corrupt}).
#pragma once

#include <map>
#include <unordered_map>
#include <unordered_set>

#include "lib/base/clock.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/crypto/signature.hpp"
#include "node/payout-runs/rail.hpp"

namespace lucid::payout_runs {

struct LedgerLine {
  std::uint64_t n = 0;
  Hash32 prev{};
  std::int64_t at_wall_ms = 0;
  std::string key;
  Id batch;
  std::int64_t index = 0, of = 0;
  Payment payment;
  std::string currency;
  crypto::Signature signature{};
};
// Without the '\n'; signs it.
std::string ledger_line(LedgerLine line, const crypto::SigningKey& key);
// nullopt unless the text is exactly what ledger_line() writes (signature and chain not looked at).
std::optional<LedgerLine> parse_ledger_line(std::string_view text);
bool signed_by(std::string_view line, const LedgerLine& parsed, const crypto::VerifyKey& key);

// What anyone who has the file and the public key can say of it, without the service or its database.
struct LedgerReport {
  std::uint64_t lines = 0;                    // good ones, from the start
  std::uint64_t batches = 0, unfinished = 0;  // unfinished: lines of the batch are missing (a crash; the service writes them)
  std::map<std::string, std::int64_t> micro;  // by currency
  std::uint64_t torn_bytes = 0;               // behind the last line; cut off when the service starts
  std::string head;                           // the reference of the last line, "" when empty
  std::string problem;                        // the first thing wrong, with its line; "" when the file is sound
};
// `reference` of a batch the caller knows of: its line must be there. "" asks nothing.
LedgerReport check_ledger(FileOps& files, const std::string& path, const crypto::VerifyKey& key, const std::string& reference = "");

class LedgerRail final : public Rail {
 public:
  LedgerRail(std::string path, FileOps& files, const Clock& clock, crypto::SigningKey key);
  const char* name() const override { return "ledger"; }
  Accepted submit(const Submission& batch, const std::string& key) override;
  BatchStatus status(const std::string& key, const std::string& reference) override;
  void expect(const std::string& newest_reference) override;
  const crypto::VerifyKey& verify_key() const { return key_.verify_key(); }

 private:
  struct Written {
    std::uint64_t from = 0, to = 0;  // the bytes of the file that hold its lines (others may stand between)
    std::int64_t lines = 0, of = 0;
    std::string reference;  // of its last line
  };
  void load();
  std::vector<LedgerLine> lines_of(const std::string& key, const Written& written);
  void note(const LedgerLine& line, std::uint64_t from, std::uint64_t to, const Hash32& hash);

  std::string path_;
  FileOps& files_;
  const Clock& clock_;
  crypto::SigningKey key_;
  File file_;
  bool failed_write_ = false;  // bytes behind end_ belong to nobody
  std::uint64_t end_ = 0, lines_ = 0;
  Hash32 head_{};
  std::unordered_map<std::string, Written> batches_;
  std::unordered_set<Id> paid_;
};

}  // namespace lucid::payout_runs
