#include "lib/recording/bundle.hpp"

#include <fmt/format.h>

#include "lib/recording/bundle_layout.hpp"

namespace lucid::recording {
namespace {

Bytes u32(std::size_t value) {
  Bytes out;
  ByteWriter(out).u32(static_cast<std::uint32_t>(value));
  return out;
}

}  // namespace

BundleWriter::BundleWriter(ByteSink sink, std::string_view manifest_text, std::uint64_t chunk_count)
    : sink_(std::move(sink)), expected_(chunk_count) {
  auto manifest = parse_manifest(manifest_text);
  if (!manifest) throw manifest.error();
  session_ = manifest->session;
  Bytes header;
  append(header, BundleHeader{static_cast<std::uint32_t>(manifest_text.size()), chunk_count});
  put(header);
  put(as_bytes(manifest_text));
}

BundleWriter::BundleWriter(ByteSink sink, const Manifest& manifest, std::uint64_t chunk_count)
    : BundleWriter(std::move(sink), to_json_text(manifest), chunk_count) {}

void BundleWriter::put(ByteView bytes) {
  digest_.update(bytes);
  size_ += bytes.size();
  sink_(bytes);
}

void BundleWriter::chunk(ByteView stored) {
  auto header = parse_chunk_header(stored);
  if (!header) throw header.error();
  if (stored.size() != stored_size(*header))
    throw Error(ErrorKind::malformed,
                fmt::format("write chunk {} into a bundle: {} bytes, its header says {}", written_, stored.size(), stored_size(*header)));
  if (header->session != session_ || header->sequence != written_ || written_ == expected_)
    throw Error(ErrorKind::invalid, fmt::format("write a bundle of {} chunks of session {}: chunk {} of session {} does not belong at {}",
                                                expected_, session_.text(), header->sequence, header->session.text(), written_));
  put(u32(stored.size()));
  sink_(stored);
  size_ += stored.size();
  leaves_.push_back(evidence::leaf_hash(encode_leaf(leaf_of(*header, crypto::blake3(stored)))));
  ++written_;
}

void BundleWriter::finish(std::string_view checkpoint, std::string_view manifest_note) {
  if (written_ != expected_)
    throw Error(ErrorKind::invalid, fmt::format("finish a bundle of {} chunks: only {} were written", expected_, written_));
  if (checkpoint.size() > kMaxNoteBytes || manifest_note.size() > kMaxNoteBytes)
    throw Error(ErrorKind::too_large, "finish a bundle: a note is longer than 64 KiB");
  for (const Hash32& leaf : leaves_) put(leaf);
  for (std::string_view note : {checkpoint, manifest_note}) {
    put(u32(note.size()));
    put(as_bytes(note));
  }
  Bytes trailer;
  append(trailer, BundleTrailer{static_cast<std::uint32_t>(checkpoint.size()),
                                static_cast<std::uint32_t>(manifest_note.size()),
                                written_,
                                size_ + kBundleTrailerSize,
                                {}});
  put(ByteView(trailer).first(kBundleDigestOffset));
  sink_(digest_.finish());
}

Expected<Manifest> read_bundle(std::uint64_t size, const ReadAt& read,
                               const std::function<void(const ChunkHeader&, ByteView)>& each_chunk) {
  BundleInput in(size, read);
  auto header = read_header(in);
  if (!header) return std::unexpected(header.error());
  auto trailer = read_trailer(in, *header);
  if (!trailer) return std::unexpected(trailer.error());
  const BundleLayout at(*header, *trailer);
  auto manifest = parse_manifest(as_text(in.fetch(at.manifest, header->manifest_size)));
  if (!manifest) return manifest;
  for (std::uint64_t offset = at.chunks; offset != at.leaves;) {
    std::size_t length = chunk_length_at(in, offset, at.leaves);
    if (length == 0) return std::unexpected(Error(ErrorKind::malformed, fmt::format("no chunk at byte {} of the bundle", offset)));
    ByteView stored = in.fetch(offset + 4, length);
    auto chunk = parse_chunk_header(stored);
    if (!chunk) return std::unexpected(chunk.error());
    if (stored_size(*chunk) != length)
      return std::unexpected(Error(ErrorKind::malformed, fmt::format("lengths of the chunk at byte {} disagree", offset)));
    each_chunk(*chunk, stored);
    offset += 4 + length;
  }
  return manifest;
}

}  // namespace lucid::recording
