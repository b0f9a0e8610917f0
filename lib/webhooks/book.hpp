// The hooks and what waits for them, in memory and in documents; says whose turn it is. Not thread-safe: its owner holds a lock around every
// call. Sends nothing itself. Collections:
//   webhooks       "<hook>": what Hook has; "<hook>/secret": {"secret": "whsec_…"}, written once
//   webhook_queue  "<hook>/<16 hex digits of a growing number>": {"id", "at", "body"}; removed once delivered or lost
// A hook's documents are there before anything waits for it, and what waits is removed before they are; what is found waiting for no hook is
// removed at the start. Attempts leave no trace in the queue: after a restart each hook is tried at once.
#pragma once

#include <map>

#include "lib/net/client.hpp"
#include "lib/webhooks/address.hpp"
#include "lib/webhooks/signature.hpp"
#include "lib/webhooks/webhooks.hpp"

namespace lucid::webhooks {

inline constexpr std::size_t kMaxHooks = 50;
inline constexpr std::uint64_t kMaxWaiting = 10'000;
inline constexpr std::int64_t kGiveUpMs = 86'400'000;

struct Entry {
  Hook hook;
  Address address;
  crypto::Secret32 secret;
  std::unique_ptr<net::Client> client;  // of the sender whose turn it is
  bool busy = false, removed = false;
  int failures = 0;                        // in a row, in this life
  std::int64_t due_steady_ms = 0;          // not before
  std::int64_t failing_since_wall_ms = 0;  // 0: the last attempt succeeded
  std::int64_t stored_success_wall_ms = 0;
  std::string unmarked;  // delivered, but its removal failed
};

struct Job {
  std::shared_ptr<Entry> entry;
  std::string key;  // in the queue; empty: a test
  std::string id, body;
};

struct Outcome {
  enum class Kind { delivered, failed, gone };
  Kind kind = Kind::delivered;
  std::string problem;
  std::int64_t retry_after_ms = 0;  // what the receiver asked for
};

class Book {
 public:
  Book(store::Documents& documents, const Clock& clock, RandomSource& random, runtime::Log log);

  Made add(const std::string& url, std::vector<std::string> kinds);
  std::vector<Hook> list() const;
  void remove(const Id& id);
  std::shared_ptr<Entry> find(const Id& id) const;  // Error{not_found}
  std::string body_of(const std::string& id, const std::string& kind, const json::value& data) const;
  void enqueue(const std::string& kind, const json::value& data);

  // The oldest event of the hook that has been due longest; the hook is busy until done().
  std::optional<Job> take();
  void done(const Job& job, const Outcome& outcome);
  // Stores what is not worth a write each time: when a hook last succeeded. For the end.
  void settle();
  // Milliseconds until a hook that is not busy is due; nothing while none is.
  std::optional<std::int64_t> next_in() const;

  std::size_t hooks() const { return entries_.size(); }
  std::uint64_t waiting() const;
  std::uint64_t lost() const { return lost_; }  // in this life

 private:
  void load();
  void load_hook(const store::Document& document);
  void load_queue();
  void save(const Entry& entry);
  void set_state(Entry& entry, HookState state);
  void failed(Entry& entry, const Outcome& outcome);
  bool unmark(Entry& entry, const std::string& key);
  std::optional<Job> first_of(const std::shared_ptr<Entry>& entry);
  void drop_old(Entry& entry);
  void drop_beyond(Entry& entry);
  void lose(Entry& entry, std::uint64_t count, const char* why);
  bool wants_turn(const Entry& entry) const;

  store::Documents& documents_;
  const Clock& clock_;
  RandomSource& random_;
  runtime::Log log_;
  std::map<Id, std::shared_ptr<Entry>> entries_;
  std::uint64_t next_number_ = 1;
  std::uint64_t lost_ = 0;
};

}  // namespace lucid::webhooks
