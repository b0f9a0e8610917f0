// lucid record: one recording from start to finished, in the foreground.
#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"
#include "app/cli/stop_signals.hpp"

namespace lucid::cli {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kRecordLook{500};         // between two looks at a running recording
constexpr milliseconds kLookFinishing{100};      // and at one being finished
constexpr std::chrono::minutes kFinishTime{10};  // a backlog after an outage may take long; longer is not waited for

struct RecordOptions {
  ServerOption server;
  std::string display, xauthority, name, keystrokes = "full", digests = "keyframes";
  double duration = 0;
  int frame_rate = 15;
  bool json = false, quiet = false;
};

json::value request(const RecordOptions& o) {
  json::object target{{"kind", "display"}, {"display", o.display}};
  if (!o.xauthority.empty()) target["xauthority"] = o.xauthority;
  return json::object{{"name", o.name.empty() ? "display " + o.display : o.name},
                      {"target", std::move(target)},
                      {"recording", json::object{{"frame_rate", o.frame_rate}, {"keystrokes", o.keystrokes}, {"digests", o.digests}}}};
}

class Recording {
 public:
  Recording(Io& io, const RecordOptions& options) : io_(io), options_(options), server_(find_server(io, options.server)) {}

  int run() {
    StopSignals signals;
    session_ = server_.send(net::Method::post, "/api/v1/sessions", request(options_));
    path_ = "/api/v1/sessions/" + text_of(session_, "id");
    session_ = server_.send(net::Method::post, path_ + "/start", json::object{});
    say(fmt::format("recording {} as session {}{}", options_.display, text_of(session_, "id"),
                    options_.duration > 0 ? "" : "; Ctrl-C stops"));
    Clock::time_point started = Clock::now();
    while (going_on() && !over(started)) {
      if (signals.wait(options_.duration > 0 ? std::clamp(left(started), milliseconds(1), kRecordLook) : kRecordLook)) break;
      look();
      progress();
    }
    end_progress();
    if (going_on()) stop();
    Clock::time_point stopped = Clock::now();
    while (!settled()) {
      if (Clock::now() - stopped > kFinishTime)
        throw Error(ErrorKind::timeout,
                    fmt::format("session {} is still {}; look again with `lucid sessions`", text_of(session_, "id"), status()));
      signals.wait(kLookFinishing);
      look();
    }
    return report();
  }

 private:
  std::string status() const { return text_of(session_, "status"); }
  bool going_on() const { return status() == "starting" || status() == "recording" || status() == "paused"; }
  bool settled() const { return status() == "completed" || status() == "terminated" || status() == "failed" || status() == "deleted"; }
  milliseconds left(Clock::time_point started) const {
    return std::chrono::duration_cast<milliseconds>(started + std::chrono::duration<double>(options_.duration) - Clock::now());
  }
  bool over(Clock::time_point started) const { return options_.duration > 0 && left(started).count() <= 0; }

  // A server that is away for a moment (restarted) is asked again; the recording does not depend on us.
  void look() {
    try {
      session_ = server_.get(path_);
      away_ = false;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::unavailable) throw;
      if (!away_) say(std::string("waiting for the server: ") + e.what());
      away_ = true;
    }
  }

  void stop() {
    try {
      session_ = server_.send(net::Method::post, path_ + "/stop", json::object{});
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::conflict) throw;  // it ended by itself meanwhile
      look();
    }
  }

  void say(const std::string& line) {
    end_progress();
    if (!options_.quiet) io_.err << "lucid: " << line << '\n' << std::flush;
  }
  void progress() {
    if (options_.quiet || away_) return;
    std::string line =
        fmt::format("{} {:.1f} s, {} chunks, {} kB", status(), static_cast<double>(number_of(session_, "duration_ms")) / 1000.0,
                    number_of(session_, "chunks"), number_of(session_, "stored_bytes") / 1000);
    if (std::string alarm = text_of(session_, "alarm"); !alarm.empty()) line += ", alarm: " + alarm;
    io_.err << '\r' << fmt::format("{:<70}", line) << std::flush;
    progress_shown_ = true;
  }
  void end_progress() {
    if (progress_shown_) io_.err << '\n';
    progress_shown_ = false;
  }

  int report() {
    if (options_.json)
      io_.out << json::serialize(session_) << '\n';
    else
      io_.out << text_of(session_, "id") << '\n';
    if (status() != "failed") return kOk;
    io_.err << "lucid: the recording failed: " << text_of(session_, "cause") << '\n';
    return kFailed;
  }

  Io& io_;
  const RecordOptions& options_;
  Server server_;
  json::value session_;
  std::string path_;
  bool progress_shown_ = false, away_ = false;
};

}  // namespace

void add_record_command(Program& program) {
  auto o = std::make_shared<RecordOptions>();
  CLI::App& record =
      program.command("record", "Record an X display until Ctrl-C or for a time; prints the session id.",
                      "  lucid record --display :10\n"
                      "  lucid record --display :10 --xauthority /home/ann/.Xauthority --duration 60 --name \"release 4.2\"\n"
                      "  ID=$(lucid record --display :99 --duration 20 --digests all) && lucid frames $ID --digests");
  o->server.add_to(record);
  record.add_option("--display", o->display, "X display to record, such as :10")->required();
  record.add_option("--xauthority", o->xauthority, "authority file of the display (absolute path)");
  record.add_option("--duration", o->duration, "seconds; without it until Ctrl-C")->check(CLI::Range(0.1, 30.0 * 86'400));
  record.add_option("--name", o->name, "what the session is called");
  record.add_option("--frame-rate", o->frame_rate, "frames a second at most")->check(CLI::Range(1, 60))->capture_default_str();
  record.add_option("--keystrokes", o->keystrokes, "what is kept of the keyboard")
      ->check(CLI::IsMember({"full", "metadata", "off"}))
      ->capture_default_str();
  record.add_option("--digests", o->digests, "which frames carry a digest of their picture")
      ->check(CLI::IsMember({"off", "keyframes", "all"}))
      ->capture_default_str();
  record.add_flag("--json", o->json, "print the finished session as JSON");
  record.add_flag("--quiet,-q", o->quiet, "no progress on stderr");
  program.action(record, [&program, o] { return Recording(program.io(), *o).run(); });
}

}  // namespace lucid::cli
