// lucid frame: the picture at a moment. lucid frames: every picture of a recording, checked against its digests.
#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/png.hpp"
#include "app/cli/server.hpp"
#include "lib/recording/frame_encoder.hpp"

namespace lucid::cli {
namespace {

struct FrameOptions {
  ServerOption server;
  std::string session, out;
  std::int64_t at = 0;
  bool cursor = false, digests = false, json = false;
};

int frame(Io& io, const FrameOptions& o) {
  Server server(find_server(io, o.server));
  server.open(checked_session(o.session));
  recording::Picture picture = picture_at(server, o.at, o.cursor ? Cursor::drawn : Cursor::left_out);
  io.files.replace_file(o.out, encode_png(picture));
  io.out << fmt::format("{} {}x{} frame {} at {} ms{}\n", o.out, picture.width, picture.height, picture.number, picture.ms,
                        picture.lossy ? " lossy" : "");
  return kOk;
}

struct Counts {
  std::uint64_t frames = 0, exact = 0, different = 0, without_digest = 0, lossy = 0, unplayable = 0;
  bool good() const { return different == 0 && unplayable == 0; }
};

// What one frame is, and its place in the counts.
std::string judge(const ReplayedFrame& f, const std::optional<Hash32>& digest, Counts& counts) {
  ++counts.frames;
  if (f.lossy) ++counts.lossy;
  if (f.picture == nullptr) return ++counts.unplayable, "UNPLAYABLE";
  if (!f.recorded_digest || !digest) return ++counts.without_digest, "-";
  if (*f.recorded_digest == *digest) return ++counts.exact, "exact";
  return ++counts.different, "DIFFERENT";
}

int frames(Io& io, const FrameOptions& o) {
  Server server(find_server(io, o.server));
  server.open(checked_session(o.session));
  Counts counts;
  json::array list;
  replay(server, [&](const ReplayedFrame& f) {
    std::optional<Hash32> digest;
    if (o.digests && f.picture != nullptr) digest = recording::frame_digest(f.picture->pixels);
    std::string verdict = judge(f, digest, counts);
    if (o.json) {
      json::object item{{"number", f.number}, {"ms", f.ms}, {"lossy", f.lossy}, {"verdict", verdict}};
      if (digest) item["sha256"] = to_hex(*digest);
      list.push_back(std::move(item));
    } else {
      io.out << fmt::format("{:>8} {:>10} {} {}\n", f.number, f.ms, digest ? to_hex(*digest) : std::string(f.lossy ? "lossy" : "-"),
                            verdict);
    }
  });
  if (o.json)
    io.out << json::serialize(json::object{{"session_id", o.session},
                                           {"frames", counts.frames},
                                           {"frames_exact", counts.exact},
                                           {"frames_different", counts.different},
                                           {"frames_without_digest", counts.without_digest},
                                           {"frames_lossy", counts.lossy},
                                           {"frames_unplayable", counts.unplayable},
                                           {"list", std::move(list)}})
           << '\n';
  else
    io.out << fmt::format("{} frames: {} exact, {} different, {} without a recorded digest, {} unplayable, {} lossy\n", counts.frames,
                          counts.exact, counts.different, counts.without_digest, counts.unplayable, counts.lossy);
  return counts.good() ? kOk : kFailed;
}

}  // namespace

void add_frame_commands(Program& program) {
  auto o = std::make_shared<FrameOptions>();
  CLI::App& one = program.command(
      "frame", "Write the picture shown at a moment as PNG.",
      "  lucid frame SESSION --at 12500 --out at-12.5s.png\n  lucid frame SESSION --at 12500 --cursor --out with-cursor.png");
  o->server.add_to(one);
  one.add_option("SESSION", o->session, "session id")->required();
  one.add_option("--at", o->at, "millisecond of the session")->required();
  one.add_option("--out,-o", o->out, "PNG file to write")->required();
  one.add_flag("--cursor", o->cursor, "draw the pointer as it stood");
  program.action(one, [&program, o] { return frame(program.io(), *o); });

  CLI::App& all = program.command(
      "frames", "Replay every frame; with --digests compare each with the digest taken at capture.",
      "  lucid frames SESSION\n  lucid frames SESSION --digests | tail -1\n  lucid frames SESSION --digests --json | jq .frames_exact");
  o->server.add_to(all);
  all.add_option("SESSION", o->session, "session id")->required();
  all.add_flag("--digests", o->digests, "SHA-256 of every replayed picture; exact or DIFFERENT where one was recorded");
  all.add_flag("--json", o->json, "one JSON object");
  program.action(all, [&program, o] { return frames(program.io(), *o); });
}

}  // namespace lucid::cli
