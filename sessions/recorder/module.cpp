#include "sessions/recorder/module.hpp"

#include "lib/contracts/processor.hpp"
#include "sessions/recorder/http.hpp"

namespace lucid::recorder {
namespace {

constexpr const char* kName = "session-recorder";

// The public key the spool is sealed to: the deployment's, else (this machine holds no processor's keys) the one the
// processor names, which is kept so that a restart waits for nobody.
class SpoolKeySource {
 public:
  SpoolKeySource(const runtime::Context& context) : context_(context), kept_(context.data_dir + "/recorder/spool.pub") {}

  crypto::BoxPublicKey get() const {
    try {
      return context_.keys.spool_public();
    } catch (const Error& e) {
      if (e.code() != "key_missing") throw;
    }
    try {
      Bytes text = context_.files.read_file(kept_, 1024);
      if (auto key = crypto::BoxPublicKey::parse(as_text(text))) return *key;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::not_found) throw;
    }
    try {
      std::string text = contracts::ProcessorClient(context_.client_for("chunk-processor", kName)).keys().spool_public;
      auto key = crypto::BoxPublicKey::parse(text);
      if (!key) throw Error(ErrorKind::unavailable, "the chunk-processor's spool key is not a public key");
      context_.files.make_directories(context_.data_dir + "/recorder");
      context_.files.replace_file(kept_, as_bytes(text));
      return *key;
    } catch (const Error& e) {
      throw Error(ErrorKind::unavailable, "no_spool_key",
                  std::string("nothing can be recorded without the chunk-processor's public key: ") + e.what());
    }
  }

 private:
  const runtime::Context& context_;
  std::string kept_;
};

class Service final : public runtime::RunningService {
 public:
  explicit Service(const runtime::Context& context) : context_(context) {
    try {
      recorder();  // takes up what a restart interrupted, at once
    } catch (const Error& e) {
      if (e.code() != "no_spool_key") throw;
      runtime::Log(kName).warn("not ready to record yet", {{"reason", e.what()}});
    }
    runtime::HttpFront front;
    front.service = kName;
    front.router = routes([this]() -> Recorder& { return recorder(); });
    auto check = [this](const char* name, std::optional<std::string> (Recorder::*problem)() const) {
      return runtime::HealthCheck{name, [this, problem]() -> std::optional<std::string> {
                                    std::lock_guard lock(mutex_);
                                    if (!recorder_) return "no spool key yet: the chunk-processor has not been reached";
                                    return ((*recorder_).*problem)();
                                  }};
    };
    front.health = {check("spool", &Recorder::spool_problem), check("backlog", &Recorder::backlog_problem),
                    check("displays", &Recorder::display_problem)};
    server_ = runtime::serve_http(context, std::move(front));
  }
  ~Service() override {
    server_.reset();
    recorder_.reset();
  }

  void drain(std::chrono::milliseconds grace) override {
    server_->stop(grace);
    if (recorder_) recorder_->drain(grace);
  }

 private:
  Recorder& recorder() {
    std::lock_guard lock(mutex_);
    if (!recorder_) {
      RecorderParts parts{context_.files,
                          context_.clock,
                          context_.random,
                          context_.metrics,
                          SpoolKeySource(context_).get(),
                          context_.client_for("chunk-processor", kName),
                          context_.client_for("session-pipeline", kName)};
      recorder_ = std::make_unique<Recorder>(config_from(context_.settings, context_.data_dir), std::move(parts));
    }
    return *recorder_;
  }

  const runtime::Context context_;
  std::mutex mutex_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<net::Server> server_;
};

}  // namespace

runtime::Module module() {
  // Starts after nobody: a recording interrupted by a crash goes on before anything else is there.
  return {kName, 8084, {}, declare, [](const runtime::Context& context) { return std::make_unique<Service>(context); }};
}

}  // namespace lucid::recorder
