// Any bytes as a recording to play: no crash, no read or write outside the picture.
#include "lib/recording/player.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lucid::recording;
  RecordReader reader({data, size});
  Player player;
  std::uint32_t sum = 0;
  for (;;) {
    auto record = reader.next();
    if (!record || !*record) break;
    // Large screens are legal but only slow the fuzzer down.
    if (const ScreenSize* screen = std::get_if<ScreenSize>(&(*record)->payload);
        screen != nullptr && screen->width * screen->height > 1 << 18)
      break;
    const auto closed = player.apply(**record);
    if (closed && *closed)
      for (std::uint32_t pixel : player.picture().pixels) sum += pixel;
  }
  asm volatile("" : : "r"(sum));  // the reads above must not be optimised away
  return 0;
}
