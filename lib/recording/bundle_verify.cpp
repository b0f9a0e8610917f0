#include <algorithm>

#include <fmt/format.h>

#include "lib/recording/bundle.hpp"
#include "lib/recording/bundle_layout.hpp"
#include "lib/recording/chunk_placement.hpp"
#include "lib/recording/session_note.hpp"

namespace lucid::recording {
namespace {

// One verification. Steps are in the order of docs/formats/bundle.md, "Verifying".
class BundleCheck {
 public:
  BundleCheck(std::uint64_t size, const ReadAt& read, const crypto::VerifyKey& key) : in_(size, read), key_(key) {}

  VerifyReport run() {
    if (in_.size() == 0) {
      add("malformed", "the file is empty", 0, 0);
      return finish(Verdict::unreadable);
    }
    auto header = read_header(in_);
    if (!header) {
      bool cut = in_.size() < kBundleHeaderSize;
      add(cut ? "truncated" : "malformed", header.error().what(), 0, std::min<std::uint64_t>(in_.size(), kBundleHeaderSize));
      return finish(Verdict::unreadable);
    }
    header_ = *header;
    auto trailer = read_trailer(in_, header_);
    if (!trailer) return broken_end();
    trailer_ = *trailer;
    const BundleLayout at(header_, trailer_);
    if (!check_manifest(at)) return finish(Verdict::unreadable);
    check_checkpoint(at);
    read_leaves(at);
    bool walked = walk(at);
    place(at, walked);
    check_final_checkpoint(at);
    if (report_.findings.empty()) check_epochs(at);
    if (report_.findings.empty()) check_rest(at);
    return finish(report_.findings.empty() ? Verdict::good : Verdict::altered);
  }

 private:
  // Bytes [first, end).
  void add(std::string code, std::string detail, std::uint64_t first, std::uint64_t end,
           std::optional<std::uint64_t> sequence = std::nullopt) {
    report_.findings.push_back({std::move(code), std::move(detail), first, std::max(first, end == 0 ? 0 : end - 1), sequence});
  }

  VerifyReport finish(Verdict verdict) {
    report_.verdict = verdict;
    std::stable_sort(report_.findings.begin(), report_.findings.end(),
                     [](const Finding& a, const Finding& b) { return a.first_byte < b.first_byte; });
    if (report_.findings.size() > kMaxFindings) report_.findings.resize(kMaxFindings);
    return std::move(report_);
  }

  // Without a trailer there is no evidence to check against; what can be said is where the structure breaks.
  VerifyReport broken_end() {
    BrokenEnd end = explain_end(in_, header_);
    add(end.truncated ? "truncated" : "malformed", end.detail, end.first_byte, in_.size());
    auto manifest = parse_manifest(as_text(in_.fetch(kBundleHeaderSize, header_.manifest_size)));
    if (!manifest) return finish(Verdict::unreadable);
    report_.session = manifest->session;
    return finish(Verdict::altered);
  }

  bool check_manifest(const BundleLayout& at) {
    std::string text(as_text(in_.fetch(at.manifest, header_.manifest_size)));
    auto manifest = parse_manifest(text);
    if (!manifest) {
      add("malformed", manifest.error().what(), at.manifest, at.chunks);
      return false;
    }
    manifest_ = std::move(*manifest);
    report_.session = manifest_.session;
    auto note = read_note(in_, at.manifest_note, at.trailer);
    if (!note) {
      add("malformed", note.error().what(), at.manifest_note, at.trailer);
    } else if (note->empty()) {
      add("bad_signature", "the manifest is not signed", at.manifest_note, at.trailer);
    } else if (auto good = verify_manifest(text, *note, key_); !good) {
      bool about_manifest = good.error().code() == "manifest_altered";
      add(good.error().code(), std::string("manifest note: ") + good.error().what(), about_manifest ? at.manifest : at.manifest_note,
          about_manifest ? at.chunks : at.trailer);
    }
    if (manifest_.checkpoint_key != key_.text())
      add("wrong_key", "the manifest names another checkpoint key than the one given", at.manifest, at.chunks);
    return true;
  }

