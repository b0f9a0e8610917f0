#include "sessions/pipeline/module.hpp"

#include <fmt/format.h>

#include "lib/contracts/processor.hpp"
#include "lib/contracts/storage.hpp"
#include "sessions/pipeline/config.hpp"
#include "sessions/pipeline/http.hpp"

namespace lucid::pipeline {
namespace {

constexpr const char* kName = "session-pipeline";

class Service final : public runtime::RunningService {
 public:
  Service(const runtime::Context& context, const Config& config)
      : documents_(open_documents(context)),
        leases_(*documents_, context.clock, config.lease_ms),
        recorder_(context.client_for("session-recorder", kName)),
        processor_(context.client_for("chunk-processor", kName)),
        storage_(context.client_for("session-storage", kName)),
        pipeline_(*documents_, leases_, context.clock, context.metrics,
                  {.start = [this](const auto& plan, const auto& lease) { return recorder_.start(plan, lease); },
                   .pause = [this](const Id& id) { recorder_.pause(id); },
                   .resume = [this](const Id& id) { recorder_.resume(id); },
                   .stop = [this](const Id& id) { recorder_.stop(id); },
                   .finish =
                       [this](const Id& id) {
                         processor_.finish(id);
                         storage_.close(id);
                       }}) {
    pipeline_.open();
    server_ = runtime::serve_http(
        context, {.service = kName,
                  .router = routes(pipeline_),
                  .health = {{"recordings",
                              [this]() -> std::optional<std::string> {
                                auto t = pipeline_.totals();
                                if (t.stalled > 0)
                                  return fmt::format("{} of {} live recordings are stalled: their recorder is silent", t.stalled, t.live);
                                return std::nullopt;
                              }}},
                  .authenticate = {},
                  .worker_threads = 8});
  }
  void drain(std::chrono::milliseconds grace) override { server_->stop(grace); }

 private:
  static std::unique_ptr<store::Documents> open_documents(const runtime::Context& context) {
    std::string directory = context.data_dir + "/pipeline";
    context.files.make_directories(directory);
    return store::open_sqlite_documents(directory + "/pipeline.db");
  }

  std::unique_ptr<store::Documents> documents_;
  store::Leases leases_;
  contracts::RecorderClient recorder_;
  contracts::ProcessorClient processor_;
  contracts::StorageClient storage_;
  Pipeline pipeline_;
  std::unique_ptr<net::Server> server_;  // last: ends first, so no request outlives the pipeline
};

}  // namespace

runtime::Module module() {
  return {.name = kName,
          .default_port = 8083,
          .starts_after = {},
          .declare =
              [](runtime::Settings& settings) {
                settings.declare({.name = "session-pipeline.lease_ms",
                                  .environment = "PIPELINE_LEASE_MS",
                                  .fallback = "5000",
                                  .meaning = "Milliseconds of silence after which a recorder counts as stalled",
                                  .check = runtime::integer_between(1'000, 600'000)});
              },
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            return std::make_unique<Service>(context, Config{.lease_ms = context.settings.integer("session-pipeline.lease_ms")});
          }};
}

}  // namespace lucid::pipeline
