// lucid fsck: checks, and on request repairs, what session-storage keeps. Works on the files, without a server.
#include <fmt/format.h>

#include "app/cli/serve_commands.hpp"
#include "app/cli/server.hpp"
#include "sessions/storage/fsck.hpp"

namespace lucid::cli {
namespace {

struct FsckOptions {
  std::string data = kDefaultData;
  bool repair = false, json = false, quiet = false;
};

std::string place(const storage::Finding& f) {
  std::string at = f.session;
  if (f.sequence) at += fmt::format(" chunk {}", *f.sequence);
  if (f.pack) at += fmt::format(" pack {}", *f.pack);
  if (f.offset) at += fmt::format(" offset {}", *f.offset);
  return at;
}

int check(Io& io, const FsckOptions& o) {
  if (!io.files.exists(o.data)) {
    io.err << fmt::format("lucid: there is no data directory {}\n", o.data);
    return kUsage;
  }
  bool shown = false;
  storage::FsckReport report = storage::fsck(o.data, {.repair = o.repair}, [&](const storage::FsckProgress& p) {
    if (o.quiet) return;
    shown = true;
    io.err << fmt::format("\rlucid: {} of {} sessions, {} MB read ", p.sessions_done, p.sessions_total, p.bytes_read / 1'000'000)
           << std::flush;
  });
  if (shown) io.err << '\n';
  if (o.json) {
    io.out << json::serialize(storage::to_json(report)) << '\n';
  } else {
    for (const storage::Finding& f : report.findings)
      io.out << fmt::format("{}{}: {}: {}\n", f.repaired ? "repaired " : "", f.code, place(f), f.detail);
    io.out << fmt::format("{} sessions, {} chunks, {} packs, {} bytes: {}\n", report.sessions, report.chunks, report.packs, report.bytes,
                          report.findings.empty() ? "all good"
                          : report.clean()        ? fmt::format("{} repaired", report.repaired())
                                                  : fmt::format("{} problems, {} repaired", report.findings.size(), report.repaired()));
  }
  return report.clean() ? kOk : kFailed;
}

}  // namespace

void add_fsck_command(Program& program) {
  auto o = std::make_shared<FsckOptions>();
  CLI::App& command =
      program.command("fsck", "Check stored recordings against their index, manifests and hashes.",
                      "  lucid fsck --data /var/lib/lucid\n  lucid fsck --data /var/lib/lucid --repair   (with the server stopped)");
  command.add_option("--data", o->data, "data directory")->type_name("DIR")->capture_default_str();
  command.add_flag("--repair", o->repair, "repair what can be rebuilt");
  command.add_flag("--json", o->json, "the report as JSON");
  command.add_flag("--quiet,-q", o->quiet, "no progress on stderr");
  program.action(command, [&program, o] { return check(program.io(), *o); });
}

}  // namespace lucid::cli