  void check_checkpoint(const BundleLayout& at) {
    auto note = read_note(in_, at.checkpoint, at.manifest_note);
    if (!note) return add("malformed", note.error().what(), at.checkpoint, at.manifest_note);
    auto opened = open_session_note(*note, origin_of(manifest_), key_);
    if (!opened) return add(opened.error().code(), std::string("checkpoint: ") + opened.error().what(), at.checkpoint, at.manifest_note);
    checkpoint_ = std::move(*opened);
  }

  void read_leaves(const BundleLayout& at) {
    evidence::Tree tree;
    bool read = in_.each(at.leaves, at.checkpoint, [&](ByteView piece) {
      // Pieces are multiples of 32 bytes, since the window and the whole are.
      for (; piece.size() >= 32; piece = piece.subspan(32)) {
        leaves_.push_back(ByteReader(piece).array<32>());
        tree.append(leaves_.back());
      }
    });
    leaves_trusted_ = read && checkpoint_ && checkpoint_->size <= tree.size() && checkpoint_->root == tree.root_at(checkpoint_->size);
  }

  // Hashes every chunk once. False when the chunks cannot be told apart from some byte on.
  bool walk(const BundleLayout& at) {
    for (std::uint64_t offset = at.chunks; offset != at.leaves;) {
      std::size_t length = usable_length(offset, at.leaves);
      if (length == 0) {
        add("malformed", fmt::format("from here on no chunk can be told: chunk {} has no usable length", found_.size()), offset, at.leaves,
            found_.size());
        return false;
      }
      ByteView stored = in_.fetch(offset + 4, length);
      if (stored.empty()) {
        add("malformed", "the file could not be read", offset, at.leaves, found_.size());
        return false;
      }
      FoundChunk chunk{offset, offset + 3 + length, std::nullopt, {}};
      auto header = parse_chunk_header(stored);
      if (header && stored_size(*header) == length) {
        chunk.header = *header;
        chunk.leaf = evidence::leaf_hash(encode_leaf(leaf_of(*header, crypto::blake3(stored))));
      }
      tree_.append(chunk.leaf);
      report_.stored_bytes += length;
      found_.push_back(chunk);
      offset += 4 + length;
    }
    return true;
  }

  // The length of the chunk at `offset`: the one before it, or, where a chunk does not follow after that, the one its
  // own header gives. So one damaged length costs one chunk.
  std::size_t usable_length(std::uint64_t offset, std::uint64_t end) {
    auto leads_on = [&](std::size_t length) {
      if (length == 0 || length > end - offset - 4) return false;
      std::uint64_t next = offset + 4 + length;
      return next == end || chunk_length_at(in_, next, end) != 0;
    };
    std::size_t before = chunk_length_at(in_, offset, end);
    ByteView start = end - offset >= 4 + kChunkHeaderSize ? in_.fetch(offset + 4, kChunkHeaderSize) : ByteView{};
    auto header = parse_chunk_header(start);
    std::size_t own = header ? stored_size(*header) : 0;
    if (before == own) return before;
    if (leads_on(before)) return before;
    if (leads_on(own)) {
      add("malformed", fmt::format("the length before chunk {} is not the chunk's", found_.size()), offset, offset + 4, found_.size());
      return own;
    }
    return before;
  }

  void place(const BundleLayout& at, bool walked) {
    report_.chunks = found_.size();
    report_.root = tree_.root();
    report_.complete = !found_.empty() && found_.back().header && (found_.back().header->flags & kEnd) != 0;
    if (!walked) return;
    if (leaves_trusted_ && checkpoint_->size == leaves_.size() && tree_.size() == leaves_.size() && report_.root == checkpoint_->root)
      return;

    // A checkpoint over fewer leaves or chunks than are there is an old one, or says nothing of these at all.
    const std::uint64_t there = leaves_trusted_ ? leaves_.size() : found_.size();
    const bool beyond = checkpoint_ && checkpoint_->size < there;
    const std::uint64_t count = leaves_trusted_ || beyond ? there : checkpoint_ ? checkpoint_->size : trailer_.leaf_count;
    auto findings = place_chunks(found_, manifest_.session, leaves_trusted_ ? &leaves_ : nullptr, count, at.leaves);
    bool named = !findings.empty();
    report_.findings.insert(report_.findings.end(), findings.begin(), findings.end());
    if (!checkpoint_) return;
    if (beyond) {
      if (leaves_trusted_ || tree_.root_at(checkpoint_->size) == checkpoint_->root)
        add("old_checkpoint", fmt::format("the checkpoint covers {} of {} chunks", checkpoint_->size, there), at.checkpoint,
            at.manifest_note);
      else if (!named)
        add("checkpoint_mismatch", "the checkpoint is about other chunks", at.chunks, at.manifest_note);
    } else if (tree_.size() == checkpoint_->size && report_.root == checkpoint_->root) {
      add("malformed", "the leaf list does not fit the chunks, which are intact", at.leaves, at.checkpoint);
    } else if (!named) {
      add("checkpoint_mismatch", "the chunks do not give the signed root, and the leaf list cannot tell which one was altered", at.chunks,
          at.checkpoint);
    }
  }

