// X's older text encoding. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace lucid::desktop {

// STRING properties are ISO 8859-1 (ICCCM 2.7.1).
inline std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out.push_back(c);
    } else {
      out.push_back(static_cast<char>(0xc0 | byte >> 6));
      out.push_back(static_cast<char>(0x80 | (byte & 0x3f)));
    }
  }
  return out;
}

}  // namespace lucid::desktop
