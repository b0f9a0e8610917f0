#include <algorithm>

#include <fmt/format.h>

#include "lib/recording/bundle.hpp"
#include "lib/recording/session_note.hpp"

namespace lucid::recording {
namespace {

// Sequences beyond this (two years of chunks, one a second) are not remembered one by one.
constexpr std::uint64_t kMaxRemembered = 1 << 26;

}  // namespace

void RecordingVerifier::add(std::string code, std::string detail, std::size_t bytes, std::optional<std::uint64_t> sequence) {
  if (findings_.size() < kMaxFindings)
    findings_.push_back({std::move(code), std::move(detail), bytes_, bytes_ + std::max<std::size_t>(bytes, 1) - 1, sequence});
}

void RecordingVerifier::chunk(std::uint64_t expected_sequence, ByteView stored, std::optional<Hash32> blake3) {
  if (expected_sequence > next_)
    add("chunk_missing",
        expected_sequence == next_ + 1 ? fmt::format("chunk {} is missing here", next_)
                                       : fmt::format("chunks {} to {} are missing here", next_, expected_sequence - 1),
        0, next_);
  if (expected_sequence < next_)
    add("chunk_replayed", fmt::format("chunk {} came a second time", expected_sequence), stored.size(), expected_sequence);
  next_ = std::max(next_, expected_sequence + 1);

  Hash32 leaf{};
  ended_ = false;
  auto header = parse_chunk_header(stored);
  if (!header || stored.size() != stored_size(*header)) {
    add("chunk_altered",
        fmt::format("chunk {} cannot be read: {}", expected_sequence, header ? "its length is not the header's" : header.error().what()),
        stored.size(), expected_sequence);
  } else {
    Hash32 hash = crypto::blake3(stored);
    leaf = evidence::leaf_hash(encode_leaf(leaf_of(*header, hash)));
    ended_ = (header->flags & kEnd) != 0;
    const std::uint64_t sequence = header->sequence;
    bool seen = sequence < seen_.size() && seen_[sequence];
    if (header->session != session_)
      add("foreign_chunk", fmt::format("chunk {} is one of session {}", expected_sequence, header->session.text()), stored.size(),
          expected_sequence);
    else if (sequence != expected_sequence)
      add(seen ? "chunk_replayed" : "chunk_swapped", fmt::format("chunk {} stands where chunk {} belongs", sequence, expected_sequence),
          stored.size(), expected_sequence);
    else if (blake3 && *blake3 != hash)
      add("chunk_altered", fmt::format("the bytes of chunk {} are not those that were recorded", expected_sequence), stored.size(),
          expected_sequence);
    if (header->session == session_ && sequence < kMaxRemembered) {
      if (seen_.size() <= sequence) seen_.resize(sequence + 1);
      seen_[sequence] = true;
    }
  }
  tree_.append(leaf);
  ++chunks_;
  bytes_ += stored.size();
}

VerifyReport RecordingVerifier::finish(std::string_view checkpoint, const crypto::VerifyKey& key, const std::string& origin) {
  VerifyReport report;
  report.session = session_;
  report.chunks = chunks_;
  report.stored_bytes = bytes_;
  report.root = tree_.root();
  report.complete = ended_;
  auto whole = [&](std::string code, std::string detail) {
    findings_.push_back({std::move(code), std::move(detail), 0, bytes_ == 0 ? 0 : bytes_ - 1, std::nullopt});
  };
  auto opened = open_session_note(checkpoint, origin, key);
  if (!opened) {
    whole(opened.error().code(), std::string("checkpoint: ") + opened.error().what());
  } else if (opened->size > next_) {
    add("chunk_missing", fmt::format("the checkpoint covers {} chunks, {} are there", opened->size, next_), 0, next_);
  } else if (opened->size < tree_.size() && opened->root == tree_.root_at(opened->size)) {
    whole("old_checkpoint", fmt::format("the checkpoint covers {} of {} chunks", opened->size, tree_.size()));
  } else if (opened->root != tree_.root() && findings_.empty()) {
    whole("checkpoint_mismatch", "the chunks do not give the signed root");
  }
  std::stable_sort(findings_.begin(), findings_.end(), [](const Finding& a, const Finding& b) { return a.first_byte < b.first_byte; });
  if (findings_.size() > kMaxFindings) findings_.resize(kMaxFindings);
  report.findings = std::move(findings_);
  report.verdict = report.findings.empty() ? Verdict::good : Verdict::altered;
  return report;
}

}  // namespace lucid::recording
