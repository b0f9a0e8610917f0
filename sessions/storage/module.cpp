#include "sessions/storage/module.hpp"

#include "sessions/storage/config.hpp"
#include "sessions/storage/http.hpp"
#include "sessions/storage/storage.hpp"

namespace lucid::storage {

namespace {

// Enough that chunks of many sessions meet in one sync; each may hold one chunk of at most 16 MiB in memory.
constexpr int kWorkers = 12;

class Service final : public runtime::RunningService {
 public:
  Service(const runtime::Context& context, const Config& config)
      : documents_(open(context, config)), storage_(config, {context.files, context.clock, context.metrics, *documents_, free_bytes_of}) {
    server_ = runtime::serve_http(context, {.service = kServiceName,
                                            .router = routes(storage_),
                                            .health = {{"disk_writable", [this] { return storage_.write_problem(); }},
                                                       {"disk_space", [this] { return storage_.space_problem(); }}},
                                            .authenticate = {},
                                            .worker_threads = kWorkers});
  }
  void drain(std::chrono::milliseconds grace) override { server_->stop(grace); }

 private:
  static std::unique_ptr<store::Documents> open(const runtime::Context& context, const Config& config) {
    context.files.make_directories(config.directory);
    return store::open_sqlite_documents(database_in(config.directory));
  }

  std::unique_ptr<store::Documents> documents_;
  Storage storage_;
  std::unique_ptr<net::Server> server_;  // last: ends first, so no request outlives the storage
};

}  // namespace

runtime::Module module() {
  return {.name = kServiceName,
          .default_port = 8086,
          .starts_after = {},
          .declare =
              [](runtime::Settings& settings) {
                settings.declare({.name = "session-storage.pack_mb",
                                  .environment = "PACK_MB",
                                  .fallback = "64",
                                  .meaning = "Size in MiB at which a pack file is followed by the next",
                                  .check = runtime::integer_between(1, 4'096)});
                settings.declare({.name = "session-storage.min_free_mb",
                                  .environment = "MIN_FREE_MB",
                                  .fallback = "64",
                                  .meaning = "MiB kept free on the disk: with less, chunks are answered 507 storage_full",
                                  .check = runtime::integer_between(0, 1 << 20)});
              },
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            Config config;
            config.directory = directory_in(context.data_dir);
            config.pack_bytes = static_cast<std::uint64_t>(context.settings.integer("session-storage.pack_mb")) << 20;
            config.min_free_bytes = static_cast<std::uint64_t>(context.settings.integer("session-storage.min_free_mb")) << 20;
            return std::make_unique<Service>(context, config);
          }};
}

}  // namespace lucid::storage
