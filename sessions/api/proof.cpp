#include "sessions/api/proof.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "lib/evidence/checkpoint.hpp"

namespace lucid::api {
namespace {

constexpr std::size_t kProofRowPage = 1'000;

const char* word(recording::Verdict verdict) {
  switch (verdict) {
    case recording::Verdict::good: return "good";
    case recording::Verdict::altered: return "altered";
    case recording::Verdict::unreadable: break;
  }
  return "unreadable";
}

// Storage's refusal to hand out altered bytes; over HTTP it shares its status with `internal`, the code tells.
bool is_corrupt(const Error& e) {
  return e.kind() == ErrorKind::corrupt || (e.kind() == ErrorKind::internal && e.code() != default_code(ErrorKind::internal));
}

}  // namespace

Verification verify_session(Recordings& recordings, contracts::ProcessorClient& processor, const Session& session,
                            const crypto::VerifyKey& key) {
  Verification done;
  recording::Manifest manifest = recordings.manifest(session.id);
  done.checkpoint = processor.checkpoint(session.id);
  // Chunks may have come after this checkpoint; once nothing comes any more, a chunk it does not cover is a finding.
  std::uint64_t covered = UINT64_MAX;
  if (is_live(session.status))
    if (auto checkpoint = evidence::parse_checkpoint(done.checkpoint)) covered = checkpoint->size;

  recording::RecordingVerifier verifier(session.id);
  std::vector<recording::Finding> refused;
  std::uint64_t expected = 0;
  for (bool more = true; more && expected < covered;) {
    std::vector<contracts::ChunkRow> page = recordings.rows(session.id, expected, kProofRowPage);
    more = page.size() == kProofRowPage;
    for (const contracts::ChunkRow& row : page) {
      if (row.sequence >= covered) break;
      try {
        verifier.chunk(expected, recordings.stored(session.id, row.sequence), row.blake3);
      } catch (const Error& e) {
        bool altered = is_corrupt(e);
        if (!altered && e.kind() != ErrorKind::not_found) throw;
        refused.push_back({.code = altered ? "chunk_altered" : "chunk_missing",
                           .detail = e.what(),
                           .first_byte = 0,
                           .last_byte = 0,
                           .sequence = row.sequence});
      }
      expected = row.sequence + 1;
    }
    if (page.empty()) break;
  }
  done.report = verifier.finish(done.checkpoint, key, recording::origin_of(manifest));
  if (!refused.empty()) {
    done.report.verdict = recording::Verdict::altered;
    // What was not handed out was not fed either: the verifier calls it missing, storage knows better.
    std::erase_if(done.report.findings, [&](const recording::Finding& f) {
      return f.code == "chunk_missing" &&
             std::any_of(refused.begin(), refused.end(), [&](const recording::Finding& r) { return r.sequence == f.sequence; });
    });
    done.report.findings.insert(done.report.findings.begin(), refused.begin(), refused.end());
    if (done.report.findings.size() > recording::kMaxFindings) done.report.findings.resize(recording::kMaxFindings);
  }
  return done;
}

json::object to_json(const Verification& v) {
  const recording::VerifyReport& r = v.report;
  json::array findings;
  for (const recording::Finding& f : r.findings) {
    json::object finding{{"code", f.code}, {"detail", f.detail}};
    if (f.sequence) finding["sequence"] = *f.sequence;
    findings.push_back(std::move(finding));
  }
  return {{"session_id", r.session.text()},
          {"verified", r.verdict == recording::Verdict::good},
          {"verdict", word(r.verdict)},
          {"complete", r.complete},
          {"chunks", r.chunks},
          {"stored_bytes", r.stored_bytes},
          {"root", to_hex(r.root)},
          {"checkpoint", v.checkpoint},
          {"findings", std::move(findings)}};
}

BundleStream::BundleStream(Recordings& recordings, contracts::ProcessorClient& processor, const Id& session)
    : recordings_(recordings),
      session_(session),
      snapshot_(processor.snapshot(session)),
      writer_([this](ByteView bytes) { pending_.insert(pending_.end(), bytes.begin(), bytes.end()); }, snapshot_.manifest,
              snapshot_.tree_size) {}

void BundleStream::produce() {
  pending_.clear();
  given_ = 0;
  if (next_ < snapshot_.tree_size) {
    writer_.chunk(recordings_.stored(session_, next_++));
  } else {
    writer_.finish(snapshot_.checkpoint, snapshot_.manifest_note);
    finished_ = true;
  }
}

std::size_t BundleStream::read(std::span<std::uint8_t> out) {
  while (given_ == pending_.size() && !finished_) produce();
  std::size_t n = std::min(out.size(), pending_.size() - given_);
  if (n > 0) std::memcpy(out.data(), pending_.data() + given_, n);
  given_ += n;
  return n;
}

}  // namespace lucid::api
