#include "sessions/processor/module.hpp"

#include "sessions/processor/http.hpp"

namespace lucid::processor {
namespace {

constexpr const char* kName = "chunk-processor";

std::optional<std::string> node_name(const std::string& text) {
  if (text.empty() || text.size() > 100 ||
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != std::string::npos)
    return "1 to 100 characters of A-Z a-z 0-9 _ - .";
  return std::nullopt;
}

class Service final : public runtime::RunningService {
 public:
  Service(const runtime::Context& context, const Config& config)
      : documents_(open_documents(context)),
        pipeline_(context.client_for("session-pipeline", kName)),
        storage_(context.client_for("session-storage", kName)),
        processor_(
            config, *documents_, context.clock, context.random, context.keys.spool_key(), context.keys.checkpoint_key(),
            context.keys.playback_public(), context.metrics,
            {.plan = [this](const Id& id) { return pipeline_.plan(id); },
             .begin = [this](const Id& id, std::uint64_t sequence, std::uint64_t token) { return pipeline_.begin(id, sequence, token); },
             .commit = [this](const Id& id, const contracts::Commit& commit) { pipeline_.commit(id, commit); },
             .failure = [this](const Id& id, std::uint64_t sequence, const std::string& stage,
                               const std::string& reason) { pipeline_.failure(id, sequence, stage, reason); },
             .put_chunk = [this](const Id& id, std::uint64_t sequence,
                                 ByteView stored) { return storage_.put_chunk(id, sequence, stored); },
             .rows = [this](const Id& id, std::uint64_t from, std::size_t limit) { return storage_.chunks(id, from, limit); },
             .put_manifest = [this](const Id& id, std::string_view manifest) { storage_.put_manifest(id, manifest); }}) {
    server_ = runtime::serve_http(context,
                                  {.service = kName, .router = routes(processor_), .health = {}, .authenticate = {}, .worker_threads = 8});
  }
  void drain(std::chrono::milliseconds grace) override { server_->stop(grace); }

 private:
  static std::unique_ptr<store::Documents> open_documents(const runtime::Context& context) {
    std::string directory = context.data_dir + "/processor";
    context.files.make_directories(directory);
    return store::open_sqlite_documents(directory + "/processor.db");
  }

  std::unique_ptr<store::Documents> documents_;
  contracts::PipelineClient pipeline_;
  contracts::StorageClient storage_;
  Processor processor_;
  std::unique_ptr<net::Server> server_;  // last: ends first, so no request outlives the processor
};

}  // namespace

runtime::Module module() {
  return {.name = kName,
          .default_port = 8085,
          .starts_after = {"session-storage", "session-pipeline"},
          .declare =
              [](runtime::Settings& settings) {
                settings.declare({.name = "chunk-processor.node",
                                  .environment = "LUCID_NODE",
                                  .fallback = "local",
                                  .meaning = "Name of this deployment in the origin of every checkpoint",
                                  .check = node_name});
              },
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            return std::make_unique<Service>(context, Config{.node = context.settings.text("chunk-processor.node")});
          }};
}

}  // namespace lucid::processor
