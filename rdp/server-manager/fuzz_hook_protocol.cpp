#include <cstdint>
#include <cstdlib>

#include "rdp/server-manager/hook_protocol.hpp"

// What any account of the host may write into the hook's socket; what is understood must read the same when written again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace hook = lucid::server_manager::hook;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto hello = hook::decode_hello(text); hello && hook::encode(*hello) != text) std::abort();
  if (auto answer = hook::decode_answer(text); answer && hook::encode(*answer) != text) std::abort();
  return 0;
}