  void check_final_checkpoint(const BundleLayout& at) {
    if (manifest_.final_checkpoint.empty()) return;
    auto last = open_session_note(manifest_.final_checkpoint, origin_of(manifest_), key_);
    if (!last)
      return add(last.error().code(), std::string("final checkpoint in the manifest: ") + last.error().what(), at.manifest, at.chunks);
    if (!checkpoint_) return;
    if (checkpoint_->size < last->size && found_.size() <= checkpoint_->size)
      add("truncated", fmt::format("the recording ended with {} chunks, this bundle holds {}", last->size, found_.size()), at.leaves,
          at.leaves, found_.size());
    else if (checkpoint_->size < last->size)
      add("old_checkpoint", fmt::format("the checkpoint covers {} of {} chunks", checkpoint_->size, last->size), at.checkpoint,
          at.manifest_note);
    else if (checkpoint_->size > last->size || checkpoint_->root != last->root)
      add("checkpoint_mismatch", "the checkpoint and the final one in the manifest disagree", at.checkpoint, at.manifest_note);
  }

  void check_epochs(const BundleLayout& at) {
    std::uint32_t before = 0;
    for (const FoundChunk& chunk : found_) {
      const KeyEpoch* epoch = find_epoch(manifest_, chunk.header->key_epoch);
      if (epoch == nullptr || chunk.header->sequence < epoch->first_sequence || epoch->epoch < before)
        return add("manifest_altered",
                   fmt::format("the manifest does not have key epoch {} of chunk {}: it is an older one", chunk.header->key_epoch,
                               chunk.header->sequence),
                   at.manifest, at.chunks);
      before = epoch->epoch;
    }
  }

  // What no signature covers: counts, and the hash against accidents.
  void check_rest(const BundleLayout& at) {
    if (header_.chunk_count != found_.size())
      add("malformed", fmt::format("the header says {} chunks, the bundle holds {}", header_.chunk_count, found_.size()), 16,
          kBundleHeaderSize);
    crypto::Blake3Hasher digest;
    auto update = [&](ByteView piece) { digest.update(piece); };
    bool read = in_.each(0, at.chunks, update);
    for (const FoundChunk& chunk : found_) read = read && in_.each(chunk.first_byte, chunk.first_byte + 4, update);
    read = read && in_.each(at.leaves, at.trailer + kBundleDigestOffset, update);
    if (!read || digest.finish() != trailer_.digest)
      add("malformed", "bytes outside the chunks do not give the trailer's hash", at.trailer, in_.size());
  }

  BundleInput in_;
  const crypto::VerifyKey& key_;
  BundleHeader header_;
  BundleTrailer trailer_;
  Manifest manifest_;
  std::optional<evidence::Checkpoint> checkpoint_;  // only when its signature holds
  std::vector<Hash32> leaves_;
  bool leaves_trusted_ = false;  // they give the signed root
  std::vector<FoundChunk> found_;
  evidence::Tree tree_;  // over what was found
  VerifyReport report_;
};

}  // namespace

VerifyReport verify_bundle(std::uint64_t size, const ReadAt& read, const crypto::VerifyKey& key) {
  return BundleCheck(size, read, key).run();
}

}  // namespace lucid::recording
