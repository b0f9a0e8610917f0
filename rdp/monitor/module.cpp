#include "rdp/monitor/module.hpp"

#include <algorithm>
#include <filesystem>

#include "lib/runtime/exposure.hpp"
#include "rdp/monitor/alerts/command.hpp"
#include "rdp/monitor/http.hpp"

namespace lucid::monitor {
namespace {

std::string make_directory(const runtime::Context& context) {
  std::string directory = context.data_dir + "/monitor";
  context.files.make_directories(directory);
  return directory;
}

// A damaged history must not keep alerts from being told: it is set aside, for whoever wants to look at it, and a new one begun.
std::unique_ptr<History> open_history(const std::string& path, const HistoryLimits& limits, const Clock& clock, const runtime::Log& log) {
  try {
    return std::make_unique<History>(path, limits);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::corrupt) throw;
    std::string aside = path + ".damaged-" + std::to_string(clock.wall_ms());
    log.error("the history is damaged and set aside; a new one begins", {{"error", e.what()}, {"kept_as", aside}});
    for (const char* part : {"", "-wal", "-shm"})
      if (std::filesystem::exists(path + part)) std::filesystem::rename(path + part, aside + part);
    return std::make_unique<History>(path, limits);
  }
}

class MonitorService final : public runtime::RunningService {
 public:
  explicit MonitorService(const runtime::Context& context)
      : config_(config_from(context.settings)),
        directory_(make_directory(context)),
        history_(open_history(directory_ + "/history.db", config_.history, context.clock, log_)),
        documents_(store::open_sqlite_documents(directory_ + "/monitor.db")),
        webhooks_({*documents_, context.clock, context.random, context.metrics, log_}),
        command_(config_.alert_command.empty() ? nullptr : std::make_unique<CommandNotifier>(config_.alert_command)),
        alerts_(*documents_, context.clock, context.random, [this](const AlertEvent& event) { tell(event); }),
        feed_(alerts_),
        monitor_(config_, {*history_, alerts_, context.clock, context.metrics, [this, context] { return peers(context); }}),
        desk_{monitor_, *history_, alerts_, feed_, webhooks_, context.clock},
        sizes_(context.metrics, sizes(context.metrics, *history_, alerts_)) {
    server_ = runtime::serve_http(context, {.service = kServiceName,
                                            .router = routes(desk_),
                                            .health = {{"look", [this] { return monitor_.problem(); }}},
                                            .authenticate = {},
                                            .worker_threads = 4 + kMaxStreams});
    monitor_.start();
  }
  ~MonitorService() override { feed_.stop(); }

  void drain(std::chrono::milliseconds grace) override {
    feed_.stop();
    server_->stop(grace);
  }

 private:
  std::vector<ServiceReader::Peer> peers(const runtime::Context& context) const {
    std::vector<ServiceReader::Peer> found;
    for (const std::string& service : config_.services) found.push_back({service, context.client_for(service, kServiceName)});
    return found;
  }

  void tell(const AlertEvent& event) {
    const Alert& alert = event.alert;
    bool firing = alert.state == AlertState::firing;
    // First, because it is the one that can fail: the event then comes again.
    webhooks_.enqueue(firing ? "alert.firing" : "alert.resolved", to_json(event));
    std::initializer_list<runtime::LogField> fields{{"rule", alert.rule},       {"severity", name(alert.severity)},
                                                    {"subject", alert.subject}, {"summary", alert.summary},
                                                    {"cause", alert.cause},     {"alert_id", alert.id.text()}};
    if (firing)
      log_.warn("alert firing", fields);
    else
      log_.info("alert resolved", fields);
    if (command_) command_->notify(event);
    feed_.notify();
  }

  static std::function<void()> sizes(runtime::Metrics& metrics, const History& history, const Alerts& alerts) {
    runtime::Gauge& bytes = metrics.gauge("lucid_monitor_history_bytes", "Size of the history's file");
    runtime::Gauge& series = metrics.gauge("lucid_monitor_series", "Series the history keeps");
    runtime::Gauge& firing = metrics.gauge("lucid_monitor_alerts", "Alerts by state", {{"state", "firing"}});
    runtime::Gauge& pending = metrics.gauge("lucid_monitor_alerts", "Alerts by state", {{"state", "pending"}});
    return [&bytes, &series, &firing, &pending, &history, &alerts] {
      History::Size size = history.size();
      bytes.set(static_cast<double>(size.bytes));
      series.set(static_cast<double>(size.series));
      std::vector<Alert> live = alerts.live();
      auto count = std::ranges::count(live, AlertState::firing, &Alert::state);
      firing.set(static_cast<double>(count));
      pending.set(static_cast<double>(static_cast<std::ptrdiff_t>(live.size()) - count));
    };
  }

  const Config config_;
  const std::string directory_;
  const runtime::Log log_{kServiceName};
  std::unique_ptr<History> history_;
  std::unique_ptr<store::Documents> documents_;
  webhooks::Webhooks webhooks_;
  std::unique_ptr<CommandNotifier> command_;
  Alerts alerts_;
  Feed feed_;
  Monitor monitor_;
  Desk desk_;
  runtime::Exposure sizes_;
  std::unique_ptr<net::Server> server_;  // last: ends first, so no request outlives what it asks
};

}  // namespace

runtime::Module module() {
  return {.name = kServiceName,
          .default_port = 8090,
          .starts_after = {"session-storage", "chunk-processor", "session-pipeline", "session-recorder", "rdp-server-manager",
                           "session-controller", "xrdp-integration", "node-management"},
          .declare = declare_settings,
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            return std::make_unique<MonitorService>(context);
          }};
}

}  // namespace lucid::monitor
