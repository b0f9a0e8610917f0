// Expositions from anybody's /metrics: no bytes crash the parser, and what it takes can be written again and means the same.
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "rdp/monitor/readings/services.hpp"

using namespace lucid;
using namespace lucid::monitor;

static std::string written(const std::vector<Sample>& samples) {
  std::string text;
  for (const Sample& sample : samples) {
    text += sample.name + "{";
    for (const auto& [label, value] : sample.labels) {
      text += label + "=\"";
      for (char c : value) text += c == '\n' ? std::string("\\n") : c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
      text += "\",";
    }
    text += std::isnan(sample.value) ? std::string("} NaN\n") : fmt::format("}} {}\n", sample.value);
  }
  return text;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto samples = parse_exposition(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!samples) {
    if (samples.error().kind() != ErrorKind::malformed) std::abort();
    return 0;
  }
  auto again = parse_exposition(written(*samples));
  if (!again || again->size() != samples->size()) std::abort();
  for (std::size_t i = 0; i < samples->size(); ++i) {
    const Sample &a = (*samples)[i], &b = (*again)[i];
    bool same = std::isnan(a.value) ? std::isnan(b.value) : a.value == b.value;
    if (a.name != b.name || a.labels != b.labels || !same) std::abort();
  }
  return 0;
}
