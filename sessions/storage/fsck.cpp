#include "sessions/storage/fsck.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "lib/base/clock.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/runtime/data_lock.hpp"
#include "sessions/storage/config.hpp"
#include "sessions/storage/fsck_session.hpp"
#include "sessions/storage/index.hpp"

namespace lucid::storage {

namespace {

Finding finding_of(const char* code, std::string detail, bool repaired) {
  Finding finding;
  finding.code = code;
  finding.detail = std::move(detail);
  finding.repaired = repaired;
  return finding;
}

// Sessions named by keys of `collection`: "<session>" or "<session>/…".
void collect(store::Documents& documents, const char* collection, std::set<Id>& sessions) {
  std::string from;
  while (true) {
    auto next = documents.scan(collection, {.from = from, .limit = 1});
    if (next.empty()) return;
    std::string name = next[0].key.substr(0, next[0].key.find('/'));
    if (auto id = Id::parse(name)) sessions.insert(*id);
    from = store::after_prefix(name);
  }
}

void check_files(const std::string& directory, FsckReport& report) {
  FileOps& files = system_files();
  std::string packs = packs_in(directory);
  for (const std::string& name : files.list(packs)) {
    auto id = Id::parse(name);
    if (!id || id->text() != name) {
      report.findings.push_back(finding_of("unknown_file", packs + "/" + name, false));
      continue;
    }
    for (const std::string& file : files.list(packs + "/" + name)) {
      bool pack = file.size() == 13 && file.ends_with(".pack") &&
                  std::all_of(file.begin(), file.begin() + 8, [](char c) { return c >= '0' && c <= '9'; });
      if (!pack) report.findings.push_back(finding_of("unknown_file", packs + "/" + name + "/" + file, false));
    }
  }
}

void check_all(store::Documents& documents, const std::string& directory, bool repair, bool live, FsckReport& report,
               const std::function<void(const FsckProgress&)>& progress) {
  store::Packs packs(packs_in(directory), system_files(), chunk_length, recording::kChunkHeaderSize);
  std::set<Id> sessions, removing;
  for (const char* collection : {kChunks, kSessions, kManifests, kOpen}) collect(documents, collection, sessions);
  for (const Id& id : packs.sessions()) sessions.insert(id);
  collect(documents, kDeleting, removing);  // session-storage finishes these at its next start
  FsckProgress now{.sessions_done = 0, .sessions_total = sessions.size(), .bytes_read = 0};
  FsckScene scene{documents, packs, repair, live, report, [&](std::uint64_t bytes) {
                    report.bytes += bytes;
                    now.bytes_read += bytes;
                    if (progress) progress(now);
                  }};
  for (const Id& id : sessions) {
    if (!removing.contains(id)) SessionCheck(scene, id).run();
    ++now.sessions_done;
    if (progress) progress(now);
  }
}

// A database that does not read is kept beside the new one: what it held may still be wanted.
void set_aside(const std::string& path) {
  FileOps& files = system_files();
  std::string suffix = fmt::format(".damaged-{}", SystemClock().wall_ms());
  for (const char* part : {"", "-wal", "-shm"})
    if (files.exists(path + part)) files.rename(path + part, path + suffix + part);
  files.sync_directory(path.substr(0, path.find_last_of('/')));
}

}  // namespace

std::uint64_t FsckReport::repaired() const {
  return static_cast<std::uint64_t>(std::count_if(findings.begin(), findings.end(), [](const Finding& f) { return f.repaired; }));
}

FsckReport fsck(const std::string& data_dir, const FsckOptions& options, const std::function<void(const FsckProgress&)>& progress) {
  std::string directory = directory_in(data_dir), database = database_in(directory);
  FileOps& files = system_files();
  FsckReport report;
  if (!files.exists(directory)) return report;
  std::optional<runtime::DataLock> lock;
  bool live = false;
  try {
    lock.emplace(data_dir, kServiceName);
  } catch (const Error& error) {
    if (options.repair || error.kind() != ErrorKind::conflict) throw;
    live = true;
  }
  check_files(directory, report);
  if (!files.exists(database)) {
    bool packs = !files.list(packs_in(directory)).empty();
    if (packs) report.findings.push_back(finding_of("index_missing", database + " is not there", options.repair));
    if (!packs || !options.repair) return report;
  }
  std::size_t before = report.findings.size();
  std::string damage;
  try {
    auto documents = store::open_sqlite_documents(database);
    check_all(*documents, directory, options.repair, live, report, progress);
    return report;
  } catch (const Error& error) {
    if (error.code() != "database_corrupt") throw;
    damage = error.what();
  }
  // What was found through a damaged index is worth nothing.
  report.findings.resize(before);
  report.sessions = report.chunks = report.packs = report.bytes = 0;
  report.findings.push_back(finding_of("index_corrupt", damage, options.repair));
  if (!options.repair) return report;
  set_aside(database);
  auto documents = store::open_sqlite_documents(database);
  check_all(*documents, directory, true, live, report, progress);
  return report;
}

json::value to_json(const FsckReport& report) {
  json::array findings;
  for (const Finding& finding : report.findings) {
    json::object item{{"code", finding.code}, {"detail", to_utf8(finding.detail, 2000)}, {"repaired", finding.repaired}};
    if (!finding.session.empty()) item["session"] = finding.session;
    if (finding.sequence) item["sequence"] = *finding.sequence;
    if (finding.pack) item["pack"] = *finding.pack;
    if (finding.offset) item["offset"] = *finding.offset;
    findings.push_back(std::move(item));
  }
  return json::object{{"clean", report.clean()}, {"sessions", report.sessions},   {"chunks", report.chunks},        {"packs", report.packs},
                      {"bytes", report.bytes},   {"repaired", report.repaired()}, {"findings", std::move(findings)}};
}

}  // namespace lucid::storage
