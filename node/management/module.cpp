#include "node/management/module.hpp"

#include <algorithm>
#include <condition_variable>

#include "lib/runtime/exposure.hpp"
#include "node/management/hosting.hpp"
#include "node/management/http.hpp"
#include "node/management/work.hpp"
#include "node/payout-runs/http_rail.hpp"
#include "node/payout-runs/ledger.hpp"
#include "node/payout-runs/routes.hpp"

namespace lucid::node_management {
namespace {

constexpr const char* kName = "node-management";

std::string make_directory(const runtime::Context& context) {
  std::string directory = context.data_dir + "/nodes";
  context.files.make_directories(directory);
  return directory;
}

std::unique_ptr<payout_runs::Rail> open_rail(const runtime::Context& context, const std::string& directory) {
  if (context.settings.text("node-management.payment_rail") == "http")
    return std::make_unique<payout_runs::HttpRail>(
        payout_runs::HttpRail::Config{.url = context.settings.text("node-management.payment_url")},
        payout_runs::read_credentials(context.files, context.settings.text("node-management.payment_credentials")));
  return std::make_unique<payout_runs::LedgerRail>(directory + "/ledger.jsonl", context.files, context.clock,
                                                   context.keys.checkpoint_key());
}

// Brings open batches on, on a thread of its own.
class PayoutDriver {
 public:
  explicit PayoutDriver(payout_runs::PayoutRuns& runs) : runs_(runs), thread_([this] { run(); }) {}
  ~PayoutDriver() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stopped_.notify_all();
    thread_.join();
  }

 private:
  void run() {
    constexpr std::int64_t kLongestWaitMs = 1'000;  // a batch made meanwhile is seen by then
    const runtime::Log log(kName);
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      lock.unlock();
      std::int64_t wait_ms = kLongestWaitMs;
      try {
        wait_ms = std::clamp<std::int64_t>(runs_.step(), 1, kLongestWaitMs);
      } catch (const std::exception& e) { log.error("a step of the payouts failed and is tried again", {{"error", e.what()}}); }
      lock.lock();
      stopped_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] { return stopping_; });
    }
  }
  payout_runs::PayoutRuns& runs_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::thread thread_;  // last
};

class Service final : public runtime::RunningService {
 public:
  explicit Service(const runtime::Context& context)
      : directory_(make_directory(context)),
        documents_(store::open_sqlite_documents(directory_ + "/nodes.db")),
        management_({.documents = *documents_,
                     .clock = context.clock,
                     .random = context.random,
                     .metrics = context.metrics,
                     .key = context.keys.checkpoint_key(),
                     .node = context.settings.text("node-management.node"),
                     .measure = hosting_by_pipeline(context.client_for("session-pipeline", kName))}),
        recordings_(recordings_of_services(context, kName)),
        work_(*documents_, management_, *recordings_, context.clock, context.random, work_config(context.settings)),
        rail_(open_rail(context, directory_)) {
    management_.open();
    work_.count_in(context.metrics);
    work_.open();
    management_.attach(&work_);
    runs_ = std::make_unique<payout_runs::PayoutRuns>(
        payout_runs::Config{},
        payout_runs::PayoutRuns::Parts{
            .documents = *documents_, .clock = context.clock, .random = context.random, .rail = *rail_, .source = management_});
    driver_ = std::make_unique<PayoutDriver>(*runs_);
    management_.start();
    runtime::Gauge& open_work = context.metrics.gauge("lucid_nodes_open_work", "Pieces of work nodes are asked for and have not answered");
    runtime::Gauge& batches = context.metrics.gauge("lucid_payouts_open_batches", "Batches of payouts the rail has no final answer for");
    runtime::Gauge& troubled =
        context.metrics.gauge("lucid_payouts_troubled_batches", "Batches of payouts that do not go on until somebody looks at them");
    exposure_.emplace(context.metrics, [this, &open_work, &batches, &troubled] {
      open_work.set(static_cast<double>(work_.totals().open));
      auto t = runs_->totals();
      batches.set(static_cast<double>(t.batches));
      troubled.set(static_cast<double>(t.problems));
    });
    net::Router router = routes(management_);
    payout_runs::add_routes(router, *runs_);
    server_ = runtime::serve_http(context, {.service = kName,
                                            .router = std::move(router),
                                            .health = {{"nodes", [this] { return management_.problem(); }},
                                                       {"payouts",
                                                        [this]() -> std::optional<std::string> {
                                                          auto t = runs_->totals();
                                                          if (t.problems == 0) return std::nullopt;
                                                          return std::to_string(t.problems) +
                                                                 " batches of payouts do not go on; see their problem";
                                                        }}},
                                            .authenticate = {},
                                            .worker_threads = 24});
  }
  ~Service() override {
    management_.stop();  // long polls answer, so the server ends at once
    server_.reset();
    exposure_.reset();
    driver_.reset();
    management_.attach(nullptr);
  }
  void drain(std::chrono::milliseconds grace) override {
    management_.stop();
    server_->stop(grace);
  }

 private:
  const std::string directory_;
  std::unique_ptr<store::Documents> documents_;
  Management management_;
  std::unique_ptr<Recordings> recordings_;
  Work work_;
  std::unique_ptr<payout_runs::Rail> rail_;
  std::unique_ptr<payout_runs::PayoutRuns> runs_;
  std::unique_ptr<PayoutDriver> driver_;
  std::optional<runtime::Exposure> exposure_;
  std::unique_ptr<net::Server> server_;  // last: ends first, so no request outlives what it asks
};

std::optional<std::string> deployment_name(const std::string& text) {
  if (text.empty() || text.size() > 100 ||
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != std::string::npos)
    return "1 to 100 characters of A-Z a-z 0-9 _ - .";
  return std::nullopt;
}

void declare(runtime::Settings& settings) {
  settings.declare({.name = "node-management.node",
                    .environment = "LUCID_NODE",
                    .fallback = "local",
                    .meaning = "Name of this deployment in the origin of every epoch's checkpoint",
                    .check = deployment_name});
  settings.declare({.name = "node-management.payment_rail",
                    .environment = "PAYMENT_RAIL",
                    .fallback = "ledger",
                    .meaning = "How payouts leave: ledger (a signed file to pay from) or http (a payment service)",
                    .check = runtime::one_of({"ledger", "http"})});
  settings.declare({.name = "node-management.payment_url",
                    .environment = "PAYMENT_URL",
                    .fallback = "",
                    .meaning = "URL of the payment service; used by the rail http only",
                    .check = {}});
  settings.declare({.name = "node-management.payment_credentials",
                    .environment = "PAYMENT_CREDENTIALS",
                    .fallback = "",
                    .meaning = "File (mode 0600) with the account and keys for the payment service; used by the rail http only",
                    .check = {}});
  declare_work_settings(settings);
}

}  // namespace

runtime::Module module() {
  return {.name = kName,
          .default_port = 8095,
          .starts_after = {"session-pipeline", "session-storage", "chunk-processor"},
          .declare = declare,
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            return std::make_unique<Service>(context);
          }};
}

}  // namespace lucid::node_management
