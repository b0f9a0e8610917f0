// Walks a pack made of the fuzzer's bytes, both ways of treating bad bytes: what is reported as good and as bad never
// overlaps, stays inside the file, and every entry handed out carries the hash it is followed by.
#include <cstdlib>

#include <sys/mman.h>

#include "lib/crypto/hash.hpp"
#include "lib/store/pack_walk.hpp"
#include "lib/store/packs_test_support.hpp"

using namespace lucid;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  File file(::memfd_create("pack", MFD_CLOEXEC));
  FileOps& files = system_files();
  files.write(file, {data, size}, "pack");
  store::Packs::ChunkLength length = store::test::chunk_length;
  const std::string path = "pack";
  for (auto mode : {store::OnBadBytes::stop, store::OnBadBytes::step_over}) {
    std::uint64_t seen_to = 0;
    auto walked = store::walk_pack({files, file, path, length, 8, 0, 0, UINT64_MAX, mode}, [&](const store::PackEntry& entry) {
      if (entry.location.offset < seen_to || entry.location.offset + entry.location.length > size) std::abort();
      if (crypto::blake3(entry.stored) != entry.blake3) std::abort();
      seen_to = entry.location.offset + entry.location.length;
    });
    for (auto [from, to] : walked.bad)
      if (from >= to || to > size) std::abort();
  }
  return 0;
}
