// Hostile notes: a note that parses is bounded and says something sign_checkpoint can say again, and none of them
// carries our signature by chance.
#include <cstdint>
#include <cstdlib>

#include "lib/evidence/checkpoint.hpp"

using namespace lucid;
using namespace lucid::evidence;

namespace {
void require(bool good) {
  if (!good) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const crypto::SigningKey key{crypto::Secret32()};
  std::string_view note = as_text({data, size});
  Expected<Checkpoint> parsed = parse_checkpoint(note);
  Expected<Checkpoint> opened = open_checkpoint(note, key.verify_key());
  if (opened) require(parsed && *opened == *parsed);
  if (!parsed) return 0;
  require(size <= 64 << 10);
  try {
    std::string again = sign_checkpoint(*parsed, key);
    Expected<Checkpoint> reopened = open_checkpoint(again, key.verify_key());
    require(reopened && *reopened == *parsed);
    require(again.starts_with(note.substr(0, note.rfind("\n\n") + 2)));
  } catch (const Error& error) {
    // Origins that are no key names, and notes that only fit without our longer signature line.
    require(error.kind() == ErrorKind::invalid);
  }
  return 0;
}
