#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <mutex>

#include <malloc.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>

#include "lib/runtime/data_lock.hpp"
#include "lib/runtime/process_settings.hpp"
#include "lib/runtime/service.hpp"
#include "lib/runtime/tracing.hpp"

namespace lucid::runtime {
namespace {

constexpr std::chrono::milliseconds kGrace{5'000};
constexpr const char* kPublicService = "session-api";

// Takes SIGINT and SIGTERM for the main thread; every thread started later leaves them to it.
class StopSignals {
 public:
  StopSignals() {
    std::signal(SIGPIPE, SIG_IGN);
    // A shell may have started us with SIGINT ignored.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~StopSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  StopSignals(const StopSignals&) = delete;

  int wait() const {
    int signal = 0;
    while (sigwait(&set_, &signal) != 0) {}
    return signal;
  }
  // From here on a further signal ends the process at once, by its default action.
  void let_through() const { pthread_sigmask(SIG_UNBLOCK, &set_, nullptr); }

 private:
  sigset_t set_, before_;
};

void configure_log(const Settings& settings) {
  std::string level = settings.text("log_level");
  Level minimum = Level::info;
  switch (level[0] | 0x20) {
    case 'd': minimum = Level::debug; break;
    case 'w': minimum = Level::warn; break;
    case 'e': minimum = Level::error; break;
    default: break;
  }
  if (settings.boolean("debug")) minimum = Level::debug;
  configure_log(minimum, settings.text("log_format") == "json");
}

// Everything a running process owns, in the order in which it must be destroyed (last member first).
class Process {
 public:
  explicit Process(ProcessOptions options)
      : options_(std::move(options)),
        order_(in_start_order(options_.modules, options_.targets)),
        settings_(resolve_settings(options_)),
        data_dir_(settings_.text("data_dir")),
        log_(settings_.text("service_name")) {
    configure_log(settings_);
    files_.make_directories(data_dir_);
    for (const Module* module : order_)
      if (!module->takes_over) locks_.emplace_back(data_dir_, module->name);
    keys_ = std::make_unique<crypto::KeyStore>(data_dir_ + "/keys", files_, random_);
    tokens_ = std::make_unique<crypto::ServiceTokens>(keys_->service_key(), clock_);
    auto url_of = [this](const std::string& service) {
      std::lock_guard lock(ports_mutex_);
      auto port = ports_.find(service);
      return url_of_service(settings_, options_.modules, service, port != ports_.end() ? std::optional(port->second) : std::nullopt);
    };
    auto client_for = [this, url_of](const std::string& service, const std::string& as) {
      return std::make_shared<net::Client>(
          net::ClientConfig{.base_url = url_of(service), .bearer = [this, as] { return tokens_->issue(as); }});
    };
    auto listening = [this](const std::string& service, std::uint16_t port) {
      std::lock_guard lock(ports_mutex_);
      ports_[service] = port;
    };
    std::function<void()> end_process;
    if (order_.size() == 1) end_process = [] { ::kill(::getpid(), SIGTERM); };
    std::function<std::shared_ptr<net::SpanSink>(const std::string&)> spans_of;
    if (const std::string& endpoint = settings_.text("tracing.endpoint"); !endpoint.empty()) {
      TracingConfig config{.endpoint = endpoint, .headers = settings_.text("tracing.headers")};
      config.ratio = parse_ratio(settings_.text("tracing.ratio")).value_or(1);
      tracing_ = std::make_unique<Tracing>(std::move(config), metrics_);
      spans_of = [this](const std::string& service) { return tracing_->sink(service); };
    }
    for (std::size_t i = 0; i < order_.size(); ++i) {
      service_metrics_.push_back(std::make_unique<Metrics>(&metrics_));
      contexts_.push_back(
          std::unique_ptr<Context>(new Context{settings_, data_dir_, clock_, random_, files_, *keys_, *tokens_, *service_metrics_.back(),
                                               url_of, client_for, listening, end_process, spans_of}));
    }
  }

  ~Process() {
    while (!running_.empty()) running_.pop_back();
    tracing_.reset();
    if (announced_) remove_endpoint();
    if (started_) log_.info("stopped");
  }

  void start() {
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const Module* module = order_[i];
      try {
        running_.push_back(module->start(*contexts_[i]));
        if (module->takes_over) locks_.emplace_back(data_dir_, module->name);
      } catch (const std::exception& e) {
        throw Error(ErrorKind::unavailable, "start_failed", fmt::format("{} cannot start: {}", module->name, e.what()));
      }
    }
    if (std::any_of(order_.begin(), order_.end(), [](const Module* m) { return m->name == kPublicService; })) announce_endpoint();
    started_ = true;
    if (options_.ready) options_.ready();
  }

  void drain(int signal) {
    log_.info("stopping", {{"signal", signal == SIGINT ? "SIGINT" : "SIGTERM"}});
    auto deadline = std::chrono::steady_clock::now() + kGrace;
    for (auto service = running_.rbegin(); service != running_.rend(); ++service) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      (*service)->drain(std::max(left, std::chrono::milliseconds(0)));
    }
  }

 private:
  std::string endpoint_path() const { return data_dir_ + "/endpoint.json"; }
  // The command line finds its server here.
  void announce_endpoint() {
    std::string text = json::serialize(json::object{{"url", contexts_.front()->url_of(kPublicService)}, {"pid", ::getpid()}}) + "\n";
    files_.replace_file(endpoint_path(), as_bytes(text));
    announced_ = true;
  }
  void remove_endpoint() {
    try {
      files_.remove(endpoint_path());
    } catch (const Error& e) { log_.warn("cannot remove the endpoint file", {{"error", e.what()}}); }
  }

  const ProcessOptions options_;
  const std::vector<const Module*> order_;
  const Settings settings_;
  const std::string data_dir_;
  const Log log_;
  SystemClock clock_;
  SystemRandom random_;
  FileOps& files_ = system_files();
  std::vector<DataLock> locks_;
  std::unique_ptr<crypto::KeyStore> keys_;
  std::unique_ptr<crypto::ServiceTokens> tokens_;
  Metrics metrics_;
  std::unique_ptr<Tracing> tracing_;
  std::mutex ports_mutex_;
  std::map<std::string, std::uint16_t> ports_;             // as bound
  std::vector<std::unique_ptr<Metrics>> service_metrics_;  // one a service, so that each shows its own
  std::vector<std::unique_ptr<Context>> contexts_;         // as order_
  bool announced_ = false, started_ = false;
  std::vector<std::unique_ptr<RunningService>> running_;
};

}  // namespace

void harden_process() {
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__)
  // LeakSanitizer traces its own process at the end and cannot when it is not dumpable.
  ::prctl(PR_SET_DUMPABLE, 0);
#endif
}

namespace {

// Keyframes and chunks come in megabytes and go again: such blocks are given back to the system, and few arenas are kept,
// so that resident memory follows what is in use.
void trim_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 256 << 10);
  ::mallopt(M_ARENA_MAX, 2);
}

}  // namespace

int run_process(ProcessOptions options) {
  harden_process();
  trim_memory();
  StopSignals signals;
  try {
    Process process(std::move(options));
    process.start();
    int signal = signals.wait();
    signals.let_through();
    process.drain(signal);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "lucid: %s\n", e.what());
    return 1;
  }
  return 0;
}

}  // namespace lucid::runtime
