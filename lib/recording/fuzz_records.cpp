// Any bytes as a record stream: the reader must end, and what it accepts must be written back as the same record.
#include <cstdlib>

#include "lib/recording/records.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lucid::recording;
  RecordReader reader({data, size});
  for (;;) {
    auto record = reader.next();
    if (!record || !*record) return 0;
    const std::string json = to_json_text(**record);
    lucid::Bytes again;
    append(again, **record);
    RecordReader second(again);
    auto back = second.next();
    if (!back || !*back || to_json_text(**back) != json) std::abort();
  }
}
