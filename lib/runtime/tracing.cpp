#include "lib/runtime/tracing.hpp"

#include <algorithm>
#include <charconv>
#include <condition_variable>

#include <pthread.h>
#include <signal.h>

#include "lib/base/id.hpp"
#include "lib/runtime/otlp.hpp"
#include "lib/runtime/version.hpp"

namespace lucid::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLastSecond{1'000};
// Also how long the process may have to wait for a collector that hangs, at its end.
constexpr milliseconds kAttempt{2'000};
constexpr milliseconds kLongestPause{8'000};

std::string new_instance_id() {
  SystemRandom random;
  return Id::make(SystemClock(), random).text();
}

bool is_header_name(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

// The value with its percent-encoding undone; nothing when that is wrong or a control character comes out.
std::optional<std::string> header_value(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = static_cast<unsigned char>(text[i]);
    if (text[i] == '%') {
      if (text.size() - i < 3) return std::nullopt;
      auto [end, ec] = std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
      if (ec != std::errc{} || end != text.data() + i + 3) return std::nullopt;
      i += 2;
    }
    if (value < 0x20 || value == 0x7f) return std::nullopt;
    out += static_cast<char>(value);
  }
  return out;
}

std::string_view without_spaces(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::optional<net::Headers> parse_export_headers(const std::string& text) {
  net::Headers headers;
  for (std::string_view rest = text; !rest.empty();) {
    std::size_t comma = rest.find(',');
    std::string_view item = without_spaces(rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    if (item.empty()) continue;
    std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    std::string_view name = without_spaces(item.substr(0, equals));
    std::optional<std::string> value = header_value(without_spaces(item.substr(equals + 1)));
    if (!is_header_name(name) || !value) return std::nullopt;
    headers.set(name, std::move(*value));
  }
  return headers;
}

std::optional<double> parse_ratio(const std::string& text) {
  double value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= 1)) return std::nullopt;
  return value;
}

struct Tracing::Service {
  Service(std::string n, Metrics& metrics)
      : name(std::move(n)),
        exported(counter(metrics, "exported")),
        dropped(counter(metrics, "dropped")),
        failed(counter(metrics, "failed")) {}
  Counter& counter(Metrics& metrics, const char* outcome) const {
    return metrics.counter("lucid_trace_spans_total", "Recorded spans by what became of them.", {{"service", name}, {"outcome", outcome}});
  }
  const std::string name;
  Counter &exported, &dropped, &failed;
};

struct Tracing::Waiting {
  std::shared_ptr<Service> service;
  net::Span span;
};

// What sinks and the thread share.
struct Tracing::Kept {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Waiting> spans;
  bool stopping = false;
  steady_clock::time_point end;  // of the last attempts, once stopping
};

class Tracing::Sink final : public net::SpanSink {
 public:
  Sink(std::shared_ptr<Service> service, std::shared_ptr<Kept> kept, const TracingConfig& config)
      : service_(std::move(service)), kept_(std::move(kept)), capacity_(config.capacity), batch_(config.batch), ratio_(config.ratio) {}

  // By the trace id, so that every service that is asked about a trace answers alike.
  bool samples(const net::TraceId& trace) const noexcept override {
    std::uint64_t low = 0;
    for (std::size_t i = 8; i < 16; ++i) low = low << 8 | trace[i];
    return static_cast<double>(low >> 11) < ratio_ * 0x1p53;
  }

  void add(net::Span span) noexcept override {
    std::size_t size = 0;
    try {
      std::lock_guard lock(kept_->mutex);
      if (kept_->stopping) return;
      if (kept_->spans.size() < capacity_) {
        kept_->spans.push_back({service_, std::move(span)});
        size = kept_->spans.size();
      }
    } catch (const std::exception&) {
      // No memory for it: dropped as any other.
    }
    if (size == 0) service_->dropped.add();
    // The first one starts the wait for others, a full batch ends it.
    if (size == 1 || size == batch_) kept_->changed.notify_one();
  }

 private:
  const std::shared_ptr<Service> service_;
  const std::shared_ptr<Kept> kept_;
  const std::size_t capacity_, batch_;
  const double ratio_;
};

Tracing::Tracing(TracingConfig config, Metrics& metrics)
    : config_(std::move(config)),
      instance_(new_instance_id()),
      metrics_(metrics),
      log_("tracing"),
      client_({.base_url = config_.endpoint, .bearer = {}, .max_response = 1 << 20}),
      kept_(std::make_shared<Kept>()) {
  std::optional<net::Headers> headers = parse_export_headers(config_.headers);
  if (!headers) throw Error(ErrorKind::invalid, "bad_setting", "the headers of the trace export must be name=value,name=value");
  headers_ = std::move(*headers);
  // Signals are the main thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Tracing::~Tracing() {
  {
    std::lock_guard lock(kept_->mutex);
    kept_->stopping = true;
    kept_->end = steady_clock::now() + kLastSecond;
  }
  kept_->changed.notify_all();
  thread_.join();
}

std::shared_ptr<net::SpanSink> Tracing::sink(const std::string& service) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<net::SpanSink>& sink = sinks_[service];
  if (!sink) sink = std::make_shared<Sink>(std::make_shared<Service>(service, metrics_), kept_, config_);
  return sink;
}

void Tracing::run() {
  std::unique_lock lock(kept_->mutex);
  while (true) {
    kept_->changed.wait(lock, [this] { return kept_->stopping || !kept_->spans.empty(); });
    kept_->changed.wait_for(lock, config_.delay, [this] { return kept_->stopping || kept_->spans.size() >= config_.batch; });
    bool last = kept_->stopping;
    std::vector<Waiting> taken;
    taken.swap(kept_->spans);
    lock.unlock();
    for (std::span<const Waiting> rest = taken; !rest.empty();) {
      std::span<const Waiting> batch = rest.first(std::min(rest.size(), config_.batch));
      send(batch);
      rest = rest.subspan(batch.size());
    }
    taken = {};
    lock.lock();
    if (last) return;
  }
}

void Tracing::send(std::span<const Waiting> batch) {
  std::vector<OtlpResource> resources;
  for (const Waiting& waiting : batch) {
    auto found =
        std::find_if(resources.begin(), resources.end(), [&](const OtlpResource& r) { return r.service_name == waiting.service->name; });
    if (found == resources.end()) found = resources.insert(resources.end(), {waiting.service->name, version(), instance_, {}});
    found->spans.push_back(&waiting.span);
  }
  const Bytes request = encode_export_request(resources);
  Outcome outcome = Outcome::again;
  std::uint64_t rejected = 0;
  milliseconds pause = config_.retry_pause;
  auto give_up = steady_clock::now() + config_.retry_limit;
  std::unique_lock lock(kept_->mutex);
  while (outcome == Outcome::again) {
    auto deadline = kept_->stopping ? std::min(give_up, kept_->end) : give_up;
    auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (left <= milliseconds(0)) break;
    lock.unlock();
    milliseconds asked{0};
    outcome = attempt(request, std::min(left, kAttempt), rejected, asked);
    lock.lock();
    if (outcome != Outcome::again) break;
    auto until = steady_clock::now() + std::clamp(asked, pause, kLongestPause);
    pause = std::min(2 * pause, kLongestPause);
    // The end of the process is no reason to hurry a collector that is away: it gets what is left of the last second.
    bool stopping = kept_->stopping;
    kept_->changed.wait_until(lock, std::min(until, deadline), [&] { return kept_->stopping && !stopping; });
  }
  lock.unlock();
  if (outcome == Outcome::done && rejected == 0 && std::exchange(failing_, false)) log_.info("spans are exported again");
  // The answer tells how many spans were refused, not which.
  std::uint64_t refused = std::min<std::uint64_t>(rejected, batch.size());
  for (const Waiting& waiting : batch) {
    bool exported = outcome == Outcome::done && refused == 0;
    if (outcome == Outcome::done && refused > 0) --refused;
    (exported ? waiting.service->exported : waiting.service->failed).add();
  }
}

Tracing::Outcome Tracing::attempt(const Bytes& request, milliseconds timeout, std::uint64_t& rejected, milliseconds& pause) {
  net::Call call;
  call.method = net::Method::post;
  call.target = "/v1/traces";
  call.headers = headers_;
  call.body = request;
  call.content_type = "application/x-protobuf";
  call.timeout = timeout;
  try {
    net::Response response = client_.send(call);
    if (response.status / 100 == 2) {
      rejected = rejected_spans(response.body);
      if (rejected > 0) complain("the collector rejected " + std::to_string(rejected) + " spans");
      return Outcome::done;
    }
    complain("the collector answered with status " + std::to_string(response.status));
    if (std::optional<std::string_view> after = response.headers.get("Retry-After")) {
      int seconds = 0;
      auto [end, ec] = std::from_chars(after->data(), after->data() + after->size(), seconds);
      if (ec == std::errc{} && end == after->data() + after->size() && seconds >= 0 && seconds <= 3600)
        pause = std::chrono::seconds(seconds);
    }
    bool later = response.status == 429 || response.status == 502 || response.status == 503 || response.status == 504;
    return later ? Outcome::again : Outcome::refused;
  } catch (const std::exception& e) {
    complain(e.what());
    return Outcome::again;
  }
}

void Tracing::complain(const std::string& why) {
  if (!std::exchange(failing_, true)) log_.warn("spans cannot be exported", {{"error", why}});
}

}  // namespace lucid::runtime
