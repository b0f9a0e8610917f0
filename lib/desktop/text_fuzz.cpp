// Texts from outside the process: Xauthority files, display names, /proc/PID/stat, window patterns.
#include "lib/desktop/password_guard.hpp"
#include "lib/desktop/procfs.hpp"
#include "lib/desktop/text.hpp"
#include "lib/desktop/xauthority.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lucid;
  ByteView input(data, size);
  std::string_view text = as_text(input);
  (void)desktop::find_cookie(input, 10, {true, "host", {std::string("\x7f\0\0\1", 4)}});
  (void)desktop::parse_display_name(text);
  (void)desktop::parse_stat(text);
  if (!is_utf8(desktop::latin1_to_utf8(text))) __builtin_trap();
  if (size < 4096) {
    std::size_t half = size / 2;
    (void)desktop::matches(text.substr(0, half), text.substr(half));
    if (!desktop::matches("*", text)) __builtin_trap();
  }
  return 0;
}
