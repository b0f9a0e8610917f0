// Cost of what the recorder does per frame on a 1920x1080 screen, and bytes a frame after zstd -3.
#include <benchmark/benchmark.h>
#include <zstd.h>

#include <string>

#include "lib/recording/frame_encoder.hpp"
#include "lib/recording/player.hpp"
#include "lib/recording/test_screen.hpp"
#include "lib/recording/tile_diff.hpp"

namespace lucid::recording {
namespace {

using test::TestScreen;

std::size_t compressed(const Bytes& bytes) {
  Bytes out(ZSTD_compressBound(bytes.size()));
  return ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3);
}

// A screen with a photo behind and an editor window of text.
struct Desktop {
  TestScreen screen{1920, 1080, 11};
  FrameEncoder encoder;
  Bytes records;
  std::int64_t ms = 0;
  std::size_t raw = 0, packed = 0, frames = 0;

  static EncoderConfig config() {
    EncoderConfig c;
    c.full_keyframe_ms = c.diff_keyframe_ms = std::int64_t{1} << 60;
    return c;
  }
  explicit Desktop(EncoderConfig c = config()) : encoder(c) {
    screen.photo(screen.all());
    screen.fill({300, 100, 1200, 840}, 0xffffff);
    for (int y = 110; y < 930; y += 14) screen.text(310, y, 140);
    screen.take_damage();
    encoder.resize(1920, 1080, 0, records);
    encoder.update(0, screen.views({screen.all()}), {}, true, records);
    records.clear();
  }
  void tick(benchmark::State& state, const std::vector<MoveHint>& hints = {}, std::int64_t step = 66) {
    ms += step;
    std::vector<Rect> areas = screen.take_damage();
    if (const auto due = encoder.deferred_due_ms(); due > 0 && due <= ms)
      for (const Rect& r : encoder.deferred_areas()) areas.push_back(r);
    const auto views = screen.views(areas);
    state.ResumeTiming();
    encoder.update(ms, views, hints, false, records);
    state.PauseTiming();
    raw += records.size();
    ++frames;
    if (!records.empty()) packed += compressed(records);
    records.clear();
  }
  void report(benchmark::State& state) const {
    state.counters["bytes"] = static_cast<double>(raw) / static_cast<double>(frames);
    state.counters["zstd"] = static_cast<double>(packed) / static_cast<double>(frames);
  }
};

void full_screen_unchanged(benchmark::State& state) {
  Desktop desktop;
  const std::vector<std::uint32_t> copy = desktop.screen.pixels();
  const PixelView view{desktop.screen.all(), copy.data(), 1920};
  for (auto _ : state) desktop.encoder.update(desktop.ms += 66, {&view, 1}, {}, true, desktop.records);
}
void typing(benchmark::State& state) {
  Desktop desktop;
  int column = 0;
  for (auto _ : state) {
    state.PauseTiming();
    desktop.screen.text(310 + column++ % 140 * 8, 110, 1);
    desktop.tick(state, {}, 200);
    state.ResumeTiming();
  }
  desktop.report(state);
}
void scroll(benchmark::State& state) {
  Desktop desktop;
  for (auto _ : state) {
    state.PauseTiming();
    desktop.screen.shift({310, 110, 1120, 826}, 0, -14);
    desktop.screen.text(310, 922, 140);
    desktop.tick(state);
    state.ResumeTiming();
  }
  desktop.report(state);
}
void window_move(benchmark::State& state) {
  Desktop desktop;
  Rect window{100, 50, 500, 400};
  int step = 0;
  for (auto _ : state) {
    state.PauseTiming();
    const int dx = step++ / 60 % 2 == 0 ? 11 : -11, dy = dx > 0 ? 7 : -7;
    desktop.screen.move_window(window, window.x + dx, window.y + dy, 0x336699);
    const MoveHint hint{window, window.x + dx, window.y + dy};
    window.x += dx;
    window.y += dy;
    desktop.tick(state, {hint});
    state.ResumeTiming();
  }
  desktop.report(state);
}
void film(benchmark::State& state) {
  EncoderConfig config = Desktop::config();
  config.jpeg_for_hot_tiles = state.range(0) != 0;
  Desktop desktop(config);
  int phase = 0;
  for (auto _ : state) {
    state.PauseTiming();
    desktop.screen.photo({640, 320, 640, 360}, phase += 5);
    desktop.tick(state);
    state.ResumeTiming();
  }
  desktop.report(state);
}
void full_keyframe(benchmark::State& state) {
  Desktop desktop;
  if (state.range(0) == 1) {
    desktop.screen.photo(desktop.screen.all());
  } else if (state.range(0) == 2) {
    desktop.screen.noise(desktop.screen.all(), 0);
  }
  const auto views = desktop.screen.views({desktop.screen.all()});
  Bytes records;
  for (auto _ : state) {
    records.clear();
    desktop.encoder.restart();
    desktop.encoder.update(++desktop.ms, views, {}, true, records);
  }
  state.counters["bytes"] = static_cast<double>(records.size());
  state.counters["zstd"] = static_cast<double>(compressed(records));
}
void play_full_keyframe(benchmark::State& state) {
  Desktop desktop;
  desktop.encoder.restart();
  desktop.screen.photo(desktop.screen.all());
  Bytes records;
  desktop.encoder.update(1, desktop.screen.views({desktop.screen.all()}), {}, true, records);
  for (auto _ : state) {
    Player player;
    RecordReader reader(records);
    while (auto record = *reader.next()) benchmark::DoNotOptimize(player.apply(*record));
  }
}
void digest(benchmark::State& state) {
  Desktop desktop;
  for (auto _ : state) benchmark::DoNotOptimize(frame_digest(desktop.screen.pixels()));
}
void difference(benchmark::State& state, TileDifferenceFn run) {
  const std::vector<std::uint32_t> a(1920 * 1088, 5), b = a;
  for (auto _ : state)
    for (std::size_t y = 0; y < 1088; y += 64)
      for (std::size_t x = 0; x < 1920; x += 64)
        benchmark::DoNotOptimize(run(a.data() + y * 1920 + x, 1920, b.data() + y * 1920 + x, 1920, 64, 64));
}

BENCHMARK(full_screen_unchanged)->Unit(benchmark::kMillisecond);
BENCHMARK(typing)->Unit(benchmark::kMillisecond)->Iterations(300);
BENCHMARK(scroll)->Unit(benchmark::kMillisecond)->Iterations(100);
BENCHMARK(window_move)->Unit(benchmark::kMillisecond)->Iterations(120);
BENCHMARK(film)->ArgName("jpeg")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->Iterations(150);
BENCHMARK(full_keyframe)->ArgName("desktop_photo_noise")->Arg(0)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond);
BENCHMARK(play_full_keyframe)->Unit(benchmark::kMillisecond);
BENCHMARK(digest)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lucid::recording

int main(int argc, char** argv) {
  using namespace lucid::recording;
  for (const TileDifferenceVariant& variant : tile_difference_variants())
    benchmark::RegisterBenchmark((std::string("difference/") + variant.name).c_str(), difference, variant.run)
        ->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
