// Chunks of 1 MiB made durable: packs, index, all syncs. Threads are sessions recorded at once.
#include <benchmark/benchmark.h>

#include "sessions/storage/storage_test_support.hpp"

namespace lucid::storage {
namespace {

test::Harness* harness = nullptr;

void put_1_mib(benchmark::State& state) {
  if (state.thread_index() == 0) {
    harness = new test::Harness;
    harness->config.pack_bytes = 64ull << 20;
    harness->start();
  }
  SeededRandom random(static_cast<std::uint64_t>(state.thread_index()) + 1);
  Id session = Id::make(SystemClock(), random);
  Bytes chunk = test::chunk_of(session, 0, (1 << 20) - 200);
  std::uint64_t sequence = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i < 8; ++i) chunk[24 + i] = static_cast<std::uint8_t>(sequence >> (8 * i));  // the header's sequence
    benchmark::DoNotOptimize(harness->storage->put_chunk(session, sequence++, chunk));
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(chunk.size()));
  if (state.thread_index() == 0) {
    delete harness;
    harness = nullptr;
  }
}
BENCHMARK(put_1_mib)->Threads(1)->Threads(4)->Threads(8)->UseRealTime()->Unit(benchmark::kMillisecond)->Iterations(100);

void get_1_mib(benchmark::State& state) {
  test::Harness h;
  h.config.pack_bytes = 64ull << 20;
  h.start();
  h.put(0, (1 << 20) - 200);
  for (auto _ : state) benchmark::DoNotOptimize(h.storage->chunk(h.session, 0));
  state.SetBytesProcessed(state.iterations() * (1 << 20));
}
BENCHMARK(get_1_mib)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lucid::storage

BENCHMARK_MAIN();
