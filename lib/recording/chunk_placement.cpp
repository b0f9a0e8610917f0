#include "lib/recording/chunk_placement.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include <fmt/format.h>

namespace lucid::recording {
namespace {

// Beyond this many chunks (two years of one a second) places are not kept one by one.
constexpr std::uint64_t kMaxPlaces = 1 << 26;

struct FirstBytes {
  std::size_t operator()(const Hash32& hash) const {
    std::size_t h;
    std::memcpy(&h, hash.data(), sizeof h);
    return h;
  }
};

class Placement {
 public:
  Placement(const std::vector<FoundChunk>& found, const Id& session, const std::vector<Hash32>* known, std::uint64_t count,
            std::uint64_t end)
      : found_(found), session_(session), end_(end), count_(std::min(count, kMaxPlaces)), present_(count_), taken_(count_) {
    identify(known);
  }

  std::vector<Finding> run() {
    for (std::size_t k = 0; k < found_.size() && findings_.size() < kMaxFindings; ++k) {
      const FoundChunk& chunk = found_[k];
      if (place_[k])
        placed(chunk, *place_[k]);
      else
        stranger(chunk);
      while (expected_ < count_ && taken_[expected_]) ++expected_;
    }
    report_missing(count_, end_);
    return std::move(findings_);
  }

 private:
  // The place each found chunk belongs to, where that is known.
  void identify(const std::vector<Hash32>* known) {
    std::unordered_map<Hash32, std::uint64_t, FirstBytes> places;
    if (known != nullptr)
      for (std::uint64_t i = 0; i < known->size(); ++i) places.emplace((*known)[i], i);
    for (const FoundChunk& chunk : found_) {
      std::optional<std::uint64_t> place;
      if (chunk.header && known != nullptr) {
        if (auto at = places.find(chunk.leaf); at != places.end()) place = at->second;
      } else if (chunk.header && chunk.header->session == session_) {
        place = chunk.header->sequence;
      }
      if (place && *place >= count_) place.reset();
      if (place) present_[*place] = true;
      place_.push_back(place);
    }
  }

  // A chunk that is what it should be, though perhaps not where.
  void placed(const FoundChunk& chunk, std::uint64_t place) {
    if (taken_[place]) return add("chunk_replayed", fmt::format("chunk {} stands here a second time", place), chunk, place);
    taken_[place] = true;
    if (place == expected_) return;
    report_missing(place, chunk.first_byte);
    if (expected_ < place) add("chunk_swapped", fmt::format("chunk {} stands where chunk {} belongs", place, expected_), chunk, place);
  }

  // A chunk the evidence does not know: somebody else's, or one of ours with other bytes.
  void stranger(const FoundChunk& chunk) {
    bool foreign = chunk.header && chunk.header->session != session_;
    std::optional<std::uint64_t> place;
    if (chunk.header && !foreign && chunk.header->sequence < count_ && free(chunk.header->sequence))
      place = chunk.header->sequence;
    else if (expected_ < count_ && free(expected_))
      place = expected_;
    if (foreign)
      add("foreign_chunk", fmt::format("a chunk of session {}", chunk.header->session.text()), chunk, place);
    else if (place)
      add("chunk_altered", fmt::format("the bytes of chunk {} are not those that were recorded", *place), chunk, place);
    else
      add("chunk_altered", "a chunk that was never recorded", chunk, std::nullopt);
    if (place) taken_[*place] = true;
  }

  bool free(std::uint64_t place) const { return !present_[place] && !taken_[place]; }

  // Reports the places from expected_ up to `limit` that no chunk fills, as one finding per run of them, and moves on
  // past those that are accounted for.
  void report_missing(std::uint64_t limit, std::uint64_t at) {
    for (std::uint64_t i = expected_; i < limit && findings_.size() < kMaxFindings; ++i) {
      if (!free(i)) continue;
      std::uint64_t last = i;
      taken_[i] = true;
      while (last + 1 < limit && free(last + 1)) taken_[++last] = true;
      findings_.push_back(
          {"chunk_missing",
           i == last ? fmt::format("chunk {} is missing here", i) : fmt::format("chunks {} to {} are missing here", i, last), at, at, i});
      i = last;
    }
    while (expected_ < limit && taken_[expected_]) ++expected_;
  }

  void add(std::string code, std::string detail, const FoundChunk& chunk, std::optional<std::uint64_t> sequence) {
    findings_.push_back({std::move(code), std::move(detail), chunk.first_byte, chunk.last_byte, sequence});
  }

  const std::vector<FoundChunk>& found_;
  const Id& session_;
  std::uint64_t end_, count_;
  std::uint64_t expected_ = 0;  // the first place not yet accounted for
  std::vector<bool> present_, taken_;
  std::vector<std::optional<std::uint64_t>> place_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> place_chunks(const std::vector<FoundChunk>& found, const Id& session, const std::vector<Hash32>* known,
                                  std::uint64_t count, std::uint64_t end) {
  return Placement(found, session, known, count, end).run();
}

}  // namespace lucid::recording
