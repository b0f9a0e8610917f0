// Programs the recorder's tests start in order to kill them:
//   recorder_child spool-writer DIRECTORY SPOOL_KEY                appends numbered batches, prints each number once kept
//   recorder_child record DATA SPOOL_KEY PROCESSOR_PORT PIPELINE_PORT SESSION DISPLAY
//     records DISPLAY (or takes its recording up again), prints "ready MILLISECONDS" with the time to the first frame,
//     then waits for a signal.
#include <chrono>
#include <cstdio>
#include <cstring>

#include <signal.h>
#include <unistd.h>

#include "lib/base/random.hpp"
#include "sessions/recorder/recorder.hpp"

using namespace lucid;
using namespace lucid::recorder;

namespace {

std::shared_ptr<net::Client> client_of(const char* port) {
  net::ClientConfig config;
  config.base_url = std::string("http://127.0.0.1:") + port;
  return std::make_shared<net::Client>(config);
}

int spool_writer(char** argv) {
  SystemRandom random;
  Spool spool({.directory = argv[2]}, system_files(), random, *crypto::BoxPublicKey::parse(argv[3]), runtime::Log("child"), {});
  Id session(random.array<16>());
  long n = 0;
  for (std::uint64_t sequence = 0;; ++sequence) {
    SegmentPtr segment = spool.open_segment(session, sequence, 1);
    for (int i = 0; i < 5; ++i) {
      std::string text = std::to_string(n) + std::string(static_cast<std::size_t>(n % 3000), ' ') + "\n";
      if (!spool.append(segment, {0, n, n, i == 4}, as_bytes(text))) return 1;
      text = std::to_string(n++) + "\n";
      if (::write(1, text.data(), text.size()) < 0) return 1;
    }
  }
}

int record(char** argv) {
  auto began = std::chrono::steady_clock::now();
  SystemClock clock;
  SystemRandom random;
  runtime::Metrics metrics;
  RecorderConfig config;
  config.directory = argv[2];
  Recorder recorder(
      config, {system_files(), clock, random, metrics, *crypto::BoxPublicKey::parse(argv[3]), client_of(argv[4]), client_of(argv[5])});
  if (recorder.list().empty()) {
    contracts::RecordingPlan plan;
    plan.session = *Id::parse(argv[6]);
    plan.name = "test";
    plan.target.display = argv[7];
    plan.options.digests = contracts::Digests::all;
    recorder.start(plan, {1, 0});
  }
  while (recorder.list().at(0).frames == 0) ::usleep(500);
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
  std::printf("ready %ld\n", static_cast<long>(ms));
  std::fflush(stdout);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  int got = 0;
  sigwait(&set, &got);
  recorder.drain(std::chrono::seconds(2));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  if (argc == 4 && std::strcmp(argv[1], "spool-writer") == 0) return spool_writer(argv);
  if (argc == 8 && std::strcmp(argv[1], "record") == 0) return record(argv);
  return 2;
}
